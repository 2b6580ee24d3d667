//! Directories of certs.d in a temporary home. Rules: `registry.md` §5, containers-certs.d(5).

use super::*;
use crate::env::Environment;
use crate::paths::Face;

struct World {
    root: tempfile::TempDir,
}

impl World {
    fn new(files: &[&str]) -> Self {
        let world = Self { root: tempfile::tempdir().unwrap() };
        for file in files {
            let path = world.root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        world
    }

    fn load(&self, host: &str) -> Result<Certificates, Error> {
        let environment = Environment::default().with("HOME", self.root.path().join("home"));
        let paths = Paths::with_entry(&environment, Face::Orlop, 7001, None);
        load(&paths.with_system(self.root.path().join("etc")), &host.parse().unwrap())
    }

    fn authorities(&self, host: &str) -> Vec<String> {
        let found = self.load(host).unwrap().authorities;
        found.into_iter().map(|file| String::from_utf8(file.bytes).unwrap()).collect()
    }
}

const USER: &str = "home/.config/containers/certs.d";
const SYSTEM: &str = "etc/containers/certs.d";
const DOCKER: &str = "etc/docker/certs.d";

#[test]
fn the_first_directory_that_exists_counts_alone() {
    let at = |directory: &str| format!("{directory}/reg.example:5000/ca.crt");
    let all = [at(USER), at(SYSTEM), at(DOCKER)];
    for skipped in 0..3 {
        let files: Vec<_> = all[skipped..].iter().map(String::as_str).collect();
        assert_eq!(World::new(&files).authorities("reg.example:5000"), [files[0]]);
    }
    let world = World::new(&[&at(DOCKER), &format!("{USER}/reg.example:5000/readme.txt")]);
    assert_eq!(world.load("reg.example:5000").unwrap(), Certificates::default());
}

#[test]
fn a_host_is_found_as_it_is_written() {
    let with_port = format!("{SYSTEM}/reg.example:443/ca.crt");
    let world = World::new(&[&with_port]);
    assert_eq!(world.authorities("reg.example:443"), [with_port.as_str()]);
    assert_eq!(world.authorities("reg.example"), [] as [&str; 0]);
}

#[test]
fn the_docker_hub_has_two_names() {
    let old = format!("{DOCKER}/registry-1.docker.io/ca.crt");
    assert_eq!(World::new(&[&old]).authorities("docker.io"), [old.as_str()]);
    let new = format!("{DOCKER}/docker.io/ca.crt");
    assert_eq!(World::new(&[&old, &new]).authorities("docker.io"), [new.as_str()]);
}

#[test]
fn certificates_are_sorted_and_clients_have_keys() {
    let files = ["b.crt", "a.crt", "z.key", "z.cert", "note.pem"];
    let files = files.map(|name| format!("{SYSTEM}/h/{name}"));
    let world = World::new(&files.each_ref().map(String::as_str));
    assert_eq!(world.authorities("h"), [files[1].as_str(), files[0].as_str()]);
    let clients = world.load("h").unwrap().clients;
    assert_eq!(clients.len(), 1);
    assert_eq!(clients[0].key.bytes, files[2].as_bytes());
    assert!(clients[0].certificate.path.ends_with("z.cert"));
    assert!(!format!("{clients:?}").contains("bytes"));
}

#[test]
fn half_a_pair_is_an_error_that_names_the_other_half() {
    let world = World::new(&[&format!("{SYSTEM}/h/a.cert")]);
    let error = world.load("h").unwrap_err();
    assert!(matches!(&error, Error::NoKey { key, .. } if key.ends_with("h/a.key")), "{error:?}");
    assert!(error.to_string().ends_with("CA certificates should use the extension .crt"));
    let world = World::new(&[&format!("{SYSTEM}/h/a.key")]);
    let error = world.load("h").unwrap_err();
    assert!(
        matches!(&error, Error::NoCertificate { certificate, .. }
        if certificate.ends_with("h/a.cert")),
        "{error:?}"
    );
}

#[test]
fn a_directory_in_the_place_of_a_certificate_is_an_error() {
    let world = World::new(&[&format!("{SYSTEM}/h/ca.crt/x")]);
    assert!(matches!(world.load("h"), Err(Error::NotAFile { .. })));
}
