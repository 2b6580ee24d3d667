//! Layers at random: small trees that layers add to, replace and remove, the same for a seed.
//!
//! Names are few and short, so that entries meet: files and links take each other's place, paths go
//! through symbolic links, whiteouts find something. A step that the model refuses is mostly left
//! out, else every image would be refused. Not here: what comes of them ([`super::model`]).

use super::model::Model;
use super::raw::{Header, Tar};

/// One entry of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A regular file: path, one byte of content, permission bits, owner, time.
    File(String, u8, u64, u64, u64),
    /// A directory: path, permission bits, owner, time.
    Directory(String, u64, u64, u64),
    /// A symbolic link: path and target.
    Symlink(String, String),
    /// A hard link: path and target.
    Link(String, String),
    /// A named pipe.
    Fifo(String),
    /// A path that goes.
    Whiteout(String),
    /// A directory of which all lower content goes.
    Opaque(String),
}

/// Which layers are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// All that there may be, in any order, and some that no image may have.
    Any,
    /// What all unpackers agree on: what is removed comes first in a layer and is there, hard links
    /// lead to what is left, names are plain.
    Agreed,
}

/// xorshift64*: small, and the same everywhere.
#[derive(Clone, Debug)]
struct Chance(u64);

impl Chance {
    fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(number).unwrap_or(0) % count.max(1)
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    fn path(&mut self) -> String {
        let depth = 1 + self.below(3);
        let names: Vec<_> = (0..depth).map(|_| self.of(&["a", "b", "c", "d"])).collect();
        names.join("/")
    }

    fn step(&mut self, manner: Manner) -> Step {
        let mut path = self.path();
        if manner == Manner::Any && self.below(8) == 0 {
            path = format!("{}{path}", self.of(&["./", "/", "../", "a/../", "b//"]));
        }
        let time = 1000 + self.below(1000) as u64;
        let owner = self.below(3) as u64;
        match self.below(20) {
            0..=5 => {
                let content = b'a' + u8::try_from(self.below(26)).unwrap_or(0);
                let mode = [0o644, 0o600, 0o755][self.below(3)];
                Step::File(path, content, mode, owner, time)
            }
            6..=9 => Step::Directory(path, [0o755, 0o700, 0o1777][self.below(3)], owner, time),
            10..=12 => {
                let targets = ["a", "b/c", "../b", "/a", "/c/d", "nope", ".", "..", "d", "../../a"];
                Step::Symlink(path, self.of(&targets).to_owned())
            }
            13..=15 => Step::Link(path, self.path()),
            16 => Step::Fifo(path),
            17 | 18 => Step::Whiteout(path),
            _ => Step::Opaque(path),
        }
    }
}

impl Step {
    const fn removes(&self) -> bool {
        matches!(self, Self::Whiteout(_) | Self::Opaque(_))
    }
}

/// The layers of an image, the base first.
#[must_use]
pub fn layers(seed: u64, manner: Manner) -> Vec<Vec<Step>> {
    let mut chance = Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut model = Model::default();
    let mut layers = Vec::new();
    for _ in 0..=1 + chance.below(3) {
        let mut layer = Vec::new();
        model.begin();
        for number in 0..4 + chance.below(12) {
            let step = chance.step(manner);
            let mut tried = model.clone();
            let accepted = tried.apply(&step).is_ok();
            let agreed = manner == Manner::Any && chance.below(40) == 0
                || accepted
                    && (manner == Manner::Any
                        || step.removes() == (number < 3) && model.is_agreed(&step));
            if agreed {
                model = tried;
                layer.push(step);
            }
        }
        layers.push(layer);
    }
    layers
}

/// The tar of a layer.
#[must_use]
pub fn tar(layer: &[Step]) -> Vec<u8> {
    let hidden = |path: &str| match path.rsplit_once('/') {
        Some((parent, name)) => format!("{parent}/.wh.{name}"),
        None => format!(".wh.{path}"),
    };
    let add = |tar: Tar, step: &Step| match step {
        Step::File(path, content, mode, uid, time) => tar.header(&Header {
            data: &[*content],
            mode: *mode,
            uid: *uid,
            time: *time,
            ..Header::new(b'0', path)
        }),
        Step::Directory(path, mode, uid, time) => {
            tar.header(&Header { mode: *mode, uid: *uid, time: *time, ..Header::new(b'5', path) })
        }
        Step::Symlink(path, target) => tar.symlink(path, target),
        Step::Link(path, target) => tar.link(path, target),
        Step::Fifo(path) => tar.header(&Header::new(b'6', path)),
        Step::Whiteout(path) => tar.file(&hidden(path), b""),
        Step::Opaque(path) => tar.file(&format!("{path}/.wh..wh..opq"), b""),
    };
    layer.iter().fold(Tar::new(), add).end()
}
