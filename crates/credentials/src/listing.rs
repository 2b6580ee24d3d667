//! The logins of a user as a list: rows of the list file, then logins that only a credential file
//! knows. Decides only; reads nothing.
//!
//! Not here: loading the files ([`crate::loading`]), how rows are shown (the client).

use crate::docker_json::AuthFile;
use crate::keys;
use crate::remote_yaml::{RemoteYaml, Row};

/// Lists all logins, in order of login; those of credential files alone come last, in the order
/// of the files. One host is listed once for each scheme at most.
#[must_use]
pub fn rows(list: Option<&RemoteYaml>, files: &[AuthFile]) -> Vec<Row> {
    let mut rows = list.map(RemoteYaml::rows).unwrap_or_default();
    for key in files.iter().flat_map(AuthFile::keys) {
        let place = keys::place_of(&key);
        if !rows.iter().any(|row| keys::is_same_place(row.place(), place)) {
            rows.push(Row { uri: format!("docker://{place}"), insecure: false });
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_of_the_credential_file_alone_come_last_and_once() {
        let list =
            "Credentials:\n- URI: docker://a.example\n  Insecure: true\n- URI: oras://docker.io\n";
        let list = RemoteYaml::parse(list.as_bytes(), "l").unwrap();
        let file = r#"{"auths":{"https://a.example/v1/":{"auth":"dTpw"},
            "https://index.docker.io/v1/":{"auth":"dTpw"},"marker.example":{},
            "b.example:5000":{"auth":"dTpw"},"b.example:5000/ns":{"auth":"dTpw"}}}"#;
        let files = [AuthFile::parse(file.as_bytes(), "f").unwrap()];
        let uris: Vec<_> = rows(Some(&list), &files).into_iter().map(|row| row.uri).collect();
        assert_eq!(
            uris,
            [
                "docker://a.example",
                "oras://docker.io",
                "docker://b.example:5000",
                "docker://b.example:5000/ns"
            ]
        );
    }

    #[test]
    fn logins_that_a_helper_holds_are_listed_by_their_markers() {
        let file = r#"{"auths":{"https://index.docker.io/v1/":{},"h":{}},"credHelpers":{"h":"x"}}"#;
        let files = [AuthFile::parse(file.as_bytes(), "f").unwrap()];
        let uris: Vec<_> = rows(None, &files).into_iter().map(|row| row.uri).collect();
        assert_eq!(uris, ["docker://h"]);
        let file = file.replace("credHelpers\":{\"h\":\"x\"}", "credsStore\":\"x\"");
        let files = [AuthFile::parse(file.as_bytes(), "f").unwrap()];
        let uris: Vec<_> = rows(None, &files).into_iter().map(|row| row.uri).collect();
        assert_eq!(uris, ["docker://docker.io", "docker://h"]);
    }
}
