//! `Content-Range`: which part of a blob an answer holds.
//!
//! RFC 9110 section 14.4; distribution spec, "Pulling blobs". Never guesses: what cannot be read
//! is no range. Not here: what to do about a wrong one ([`crate::fetch`]).

/// A part of a blob: first and last byte, and the blob's size where the answer names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ContentRange {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) total: Option<u64>,
}

impl ContentRange {
    pub(crate) fn parse(header: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(header).ok()?.trim();
        let (unit, rest) = text.split_once(' ')?;
        let (range, total) = rest.trim().split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let total = match total.trim() {
            "*" => None,
            digits => Some(number(digits)?),
        };
        let found = Self { first: number(first)?, last: number(last)?, total };
        let is_sane = unit.eq_ignore_ascii_case("bytes")
            && found.first <= found.last
            && total.is_none_or(|total| found.last < total);
        is_sane.then_some(found)
    }

    /// Says whether this is a part of a blob of `size` bytes that starts at `offset`.
    pub(crate) fn fits(&self, offset: u64, size: u64) -> bool {
        self.first == offset && self.last < size && self.total.is_none_or(|total| total == size)
    }
}

fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_range_asked_for_fits() {
        let fits = |header: &str| {
            ContentRange::parse(header.as_bytes()).is_some_and(|range| range.fits(10, 100))
        };
        for good in ["bytes 10-99/100", "bytes 10-99/*", "Bytes 10-20/100", "bytes 10-99 / 100"] {
            assert!(fits(good), "{good}");
        }
        let bad = [
            "bytes 9-99/100",
            "bytes 10-99/101",
            "bytes 10-100/*",
            "bytes */100",
            "10-99/100",
            "bytes 99-10/100",
            "bytes +10-99/100",
            "bytes 10-99",
            "",
            "items 10-99/100",
        ];
        for bad in bad {
            assert!(!fits(bad), "{bad}");
        }
    }
}
