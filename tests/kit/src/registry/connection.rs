//! One connection of the scripted registry: reads requests, looks answers up, sends them.
//!
//! A thread for each; order of work: log, gate, script, access, answer. Not here: the correct
//! answers ([`super::serve`]).

use super::answer::{Answer, Blob, Piece, Reply};
use super::http2::Connection;
use super::route::Asked;
use super::wire::{self, Incoming};
use super::{Request, Shared};
use crate::digest::Digest;
use crate::tls::Identity;
use rustls::{ServerConnection, StreamOwned};
use std::io::{self, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Bytes of a body that are read and sent at a time.
const PIECE: usize = 128 << 10;

trait Both: Read + Write + Send {}
impl<T: Read + Write + Send> Both for T {}

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

/// Whether the connection can be used again.
#[derive(PartialEq, Eq)]
enum After {
    Again,
    End,
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

/// Sends the correct reply as the script changes it.
fn send(script: Answer, mut reply: Reply, to: &mut dyn Both, raw: &TcpStream) -> io::Result<After> {
    match script {
        Answer::CutAfter(count) => part(&reply, count, to)?,
        Answer::ResetAfter(count) => {
            part(&reply, count, to)?;
            to.flush()?;
            rustix::net::sockopt::set_socket_linger(raw, Some(Duration::ZERO))?;
        }
        Answer::StallAfter(count) => {
            part(&reply, count, to)?;
            to.flush()?;
            // Nothing more is said; ends when the client or the registry hangs up.
            let _silence = to.read(&mut [0; 1]);
        }
        Answer::Drip(count, every) => {
            part(&reply, count, to)?;
            let (from, length) = reply.part;
            let mut rest = reply.body.reader(from + count)?.take(length.saturating_sub(count));
            let mut byte = [0];
            while pause(to, raw, every)? && rest.read(&mut byte)? == 1 {
                to.write_all(&byte)?;
            }
        }
        // Taken apart where the correct answer was looked up.
        Answer::Unheard(answer) | Answer::Only(_, answer) => return send(*answer, reply, to, raw),
        Answer::Also(headers, answer) => {
            let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value));
            return match *answer {
                Answer::Status(status) => {
                    let mut reply = bare(&reply, status);
                    reply.headers.extend(headers);
                    whole(&reply, to)
                }
                answer => {
                    reply.headers.extend(headers);
                    send(answer, reply, to, raw)
                }
            };
        }
        Answer::Play(pieces) => {
            for piece in pieces {
                play(piece, to, raw)?;
            }
        }
        Answer::Raw(bytes) => to.write_all(&bytes)?,
        // Frames are for connections that speak HTTP/2.
        Answer::Steps(_) | Answer::Close => {}
        script => return whole(&changed(script, reply)?, to),
    }
    Ok(After::End)
}

/// The reply as a script changes it that lets the connection be.
fn changed(script: Answer, mut reply: Reply) -> io::Result<Reply> {
    match script {
        Answer::Status(status) => return Ok(bare(&reply, status)),
        Answer::With(status, headers, body) => {
            let mut other = Reply { head_only: reply.head_only, ..Reply::new(status, body) };
            other.headers.extend(headers.into_iter().map(|(name, value)| (name.to_owned(), value)));
            return Ok(other);
        }
        Answer::Redirect(status, location) => {
            return Ok(bare(&reply, status).header("Location", location));
        }
        Answer::FlipBit(at) => {
            let mut bytes = reply.body.to_vec()?;
            if let Some(byte) = usize::try_from(at).ok().and_then(|at| bytes.get_mut(at)) {
                *byte ^= 1;
            }
            reply.body = bytes.into();
        }
        Answer::Shorter(count) => {
            reply.part.1 = reply.part.1.saturating_sub(count);
        }
        Answer::Longer(count) => {
            let mut bytes = reply.body.to_vec()?;
            bytes.resize(bytes.len() + usize::try_from(count).map_err(io::Error::other)?, b'+');
            reply.body = bytes.into();
            reply.part.1 += count;
        }
        Answer::Body(bytes) => {
            reply.part = (0, bytes.len() as u64);
            reply.body = bytes.into();
        }
        Answer::Edit(fields) => {
            for (name, value) in fields {
                reply.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
                reply.headers.extend(value.map(|value| (name.to_owned(), value)));
            }
        }
        Answer::IgnoreRange => {
            reply.part = (0, reply.body.len());
            reply.status = 200;
            reply.headers.retain(|(name, _)| name != "Content-Range");
        }
        Answer::Range(range) => {
            reply.status = 206;
            reply.headers.retain(|(name, _)| name != "Content-Range");
            if !range.is_empty() {
                reply.headers.push(("Content-Range".to_owned(), range));
            }
        }
        Answer::Less(count) => {
            let (from, length) = (reply.part.0, reply.part.1.min(count));
            reply.part = (from, length);
            let size = reply.body.len();
            for (_, value) in reply.headers.iter_mut().filter(|(name, _)| name == "Content-Range") {
                *value = format!("bytes {from}-{}/{size}", (from + length).saturating_sub(1));
            }
        }
        _ => {}
    }
    Ok(reply)
}

fn play(piece: Piece, to: &mut dyn Both, raw: &TcpStream) -> io::Result<()> {
    match piece {
        Piece::Bytes(bytes) => to.write_all(&bytes),
        Piece::Times(count, bytes) => (0..count).try_for_each(|_| to.write_all(&bytes)),
        Piece::Slowly(bytes, every) => {
            for byte in bytes {
                to.write_all(&[byte])?;
                if !pause(to, raw, every)? {
                    break;
                }
            }
            Ok(())
        }
    }
}

/// Lets so much time pass; says whether the client is still there then.
fn pause(to: &mut dyn Both, raw: &TcpStream, time: Duration) -> io::Result<bool> {
    to.flush()?;
    raw.set_read_timeout(Some(time))?;
    let there = match raw.peek(&mut [0]) {
        Ok(count) => count > 0,
        Err(error) => matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
    };
    raw.set_read_timeout(None)?;
    Ok(there)
}

fn bare(reply: &Reply, status: u16) -> Reply {
    Reply { head_only: reply.head_only, ..Reply::new(status, Vec::new()) }
}

fn head(reply: &Reply, to: &mut dyn Both) -> io::Result<()> {
    let mut headers = reply.headers.clone();
    headers.push(("Docker-Distribution-Api-Version".to_owned(), "registry/2.0".to_owned()));
    if reply.status != 204 {
        headers.push(("Content-Length".to_owned(), reply.part.1.to_string()));
    }
    wire::write_head(to, reply.status, &headers)
}

fn whole(reply: &Reply, to: &mut dyn Both) -> io::Result<After> {
    part(reply, reply.part.1, to)?;
    Ok(After::Again)
}

/// The head, and at most so many bytes of the body.
fn part(reply: &Reply, count: u64, to: &mut dyn Both) -> io::Result<()> {
    head(reply, to)?;
    if reply.head_only || reply.status == 204 {
        return Ok(());
    }
    let (from, length) = reply.part;
    copy(&reply.body, from, length.min(count), to)
}

fn copy(body: &Blob, from: u64, count: u64, to: &mut dyn Both) -> io::Result<()> {
    let mut reader = body.reader(from)?.take(count);
    // Large pieces: the registry runs on the processors that are measured.
    let size = usize::try_from(count).unwrap_or(PIECE).clamp(1, PIECE);
    let mut piece = vec![0; size];
    loop {
        match reader.read(&mut piece)? {
            0 => return Ok(()),
            read => to.write_all(&piece[..read])?,
        }
    }
}
