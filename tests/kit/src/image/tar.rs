//! Tar: the kit's own writer of layers, in the forms that builders of images use.
//!
//! ustar headers of 512 bytes; what does not fit goes into pax records (POSIX.1-2017, pax) or,
//! where asked for, GNU long-name entries. Sparse files in both GNU forms (GNU tar manual, D.2).
//! Not here: what a layer holds ([`super::layer`]); reading tar.

use super::layer::{Entry, Kind, Names, Sparse};

/// Bytes of a header and of the unit that contents are padded to.
pub(super) const BLOCK: usize = 512;

/// Longest name that a ustar header holds without a prefix, in bytes.
const SHORT: usize = 100;

/// Most bytes of a file that a ustar header can tell.
const MOST: u64 = 0o77_777_777_777;

/// Writes entries and the end of the archive.
pub(super) fn write(entries: &[Entry], names: Names) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        write_entry(&mut out, entry, names);
    }
    out.resize(out.len() + 2 * BLOCK, 0);
    out
}

/// One entry with all that belongs to it, names in the pax form.
pub(super) fn one(entry: &Entry) -> Vec<u8> {
    let mut out = Vec::new();
    write_entry(&mut out, entry, Names::Pax);
    out
}

/// What stands before the content of a regular file of `size` bytes, mode 0644.
pub(super) fn head_of_file(path: &str, size: u64) -> Vec<u8> {
    let head = Head {
        name: path.as_bytes(),
        mode: 0o644,
        uid: 0,
        gid: 0,
        size,
        mtime: 0,
        kind: b'0',
        link: b"",
        device: (0, 0),
    };
    let mut out = Vec::new();
    write_head(&mut out, head, Vec::new(), Names::Pax);
    out
}

/// One header's fields, before they are laid out.
struct Head<'a> {
    name: &'a [u8],
    mode: u32,
    uid: u64,
    gid: u64,
    size: u64,
    mtime: i64,
    kind: u8,
    link: &'a [u8],
    device: (u32, u32),
}

fn write_entry(out: &mut Vec<u8>, entry: &Entry, names: Names) {
    let mut records: Vec<(String, Vec<u8>)> = Vec::new();
    for (name, value) in &entry.xattrs {
        records.push((format!("SCHILY.xattr.{name}"), value.clone()));
    }
    let mut link: &[u8] = &[];
    let mut device = (0, 0);
    let mut content: Vec<u8> = Vec::new();
    let kind = match &entry.kind {
        Kind::File(bytes) => {
            content.clone_from(bytes);
            b'0'
        }
        Kind::Sparse(sparse) => return write_sparse(out, entry, sparse, names),
        Kind::Dir => b'5',
        Kind::Symlink(to) => {
            link = to;
            b'2'
        }
        Kind::Hardlink(to) => {
            link = to;
            b'1'
        }
        Kind::Char(major, minor) => {
            device = (*major, *minor);
            b'3'
        }
        Kind::Block(major, minor) => {
            device = (*major, *minor);
            b'4'
        }
        Kind::Fifo => b'6',
    };
    let head = Head {
        name: &entry.path,
        mode: entry.mode,
        uid: entry.owner.0,
        gid: entry.owner.1,
        size: content.len() as u64,
        mtime: entry.mtime,
        kind,
        link,
        device,
    };
    write_head(out, head, records, names);
    write_content(out, &content);
}

/// Writes a header after whatever must come before it.
fn write_head(
    out: &mut Vec<u8>,
    mut head: Head<'_>,
    mut records: Vec<(String, Vec<u8>)>,
    names: Names,
) {
    for (key, text, gnu) in [("path", &mut head.name, b'L'), ("linkpath", &mut head.link, b'K')] {
        if text.len() <= SHORT {
            continue;
        }
        match names {
            Names::Pax => records.push((key.to_owned(), text.to_vec())),
            Names::Gnu => {
                let mut content = text.to_vec();
                content.push(0);
                let size = content.len() as u64;
                let long = Head {
                    name: b"././@LongLink",
                    mode: 0,
                    uid: 0,
                    gid: 0,
                    size,
                    mtime: 0,
                    kind: gnu,
                    link: b"",
                    device: (0, 0),
                };
                out.extend_from_slice(&header(&long));
                write_content(out, &content);
            }
        }
        *text = &text[..SHORT];
    }
    for (key, value) in [("uid", head.uid), ("gid", head.gid)] {
        if value > 0o7_777_777 {
            records.push((key.to_owned(), value.to_string().into_bytes()));
        }
    }
    if head.size > MOST {
        records.push(("size".to_owned(), head.size.to_string().into_bytes()));
        head.size = MOST;
    }
    if head.mtime < 0 {
        records.push(("mtime".to_owned(), head.mtime.to_string().into_bytes()));
    }
    if !records.is_empty() {
        let content: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
        let size = content.len() as u64;
        let pax = Head { name: b"pax", kind: b'x', size, link: b"", device: (0, 0), ..head };
        out.extend_from_slice(&header(&pax));
        write_content(out, &content);
    }
    out.extend_from_slice(&header(&head));
}

/// A pax record, whose length counts itself.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let bare = key.len() + value.len() + 3;
    let mut length = bare + 1;
    while length != bare + length.to_string().len() {
        length = bare + length.to_string().len();
    }
    let mut bytes = format!("{length} {key}=").into_bytes();
    bytes.extend_from_slice(value);
    bytes.push(b'\n');
    bytes
}

/// Lays a header out. Offsets: name 0, mode 100, uid 108, gid 116, size 124, mtime 136,
/// checksum 148, type 156, link 157, magic 257, device 329 and 337.
fn header(head: &Head<'_>) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, head.name);
    put(100, format!("{:07o}\0", head.mode & 0o7777).as_bytes());
    put(108, format!("{:07o}\0", head.uid.min(0o7_777_777)).as_bytes());
    put(116, format!("{:07o}\0", head.gid.min(0o7_777_777)).as_bytes());
    put(124, format!("{:011o}\0", head.size).as_bytes());
    put(136, format!("{:011o}\0", head.mtime.max(0)).as_bytes());
    put(148, b"        ");
    put(156, &[head.kind]);
    put(157, head.link);
    put(257, b"ustar\x0000");
    put(329, format!("{:07o}\0", head.device.0).as_bytes());
    put(337, format!("{:07o}\0", head.device.1).as_bytes());
    seal(&mut block);
    block
}

fn seal(block: &mut [u8; BLOCK]) {
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn write_content(out: &mut Vec<u8>, content: &[u8]) {
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(BLOCK), 0);
}

fn write_sparse(out: &mut Vec<u8>, entry: &Entry, sparse: &Sparse, names: Names) {
    let stored: Vec<u8> = sparse.pieces.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    let mut head = Head {
        name: &entry.path,
        mode: entry.mode,
        uid: entry.owner.0,
        gid: entry.owner.1,
        size: stored.len() as u64,
        mtime: entry.mtime,
        kind: b'0',
        link: b"",
        device: (0, 0),
    };
    if names == Names::Gnu {
        // The old GNU form: type S, four extents at offset 386, the real size at 483.
        assert!(sparse.pieces.len() < 4, "the kit writes up to three pieces in the GNU form");
        head.kind = b'S';
        let mut block = header(&head);
        block[257..265].copy_from_slice(b"ustar  \0");
        let end = (sparse.size, Vec::new());
        for (number, (at, bytes)) in sparse.pieces.iter().chain([&end]).enumerate() {
            let text = format!("{at:011o}\0{:011o}\0", bytes.len());
            block[386 + 24 * number..410 + 24 * number].copy_from_slice(text.as_bytes());
        }
        block[483..495].copy_from_slice(format!("{:011o}\0", sparse.size).as_bytes());
        seal(&mut block);
        out.extend_from_slice(&block);
        write_content(out, &stored);
        return;
    }
    // Version 1.0: the map stands before the data, in decimal lines, padded to a block.
    let mut map = format!("{}\n", sparse.pieces.len());
    for (at, bytes) in &sparse.pieces {
        map.push_str(&format!("{at}\n{}\n", bytes.len()));
    }
    let mut content = map.into_bytes();
    content.resize(content.len().next_multiple_of(BLOCK), 0);
    content.extend_from_slice(&stored);
    head.size = content.len() as u64;
    let text = |value: &str| value.as_bytes().to_vec();
    let records = vec![
        ("GNU.sparse.major".to_owned(), text("1")),
        ("GNU.sparse.minor".to_owned(), text("0")),
        ("GNU.sparse.name".to_owned(), entry.path.clone()),
        ("GNU.sparse.realsize".to_owned(), text(&sparse.size.to_string())),
    ];
    let hidden =
        [b"GNUSparseFile.0/", entry.path.rsplit(|&byte| byte == b'/').next().unwrap_or(b"")]
            .concat();
    head.name = &hidden;
    write_head(out, head, records, names);
    write_content(out, &content);
}
