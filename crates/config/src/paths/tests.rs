//! Places by environment: homes, caches, sockets, credential files.

use super::*;

fn paths(face: Face, pairs: &[(&str, &str)]) -> Paths {
    let pairs = pairs.iter().map(|(name, value)| (name.into(), value.into()));
    let environment = Environment::from_pairs(pairs).in_directory("/work".into());
    Paths::with_entry(&environment, face, 7001, Some("/entry".into()))
}

fn cache(face: Face, pairs: &[(&str, &str)]) -> (String, bool) {
    let place = paths(face, pairs).cache().unwrap();
    (place.path.to_str().unwrap().to_owned(), place.is_default)
}

#[test]
fn an_empty_environment_gives_the_places_below_the_passwd_entry() {
    let paths = paths(Face::Orlop, &[]);
    let cache = paths.cache().unwrap();
    assert_eq!(cache, CachePlace { path: "/entry/.cache/orlop".into(), is_default: true });
    assert_eq!(paths.state().unwrap(), Path::new("/entry/.local/state/orlop"));
    assert_eq!(paths.log(&cache).unwrap(), Path::new("/entry/.local/state/orlop/orlopd.log"));
    assert_eq!(paths.settings().unwrap(), Path::new("/entry/.config/orlop/orlop.toml"));
    assert_eq!(paths.list_file().unwrap(), Path::new("/entry/.config/orlop/remote.yaml"));
    assert_eq!(paths.temporary(), Path::new("/tmp"));
    assert_eq!(paths.environment().sent(), [("HOME".into(), "/entry".into())]);
}

#[test]
fn a_relative_home_is_ignored_with_a_warning() {
    let paths = paths(Face::Orlop, &[("HOME", "home/u")]);
    assert_eq!(paths.home().unwrap(), Path::new("/entry"));
    assert_eq!(paths.warnings(), ["HOME is ignored: \"home/u\" is not an absolute path"]);
}

#[test]
fn without_any_home_named_places_remain_and_the_others_are_errors() {
    let environment = Environment::from_pairs([("ORLOP_CACHEDIR".into(), "/c".into())]);
    let paths = Paths::with_entry(&environment, Face::Orlop, 7001, None);
    assert_eq!(paths.cache().unwrap(), CachePlace { path: "/c".into(), is_default: false });
    let error = paths.list_file().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the list file: HOME is not set and user 7001 has no passwd entry"
    );
    assert_eq!(paths.credential_files().write, None);
    assert_eq!(paths.user_registries(), None);
}

#[test]
fn the_cache_is_where_the_first_variable_says() {
    let all = [
        ("ORLOP_CACHEDIR", "/o"),
        ("APPTAINER_CACHEDIR", "/a"),
        ("SINGULARITY_CACHEDIR", "/s"),
        ("XDG_CACHE_HOME", "/x"),
    ];
    let expected = ["/o", "/a/cache/orlop", "/s/cache/orlop", "/x/orlop"];
    for (skipped, expected) in expected.into_iter().enumerate() {
        let (path, is_default) = cache(Face::Orlop, &all[skipped..]);
        assert_eq!((path.as_str(), is_default), (expected, expected == "/x/orlop"));
    }
    assert_eq!(cache(Face::Apptainer, &all[1..]).0, "/a/cache/orlop");
    let (path, is_default) = cache(Face::Apptainer, &all[3..]);
    assert_eq!((path.as_str(), is_default), ("/entry/.apptainer/cache/orlop", false));
}

#[test]
fn spellings_of_the_default_cache_are_the_default_cache() {
    let pairs = [("ORLOP_CACHEDIR", "/entry//.cache/./orlop/")];
    assert_eq!(cache(Face::Orlop, &pairs), ("/entry/.cache/orlop".into(), true));
    assert_eq!(cache(Face::Orlop, &[("ORLOP_CACHEDIR", "c")]), ("/work/c".into(), false));
}

#[test]
fn another_cache_has_a_socket_of_its_own() {
    let name = |pairs: &[(&str, &str)]| {
        let paths = paths(Face::Orlop, pairs);
        match paths.socket(&paths.cache().unwrap()) {
            SocketPlace::Searched { name, .. } => name,
            SocketPlace::Given(path) => panic!("{path:?}"),
        }
    };
    assert_eq!(name(&[]), "orlopd.sock");
    let [one, other] = ["/one", "/other"].map(|path| name(&[("ORLOP_CACHEDIR", path)]));
    assert_ne!(one, other);
    assert!(one.starts_with("orlopd-") && one.len() == "orlopd-.sock".len() + 16, "{one}");
}

#[test]
fn the_socket_is_searched_in_order_unless_it_is_named() {
    let pairs = [("XDG_RUNTIME_DIR", "/r"), ("TMPDIR", "/t"), ("ORLOP_SOCKET", "/s/x.sock")];
    let place = |pairs: &[(&str, &str)]| {
        let paths = paths(Face::Orlop, pairs);
        paths.socket(&paths.cache().unwrap())
    };
    assert_eq!(place(&pairs), SocketPlace::Given("/s/x.sock".into()));
    let expected = SocketPlace::Searched {
        runtime: Some("/r".into()),
        system_runtime: "/run/user/7001".into(),
        temporary: ["/t", "/tmp", "/var/tmp"]
            .map(|place| format!("{place}/orlop-7001").into())
            .into(),
        name: "orlopd.sock".into(),
    };
    assert_eq!(place(&pairs[..2]), expected);
}

fn read(paths: &Paths) -> Vec<String> {
    let files = paths.credential_files().read;
    files.iter().map(|file| file.path.to_str().unwrap().to_owned()).collect()
}

#[test]
fn orlop_reads_docker_s_file_first_and_writes_it() {
    let paths = paths(Face::Orlop, &[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/r")]);
    assert_eq!(
        read(&paths),
        [
            "/h/.docker/config.json",
            "/h/.config/orlop/credentials.json",
            "/r/containers/auth.json",
            "/h/.config/containers/auth.json",
            "/h/.dockercfg",
            "/h/.apptainer/docker-config.json",
        ]
    );
    let files = paths.credential_files();
    assert_eq!(files.to_write(|_| true), Some(Path::new("/h/.docker/config.json")));
    let legacy: Vec<_> = files.read.iter().filter(|file| file.is_legacy).collect();
    assert_eq!(legacy.len(), 1);
    assert_eq!(legacy[0].path, Path::new("/h/.dockercfg"));
}

#[test]
fn docker_config_moves_the_file_for_orlop_alone() {
    let pairs = [("HOME", "/h"), ("DOCKER_CONFIG", "/d")];
    let ours = paths(Face::Orlop, &pairs);
    let own = "/h/.config/orlop/credentials.json";
    assert_eq!(read(&ours)[..3], ["/d/config.json", own, "/run/containers/7001/auth.json"]);
    assert_eq!(ours.credential_files().write, Some("/d/config.json".into()));
    let theirs = paths(Face::Apptainer, &pairs);
    assert!(!read(&theirs).contains(&"/d/config.json".to_owned()));
}

#[test]
fn both_faces_know_both_lists_and_their_own_first() {
    let lists = |face| paths(face, &[("HOME", "/h")]).list_files();
    let [own, other] = ["/h/.config/orlop/remote.yaml", "/h/.apptainer/remote.yaml"];
    assert_eq!(lists(Face::Orlop), [Path::new(own), Path::new(other)]);
    assert_eq!(lists(Face::Apptainer), [Path::new(other), Path::new(own)]);
}

#[test]
fn the_file_of_podmans_variable_is_read_first_and_never_written() {
    for face in [Face::Orlop, Face::Apptainer] {
        let paths = paths(face, &[("HOME", "/h"), ("REGISTRY_AUTH_FILE", "/n/auth.json")]);
        assert_eq!(read(&paths)[0], "/n/auth.json");
        let written = paths.credential_files().to_write(|_| false).unwrap().to_owned();
        assert_eq!(written, Path::new("/h/.docker/config.json"));
    }
}

#[test]
fn apptainer_s_own_file_is_written_where_it_exists() {
    let paths = paths(Face::Apptainer, &[("HOME", "/h"), ("APPTAINER_CONFIGDIR", "/x")]);
    assert_eq!(
        read(&paths)[..3],
        ["/x/docker-config.json", "/x/config.json", "/h/.docker/config.json"]
    );
    let files = paths.credential_files();
    let written = |present: &str| files.to_write(|path| path == Path::new(present));
    assert_eq!(written("/x/docker-config.json"), Some(Path::new("/x/docker-config.json")));
    assert_eq!(written("/x/config.json"), Some(Path::new("/x/config.json")));
    assert_eq!(written("/none"), Some(Path::new("/h/.docker/config.json")));
    assert_eq!(paths.list_file().unwrap(), Path::new("/x/remote.yaml"));
}

#[test]
fn an_empty_override_of_registries_conf_hides_the_second_variable() {
    let second = ("REGISTRIES_CONFIG_PATH", "rel.conf");
    let first = |value| ("CONTAINERS_REGISTRIES_CONF", value);
    let named = |pairs: &[(&str, &str)]| paths(Face::Orlop, pairs).registries_override();
    let expected = Some(("CONTAINERS_REGISTRIES_CONF", PathBuf::from("/r.conf")));
    assert_eq!(named(&[first("/r.conf"), second]), expected);
    assert_eq!(named(&[first(""), second]), None);
    assert_eq!(named(&[second]), Some(("REGISTRIES_CONFIG_PATH", "/work/rel.conf".into())));
    assert_eq!(named(&[]), None);
}

#[test]
fn settings_of_the_containers_tools_are_below_home_and_the_system_directory() {
    let pairs = [("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")];
    let paths = paths(Face::Orlop, &pairs).with_system("/sys".into());
    assert_eq!(paths.user_registries(), Some("/h/.config/containers/registries.conf".into()));
    assert_eq!(paths.user_drop_ins(), Some("/h/.config/containers/registries.conf.d".into()));
    assert_eq!(paths.system_registries(), Path::new("/sys/containers/registries.conf"));
    assert_eq!(paths.system_drop_ins(), Path::new("/sys/containers/registries.conf.d"));
    let expected =
        ["/h/.config/containers/certs.d", "/sys/containers/certs.d", "/sys/docker/certs.d"];
    assert_eq!(paths.certificate_directories(), expected.map(PathBuf::from));
}

#[test]
fn the_passwd_entry_of_root_has_a_home() {
    assert!(passwd::home_of(0).is_some());
    assert_eq!(passwd::home_of(u32::MAX - 7), None);
}
