//! The settings file and the variables before it. Not here: limits.

use super::*;
use crate::paths::Face;

fn parse(text: &str) -> Result<Settings, Error> {
    Settings::parse(Path::new("orlop.toml"), text)
}

fn refusal(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn all_settings_are_read() {
    let text = "[image]\ncompression = 'gzip'\nlevel = 9\n[cache]\nmax = '1.5GiB'\n\
                keep-layers = true\n\
                [daemon]\nidle-exit = '2min'\n[registry]\noras-mirrors = true\n\
                foreign-layers = true\n[network]\nproxy = 'http://p.example:3128'\n\
                no-proxy = 'a.example'\n";
    let expected = Settings {
        compression: Compression::Gzip,
        level: Some(9),
        cache_max_bytes: Some(3 << 29),
        keep_layers: true,
        idle_exit: Duration::from_secs(120),
        oras_mirrors: true,
        foreign_layers: true,
        network: Network {
            proxy: Some("http://p.example:3128".to_owned()),
            no_proxy: "a.example".to_owned(),
        },
        limits: Limits::default(),
    };
    assert_eq!(parse(text).unwrap(), expected);
    assert_eq!(parse("").unwrap(), Settings::default());
}

#[test]
fn an_unknown_key_is_an_error_with_line_and_nearest_key() {
    assert_eq!(
        refusal("[image]\nlevel = 3\ncompresion = 'zstd'\n"),
        "orlop.toml:3: there is no setting \"image.compresion\"; the nearest is \
         \"image.compression\""
    );
    assert!(refusal("idle_exit = 3\n").ends_with("the nearest is \"daemon.idle-exit\""));
    assert!(refusal("\n[cach]\nmax = 3\n").starts_with("orlop.toml:3: "));
}

#[test]
fn a_value_of_the_wrong_kind_is_an_error_with_its_line() {
    let rows = [
        ("[image]\ncompression = 'xz'\n", 2, "image.compression has to be \"zstd\" or \"gzip\""),
        ("[image]\n\nlevel = -1\n", 3, "image.level has to be a number"),
        ("[image]\nlevel = 20\n", 2, "image.level: 20 is not one of the levels 1 to 19"),
        (
            "[image]\nlevel = 13\ncompression = 'gzip'\n",
            2,
            "image.level: 13 is not one of the levels 1 to 12",
        ),
        ("[cache]\nmax = 'lots'\n", 2, "cache.max has to be bytes such as \"50GiB\""),
        (
            "[cache]\nmax = 1000000000000000000000000000000\n",
            2,
            "cache.max has to be bytes such as \"50GiB\"",
        ),
        ("[cache]\nkeep-layers = 'yes'\n", 2, "cache.keep-layers has to be true or false"),
        ("[daemon]\nidle-exit = true\n", 2, "daemon.idle-exit has to be a time such as \"10min\""),
    ];
    for (text, line, problem) in rows {
        assert_eq!(refusal(text), format!("orlop.toml:{line}: {problem}"));
    }
    assert!(refusal("[image\n").starts_with("orlop.toml:1: "));
}

#[test]
fn a_proxy_that_is_none_is_refused_without_its_value() {
    for value in ["'ftp://u:canary@p:1'", "'http://'", "3", "'a b canary'"] {
        let said = refusal(&format!("[network]\nproxy = {value}\n"));
        assert!(said.starts_with("orlop.toml:2: network.proxy has to be http://"), "{said}");
        assert!(!said.contains("canary"), "{said}");
    }
    assert!(refusal("[network]\nno-proxy = ['a']\n").contains("2: network.no-proxy has to be"));
    assert!(refusal("[network]\nproxi = 'a'\n").ends_with("the nearest is \"network.proxy\""));
    assert_eq!(parse("[network]\nproxy = ''\n").unwrap(), Settings::default());
    let shown = format!("{:?}", parse("[network]\nproxy = 'http://u:canary@p:1'\n").unwrap());
    assert!(!shown.contains("canary"), "{shown}");
}

#[test]
fn amounts_are_read_with_their_units() {
    let bytes = [("0", 0), ("12", 12), ("1k", 1024), ("1 KB", 1000), ("0.5GiB", 1 << 29)];
    for (text, expected) in bytes {
        assert_eq!(parse_bytes(text), Some(expected), "{text}");
    }
    for text in ["", "GiB", "1.2.3", "-1", "1e3", "99999999999TiB", "1 XB", ".5"] {
        assert_eq!(parse_bytes(text), None, "{text}");
    }
    let times = [("90", 90_000), ("500ms", 500), ("1.5h", 5_400_000), ("2 d", 172_800_000)];
    for (text, expected) in times {
        assert_eq!(parse_duration(text), Some(Duration::from_millis(expected)), "{text}");
    }
}

#[test]
fn a_variable_replaces_the_file_s_value() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join(".config/orlop");
    std::fs::create_dir_all(&directory).unwrap();
    let environment = Environment::default().with("HOME", root.path());
    let load = |environment: &Environment| {
        Settings::load(&Paths::with_entry(environment, Face::Orlop, 7001, None))
    };
    assert_eq!(load(&environment).unwrap(), Settings::default());
    std::fs::write(directory.join("orlop.toml"), "[cache]\nmax = 5\n").unwrap();
    assert_eq!(load(&environment).unwrap().cache_max_bytes, Some(5));
    let with_variable = environment.clone().with("ORLOP_CACHE_MAX", "7K");
    assert_eq!(load(&with_variable).unwrap().cache_max_bytes, Some(7168));
    let keep = |value: &str| load(&environment.clone().with("ORLOP_CACHE_KEEP_LAYERS", value));
    for (on, off) in [("true", "false"), ("1", "0"), ("t", "f"), ("T", "F"), ("TRUE", "FALSE")] {
        assert!(keep(on).unwrap().keep_layers && !keep(off).unwrap().keep_layers, "{on}, {off}");
    }
    let said = keep("often").unwrap_err().to_string();
    assert!(said.contains("ORLOP_CACHE_KEEP_LAYERS") && said.contains("true or false"), "{said}");
    let error = load(&environment.with("ORLOP_CACHE_MAX", "much")).unwrap_err();
    assert!(
        matches!(error, Error::Variable { ref name, .. } if name == "ORLOP_CACHE_MAX"),
        "{error:?}"
    );
}
