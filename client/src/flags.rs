//! Flags: what a command takes, as tables.
//!
//! One row a flag: names, kind, the variables behind it, and whether Orlop does what it asks. The
//! parser ([`crate::options`]), help and completions are made from these rows, so that no flag is
//! in one of them and not in another. The rows follow contract.md section 1 of the design notes.
//!
//! Not here: reading a command line ([`crate::options`]); which flags a command has
//! ([`crate::commands`]).

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing, or `=true` and `=false` in the spellings of Go.
    Switch,
    /// One value; the last one given wins.
    Text,
    /// Values separated by commas, quoted as in CSV; may be repeated.
    List,
    /// One value each time, commas kept; may be repeated.
    Repeat,
}

/// What Orlop does about a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// What it asks for.
    Works,
    /// Nothing, because it is so anyway or makes no difference.
    NoEffect,
    /// A refusal with this reason.
    Refused(&'static str),
    /// What it asks for, or nothing, after a warning with this text.
    Deprecated(&'static str),
}

/// One flag.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flag {
    /// Name without the dashes.
    pub(crate) long: &'static str,
    /// One-letter name.
    pub(crate) short: Option<char>,
    /// Names of variables behind it, without the prefix.
    pub(crate) keys: &'static [&'static str],
    /// The variables are also read without any prefix.
    pub(crate) bare: bool,
    /// Values of the variables are added to those of the command line.
    pub(crate) adds: bool,
    /// What it takes.
    pub(crate) kind: Kind,
    /// How help calls the value.
    pub(crate) value: &'static str,
    /// Help: imperative, one line.
    pub(crate) help: &'static str,
    /// Left out of help.
    pub(crate) hidden: bool,
    /// What Orlop does about it.
    pub(crate) standing: Standing,
}

impl Flag {
    const fn new(long: &'static str, kind: Kind, value: &'static str, help: &'static str) -> Self {
        Self {
            long,
            short: None,
            keys: &[],
            bare: false,
            adds: false,
            kind,
            value,
            help,
            hidden: false,
            standing: Standing::Works,
        }
    }

    /// A flag that is on or off.
    pub(crate) const fn switch(long: &'static str, help: &'static str) -> Self {
        Self::new(long, Kind::Switch, "", help)
    }

    /// A flag with one value.
    pub(crate) const fn text(long: &'static str, value: &'static str, help: &'static str) -> Self {
        Self::new(long, Kind::Text, value, help)
    }

    /// A flag with a comma-separated list.
    pub(crate) const fn list(long: &'static str, value: &'static str, help: &'static str) -> Self {
        Self::new(long, Kind::List, value, help)
    }

    /// A flag that may be repeated and keeps commas.
    pub(crate) const fn repeat(
        long: &'static str,
        value: &'static str,
        help: &'static str,
    ) -> Self {
        Self::new(long, Kind::Repeat, value, help)
    }

    /// Gives the one-letter name.
    pub(crate) const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    /// Names the variables behind the flag, without prefix.
    pub(crate) const fn keys(mut self, keys: &'static [&'static str]) -> Self {
        self.keys = keys;
        self
    }

    /// The variables are also read without prefix.
    pub(crate) const fn bare(mut self) -> Self {
        self.bare = true;
        self
    }

    /// Values of flag and variables are added up.
    pub(crate) const fn adding(mut self) -> Self {
        self.adds = true;
        self
    }

    /// Leaves the flag out of help.
    pub(crate) const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// The flag is accepted and changes nothing.
    pub(crate) const fn no_effect(mut self) -> Self {
        self.standing = Standing::NoEffect;
        self
    }

    /// The flag is refused, with the reason or what to use instead.
    pub(crate) const fn refused(mut self, reason: &'static str) -> Self {
        self.standing = Standing::Refused(reason);
        self
    }

    /// The flag is accepted after a warning.
    pub(crate) const fn deprecated(mut self, warning: &'static str) -> Self {
        self.standing = Standing::Deprecated(warning);
        self
    }
}

/// How many positional arguments a command takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count {
    /// At least.
    pub(crate) least: usize,
    /// At most; absent: any number.
    pub(crate) most: Option<usize>,
    /// With this switch on there is none.
    pub(crate) none_with: Option<&'static str>,
}

impl Count {
    /// Exactly this many.
    pub(crate) const fn exactly(count: usize) -> Self {
        Self { least: count, most: Some(count), none_with: None }
    }

    /// In this range, both ends included.
    pub(crate) const fn between(least: usize, most: usize) -> Self {
        Self { least, most: Some(most), none_with: None }
    }

    /// This many or more.
    pub(crate) const fn from(least: usize) -> Self {
        Self { least, most: None, none_with: None }
    }

    /// None where this switch is on.
    pub(crate) const fn none_with(mut self, switch: &'static str) -> Self {
        self.none_with = Some(switch);
        self
    }

    /// The words of Apptainer's argument parser when a count is wrong.
    pub(crate) fn complaint(self, received: usize) -> Option<String> {
        match self.most {
            Some(most) if most == self.least && received != most => {
                Some(format!("accepts {most} arg(s), received {received}"))
            }
            Some(most) if received < self.least || received > most => Some(format!(
                "accepts between {} and {most} arg(s), received {received}",
                self.least
            )),
            None if received < self.least => {
                Some(format!("requires at least {} arg(s), only received {received}", self.least))
            }
            _ => None,
        }
    }
}

/// A command's name, arguments and flags.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spec {
    /// The word, and before it those of its groups: `registry login`.
    pub(crate) path: &'static str,
    /// Arguments as the usage line shows them.
    pub(crate) arguments: &'static str,
    /// One line of help.
    pub(crate) about: &'static str,
    /// More help.
    pub(crate) long_about: &'static str,
    /// Positional arguments.
    pub(crate) count: Count,
    /// Flags, in tables that several commands share.
    pub(crate) flags: &'static [&'static [Flag]],
    /// Flags end at the first positional argument: what follows belongs to the payload.
    pub(crate) payload: bool,
}

impl Spec {
    /// All flags, in the order of help.
    pub(crate) fn flags(&self) -> impl Iterator<Item = &'static Flag> + use<> {
        self.flags.iter().flat_map(|table| table.iter())
    }

    /// The last word of the path.
    pub(crate) fn name(&self) -> &'static str {
        self.path.rsplit(' ').next().unwrap_or(self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_complain_in_the_known_words() {
        let between = Count::between(1, 2);
        assert_eq!(between.complaint(0).unwrap(), "accepts between 1 and 2 arg(s), received 0");
        assert_eq!(between.complaint(3).unwrap(), "accepts between 1 and 2 arg(s), received 3");
        assert_eq!(between.complaint(2), None);
        assert_eq!(Count::exactly(1).complaint(0).unwrap(), "accepts 1 arg(s), received 0");
        assert_eq!(
            Count::from(2).complaint(1).unwrap(),
            "requires at least 2 arg(s), only received 1"
        );
        assert_eq!(Count::from(2).complaint(9), None);
    }
}
