//! What the environment says about credentials: a user name with its password, or an auth file.
//!
//! Rules: `contract.md` §3.1 rows 2 and 4. A pair counts only whole, and goes to the host of the
//! reference alone, which is the business of who uses it. Not here: reading the file.

use std::ffi::{OsStr, OsString};
use std::fmt;

use super::{AUTHFILE, DOCKER_PASSWORD, DOCKER_USERNAME, Environment};

/// A user name and a password from the environment.
#[derive(Clone, PartialEq, Eq)]
pub struct NamedLogin {
    /// Variable of the user name, for messages.
    pub name: &'static str,
    /// The user name.
    pub username: OsString,
    /// The password: a secret.
    pub password: OsString,
}

impl fmt::Debug for NamedLogin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("NamedLogin").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Environment {
    /// Returns the first pair of which both halves are set and not empty. Halves without the other
    /// before it are warnings.
    #[must_use]
    pub fn login(&self) -> (Option<NamedLogin>, Vec<String>) {
        let value = |name: &str| self.raw(name).filter(|value| !value.is_empty());
        let mut warnings = Vec::new();
        for (name, other) in DOCKER_USERNAME.0.iter().zip(DOCKER_PASSWORD.0) {
            let (there, missing) = match (value(name), value(other)) {
                (Some(username), Some(password)) => {
                    let (username, password) = (username.to_owned(), password.to_owned());
                    return (Some(NamedLogin { name, username, password }), warnings);
                }
                (Some(_), None) => (name, other),
                (None, Some(_)) => (other, name),
                (None, None) => continue,
            };
            warnings.push(format!("{there} is set without {missing} and is ignored"));
        }
        (None, warnings)
    }

    /// Returns the auth file that a variable names, as written there, with the variable's name;
    /// and a warning where another spelling names another file.
    #[must_use]
    pub fn authfile(&self) -> (Option<(&'static str, &OsStr)>, Option<String>) {
        let all = self.all_spelled(AUTHFILE);
        let Some((&(name, path), others)) = all.split_first() else { return (None, None) };
        let differs = others.iter().find(|(_, other)| *other != path);
        let warning = differs
            .map(|(other, _)| format!("{name} and {other} have different values, using {name}"));
        (Some((name, path)), warning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        Environment::from_pairs(pairs.iter().map(|(name, value)| (name.into(), value.into())))
    }

    #[test]
    fn the_first_whole_pair_counts_and_halves_are_warnings() {
        let (login, warnings) = environment(&[
            ("ORLOP_DOCKER_USERNAME", "half"),
            ("ORLOP_DOCKER_PASSWORD", ""),
            ("APPTAINER_DOCKER_PASSWORD", "half"),
            ("SINGULARITY_DOCKER_USERNAME", "u"),
            ("SINGULARITY_DOCKER_PASSWORD", "canary"),
            ("DOCKER_USERNAME", "later"),
        ])
        .login();
        let login = login.unwrap();
        assert_eq!((login.username.to_str(), login.password.to_str()), (Some("u"), Some("canary")));
        assert!(!format!("{login:?}").contains("canary"));
        assert_eq!(
            warnings,
            [
                "ORLOP_DOCKER_USERNAME is set without ORLOP_DOCKER_PASSWORD and is ignored",
                "APPTAINER_DOCKER_PASSWORD is set without APPTAINER_DOCKER_USERNAME and is ignored",
            ]
        );
    }

    #[test]
    fn halves_of_two_spellings_make_no_pair() {
        let pairs = [("DOCKER_USERNAME", "u"), ("APPTAINER_DOCKER_PASSWORD", "p")];
        let (login, warnings) = environment(&pairs).login();
        assert_eq!((login, warnings.len()), (None, 2));
        assert_eq!(environment(&[]).login(), (None, Vec::new()));
    }

    #[test]
    fn two_different_auth_files_are_a_warning_that_names_the_one_used() {
        let pairs = [("APPTAINER_AUTH_FILE", "a"), ("ORLOP_AUTH_FILE", "o")];
        let both = environment(&pairs);
        let (file, warning) = both.authfile();
        assert_eq!(file, Some(("ORLOP_AUTH_FILE", OsStr::new("o"))));
        let expected = "ORLOP_AUTH_FILE and APPTAINER_AUTH_FILE have different values, using \
                        ORLOP_AUTH_FILE";
        assert_eq!(warning.as_deref(), Some(expected));
        let same = environment(&[("ORLOP_AUTHFILE", "o"), ("ORLOP_AUTH_FILE", "o")]);
        assert_eq!(same.authfile().1, None);
    }
}
