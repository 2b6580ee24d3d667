//! Images that many tests use, and the program in them.

use super::{Compression, Entry, Image, Layer, Made};

/// The static program that the kit's images hold (`program/probe.rs`); without bytes where the
/// C library's static half was not there when the kit was built.
#[must_use]
pub fn probe() -> &'static [u8] {
    include_bytes!(concat!(env!("OUT_DIR"), "/probe"))
}

/// Directories and files that every root file system has.
pub(super) fn root() -> Vec<Entry> {
    let dirs = ["bin", "dev", "etc", "proc", "sys", "tmp", "usr", "usr/bin", "var", "home", "root"];
    let files = [
        Entry::file("etc/passwd", "root:x:0:0:root:/root:/bin/probe\n"),
        Entry::file("etc/group", "root:x:0:\n"),
        Entry::file("etc/motd", "It is made of one program and no shell.\n"),
        Entry::program("bin/probe", probe()),
    ];
    dirs.map(Entry::dir).into_iter().chain(files).collect()
}

fn base() -> Layer {
    Layer::new().entries(root())
}

impl Image {
    /// One small layer with the probe as `/bin/probe` and entrypoint, and no shell.
    #[must_use]
    pub fn tiny() -> Self {
        Self::new()
            .layer(base())
            .entrypoint(&["/bin/probe"])
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("KIT", "tiny")
            .label("org.example.kit", "tiny")
    }

    /// [`Image::tiny`] under a second layer that adds, replaces and removes: of about two
    /// megabytes that do not compress in each layer.
    #[must_use]
    pub fn two_layers() -> Self {
        let below = base().entries([
            Entry::dir("data"),
            Entry::file("data/below", super::noise(2 << 20, 1)),
            Entry::file("data/gone", "below\n"),
            Entry::file("data/replaced", "below\n"),
            Entry::dir("opaque"),
            Entry::file("opaque/hidden", "below\n"),
        ]);
        let above = Layer::new().entries([
            Entry::file("data/above", super::noise(2 << 20, 2)),
            Entry::whiteout("data/gone"),
            Entry::file("data/replaced", "above\n").mode(0o600),
            Entry::opaque("opaque"),
            Entry::file("opaque/shown", "above\n"),
        ]);
        Self { layers: vec![below, above], ..Self::tiny() }
    }

    /// Three layers of `mebibytes` each: half of it in files that compress and are many, half in
    /// one that does not.
    #[must_use]
    pub fn large(mebibytes: usize) -> Self {
        let layer = |number: usize| {
            let seed = number as u64 + 10;
            let mut layer = if number == 0 { base() } else { Layer::new() };
            layer = layer.entry(Entry::dir(format!("layer{number}")));
            for file in 0..mebibytes * 8 {
                let text: String =
                    (0..2048).map(|line| format!("{number} {file} {line:020}\n")).collect();
                layer = layer.entry(Entry::file(format!("layer{number}/file{file}"), text));
            }
            let noise = super::noise(mebibytes << 19, seed);
            layer.entry(Entry::file(format!("layer{number}/noise"), noise))
        };
        Self { layers: (0..3).map(layer).collect(), ..Self::tiny() }
    }

    /// [`Image::tiny`] under a layer that is one file of `size` bytes that do not compress,
    /// `noise`, in gzip.
    #[must_use]
    pub fn noise(size: u64) -> Self {
        let tar = Made::new().noise("noise", size, 1).end();
        Self::tiny().layer(Layer::made_as(&tar, &tar.gzip(), Compression::Gzip))
    }

    /// [`Image::tiny`] under a layer of `count` files of ten bytes, which are their numbers, a
    /// thousand in a directory: `files/00000/000000012`.
    #[must_use]
    pub fn files(count: u64) -> Self {
        let tar = Made::new()
            .entry(&Entry::dir("files"))
            .entries(count.div_ceil(1000), |number| Entry::dir(format!("files/{number:05}")))
            .entries(count, |number| {
                let path = format!("files/{:05}/{number:09}", number / 1000);
                Entry::file(path, format!("{number:09}\n"))
            });
        Self::tiny().layer(Layer::made(&tar.end()))
    }

    /// [`Image::tiny`] under a layer of one directory, `names`, of `count` empty files:
    /// `names/000000012`.
    #[must_use]
    pub fn names(count: u64) -> Self {
        let tar = Made::new()
            .entry(&Entry::dir("names"))
            .entries(count, |number| Entry::file(format!("names/{number:09}"), ""));
        Self::tiny().layer(Layer::made(&tar.end()))
    }

    /// [`Image::tiny`] under `count` layers that each replace the file `same` of about `size` bytes,
    /// which compress well, and add a small one, `own/012`.
    #[must_use]
    pub fn layers(count: u64, size: u64) -> Self {
        (0..count).fold(Self::tiny(), |image, number| {
            let text = format!("layer {number:03}\n").repeat(400);
            let tar = Made::new()
                .entry(&Entry::file(format!("own/{number:03}"), format!("{number:03}\n")))
                .repeated("same", text.as_bytes(), size / text.len() as u64);
            image.layer(Layer::made(&tar.end()))
        })
    }

    /// Every kind of entry that layers can hold, in two layers.
    #[must_use]
    pub fn odd() -> Self {
        let long = format!("odd/{}/{}", "d".repeat(120), "f".repeat(120));
        let below = base().entries([
            Entry::dir("odd").mtime(1_000_000_000),
            Entry::dir(format!("odd/{}", "d".repeat(120))),
            Entry::file(long.clone(), "a long name\n"),
            Entry::hardlink("odd/linked", long),
            Entry::symlink("odd/absolute", "/etc/motd"),
            Entry::symlink("odd/relative", "../etc/motd"),
            Entry::symlink("odd/dangling", "nowhere"),
            Entry::file("odd/empty", ""),
            Entry::program("odd/setuid", "#!/bin/probe\n").mode(0o4755),
            Entry::dir("odd/sticky").mode(0o1777),
            Entry::file("odd/owned", "theirs\n").owner(1234, 4321),
            Entry::file("odd/xattr", "noted\n").xattr("user.note", "kept"),
            Entry::fifo("odd/fifo"),
            Entry::sparse("odd/sparse", 3 << 20, &[(0, b"begin"), (2 << 20, b"end")]),
            Entry::file("odd/caf\u{e9} \u{2713}", "a name that is not ASCII\n"),
            Entry::file(&b"odd/\xff\xfe"[..], "a name that is not text\n"),
        ]);
        let above = Layer::new().entries([
            Entry::hardlink("odd/again", "odd/owned"),
            Entry::file("odd/owned", "replaced\n").owner(1, 1),
            Entry::whiteout("odd/dangling"),
            Entry::dir("odd/sticky").mode(0o755),
            Entry::file("odd/sticky/in", "kept directory\n"),
        ]);
        Self { layers: vec![below, above], ..Self::tiny() }
    }
}
