//! One connection of the scripted registry: reads requests, looks answers up, has them sent.
//!
//! A thread for each; order of work: log, gate, script, access, answer. Not here: the correct
//! answers ([`super::serve`]); how a script changes them on their way ([`super::sending`]).

use super::answer::{Answer, Reply};
use super::http2::Connection;
use super::route::Asked;
use super::sending::{After, Both, send};
use super::wire::{self, Incoming};
use super::{Request, Shared};
use crate::digest::Digest;
use crate::tls::Identity;
use rustls::{ServerConnection, StreamOwned};
use std::io::{self, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

/// A connection that counts the bytes that went out.
struct Counted<'a> {
    to: &'a mut dyn Both,
    sent: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.to.read(buffer)
    }
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.to.write(bytes)?;
        self.sent += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Accepts until the registry stops.
pub(super) fn accept_loop(shared: &Arc<Shared>, listener: &TcpListener) {
    while let Ok((stream, _)) = listener.accept() {
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        let mine = Arc::clone(shared);
        let handling = std::thread::Builder::new()
            .name("registry connection".to_owned())
            .stack_size(512 << 10)
            .spawn(move || {
                let at = mine.accepted.fetch_add(1, Ordering::SeqCst);
                // A client that goes away ends its own connection and nothing else.
                let _ended = converse(&mine, at, stream);
                // The last descriptor: now the other side sees the end, or the reset.
                mine.open().remove(&at);
            });
        drop(handling);
    }
}

fn converse(shared: &Shared, at: usize, stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let kept = stream.try_clone()?;
    shared.open().insert(at, stream.try_clone()?);
    let mut first = [0];
    if stream.peek(&mut first)? == 0 {
        return Ok(());
    }
    let greets_tls = first == [0x16];
    let identity = shared.identity.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let is_http2 = identity.as_ref().is_some_and(Identity::is_http2);
    let (mut wire, scheme): (Box<dyn Both>, _) = match (identity, greets_tls) {
        (Some(identity), true) if identity.is_old() => return greet_old(&stream),
        (Some(identity), true) => {
            let session = ServerConnection::new(identity.server()).map_err(io::Error::other)?;
            (Box::new(StreamOwned::new(session, stream)), "https")
        }
        (None, false) => (Box::new(stream), "http"),
        (None, true) => {
            shared.knocks.fetch_add(1, Ordering::SeqCst);
            let mut plain = stream;
            return plain.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
        }
        (Some(_), false) => {
            // Go's server says these words, and clients look for the status.
            let mut plain = stream;
            return plain.write_all(
                b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
            );
        }
    };
    let number = shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
    if is_http2 {
        return converse_by_frames(shared, number, wire.as_mut(), scheme);
    }
    let mut wire = BufReader::new(wire);
    while let Some(mut request) = wire::read_request(&mut wire)? {
        // Where the token server is depends on how the client came here.
        request.headers.push(("x-kit-scheme".to_owned(), scheme.to_owned()));
        if answer(shared, &request, number, wire.get_mut().as_mut(), &kept)? == After::End {
            return wire.get_mut().flush();
        }
    }
    Ok(())
}

/// The same over HTTP/2.
fn converse_by_frames(
    shared: &Shared,
    number: usize,
    wire: &mut dyn Both,
    scheme: &str,
) -> io::Result<()> {
    let mut connection = Connection::new(wire)?;
    while let Some(mut request) = connection.read()? {
        request.headers.push(("x-kit-scheme".to_owned(), scheme.to_owned()));
        let (script, reply, _) = looked_up(shared, &request, number);
        if !connection.send(script, reply)? {
            break;
        }
    }
    Ok(())
}

/// Reads the greeting of a client and answers as a server of TLS 1.1 does (RFC 4346, 7.4.1.3):
/// a `ServerHello` with that version, a random that is all zero, no session, and the suite
/// `TLS_RSA_WITH_AES_128_CBC_SHA`.
fn greet_old(mut stream: &TcpStream) -> io::Result<()> {
    let mut head = [0; 5];
    stream.read_exact(&mut head)?;
    let length = u64::from(u16::from_be_bytes([head[3], head[4]]));
    io::copy(&mut stream.take(length), &mut io::sink())?;
    let hello = [&[2, 0, 0, 38, 3, 2][..], &[0; 32], &[0, 0, 0x2f, 0]].concat();
    stream.write_all(&[&[22, 3, 2, 0, 42][..], &hello].concat())?;
    io::copy(&mut stream, &mut io::sink()).map(drop)
}

/// Answers one request as script and store say.
fn answer(
    shared: &Shared,
    request: &Incoming,
    connection: usize,
    to: &mut dyn Both,
    raw: &TcpStream,
) -> io::Result<After> {
    let (script, reply, at) = looked_up(shared, request, connection);
    let mut counted = Counted { to, sent: 0 };
    let after = send(script, reply, &mut counted, raw);
    let sent = counted.sent;
    if let Some(entry) = shared.log().get_mut(at) {
        entry.sent = sent;
    }
    let after = after?;
    to.flush()?;
    let closing = request.header("connection").is_some_and(|word| word == "close");
    Ok(if closing { After::End } else { after })
}

/// Notes a request, waits at its gate, and finds the script, the correct answer, and the place in
/// the log.
fn looked_up(shared: &Shared, request: &Incoming, connection: usize) -> (Answer, Reply, usize) {
    let asked = Asked::read(request.path());
    let at = log(shared, request, connection);
    let (gate, script) = told(shared, request, &asked);
    if let Some(gate) = gate {
        gate.pass();
    }
    let (mut reply, script) = match script {
        Answer::Unheard(script) => (Reply::new(202, Vec::new()), *script),
        Answer::Only(count, script) => {
            let mut cut = request.clone();
            cut.body.truncate(usize::try_from(count).unwrap_or(usize::MAX));
            // An end that was cut is no end.
            cut.method = "PATCH".to_owned();
            cut.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-range"));
            (correct(shared, &cut, &asked), *script)
        }
        script => (correct(shared, request, &asked), script),
    };
    reply.head_only = request.method == "HEAD";
    let status = match &script {
        Answer::Status(status) | Answer::With(status, ..) | Answer::Redirect(status, _) => *status,
        Answer::Raw(_) | Answer::Play(_) | Answer::Close => 0,
        _ => reply.status,
    };
    if let Some(entry) = shared.log().get_mut(at) {
        entry.status = status;
    }
    (script, reply, at)
}

fn log(shared: &Shared, request: &Incoming, connection: usize) -> usize {
    let mut log = shared.log();
    let mut headers = request.headers.clone();
    headers.pop();
    log.push(Request {
        method: request.method.clone(),
        target: request.target.clone(),
        headers,
        body_len: request.body.len() as u64,
        body_digest: Digest::of(&request.body),
        connection,
        status: 0,
        sent: 0,
    });
    log.len() - 1
}

/// The gate and the next scripted answer for a request.
fn told(shared: &Shared, request: &Incoming, asked: &Asked) -> (Option<super::Gate>, Answer) {
    let mut inside = shared.inside();
    let places = inside.places.clone();
    let gates = inside.gates.iter().rev();
    let gate = gates
        .filter(|(route, _)| route.is(&request.method, asked, &places))
        .map(|(_, gate)| gate.clone())
        .next();
    let mut scripts = inside.scripts.iter_mut().rev();
    let script = scripts.find(|(route, _)| route.is(&request.method, asked, &places));
    let next = script.and_then(|(_, answers)| match answers.len() {
        0 | 1 => answers.front().cloned(),
        _ => answers.pop_front(),
    });
    (gate, next.unwrap_or(Answer::Whole))
}

fn correct(shared: &Shared, request: &Incoming, asked: &Asked) -> Reply {
    let mut inside = shared.inside();
    let inside = &mut *inside;
    if *asked == Asked::Token {
        return inside.auth.token(request, &mut inside.tokens);
    }
    match inside.auth.refuses(request, asked, &inside.tokens) {
        Some(refusal) => refusal,
        None => inside.store.answer(request, asked),
    }
}
