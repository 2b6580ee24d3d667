//! HTTP/1.1 as bytes: requests read from a connection, answers written to it.
//!
//! Raw on purpose: most faults a test wants are answers that a correct library will not send.
//! RFC 9112; bodies by `Content-Length` or chunked. Not here: what is answered
//! ([`super::serve`]), scripted faults ([`super::answer`]).

use std::io::{self, BufRead, Read as _, Write};

/// One request, read whole.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Incoming {
    /// The first header of this name, whatever its case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The path without its query.
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// All values of a query key, percent-decoded.
    pub(crate) fn query(&self, key: &str) -> Vec<String> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(name, _)| *name == key).map(|(_, value)| decode(value)).collect()
    }
}

/// Undoes percent and plus encoding.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) => {
                let pair = [*high, *low];
                let code = std::str::from_utf8(&pair).ok();
                if let Some(byte) = code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
                    bytes.push(byte);
                    rest = after;
                } else {
                    bytes.push(b'%');
                }
            }
            (other, _) => bytes.push(*other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads the next request; `None` at the end of the connection.
///
/// # Errors
/// Text that is no request, a body that ends early, what reading says.
pub(crate) fn read_request(from: &mut (impl BufRead + ?Sized)) -> io::Result<Option<Incoming>> {
    let Some(first) = read_line(from)? else { return Ok(None) };
    let mut words = first.split(' ');
    let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next())
    else {
        return Err(io::Error::other(format!("not a request line: {first:?}")));
    };
    if !version.starts_with("HTTP/1.") {
        return Err(io::Error::other(format!("not HTTP/1: {version:?}")));
    }
    let mut headers = Vec::new();
    loop {
        let line = read_line(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let body = read_body(from, &headers)?;
    Ok(Some(Incoming { method: method.to_owned(), target: target.to_owned(), headers, body }))
}

/// One line without its CR LF.
fn read_line(from: &mut (impl BufRead + ?Sized)) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    from.take(65_536).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    let text = String::from_utf8(line).map_err(io::Error::other)?;
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}

fn read_body(
    from: &mut (impl BufRead + ?Sized),
    headers: &[(String, String)],
) -> io::Result<Vec<u8>> {
    let of = |name: &str| {
        let found = headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    };
    let mut body = Vec::new();
    if of("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        loop {
            let line = read_line(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
            if size == 0 {
                while read_line(from)?.is_some_and(|line| !line.is_empty()) {}
                return Ok(body);
            }
            take(from, size, &mut body)?;
            read_line(from)?;
        }
    }
    if let Some(length) = of("content-length") {
        take(from, length.parse().map_err(io::Error::other)?, &mut body)?;
    }
    Ok(body)
}

fn take(from: &mut (impl BufRead + ?Sized), size: u64, into: &mut Vec<u8>) -> io::Result<()> {
    let got = from.take(size).read_to_end(into)?;
    if got as u64 == size { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Writes status line and headers.
pub(crate) fn write_head(
    to: &mut (impl Write + ?Sized),
    status: u16,
    headers: &[(String, String)],
) -> io::Result<()> {
    let mut head = format!("HTTP/1.1 {status} {}\r\n", reason(status));
    for (name, value) in headers {
        head.push_str(name);
        head.push_str(": ");
        head.push_str(value);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    to.write_all(head.as_bytes())
}

/// The usual words for a status; clients must not care.
const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Answer",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunked_body_is_joined() {
        let text = b"PUT /a?digest=sha256%3Aab&x=1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
            3\r\nabc\r\n2;ext\r\nde\r\n0\r\n\r\n";
        let request = read_request(&mut &text[..]).unwrap().unwrap();
        assert_eq!(request.body, b"abcde");
        assert_eq!(request.path(), "/a");
        assert_eq!(request.query("digest"), ["sha256:ab"]);
    }

    #[test]
    fn a_body_that_ends_early_is_an_error() {
        let text = b"PUT /a HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc";
        assert!(read_request(&mut &text[..]).is_err());
    }
}
