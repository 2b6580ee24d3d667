//! Masks: what of the host must not be seen inside, whatever is bound.
//!
//! Pure part: at which paths inside a file of the host shows, given the binds that were made.
//! (reliability.md section 10, number 7, of the design notes.)
//!
//! Not here: the mounts over them ([`crate::enter`]).

use std::path::{Path, PathBuf};

/// A bind as it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    /// The source with all links resolved.
    pub(crate) source: PathBuf,
    /// Path inside.
    pub(crate) at: PathBuf,
}

/// A path inside at which something masked may show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Path inside.
    pub(crate) at: PathBuf,
    /// What is there if it shows: a path of the host with all links resolved.
    pub(crate) host: PathBuf,
}

/// Where a file or directory of the host may show inside. `real`: its path on the host with all
/// links resolved. A bind that lies within a masked directory is masked as a whole.
pub(crate) fn seen_at(real: &Path, binds: &[Made]) -> Vec<Seen> {
    let mut all = Vec::new();
    for bind in binds {
        let seen = match real.strip_prefix(&bind.source) {
            Ok(rest) if rest.as_os_str().is_empty() => {
                Seen { at: bind.at.clone(), host: real.to_owned() }
            }
            Ok(rest) => Seen { at: bind.at.join(rest), host: real.to_owned() },
            Err(_) if bind.source.starts_with(real) => {
                Seen { at: bind.at.clone(), host: bind.source.clone() }
            }
            Err(_) => continue,
        };
        if !all.contains(&seen) {
            all.push(seen);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_on_every_way_to_it() {
        let made = |source: &str, at: &str| Made { source: source.into(), at: at.into() };
        let binds = [
            made("/home/u", "/home/u"),
            made("/home", "/mnt/homes"),
            made("/home/u/.docker", "/d"),
            made("/home/u/.docker/config.json", "/c.json"),
            made("/tmp", "/tmp"),
        ];
        let seen = seen_at(Path::new("/home/u/.docker/config.json"), &binds);
        let at: Vec<&str> = seen.iter().filter_map(|seen| seen.at.to_str()).collect();
        let wanted = [
            "/home/u/.docker/config.json",
            "/mnt/homes/u/.docker/config.json",
            "/d/config.json",
            "/c.json",
        ];
        assert_eq!(at, wanted);
    }

    #[test]
    fn a_bind_from_within_a_masked_directory_is_masked_whole() {
        let source = PathBuf::from("/home/u/.cache/orlop/blobs");
        let binds = [Made { source: source.clone(), at: "/b".into() }];
        let seen = seen_at(Path::new("/home/u/.cache/orlop"), &binds);
        assert_eq!(seen, [Seen { at: "/b".into(), host: source }]);
        assert!(seen_at(Path::new("/home/u/.cache/orlopx"), &binds).is_empty());
    }
}
