//! How an answer of the scripted registry goes out over HTTP/1: whole, changed, cut or slowly, as
//! its script says.
//!
//! Not here: over HTTP/2 ([`super::http2`]); which answer it is ([`super::connection`]).

use super::answer::{Answer, Blob, Piece, Reply};
use super::wire;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Bytes of a body that are read and sent at a time.
const PIECE: usize = 128 << 10;

/// Both directions of a connection.
pub(super) trait Both: Read + Write + Send {}
impl<T: Read + Write + Send> Both for T {}

/// Whether the connection can be used again.
#[derive(PartialEq, Eq)]
pub(super) enum After {
    Again,
    End,
}

/// Sends the correct reply as the script changes it.
pub(super) fn send(
    script: Answer,
    mut reply: Reply,
    to: &mut dyn Both,
    raw: &TcpStream,
) -> io::Result<After> {
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
