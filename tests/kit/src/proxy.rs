//! A scripted proxy for `CONNECT`: it tunnels, refuses, or answers something else.
//!
//! One thread a connection; stops when dropped. What it was asked is kept as it came. Not here:
//! the registries behind it ([`crate::registry`]).

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// What the proxy does when it is asked for a tunnel.
#[derive(Clone, Debug)]
pub enum Manner {
    /// Connects to where it was asked to.
    Tunnel,
    /// Tunnels for who brings this `Proxy-Authorization`, and answers 407 to others.
    Authorized(String),
    /// Answers with these bytes and hangs up.
    Says(Vec<u8>),
    /// Hangs up.
    HangsUp,
}

/// A proxy of the kit's own.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    manner: Manner,
    heads: Mutex<Vec<String>>,
    stop: AtomicBool,
}

impl Proxy {
    /// Starts one on this address.
    ///
    /// # Panics
    /// When no port can be had there.
    #[must_use]
    pub fn start(at: impl Into<IpAddr>, manner: Manner) -> Self {
        let listener = TcpListener::bind((at.into(), 0)).expect("a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Shared { manner, heads: Mutex::default(), stop: AtomicBool::new(false) };
        let shared = Arc::new(shared);
        let mine = Arc::clone(&shared);
        let accepting = std::thread::Builder::new()
            .name(format!("proxy {address}"))
            .spawn(move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    if mine.stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let shared = Arc::clone(&mine);
                    let serve = move || drop(serve(&shared, stream));
                    drop(std::thread::Builder::new().spawn(serve));
                }
            })
            .expect("threads can be started");
        Self { address, shared, accepting: Some(accepting) }
    }

    /// `address:port`.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The heads of all requests so far, as they came.
    #[must_use]
    pub fn heads(&self) -> Vec<String> {
        self.shared.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that waits in accept.
        let _woken = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ended = accepting.join();
        }
    }
}

fn serve(shared: &Shared, stream: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.by_ref().take(65_536).read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    shared.heads.lock().unwrap_or_else(PoisonError::into_inner).push(head.clone());
    let mut stream = stream;
    match &shared.manner {
        Manner::HangsUp => return Ok(()),
        Manner::Says(bytes) => return stream.write_all(bytes),
        Manner::Authorized(wanted) => {
            let field = format!("proxy-authorization: {wanted}\r\n").to_ascii_lowercase();
            if !head.to_ascii_lowercase().contains(&field) {
                return stream.write_all(
                    b"HTTP/1.1 407 Proxy Authentication Required\r\n\
                      Proxy-Authenticate: Basic realm=\"proxy\"\r\nContent-Length: 0\r\n\r\n",
                );
            }
        }
        Manner::Tunnel => {}
    }
    let target = head.split(' ').nth(1).unwrap_or_default();
    let Ok(there) = TcpStream::connect(target) else {
        return stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
    };
    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut up, mut down) = (there.try_clone()?, there);
    let mut back = stream.try_clone()?;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let _sent = io::copy(&mut reader, &mut up);
            let _ended = up.shutdown(Shutdown::Both);
        });
        let _sent = io::copy(&mut down, &mut back);
        let _ended = back.shutdown(Shutdown::Both);
    });
    Ok(())
}
