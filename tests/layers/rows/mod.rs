//! The table of odd layers: each row a few entries over one base, and what comes of them.
//!
//! Where umoci makes a tree of a row, Orlop makes the same, but for names that the row excepts with
//! the reason beside it. Rows and their ids: the reliability document, sections 4.1 to 4.7. Not
//! here: how trees are made ([`crate::beside`]).

mod attributes;
mod links;
mod names;
mod numbers;
mod streams;
mod types;
mod whiteouts;

use crate::beside::Bench;
use crate::tree::Tree;
use orlop_kit::image::raw::Tar;
use orlop_kit::{Digest, Layer};

/// One row, or one variant of it.
struct Row {
    id: &'static str,
    upper: Vec<u8>,
    /// What is at these paths; nothing where the words are empty.
    has: Vec<(String, String)>,
    /// Names of one inode.
    same: Vec<[&'static str; 2]>,
    /// Names that are not compared with umoci's tree, and all below them.
    except: Vec<&'static str>,
    umoci: bool,
    /// What the refusal says, of layers that are refused.
    refused: Option<&'static str>,
    /// What a warning says.
    warns: Option<&'static str>,
    check: fn(&Tree),
}

impl Row {
    /// A row whose upper layer has these entries.
    fn new(id: &'static str, upper: Tar) -> Self {
        Self::stream(id, upper.end())
    }

    /// A row whose upper layer is these bytes.
    fn stream(id: &'static str, upper: Vec<u8>) -> Self {
        Self {
            id,
            upper,
            has: Vec::new(),
            same: Vec::new(),
            except: Vec::new(),
            umoci: true,
            refused: None,
            warns: None,
            check: |_| {},
        }
    }

    fn has(mut self, path: &str, words: &str) -> Self {
        self.has.push((path.to_owned(), words.to_owned()));
        self
    }

    fn has_not(self, path: &str) -> Self {
        self.has(path, "")
    }

    fn same(mut self, one: &'static str, other: &'static str) -> Self {
        self.same.push([one, other]);
        self
    }

    /// Not compared with umoci at these names.
    fn except(mut self, paths: &[&'static str]) -> Self {
        self.except.extend(paths);
        self
    }

    /// Not compared with umoci, which refuses the layer or loses something.
    fn ours(mut self) -> Self {
        self.umoci = false;
        self
    }

    fn refused(mut self, words: &'static str) -> Self {
        self.refused = Some(words);
        self.ours()
    }

    fn warns(mut self, words: &'static str) -> Self {
        self.warns = Some(words);
        self
    }

    fn check(mut self, check: fn(&Tree)) -> Self {
        self.check = check;
        self
    }

    /// What is wrong with what comes of it.
    fn faults(&self, bench: &mut Bench) -> Vec<String> {
        let seen = bench.see([Layer::raw(base()), Layer::raw(self.upper.clone())], self.umoci);
        let said = &seen.outcome;
        let warned = said.stderr.lines().any(|line| {
            line.starts_with("WARNING:") && self.warns.is_some_and(|words| line.contains(words))
        });
        let mut faults = Vec::new();
        if self.warns.is_some() && !warned {
            faults.push(format!("no such warning: {}", said.report()));
        }
        if let Some(words) = self.refused {
            let layer = Layer::raw(self.upper.clone()).packed();
            let place = format!("layer {}", Digest::of(&layer));
            let told = [words, &place].iter().all(|words| said.stderr.contains(words));
            if said.status != 255 || !told || !said.stderr.contains("at byte ") {
                faults.push(format!("{words:?} was to be said: {}", said.report()));
            }
            return faults;
        }
        if seen.ours.is_none() {
            return vec![format!("refused: {}", said.report())];
        }
        let tree = seen.tree();
        for (path, wanted) in &self.has {
            let found = tree.get(path.as_bytes()).map_or("", |node| node.words.as_str());
            if found != wanted {
                faults.push(format!("{path}: {found:?}, not {wanted:?}"));
            }
        }
        for [one, other] in &self.same {
            let first = |path: &str| tree.get(path.as_bytes()).map(|node| node.first.as_slice());
            if first(one) != first(other) || first(one).is_none() {
                faults.push(format!("{one} and {other} are not one file"));
            }
        }
        (self.check)(&tree);
        faults.extend(seen.unlike_umoci(&self.except));
        faults
    }
}

/// The lower layer of every row.
fn base() -> Vec<u8> {
    Tar::new()
        .dir("./", 0o755)
        .dir("a/", 0o750)
        .file("a/f", b"old")
        .file("a/g", b"g")
        .dir("a/d/", 0o755)
        .file("a/d/h", b"h")
        .symlink("ln", "a")
        .file("top", b"top")
        .end()
}

/// Sees all rows through, and says of each what is wrong with it.
#[track_caller]
fn hold(rows: Vec<Row>) {
    let mut bench = Bench::new();
    let mut faults = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let of_row = row.faults(&mut bench);
        faults.extend(of_row.iter().map(|fault| format!("{} (row {number}): {fault}", row.id)));
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
