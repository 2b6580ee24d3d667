//! A rule: which calls, of whom, on what, from which one on and how often, and what is done.

use rustix::io::Errno;
use std::time::Duration;

/// What a call that is met gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// It is not done and fails.
    Error(Errno),
    /// It is not done and says that it was.
    Answer(i64),
    /// Its process is killed before it is done.
    Kill,
    /// It waits until the test lets go, then it is done.
    Hold,
    /// It is done, and noted.
    Note,
    /// It moves at most so many bytes (reads and writes of regular files).
    Short(usize),
    /// What a rename or link gives a name is not seen under it for so long on other nodes than
    /// that of who did it.
    Late(Duration),
}

/// A rule for system calls. Without more it meets every call of its names by `orlop` and `orlopd`.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(super) names: Vec<String>,
    pub(super) program: Option<String>,
    pub(super) within: Option<String>,
    pub(super) end: Option<String>,
    pub(super) first: u64,
    pub(super) times: u64,
    pub(super) act: Act,
    /// How many calls were met so far.
    pub(super) seen: u64,
}

impl Rule {
    /// Meets calls of this name.
    #[must_use]
    pub fn on(name: &str) -> Self {
        Self::on_any([name])
    }

    /// Meets calls of all these names, counted together.
    #[must_use]
    pub fn on_any<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            names: names.into_iter().map(str::to_owned).collect(),
            program: None,
            within: None,
            end: None,
            first: 1,
            times: u64::MAX,
            act: Act::Error(Errno::IO),
            seen: 0,
        }
    }

    /// Only calls of this program: `orlop` or `orlopd`.
    #[must_use]
    pub fn of(mut self, program: &str) -> Self {
        self.program = Some(program.to_owned());
        self
    }

    /// Only calls on a file or a name with this in its path.
    #[must_use]
    pub fn at(mut self, part: impl Into<String>) -> Self {
        self.within = Some(part.into());
        self
    }

    /// Only calls on a path that ends like this. A file without a name is made at `/.`.
    #[must_use]
    pub fn at_end(mut self, end: impl Into<String>) -> Self {
        self.end = Some(end.into());
        self
    }

    /// Only the call of this number among those that would be met, counted from 1.
    #[must_use]
    pub fn nth(mut self, number: u64) -> Self {
        (self.first, self.times) = (number, 1);
        self
    }

    /// Only the calls from this number on.
    #[must_use]
    pub fn from_nth(mut self, number: u64) -> Self {
        (self.first, self.times) = (number, u64::MAX);
        self
    }

    /// The call is not done and fails with this.
    #[must_use]
    pub fn fails(mut self, with: Errno) -> Self {
        self.act = Act::Error(with);
        self
    }

    /// The call is not done and succeeds with this.
    #[must_use]
    pub fn answers(mut self, with: i64) -> Self {
        self.act = Act::Answer(with);
        self
    }

    /// The process is killed before the call is done.
    #[must_use]
    pub fn kills(mut self) -> Self {
        self.act = Act::Kill;
        self
    }

    /// The call waits for [`super::Faults::release`].
    #[must_use]
    pub fn holds(mut self) -> Self {
        self.act = Act::Hold;
        self
    }

    /// The call is done, and noted in [`super::Faults::hits`].
    #[must_use]
    pub fn is_noted(mut self) -> Self {
        self.act = Act::Note;
        self
    }

    /// Reads and writes of regular files move at most so many bytes.
    #[must_use]
    pub fn moves_at_most(mut self, bytes: usize) -> Self {
        self.act = Act::Short(bytes);
        self
    }

    /// Renames and links below this directory are seen late on other nodes than that of who did
    /// them, as on a network file system that remembers what was not there. Nodes are told apart
    /// by [`super::Faults::on_node`]; the calls that look must be watched too.
    #[must_use]
    pub fn renames_are_seen_late(directory: impl Into<String>, by: Duration) -> Self {
        let mut rule = Self::on_any(super::calls::NAMING).at(directory);
        rule.act = Act::Late(by);
        rule
    }

    /// The calls that [`Rule::renames_are_seen_late`] needs to see.
    #[must_use]
    pub fn calls_of_late_renames() -> Vec<&'static str> {
        let all = super::calls::NAMING.iter().chain(&super::calls::LOOKING);
        all.copied().filter(|name| super::CALLS.iter().any(|call| call.name == *name)).collect()
    }
}
