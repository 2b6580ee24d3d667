//! Keeping and forgetting logins: in the file, or with the helper that the file names.
//!
//! As docker does it: where `credHelpers` or `credsStore` names a helper for the host, the helper
//! holds the secret and the file keeps an empty marker. A helper that fails leaves the file as it
//! was. The helper `orlop` is no program but Orlop's own file beside. Blocks while a helper runs.
//!
//! Not here: whether the login is right (`orlop-registry`), the list file ([`crate::update`]).

use crate::docker_json::AuthFile;
use crate::programs::{self, Surroundings};
use crate::update::{self, Target};
use crate::{Credential, Error, keys, loading};

/// Where a login was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// In the file.
    File,
    /// In Orlop's own file of this name; the file has the marker.
    Own(String),
    /// With the helper of this program name; the file has the marker.
    Helper(String),
}

/// Logins that are gone from one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// A file, or a helper's program.
    pub from: String,
    /// Keys under which they were kept there.
    pub keys: Vec<String>,
}

/// Says whether a login of this place could be kept, before a registry is asked.
///
/// # Errors
/// What [`keep`] would stumble over later and that can be known now.
pub fn check(target: &Target, place: &str, around: &Surroundings) -> Result<(), Error> {
    keys::check_place(place)?;
    update::check(target)?;
    match helper_of(target, place)? {
        Some(helper) if programs::is_own(&helper) => update::check(&target.own()?),
        Some(helper) => around.check(&helper),
        None => Ok(()),
    }
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
    let kept = hold(target, place, credential, around)?;
    if kept != Kept::File {
        update::store_marker(target, &keys::key_to_write(place))?;
    }
    Ok(kept)
}

/// Keeps a login as [`keep`] does, without the marker: for a program that leaves its own.
///
/// # Errors
/// As [`keep`].
pub fn hold(
    target: &Target,
    place: &str,
    credential: &Credential,
    around: &Surroundings,
) -> Result<Kept, Error> {
    keys::check_place(place)?;
    credential.check()?;
    let key = keys::key_to_write(place);
    match helper_of(target, place)? {
        None => {
            update::store_login(target, &key, credential)?;
            Ok(Kept::File)
        }
        Some(helper) if programs::is_own(&helper) => {
            let own = target.own()?;
            update::store_login(&own, &key, credential)?;
            Ok(Kept::Own(own.name))
        }
        Some(helper) => {
            let asked = keys::helper_key(keys::host_of(place));
            programs::store(&helper, &asked, credential, around)?;
            Ok(Kept::Helper(program(&helper)))
        }
    }
}

/// Forgets every login of a place, in all spellings of its host; says what there was. A file
/// without one is not touched, a missing one not made.
///
/// # Errors
/// Every [`Error`]; a helper that fails leaves the file as it was.
pub fn forget(target: &Target, place: &str, around: &Surroundings) -> Result<Vec<Gone>, Error> {
    let mut gone = Vec::new();
    let helper = helper_of(target, place)?;
    let is_own = helper.as_deref().is_some_and(programs::is_own);
    if let Some(helper) = helper.filter(|_| !is_own) {
        let key = keys::helper_key(keys::host_of(place));
        if programs::get(&helper, &key, around)?.is_some() {
            programs::erase(&helper, &key, around)?;
            gone.push(Gone { from: program(&helper), keys: vec![key] });
        }
    }
    note(&mut gone, target, update::remove_login(target, place)?);
    if target.own.is_some() && (is_own || target.is_default) {
        let own = target.own()?;
        note(&mut gone, &own, update::remove_login(&own, place)?);
    }
    Ok(gone)
}

/// Forgets every login that the file has or that a helper holds for it; says what there was. What a
/// helper would not give up stays in the file too, with a warning.
///
/// # Errors
/// Every [`Error`] of a file; one that does not parse is as it was.
pub fn forget_all(
    target: &Target,
    around: &Surroundings,
    warnings: &mut Vec<String>,
) -> Result<Vec<Gone>, Error> {
    let mut gone = Vec::new();
    let file = loading::auth_file_as(&target.path, &target.name, target.limits)?;
    let mut kept = Vec::new();
    let held = file.as_ref().map(|file| held(file, around, warnings)).unwrap_or_default();
    for (helper, key) in held {
        match programs::erase(&helper, &key, around) {
            Ok(()) => gone.push(Gone { from: program(&helper), keys: vec![key] }),
            Err(error) => {
                warnings.push(format!("{error}; its login of {} stays", keys::place_of(&key)));
                kept.push(key);
            }
        }
    }
    let stays = |key: &str| kept.iter().any(|kept| keys::is_login_of(key, keys::place_of(kept)));
    note(&mut gone, target, update::remove_all(target, stays)?);
    let is_own = file.is_some_and(|file| file.names_own());
    if target.own.is_some() && (is_own || target.is_default) {
        let own = target.own()?;
        note(&mut gone, &own, update::remove_all(&own, |_| false)?);
    }
    Ok(gone)
}

/// The logins that helpers hold for a file: helper and key. A helper of one host is asked for that
/// host alone, for it may hold others for others; the helper of all others says what it holds.
fn held(
    file: &AuthFile,
    around: &Surroundings,
    warnings: &mut Vec<String>,
) -> Vec<(String, String)> {
    let mut held = Vec::new();
    let of_hosts = file.host_helpers();
    for (host, helper) in of_hosts.iter().filter(|(_, helper)| !programs::is_own(helper)) {
        let key = keys::helper_key(keys::host_of(keys::place_of(host)));
        match programs::get(helper, &key, around) {
            Ok(Some(_)) => held.push((helper.clone(), key)),
            Ok(None) => {}
            Err(error) => warnings.push(error.to_string()),
        }
    }
    let Some(store) = file.store().filter(|store| !programs::is_own(store)) else { return held };
    match programs::list(&store, around) {
        Ok(listed) => {
            let is_of_host = |key: &str| {
                let host = keys::host_of(keys::place_of(key));
                of_hosts.iter().any(|(other, _)| keys::is_same_place(keys::place_of(other), host))
            };
            let keys = listed.into_keys().filter(|key| !is_of_host(key));
            held.extend(keys.map(|key| (store.clone(), key)));
        }
        Err(error) => warnings.push(error.to_string()),
    }
    held
}

fn note(gone: &mut Vec<Gone>, target: &Target, keys: Vec<String>) {
    if !keys.is_empty() {
        gone.push(Gone { from: target.name.clone(), keys });
    }
}

fn program(helper: &str) -> String {
    format!("docker-credential-{helper}")
}

fn helper_of(target: &Target, place: &str) -> Result<Option<String>, Error> {
    let file = loading::auth_file_as(&target.path, &target.name, target.limits)?;
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

        let gone = settled(|| forget(&target, "h.example", &around)).unwrap();
        let from: Vec<_> = gone.iter().map(|gone| gone.from.as_str()).collect();
        assert_eq!(from, ["docker-credential-t", target.name.as_str()]);
        assert!(!directory.path().join("held").exists());
        assert!(settled(|| forget(&target, "h.example", &around)).unwrap().is_empty());
    }

    #[test]
    fn a_logout_of_all_asks_helpers_and_keeps_what_is_not_the_files() {
        let (directory, around) = helper(
            r#"d=${0%/*}; case $1 in list) echo '{"a":"u","h.example":"u","stuck":"u"}';;
            get) echo '{"Username":"u","Secret":"p"}';;
            erase) read key; test $key = stuck && { echo no; exit 1; }; echo $key >> $d/erased;; esac"#,
        );
        let path = directory.path().join("config.json");
        let text = r#"{"auths":{"a":{},"stuck":{},"b":{"auth":"dTpw"}},"n":1,
            "credsStore":"t","credHelpers":{"h.example":"t"}}"#;
        fs::write(&path, text).unwrap();
        let target = Target::named(&path);
        // Once the program can be started at all.
        settled(|| programs::list("t", &around)).unwrap();
        let mut warnings = Vec::new();
        let gone = forget_all(&target, &around, &mut warnings).unwrap();
        let keys: Vec<_> = gone.iter().flat_map(|gone| &gone.keys).collect();
        assert_eq!(keys, ["h.example", "a", "a", "b"]);
        let said = "credential helper docker-credential-t says: no; its login of stuck stays";
        assert_eq!(warnings, [said]);
        let erased = fs::read_to_string(directory.path().join("erased")).unwrap();
        assert_eq!(erased, "h.example\na\n");
        let left: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(left["auths"], serde_json::json!({"stuck": {}}));
        assert_eq!((&left["n"], &left["credsStore"]), (&1.into(), &"t".into()));
    }

    #[test]
    fn a_file_that_names_orlop_keeps_its_logins_in_orlops_own_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        fs::write(&path, r#"{"credsStore":"orlop"}"#).unwrap();
        let own = directory.path().join("own/credentials.json");
        let target = Target { own: Some(own.clone()), ..Target::named(&path) };
        let around = Surroundings::default();
        check(&target, "h", &around).unwrap();
        let kept = keep(&target, "h", &password(), &around).unwrap();
        assert_eq!(kept, Kept::Own(own.display().to_string()));
        let marked = r#"{"credsStore":"orlop","auths":{"h":{}}}"#;
        assert_eq!(fs::read_to_string(&path).unwrap(), marked);
        assert!(fs::read_to_string(&own).unwrap().contains("dTpw"));
        assert_eq!(forget(&target, "h", &around).unwrap().len(), 2);
        assert!(!fs::read_to_string(&own).unwrap().contains("dTpw"));
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
        assert_eq!(forget(&target, "docker.io", &around).unwrap()[0].keys, [keys::HUB_KEY]);
        assert!(forget(&target, "index.docker.io", &around).unwrap().is_empty());
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
