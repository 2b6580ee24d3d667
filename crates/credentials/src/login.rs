//! Keeping and forgetting one login: in the file, or with the helper that the file names.
//!
//! As docker does it: where `credHelpers` or `credsStore` names a helper for the host, the helper
//! holds the secret and the file keeps an empty marker. A helper that fails leaves the file as it
//! was. Blocks while a helper runs.
//!
//! Not here: whether the login is right (`orlop-registry`), the list file ([`crate::update`]).

use crate::programs::{self, Surroundings};
use crate::update::{self, Target};
use crate::{Credential, Error, keys, loading};

/// Where a login was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// In the file.
    File,
    /// With the helper of this program name; the file has the marker.
    Helper(String),
}

/// Keeps a login of `host[:port]` or `host[:port]/namespace`.
///
/// # Errors
/// Every [`Error`]; nothing was stored then, anywhere.
pub fn keep(
    target: &Target,
    place: &str,
    credential: &Credential,
    around: &Surroundings,
) -> Result<Kept, Error> {
    keys::check_place(place)?;
    credential.check()?;
    let key = keys::key_to_write(place);
    let Some(helper) = helper_of(target, place)? else {
        update::store_login(target, &key, credential)?;
        return Ok(Kept::File);
    };
    let host = keys::host_of(place);
    programs::store(&helper, &keys::helper_key(host), credential, around)?;
    update::store_marker(target, &key)?;
    Ok(Kept::Helper(format!("docker-credential-{helper}")))
}

/// Forgets every login of a place, in all spellings of its host; says whether there was one. A file
/// without one is not touched, a missing one not made.
///
/// # Errors
/// Every [`Error`]; a helper that fails leaves the file as it was.
pub fn forget(target: &Target, place: &str, around: &Surroundings) -> Result<bool, Error> {
    let mut existed = false;
    if let Some(helper) = helper_of(target, place)? {
        let key = keys::helper_key(keys::host_of(place));
        existed = programs::get(&helper, &key, around)?.is_some();
        if existed {
            programs::erase(&helper, &key, around)?;
        }
    }
    Ok(update::remove_login(target, place)? || existed)
}

fn helper_of(target: &Target, place: &str) -> Result<Option<String>, Error> {
    let file = loading::auth_file_as(&target.path, &target.name)?;
    Ok(file.and_then(|file| file.helper_for(keys::host_of(place))))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::programs::tests::{helper, settled};

    const STORE: &str = r#"d=${0%/*}; case $1 in
        store) cat > $d/held;; erase) rm $d/held;;
        get) test -e $d/held && cat $d/held ||
            { echo credentials not found in native keychain; exit 1; };; esac"#;

    fn password() -> Credential {
        Credential::Password { username: "u".to_owned(), secret: "p".into() }
    }

    #[test]
    fn a_login_goes_to_the_helper_that_the_file_names() {
        let (directory, around) = helper(STORE);
        let path = directory.path().join("config.json");
        fs::write(&path, r#"{"credHelpers":{"h.example":"t"}}"#).unwrap();
        let target = Target::named(&path);
        let kept = settled(|| keep(&target, "h.example", &password(), &around)).unwrap();
        assert_eq!(kept, Kept::Helper("docker-credential-t".to_owned()));
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, r#"{"credHelpers":{"h.example":"t"},"auths":{"h.example":{}}}"#);
        let held = fs::read_to_string(directory.path().join("held")).unwrap();
        assert!(held.contains(r#""ServerURL":"h.example""#), "{held}");

        assert!(settled(|| forget(&target, "h.example", &around)).unwrap());
        assert!(!directory.path().join("held").exists());
        assert!(!settled(|| forget(&target, "h.example", &around)).unwrap());
    }

    #[test]
    fn s29_a_missing_helper_stores_nothing_anywhere() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        fs::write(&path, r#"{"credsStore":"not-there"}"#).unwrap();
        let target = Target::named(&path);
        let error = keep(&target, "h", &password(), &Surroundings::default()).unwrap_err();
        assert!(matches!(error, Error::Helper { missing: true, .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), r#"{"credsStore":"not-there"}"#);
    }

    #[test]
    fn without_a_helper_the_file_holds_the_login() {
        let directory = tempfile::tempdir().unwrap();
        let target = Target::named(&directory.path().join("a"));
        let around = Surroundings::default();
        assert_eq!(keep(&target, "docker.io", &password(), &around).unwrap(), Kept::File);
        assert!(fs::read_to_string(&target.path).unwrap().contains(keys::HUB_KEY));
        assert!(forget(&target, "docker.io", &around).unwrap());
        assert!(!forget(&target, "index.docker.io", &around).unwrap());
    }

    #[test]
    fn places_that_are_no_key_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let target = Target::named(&directory.path().join("a"));
        for place in ["", "https://h", "u@h", "h/a:b", "h b", "/x"] {
            let kept = keep(&target, place, &password(), &Surroundings::default());
            assert!(matches!(kept, Err(Error::Unusable { .. })), "{place:?}");
        }
        assert!(!target.path.exists());
    }
}
