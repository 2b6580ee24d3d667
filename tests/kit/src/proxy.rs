//! A scripted proxy: it tunnels (`CONNECT`, SOCKS 5), forwards plain requests, refuses, or answers
//! something else.
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
    if reader.fill_buf()?.first() == Some(&SOCKS) {
        return socks(shared, reader, stream);
    }
    let Some(head) = read_head(&mut reader)? else { return Ok(()) };
    shared.keep(&head);
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
    let forwarded = target.strip_prefix("http://").and_then(|rest| rest.split('/').next());
    let Ok(there) = TcpStream::connect(forwarded.unwrap_or(target)) else {
        return stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
    };
    if forwarded.is_some() {
        return join(reader, stream, there, |reader, up| forward(shared, head, reader, up));
    }
    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    join(reader, stream, there, |reader, up| io::copy(reader, up).map(drop))
}

/// The first byte of who speaks SOCKS 5.
const SOCKS: u8 = 5;

impl Shared {
    fn keep(&self, head: &str) {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).push(head.to_owned());
    }
}

fn read_head(reader: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.by_ref().take(65_536).read_line(&mut head)? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(head))
}

/// Sends one request after the other, none with a body, to the server that the first is for.
fn forward(
    shared: &Shared,
    first: String,
    reader: &mut BufReader<TcpStream>,
    up: &mut TcpStream,
) -> io::Result<()> {
    let mut next = Some(first);
    while let Some(head) = next {
        let mut words = head.splitn(3, ' ');
        let (method, url) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let after = url.strip_prefix("http://").unwrap_or(url);
        let path = after.find('/').map_or("/", |at| &after[at..]);
        let fields: String = words
            .next()
            .unwrap_or("")
            .split_inclusive("\r\n")
            .filter(|line| !line.to_ascii_lowercase().starts_with("proxy-"))
            .collect();
        up.write_all(format!("{method} {path} {fields}").as_bytes())?;
        next = read_head(reader)?;
        if let Some(head) = &next {
            shared.keep(head);
        }
    }
    Ok(())
}

/// SOCKS 5 for names and addresses of IPv4, without a login; what was asked for is kept as
/// `SOCKS host:port`.
fn socks(
    shared: &Shared,
    mut reader: BufReader<TcpStream>,
    mut stream: TcpStream,
) -> io::Result<()> {
    let mut take = |count: usize| {
        let mut bytes = vec![0; count];
        reader.read_exact(&mut bytes).map(|()| bytes)
    };
    let methods = take(2)?[1];
    take(methods.into())?;
    stream.write_all(&[SOCKS, 0])?;
    let host = match take(4)?[3] {
        1 => take(4)?.iter().map(u8::to_string).collect::<Vec<_>>().join("."),
        3 => {
            let length = take(1)?[0];
            String::from_utf8_lossy(&take(length.into())?).into_owned()
        }
        _ => return Ok(()),
    };
    let port = take(2)?;
    let target = format!("{host}:{}", u16::from_be_bytes([port[0], port[1]]));
    shared.keep(&format!("SOCKS {target}"));
    let there = TcpStream::connect(target)?;
    stream.write_all(&[SOCKS, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
    join(reader, stream, there, |reader, up| io::copy(reader, up).map(drop))
}

/// Brings bytes both ways until one side ends.
fn join(
    mut reader: BufReader<TcpStream>,
    stream: TcpStream,
    there: TcpStream,
    send: impl FnOnce(&mut BufReader<TcpStream>, &mut TcpStream) -> io::Result<()> + Send,
) -> io::Result<()> {
    let (mut up, mut down) = (there.try_clone()?, there);
    let mut back = stream;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let _sent = send(&mut reader, &mut up);
            let _ended = up.shutdown(Shutdown::Both);
        });
        let _sent = io::copy(&mut down, &mut back);
        let _ended = back.shutdown(Shutdown::Both);
    });
    Ok(())
}
