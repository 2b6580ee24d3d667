//! HTTP/2 as frames: requests read from a connection, answers sent as steps that a test may change.
//!
//! RFC 9113. One request is answered after the other, each whole. No window is kept: a client
//! whose windows are smaller than an image of the kit's is not served. Not here: what is answered
//! ([`super::serve`]), header fields ([`hpack`]).

mod hpack;

use super::answer::{Answer, Reply};
use super::wire::Incoming;
use hpack::Decoder;
use std::io::{self, Read, Write};

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of a frame's payload.
const FRAME: usize = 16_384;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// A step of an answer over HTTP/2.
#[derive(Clone, Debug)]
pub enum Step {
    /// The correct header fields.
    Head,
    /// So many more bytes of the correct body.
    Body(u64),
    /// What is left of the body, and the end of the stream.
    Rest,
    /// The stream is reset with this error code.
    Reset(u32),
    /// The connection ends with this error code; the streams so far are answered, or none are.
    GoAway(bool, u32),
    /// So many empty SETTINGS.
    Settings(u64),
    /// So many PING.
    Pings(u64),
    /// Header fields without end: one HEADERS and so many CONTINUATION, of 16 KiB each.
    Continuations(u64),
    /// The correct header fields and one of so many bytes.
    LongHead(usize),
    /// Nothing more is said on this stream.
    Silence,
    /// Nothing is said on this connection any more, whatever comes.
    Deafness,
    /// The connection is closed.
    Close,
}

/// One connection after its preface.
pub(super) struct Connection<'a, T: ?Sized> {
    wire: &'a mut T,
    decoder: Decoder,
    stream: u32,
}

impl<'a, T: Read + Write + ?Sized> Connection<'a, T> {
    /// Greets.
    pub(super) fn new(wire: &'a mut T) -> io::Result<Self> {
        let mut preface = [0; PREFACE.len()];
        wire.read_exact(&mut preface)?;
        if preface != *PREFACE {
            return Err(io::Error::other("not the preface of HTTP/2"));
        }
        let mut connection = Self { wire, decoder: Decoder::default(), stream: 0 };
        connection.frame(SETTINGS, 0, 0, &[])?;
        connection.wire.flush()?;
        Ok(connection)
    }

    /// Reads the next request whole; `None` at the end.
    pub(super) fn read(&mut self) -> io::Result<Option<Incoming>> {
        let mut request: Option<Incoming> = None;
        let mut block = Vec::new();
        loop {
            let mut head = [0; 9];
            match self.wire.read(&mut head[..1])? {
                0 => return Ok(None),
                _ => self.wire.read_exact(&mut head[1..])?,
            }
            let [a, b, c, kind, flags, stream @ ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            self.wire.read_exact(&mut payload)?;
            match kind {
                SETTINGS if flags & ACK == 0 => self.frame(SETTINGS, ACK, 0, &[])?,
                PING if flags & ACK == 0 => self.frame(PING, ACK, 0, &payload)?,
                GO_AWAY => return Ok(None),
                HEADERS | CONTINUATION => {
                    self.stream = u32::from_be_bytes(stream);
                    block.extend_from_slice(fields(kind, flags, &payload)?);
                    if flags & END_HEADERS != 0 {
                        request = Some(incoming(self.decoder.read(&block)?));
                    }
                }
                DATA => {
                    let request = request.as_mut().ok_or(io::ErrorKind::InvalidData)?;
                    request.body.extend_from_slice(&payload);
                }
                _ => {}
            }
            self.wire.flush()?;
            let ends = matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0;
            if ends && request.is_some() {
                return Ok(request);
            }
        }
    }

    /// Answers the request read last; says whether the connection goes on.
    pub(super) fn send(&mut self, script: Answer, reply: Reply) -> io::Result<bool> {
        let (reply, steps) = match script {
            Answer::Steps(steps) => (reply, steps),
            Answer::Status(status) => {
                let bare = Reply { head_only: reply.head_only, ..Reply::new(status, Vec::new()) };
                (bare, vec![Step::Head, Step::Rest])
            }
            Answer::CutAfter(count) => (reply, vec![Step::Head, Step::Body(count), Step::Close]),
            Answer::StallAfter(count) => {
                (reply, vec![Step::Head, Step::Body(count), Step::Silence])
            }
            Answer::Close => (reply, vec![Step::Close]),
            _ => (reply, vec![Step::Head, Step::Rest]),
        };
        let mut sent = 0;
        for step in steps {
            if !self.step(&step, &reply, &mut sent)? {
                return Ok(false);
            }
            self.wire.flush()?;
        }
        Ok(true)
    }

    fn step(&mut self, step: &Step, reply: &Reply, sent: &mut u64) -> io::Result<bool> {
        match step {
            Step::Head => self.head(reply, None)?,
            Step::LongHead(size) => self.head(reply, Some(&"x".repeat(*size)))?,
            Step::Body(count) => self.body(reply, sent, *count)?,
            Step::Rest => {
                self.body(reply, sent, u64::MAX)?;
                self.frame(DATA, END_STREAM, self.stream, &[])?;
            }
            Step::Reset(code) => self.frame(RESET, 0, self.stream, &code.to_be_bytes())?,
            Step::GoAway(covers, code) => {
                let last = if *covers { self.stream } else { 0 };
                let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
                self.frame(GO_AWAY, 0, 0, &payload)?;
            }
            Step::Settings(count) => {
                (0..*count).try_for_each(|_| self.frame(SETTINGS, 0, 0, &[]))?;
            }
            Step::Pings(count) => (0..*count).try_for_each(|_| self.frame(PING, 0, 0, &[7; 8]))?,
            Step::Continuations(count) => {
                let value = "y".repeat(FRAME - 100);
                let block = hpack::write([("x-more", value.as_str())]);
                self.frame(HEADERS, 0, self.stream, &hpack::write([(":status", "200")]))?;
                for _ in 0..*count {
                    self.frame(CONTINUATION, 0, self.stream, &block)?;
                }
            }
            Step::Silence => {}
            Step::Deafness => {
                self.wire.flush()?;
                while self.wire.read(&mut [0; 64])? > 0 {}
                return Ok(false);
            }
            Step::Close => return Ok(false),
        }
        Ok(true)
    }

    fn head(&mut self, reply: &Reply, long: Option<&str>) -> io::Result<()> {
        let status = reply.status.to_string();
        let length = reply.part.1.to_string();
        let mut fields = vec![(":status", status.as_str()), ("content-length", length.as_str())];
        fields.extend(reply.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        fields.extend(long.map(|value| ("x-long", value)));
        let block = hpack::write(fields);
        let mut kind = HEADERS;
        let mut pieces = block.chunks(FRAME).peekable();
        while let Some(piece) = pieces.next() {
            let flags = if pieces.peek().is_none() { END_HEADERS } else { 0 };
            self.frame(kind, flags, self.stream, piece)?;
            kind = CONTINUATION;
        }
        Ok(())
    }

    fn body(&mut self, reply: &Reply, sent: &mut u64, count: u64) -> io::Result<()> {
        if reply.head_only {
            return Ok(());
        }
        let (from, length) = reply.part;
        let count = count.min(length - *sent);
        let mut reader = reply.body.reader(from + *sent)?.take(count);
        *sent += count;
        let mut buffer = vec![0; FRAME];
        loop {
            match reader.read(&mut buffer)? {
                0 => return Ok(()),
                got => self.frame(DATA, 0, self.stream, &buffer[..got])?,
            }
        }
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
        let mut frame = length.to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.wire.write_all(&frame)
    }
}

/// The header block in a frame, without padding and priority.
fn fields(kind: u8, flags: u8, payload: &[u8]) -> io::Result<&[u8]> {
    let (mut from, mut to) = (0, payload.len());
    if kind == HEADERS && flags & 8 != 0 {
        to -= usize::from(*payload.first().ok_or(io::ErrorKind::InvalidData)?);
        from += 1;
    }
    if kind == HEADERS && flags & 0x20 != 0 {
        from += 5;
    }
    payload.get(from..to).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn incoming(mut headers: Vec<(String, String)>) -> Incoming {
    let of = |name: &str| {
        let found = headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let (method, target, host) = (of(":method"), of(":path"), of(":authority"));
    headers.retain(|(name, _)| !name.starts_with(':'));
    headers.push(("host".to_owned(), host));
    Incoming { method, target, headers, body: Vec::new() }
}
