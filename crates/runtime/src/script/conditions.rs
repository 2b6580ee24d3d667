//! `test` and `[`.
//!
//! Not here: other builtins ([`super::run`]).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use super::run::{Files, Stop, needs_shell};

/// How many words a test may have.
const WORDS: usize = 64;

/// `test`: POSIX's rules by number of arguments, and `-a`, `-o` between them.
pub(super) fn test(arguments: &[Vec<u8>], files: &dyn Files) -> Result<bool, Stop> {
    if arguments.len() > WORDS {
        return Err(needs_shell("such a test"));
    }
    let words: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
    match words.as_slice() {
        [] => Ok(false),
        [one] => Ok(!one.is_empty()),
        [b"!", rest @ ..] if rest.len() != 2 || rest.first() != Some(&b"=".as_slice()) => {
            test(arguments.get(1..).unwrap_or_default(), files).map(|success| !success)
        }
        [b"-n", text] => Ok(!text.is_empty()),
        [b"-z", text] => Ok(text.is_empty()),
        [[b'-', operator], path] => {
            files.test(*operator, OsStr::from_bytes(path)).ok_or(needs_shell("this test"))
        }
        [left, b"=" | b"==", right] => Ok(left == right),
        [left, b"!=", right] => Ok(left != right),
        [left, [b'-', operator @ ..], right] if !matches!(operator, b"a" | b"o") => {
            compare(left, operator, right)
        }
        _ => {
            let find = |operator: &[u8]| words.iter().rposition(|word| *word == operator);
            let (at, any) = match (find(b"-o"), find(b"-a")) {
                (Some(at), _) => (at, true),
                (None, Some(at)) => (at, false),
                (None, None) => return Err(needs_shell("this test")),
            };
            let left = test(arguments.get(..at).unwrap_or_default(), files)?;
            let right = test(arguments.get(at + 1..).unwrap_or_default(), files)?;
            Ok(if any { left || right } else { left && right })
        }
    }
}

fn compare(left: &[u8], operator: &[u8], right: &[u8]) -> Result<bool, Stop> {
    let number = |text: &[u8]| {
        let number =
            std::str::from_utf8(text).ok().and_then(|text| text.trim().parse::<i64>().ok());
        number.ok_or(needs_shell("this test"))
    };
    let (left, right) = (number(left)?, number(right)?);
    match operator {
        b"eq" => Ok(left == right),
        b"ne" => Ok(left != right),
        b"gt" => Ok(left > right),
        b"ge" => Ok(left >= right),
        b"lt" => Ok(left < right),
        b"le" => Ok(left <= right),
        _ => Err(needs_shell("this test")),
    }
}
