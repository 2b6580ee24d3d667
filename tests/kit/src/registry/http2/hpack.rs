//! HPACK: the header compression of HTTP/2, as far as requests of a registry's client go.
//!
//! RFC 7541. Reading: all forms of fields, the dynamic table, Huffman codes of printable ASCII.
//! Writing: literals that go into no table. Not here: frames ([`super`]).

use std::io;

/// Names of the static table that requests use, from its entry 1 on; values where it has some.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// Symbols of the Huffman code by the length of their codes in bits, from 5 on; the code is
/// canonical, so that the lengths say it all. Symbols of longer codes are no printable ASCII but
/// the backslash.
const SYMBOLS: [&[u8]; 11] = [
    b"012aceiost",
    b" %-./3456789=A_bdfghlmnpru",
    b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",
    b"&*,;XZ",
    b"",
    b"!\"()?",
    b"'+|",
    b"#>",
    b"\0$@[]~",
    b"^}",
    b"<`{",
];

/// Bytes of the dynamic table unless told otherwise.
const TABLE: usize = 4096;

/// One direction's reader, with its table.
#[derive(Debug)]
pub(super) struct Decoder {
    table: Vec<(String, String)>,
    most: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { table: Vec::new(), most: TABLE }
    }
}

impl Decoder {
    /// Reads a whole block of fields.
    pub(super) fn read(&mut self, mut block: &[u8]) -> io::Result<Vec<(String, String)>> {
        let mut fields = Vec::new();
        while let Some(&first) = block.first() {
            if first & 0x80 != 0 {
                let index = number(&mut block, 7)?;
                fields.push(self.entry(index)?);
            } else if first & 0xe0 == 0x20 {
                self.most = number(&mut block, 5)?.min(TABLE);
                self.shrink();
            } else {
                let is_kept = first & 0x40 != 0;
                let index = number(&mut block, if is_kept { 6 } else { 4 })?;
                let name = if index == 0 { string(&mut block)? } else { self.entry(index)?.0 };
                let field = (name, string(&mut block)?);
                if is_kept {
                    self.table.insert(0, field.clone());
                    self.shrink();
                }
                fields.push(field);
            }
        }
        Ok(fields)
    }

    fn entry(&self, index: usize) -> io::Result<(String, String)> {
        let index = index.checked_sub(1).ok_or(io::ErrorKind::InvalidData)?;
        let fixed = STATIC.get(index).map(|(name, value)| ((*name).into(), (*value).into()));
        let found = fixed.or_else(|| self.table.get(index - STATIC.len()).cloned());
        found.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn shrink(&mut self) {
        let size = |table: &[(String, String)]| {
            table.iter().map(|(name, value)| name.len() + value.len() + 32).sum::<usize>()
        };
        while size(&self.table) > self.most {
            self.table.pop();
        }
    }
}

/// An integer whose first byte has `bits` bits of it (section 5.1).
fn number(block: &mut &[u8], bits: u32) -> io::Result<usize> {
    let most = (1_usize << bits) - 1;
    let mut value = usize::from(byte(block)?) & most;
    if value < most {
        return Ok(value);
    }
    for shift in (0..28).step_by(7) {
        let next = byte(block)?;
        value += usize::from(next & 0x7f) << shift;
        if next & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

fn byte(block: &mut &[u8]) -> io::Result<u8> {
    let (first, rest) = block.split_first().ok_or(io::ErrorKind::UnexpectedEof)?;
    *block = rest;
    Ok(*first)
}

fn string(block: &mut &[u8]) -> io::Result<String> {
    let is_packed = block.first().is_some_and(|first| first & 0x80 != 0);
    let length = number(block, 7)?;
    let (bytes, rest) = block.split_at_checked(length).ok_or(io::ErrorKind::UnexpectedEof)?;
    *block = rest;
    let bytes = if is_packed { unpack(bytes)? } else { bytes.to_vec() };
    String::from_utf8(bytes).map_err(io::Error::other)
}

/// Undoes the Huffman code; what is left at the end is padding of ones.
fn unpack(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let mut bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| (byte >> at) & 1));
    'symbols: loop {
        let (mut code, mut first) = (0_usize, 0_usize);
        for length in 1..=15_usize {
            let Some(bit) = bits.next() else { return Ok(text) };
            code = (code << 1) | usize::from(bit);
            first <<= 1;
            let symbols = length.checked_sub(5).map_or(&b""[..], |at| SYMBOLS[at]);
            if let Some(symbol) = code.checked_sub(first).and_then(|at| symbols.get(at)) {
                text.push(*symbol);
                continue 'symbols;
            }
            first += symbols.len();
        }
        return Err(io::Error::other("a symbol that requests do not have"));
    }
}

/// Writes fields as literals without indexing, names in lower case as the protocol wants them.
pub(super) fn write<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name.to_ascii_lowercase().as_bytes(), value.as_bytes()] {
            length(&mut block, text.len());
            block.extend_from_slice(text);
        }
    }
    block
}

fn length(block: &mut Vec<u8>, value: usize) {
    let Some(mut rest) = value.checked_sub(127) else {
        return block.push(u8::try_from(value).expect("it is less than 127"));
    };
    block.push(127);
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).expect("it is less than 128") | 0x80);
        rest /= 128;
    }
    block.push(u8::try_from(rest).expect("it is less than 128"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }

    /// The requests of RFC 7541, appendix C.4.
    #[test]
    fn the_examples_of_the_standard_are_read() {
        let mut decoder = Decoder::default();
        let rows = [
            ("828684418cf1e3c2e5f23a6ba0ab90f4ff", ":authority", "www.example.com"),
            ("828684be5886a8eb10649cbf", "cache-control", "no-cache"),
            ("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf", "custom-key", "custom-value"),
        ];
        for (block, name, value) in rows {
            let fields = decoder.read(&hex(block)).unwrap();
            assert_eq!(fields.last().unwrap(), &(name.to_owned(), value.to_owned()));
            assert!(fields.contains(&(":authority".to_owned(), "www.example.com".to_owned())));
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let long = "v".repeat(70_000);
        let block = write([("Name", long.as_str()), ("other", "")]);
        let fields = Decoder::default().read(&block).unwrap();
        assert_eq!(fields, [("name".to_owned(), long), ("other".to_owned(), String::new())]);
    }
}
