//! Tar entry by entry and byte by byte, for layers that no program would write.
//!
//! Where [`super::Layer`] writes what builders of images write, this says what stands in each
//! header: wrong sizes, types that are none, records of any text. ustar headers and pax records:
//! POSIX.1-2017, pax. Not here: reading tar.

/// One header's fields; the default is a regular file of mode 0644, owner 0, time 0.
#[derive(Clone, Debug)]
pub struct Header<'a> {
    /// Name, of which 100 bytes are written.
    pub name: &'a [u8],
    /// Target of a link, of which 100 bytes are written.
    pub link: &'a [u8],
    /// Type, such as `b'0'`.
    pub kind: u8,
    /// Mode as it is written, bits of no meaning included.
    pub mode: u64,
    /// Number of the user.
    pub uid: u64,
    /// Number of the group.
    pub gid: u64,
    /// Seconds since 1970.
    pub time: u64,
    /// What the header says, where that is not the length of the data.
    pub size: Option<u64>,
    /// Major and minor number.
    pub device: (u64, u64),
    /// What follows the header.
    pub data: &'a [u8],
}

impl<'a> Header<'a> {
    /// A header of this type and name.
    pub fn new(kind: u8, name: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self {
            name: name.as_ref(),
            link: b"",
            kind,
            mode: if kind == b'5' { 0o755 } else { 0o644 },
            uid: 0,
            gid: 0,
            time: 0,
            size: None,
            device: (0, 0),
            data: b"",
        }
    }
}

/// A tar under construction.
#[derive(Clone, Debug, Default)]
pub struct Tar(Vec<u8>);

impl Tar {
    /// Without entries.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The stream with two blocks of zeros at its end.
    #[must_use]
    pub fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }

    /// The stream without an end.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        self.0
    }

    /// Adds bytes as they are.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Adds a header and its data.
    #[must_use]
    pub fn header(self, header: &Header<'_>) -> Self {
        let block = block(header);
        self.raw(&block).padded(header.data)
    }

    /// Data and what fills their last block.
    #[must_use]
    pub fn padded(mut self, data: &[u8]) -> Self {
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// Adds a regular file.
    #[must_use]
    pub fn file(self, name: &str, data: &[u8]) -> Self {
        self.header(&Header { data, ..Header::new(b'0', name) })
    }

    /// Adds a directory.
    #[must_use]
    pub fn dir(self, name: &str, mode: u64) -> Self {
        self.header(&Header { mode, ..Header::new(b'5', name) })
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.header(&Header { link: target.as_bytes(), mode: 0o777, ..Header::new(b'2', name) })
    }

    /// Adds a hard link.
    #[must_use]
    pub fn link(self, name: &str, target: &str) -> Self {
        self.header(&Header { link: target.as_bytes(), ..Header::new(b'1', name) })
    }

    /// A pax header for the entry that comes next.
    #[must_use]
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let data = pax_data(records);
        self.header(&Header { data: &data, ..Header::new(b'x', "pax") })
    }
}

/// Records as they stand in a pax header.
#[must_use]
pub fn pax_data(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut data = Vec::new();
    for (key, value) in records {
        let body = key.len() + value.len() + 3;
        let mut length = body + 1;
        while length != body + length.to_string().len() {
            length = body + length.to_string().len();
        }
        data.extend_from_slice(format!("{length} {key}=").as_bytes());
        data.extend_from_slice(value);
        data.push(b'\n');
    }
    data
}

/// A ustar header block with its checksum.
#[must_use]
pub fn block(header: &Header<'_>) -> [u8; 512] {
    let mut block = [0_u8; 512];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &header.name[..header.name.len().min(100)]);
    put(100, octal(header.mode, 8).as_slice());
    put(108, octal(header.uid, 8).as_slice());
    put(116, octal(header.gid, 8).as_slice());
    put(124, octal(header.size.unwrap_or(header.data.len() as u64), 12).as_slice());
    put(136, octal(header.time, 12).as_slice());
    put(156, &[header.kind]);
    put(157, &header.link[..header.link.len().min(100)]);
    put(257, b"ustar\x0000");
    put(329, octal(header.device.0, 8).as_slice());
    put(337, octal(header.device.1, 8).as_slice());
    sum(&mut block);
    block
}

/// Octal where it fits, else base 256.
fn octal(number: u64, width: usize) -> Vec<u8> {
    let digits = width - 1;
    let text = format!("{number:0>digits$o}");
    if text.len() < width {
        return [text.as_bytes(), b"\0"].concat();
    }
    let mut bytes = vec![0; width - 8];
    bytes.extend_from_slice(&number.to_be_bytes());
    bytes[0] |= 0x80;
    bytes
}

/// Writes the checksum into a header.
pub fn sum(block: &mut [u8; 512]) {
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}
