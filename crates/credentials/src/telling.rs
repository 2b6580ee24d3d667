//! Where a credential would come from, without asking anybody: no helper is started.
//!
//! The same order as [`crate::precedence`]. Not here: finding the credential itself.

use crate::docker_json::{AuthFile, Found};
use crate::precedence::{FILES, Sources};
use crate::secret::Credential;

/// One place that would be asked for a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// What it is: a file's path, a helper's program, `the command line`, `the environment`.
    pub name: String,
    /// What names it: the file of a helper, where one does.
    pub named_by: Option<String>,
    /// The user name, where it is known to have a login that names one.
    pub user: Option<String>,
    /// Whether it is known to have a login. A helper is not: it was not asked.
    pub is_sure: bool,
}

impl Origin {
    fn sure(name: &str, credential: &Credential) -> Self {
        let user = credential.username().map(str::to_owned);
        Self { name: name.to_owned(), named_by: None, user, is_sure: true }
    }
}

impl Sources {
    /// Says where a login for a repository would be looked for, in order, up to the first place
    /// that is known to have one or whose answer is final. Empty: nobody is asked.
    pub fn tell(&self, host: &str, path: &str, warnings: &mut Vec<String>) -> Vec<Origin> {
        if let Some((credential, origin)) = self.given(host) {
            return vec![Origin::sure(origin, credential)];
        }
        if let Some(file) = &self.explicit {
            let mut origins = Vec::new();
            if file.lookup(host, path, &mut Vec::new()) != Found::Own {
                tell_file(file, host, path, warnings, &mut origins);
                return origins;
            }
        }
        let mut origins = Vec::new();
        for step in self.steps(warnings) {
            if step != FILES {
                origins.push(Origin {
                    name: format!("docker-credential-{step}"),
                    named_by: Some("credential-helpers of registries.conf".to_owned()),
                    user: None,
                    is_sure: false,
                });
                continue;
            }
            for file in &self.files {
                if tell_file(file, host, path, warnings, &mut origins) {
                    return origins;
                }
            }
        }
        origins
    }
}

/// Adds what one file says; true when no other place is asked after it.
fn tell_file(
    file: &AuthFile,
    host: &str,
    path: &str,
    warnings: &mut Vec<String>,
    origins: &mut Vec<Origin>,
) -> bool {
    let (helper, is_last) = match file.lookup(host, path, warnings) {
        Found::Credential(credential) => {
            origins.push(Origin::sure(file.name(), &credential));
            return true;
        }
        Found::Helper(helper) => (helper, true),
        Found::Store(helper) => (helper, false),
        Found::Own | Found::Nothing => return false,
    };
    origins.push(Origin {
        name: format!("docker-credential-{helper}"),
        named_by: Some(file.name().to_owned()),
        user: None,
        is_sure: false,
    });
    is_last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> AuthFile {
        AuthFile::parse(text.as_bytes(), name).unwrap()
    }

    fn told(sources: &Sources, host: &str) -> Vec<String> {
        let origins = sources.tell(host, "x", &mut Vec::new());
        origins.into_iter().map(|origin| origin.name).collect()
    }

    #[test]
    fn places_are_told_in_order_and_no_helper_is_started() {
        let mut sources = Sources {
            named: "h".to_owned(),
            environment: Some(Credential::Password {
                username: "u".to_owned(),
                secret: "canary".into(),
            }),
            files: vec![
                file("a", r#"{"credHelpers":{"own.example":"nowhere"},"credsStore":"store"}"#),
                file("b", r#"{"auths":{"m":{"auth":"dTpw"}}}"#),
            ],
            ..Sources::default()
        };
        assert_eq!(told(&sources, "h"), ["the environment"]);
        assert_eq!(sources.tell("h", "x", &mut Vec::new())[0].user.as_deref(), Some("u"));
        assert_eq!(told(&sources, "own.example"), ["docker-credential-nowhere"]);
        assert_eq!(told(&sources, "m"), ["docker-credential-store", "b"]);
        assert_eq!(told(&sources, "other"), ["docker-credential-store"]);
        sources.helpers = vec!["first".to_owned(), FILES.to_owned()];
        assert_eq!(
            told(&sources, "m"),
            ["docker-credential-first", "docker-credential-store", "b"]
        );
        sources.explicit = Some(file("e", "{}"));
        assert_eq!(told(&sources, "m"), [] as [&str; 0]);
        assert!(!format!("{sources:?}").contains("canary"));
    }
}
