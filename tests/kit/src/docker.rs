//! A Docker daemon as far as exporting images goes: a Unix socket that serves archives.
//!
//! Docker Engine API, "Export an image", with and without a version before it, in chunks as Docker
//! sends it. Not here: what is in an archive ([`crate::image::saved`]).

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Bytes of one chunk.
const CHUNK: usize = 60_000;

/// A running one. Dropping it ends it.
#[derive(Debug)]
pub struct Docker {
    socket: PathBuf,
    listener: UnixListener,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    images: BTreeMap<String, Vec<u8>>,
    /// Bytes of an archive after which the connection ends; all of them when zero.
    cut: usize,
    asked: Mutex<Vec<String>>,
    stop: AtomicBool,
}

impl Docker {
    /// Serves these archives, by name, at a socket that everybody may use. Archives end after
    /// `cut` bytes unless that is zero.
    ///
    /// # Panics
    /// When the socket cannot be made.
    #[must_use]
    pub fn start(socket: &Path, images: &[(&str, Vec<u8>)], cut: usize) -> Self {
        let images = images.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone()));
        let shared = Arc::new(Shared { images: images.collect(), cut, ..Shared::default() });
        let listener = UnixListener::bind(socket).expect("the socket can be made");
        let everybody = std::fs::Permissions::from_mode(0o666);
        std::fs::set_permissions(socket, everybody).expect("it is ours");
        let accepting = listener.try_clone().expect("a descriptor can be had");
        let serving = Arc::clone(&shared);
        let thread = std::thread::Builder::new().spawn(move || {
            for stream in accepting.incoming() {
                if serving.stop.load(Ordering::Relaxed) {
                    return;
                }
                if let Ok(stream) = stream {
                    // Whoever leaves early has its reasons.
                    let _served = serve(&serving, &stream);
                }
            }
        });
        let thread = Some(thread.expect("a thread can be started"));
        Self { socket: socket.to_owned(), listener, shared, thread }
    }

    /// Its address, as `DOCKER_HOST` has it.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Paths that were asked for.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Wakes it up, wherever its name is by now.
        let _woken = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn serve(shared: &Shared, mut stream: &UnixStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
    }
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    shared.asked.lock().unwrap_or_else(PoisonError::into_inner).push(path.clone());
    let path = match path.strip_prefix("/v1.") {
        Some(rest) => rest.split_once('/').map(|(_, rest)| format!("/{rest}")).unwrap_or_default(),
        None => path,
    };
    let name = path.strip_prefix("/images/").and_then(|rest| rest.strip_suffix("/get"));
    let Some(bytes) = name.and_then(|name| shared.images.get(name)) else {
        let said = format!("No such image: {}", name.unwrap_or(&path));
        let body = serde_json::json!({ "message": said }).to_string();
        return write!(
            stream,
            "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: \
             {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
    };
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-tar\r\nTransfer-Encoding: \
          chunked\r\nConnection: close\r\n\r\n",
    )?;
    let end = if shared.cut == 0 { bytes.len() } else { shared.cut };
    for chunk in bytes[..end].chunks(CHUNK) {
        write!(stream, "{:x}\r\n", chunk.len())?;
        stream.write_all(chunk)?;
        stream.write_all(b"\r\n")?;
    }
    if shared.cut == 0 { stream.write_all(b"0\r\n\r\n") } else { Ok(()) }
}
