//! What was fetched, by the registry's own log.

use crate::Failed;
use serde_json::Value;
use std::collections::BTreeMap;

/// Blobs that a step fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fetched {
    /// Different blobs.
    pub(super) blobs: usize,
    /// Requests for them; a large blob is asked for in parts.
    pub(super) gets: usize,
    /// Bytes sent, heads of answers included.
    pub(super) bytes: u64,
    /// Whether some byte of a blob was asked for more than once.
    pub(super) is_twice: bool,
}

impl Fetched {
    /// Reads the log of `orlop-kit serve`.
    pub(super) fn read(log: &str) -> Result<Self, Failed> {
        let log: Vec<Value> =
            serde_json::from_str(log).map_err(|cause| format!("the registry's log: {cause}"))?;
        let mut blobs: BTreeMap<&str, Vec<(u64, u64)>> = BTreeMap::new();
        let mut fetched = Self::default();
        for request in &log {
            let target = request["target"].as_str().unwrap_or_default();
            let is_given = matches!(request["status"].as_u64(), Some(200 | 206));
            let Some((_, digest)) = target.split_once("/blobs/") else { continue };
            if request["method"] != "GET" || !is_given {
                continue;
            }
            blobs.entry(digest).or_default().push(range(request["range"].as_str()));
            fetched.gets += 1;
            fetched.bytes += request["sent"].as_u64().unwrap_or(0);
        }
        fetched.blobs = blobs.len();
        fetched.is_twice = blobs.into_values().any(overlap);
        Ok(fetched)
    }

    /// For the table.
    pub(super) fn words(&self) -> String {
        let megabytes = self.bytes as f64 / 1e6;
        match self {
            Self { blobs: 0, .. } => "nothing".to_owned(),
            Self { is_twice: true, blobs, gets, .. } => {
                format!("{blobs} blobs in {gets} GETs, bytes twice, {megabytes:.1} MB")
            }
            Self { blobs, gets, .. } if blobs == gets => {
                format!("{blobs} blobs, 1 GET each, {megabytes:.1} MB")
            }
            Self { blobs, gets, .. } => {
                format!("{blobs} blobs in {gets} GETs, no byte twice, {megabytes:.1} MB")
            }
        }
    }
}

/// First and last byte asked for.
fn range(header: Option<&str>) -> (u64, u64) {
    let range = header.and_then(|text| text.strip_prefix("bytes=")?.split_once('-'));
    let (first, last) = range.unwrap_or(("", ""));
    (first.parse().unwrap_or(0), last.parse().unwrap_or(u64::MAX))
}

fn overlap(mut ranges: Vec<(u64, u64)>) -> bool {
    ranges.sort_unstable();
    ranges.windows(2).any(|pair| matches!(pair, [(_, last), (first, _)] if first <= last))
}

#[cfg(test)]
mod tests {
    use super::Fetched;

    fn get(blob: &str, range: &str) -> String {
        let range = if range.is_empty() { "null".to_owned() } else { format!("\"bytes={range}\"") };
        format!(
            r#"{{"method":"GET","target":"/v2/one/blobs/{blob}","status":200,"range":{range},"sent":1000000}}"#
        )
    }

    fn words(requests: &[String]) -> String {
        Fetched::read(&format!("[{}]", requests.join(","))).unwrap().words()
    }

    #[test]
    fn blobs_are_counted_and_all_else_is_not() {
        assert_eq!(words(&[]), "nothing");
        let head = get("a", "").replace("GET", "HEAD");
        let missing = get("a", "").replace("200", "404");
        let manifest = get("a", "").replace("blobs", "manifests");
        assert_eq!(words(&[head, missing, manifest]), "nothing");
        assert_eq!(words(&[get("a", ""), get("b", "0-")]), "2 blobs, 1 GET each, 2.0 MB");
    }

    #[test]
    fn a_byte_that_is_asked_for_twice_is_seen() {
        let parts = [get("a", "10-19"), get("a", "0-9"), get("b", "")];
        assert_eq!(words(&parts), "2 blobs in 3 GETs, no byte twice, 3.0 MB");
        assert_eq!(words(&[get("a", ""), get("a", "")]), "1 blobs in 2 GETs, bytes twice, 2.0 MB");
        let parts = [get("a", "0-10"), get("a", "10-19")];
        assert_eq!(words(&parts), "1 blobs in 2 GETs, bytes twice, 2.0 MB");
    }

    #[test]
    fn what_is_no_log_is_refused() {
        assert!(Fetched::read("{").is_err());
    }
}
