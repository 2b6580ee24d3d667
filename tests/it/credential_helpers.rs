//! Credential helpers that Orlop uses, good and bad: `docker-credential-test` is a shell script.
//!
//! The ids are the rows of the design notes on reliability. Each state is tried for `credHelpers`
//! and for `credsStore`. Not here: Orlop as a helper of others (`credential_helper`).

use crate::world::{SECRET, USER, basic, bearer, log_in, script, site};
use orlop_kit::{Auth, Image, Outcome, Registry, Site, any, tools};
use std::time::{Duration, Instant};

const CONFIG: &str = ".docker/config.json";

/// A registry, and a site whose PATH begins with its own `bin`.
fn world(auth: Auth) -> (Registry, Site) {
    let registry = Registry::new().auth(auth).image("a:1", Image::tiny()).start();
    let site = site(&registry);
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", site.root().join("bin").display());
    (registry, site.env("PATH", path))
}

fn pull(site: &Site, registry: &Registry) -> Outcome {
    site.orlop(["pull", "--force", "a.sif", &registry.docker("a:1")])
}

/// Both ways to name the helper `test`, written into the default file one after the other.
fn both_ways(site: &Site, host: &str, helper: &str, mut check: impl FnMut(&str)) {
    let helper = serde_json::json!(helper);
    for text in [
        format!(r#"{{"credHelpers":{{"{host}":{helper}}}}}"#),
        format!(r#"{{"credsStore":{helper}}}"#),
    ] {
        site.write_home(CONFIG, text.as_bytes());
        check(&text);
        assert_eq!(site.read_home(CONFIG).unwrap(), text);
    }
}

/// The answer of a good helper.
fn good() -> String {
    format!(r#"echo '{{"Username":"{USER}","Secret":"{SECRET}"}}'"#)
}

#[test]
fn s29_a_missing_helper_is_a_warning_for_a_pull_and_stops_a_login() {
    let (registry, site) = world(bearer(true));
    let at = site.root().join("bin/docker-credential-test");
    for state in ["missing", "not executable", "a directory", "of another machine"] {
        match state {
            "missing" => {}
            "not executable" => std::fs::write(&at, "#!/bin/sh\n").unwrap(),
            "a directory" => {
                std::fs::remove_file(&at).unwrap();
                std::fs::create_dir(&at).unwrap();
            }
            _ => {
                std::fs::remove_dir(&at).unwrap();
                script(&site, "docker-credential-test", "");
                // A program for a machine that does not exist.
                let mut elf = std::fs::read("/bin/true").unwrap();
                elf[18..20].copy_from_slice(&[0xfe, 0xca]);
                std::fs::write(&at, elf).unwrap();
            }
        }
        both_ways(&site, &registry.host(), "test", |_| {
            let outcome = pull(&site, &registry).success();
            let said = "WARNING: credential helper docker-credential-test ";
            assert!(outcome.stderr.contains(said), "{state}: {}", outcome.report());
            let outcome = log_in(&site, &registry, &[]).fails(255);
            assert!(outcome.stderr.contains("docker-credential-test"), "{}", outcome.report());
            assert!(!outcome.stderr.contains("Token stored"), "{}", outcome.report());
        });
        assert_eq!(site.read_home(".config/orlop/remote.yaml"), None);
    }
}

#[test]
fn s30_a_helper_without_the_login_is_silent() {
    for words in ["", " ", "\\n", "  \\n\\n"] {
        let (registry, site) = world(bearer(true));
        let text = format!("printf ' credentials not found in native keychain{words}'; exit 1");
        script(&site, "docker-credential-test", &text);
        both_ways(&site, &registry.host(), "test", |_| {
            let outcome = pull(&site, &registry).success();
            assert!(!outcome.stderr.contains("helper"), "{}", outcome.report());
        });
    }
}

#[test]
fn s31_a_helper_that_fails_fails_the_pull_in_its_own_words() {
    let (registry, site) = world(bearer(true));
    for (text, said) in [
        ("printf 'no\\033 bus\\nhere'; exit 1", r"docker-credential-test says: no\u{1b} bus\nhere"),
        ("head -c 900000 /dev/zero | tr '\\0' x; exit 1", "says: xxxx"),
        ("head -c 10000000 /dev/zero | tr '\\0' x; exit 1", "more than 1048576 bytes"),
        ("kill -9 $$", "docker-credential-test was killed"),
    ] {
        script(&site, "docker-credential-test", text);
        both_ways(&site, &registry.host(), "test", |_| {
            let outcome = pull(&site, &registry).fails(255);
            assert!(outcome.stderr.contains(said), "{}", outcome.report());
            assert!(outcome.stderr.matches('x').count() < 1100, "{}", outcome.report());
        });
    }
}

#[test]
fn s32_an_answer_that_is_not_the_protocols_is_refused_and_nothing_is_sent() {
    let (registry, site) = world(basic());
    for answer in [
        "garbage",
        "<html></html>",
        "{}",
        r#"{"Username":"u","Secret":""}"#,
        r#"{"Username":"u","Secret":"a","Secret":"s3cret"}"#,
        r#"{"ServerURL":"other.example","Username":"u","Secret":"s3cret"}"#,
        r#"{"ServerURL":"other.example","Username":"u","Secret":"#,
    ] {
        script(&site, "docker-credential-test", &format!("echo '{answer}'"));
        both_ways(&site, &registry.host(), "test", |_| {
            registry.forget();
            let outcome = pull(&site, &registry).fails(255);
            assert!(outcome.stderr.contains("docker-credential-test"), "{}", outcome.report());
            let sent = |name| registry.of(&any()).iter().any(|one| one.header(name).is_some());
            assert!(!sent("authorization"), "{}", registry.log());
        });
    }
    let long = "printf '{\"Username\":\"u\",\"Secret\":\"'; head -c 1048577 /dev/zero | tr '\\0' x; echo '\"}'";
    script(&site, "docker-credential-test", long);
    both_ways(&site, &registry.host(), "test", |_| {
        pull(&site, &registry).fails(255).says("more than 1048576 bytes");
    });
}

#[test]
fn s33_a_child_that_keeps_the_output_holds_nobody_up_and_is_ended() {
    let (registry, site) = world(basic());
    let text = format!("{}\nsleep 1000 & echo $! > $HOME/child", good());
    script(&site, "docker-credential-test", &text);
    let began = Instant::now();
    both_ways(&site, &registry.host(), "test", |_| {
        pull(&site, &registry).success();
        let child = site.read_home("child").unwrap();
        orlop_kit::until_true("the helper's child ends", || {
            // Nobody's child any more, it may be a zombie for a moment.
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.trim()));
            stat.map_or(true, |stat| stat.contains(") Z "))
        });
    });
    assert!(began.elapsed() < Duration::from_secs(20));
}

/// Says whether a process has ended; nobody's child any more, it may be a zombie for a moment.
fn has_ended(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    stat.map_or(true, |stat| stat.contains(") Z "))
}

#[test]
fn s33_a_helper_that_does_not_answer_is_killed_after_its_time_and_nothing_is_pulled() {
    let (registry, site) = world(basic());
    let site = site.env("ORLOP_LIMITS_HELPER_TIME", "300ms");
    let answers = "gave no answer within 300ms";
    for (hangs, words) in [
        ("sleep 1000", answers),
        ("trap '' TERM INT HUP; sleep 1000; sleep 1000", answers),
        ("exec >&-; sleep 1000", "does not end"),
    ] {
        let text = format!("echo $$ > $HOME/asked; {hangs}");
        script(&site, "docker-credential-test", &text);
        both_ways(&site, &registry.host(), "test", |_| {
            let began = Instant::now();
            let outcome = pull(&site, &registry).fails(255).says("docker-credential-test");
            let took = began.elapsed();
            assert!(outcome.stderr.contains(words), "{hangs}: {}", outcome.report());
            assert!(took >= Duration::from_millis(300), "{hangs}: {took:?}");
            assert!(took < Duration::from_secs(10), "{hangs}: {took:?}");
            let asked = site.read_home("asked").unwrap();
            orlop_kit::until_true("the helper has ended", || has_ended(&asked));
            assert!(!site.work().join("a.sif").exists(), "{hangs}");
        });
    }
    // A login that this process keeps itself.
    site.write_work("named.json", br#"{"credsStore":"test"}"#);
    let words = "credential helper docker-credential-test does not end";
    log_in(&site, &registry, &["--authfile", "named.json"]).fails(255).says(words);
}

#[test]
fn s33_an_interrupt_ends_the_command_at_once_though_the_helper_hangs() {
    let (registry, site) = world(basic());
    script(&site, "docker-credential-test", "trap '' TERM; touch $HOME/asked; sleep 1000");
    both_ways(&site, &registry.host(), "test", |_| {
        drop(std::fs::remove_file(site.home().join("asked")));
        let image = registry.docker("a:1");
        let running = site.run(["pull", "--force", "a.sif", &image]).start();
        orlop_kit::until_true("the helper is asked", || site.home().join("asked").exists());
        let began = Instant::now();
        running.signal(rustix::process::Signal::INT);
        assert_ne!(running.outcome().status, 0);
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    });
}

#[test]
fn s33_an_interrupt_of_a_login_ends_the_helper_that_it_started() {
    let (registry, site) = world(basic());
    script(&site, "docker-credential-test", "trap '' TERM INT; echo $$ > $HOME/asked; sleep 1000");
    site.write_work("named.json", br#"{"credsStore":"test"}"#);
    let uri = format!("docker://{}", registry.host());
    let words = ["registry", "login", "-u", USER, "--password-stdin", "--authfile", "named.json"];
    let running = site.run(words.into_iter().chain([uri.as_str()])).input(SECRET).start();
    let asked = || site.read_home("asked").filter(|pid| pid.ends_with('\n'));
    orlop_kit::until_true("the helper is asked", || asked().is_some());
    let pid = asked().unwrap();
    let began = Instant::now();
    running.signal(rustix::process::Signal::INT);
    assert_ne!(running.outcome().status, 0);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    orlop_kit::until_true("the helper has ended", || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        stat.map_or(true, |stat| stat.contains(") Z "))
    });
    let named = std::fs::read_to_string(site.work().join("named.json")).unwrap();
    assert_eq!(named, r#"{"credsStore":"test"}"#);
}

#[test]
fn s34_a_helper_that_reads_nothing_and_talks_on_stderr_works_unseen() {
    let (registry, site) = world(basic());
    let site = site.env("ORLOP_LOG", "debug");
    let text = format!(
        "head -c 1000000 /dev/zero | tr '\\0' y >&2\necho {SECRET} >&2\n\
         case $1 in get) {};; esac",
        good()
    );
    script(&site, "docker-credential-test", &text);
    both_ways(&site, &registry.host(), "test", |_| {
        let outcome = pull(&site, &registry).success();
        assert!(!outcome.stderr.contains("yyyy"), "{}", outcome.report());
    });
    let text = format!("echo seen {SECRET} >&2; {}", good());
    script(&site, "docker-credential-test", &text);
    both_ways(&site, &registry.host(), "test", |_| {
        pull(&site, &registry).success();
    });
    let text = format!("echo a word aside >&2; {}", good());
    script(&site, "docker-credential-test", &text);
    both_ways(&site, &registry.host(), "test", |_| {
        pull(&site, &registry).success();
    });
    let logs = site.tree(&site.home());
    let logs = logs.iter().filter(|path| path.ends_with(".log"));
    let log: String = logs.filter_map(|path| site.read_home(path)).collect();
    assert!(log.contains("a word aside"), "stderr is in the log at debug: {log}");
    assert!(!log.contains(SECRET), "and no secret is: {log}");
}

#[test]
fn s35_a_name_that_leads_elsewhere_starts_nothing() {
    let (registry, site) = world(bearer(true));
    script(&site, "docker-credential-test", "touch $HOME/started");
    for name in ["../x", "/bin/sh", "a b", "$(id)", "", ".", "test/../test", "te\u{fc}st"] {
        both_ways(&site, &registry.host(), name, |_| {
            registry.forget();
            for outcome in [pull(&site, &registry), log_in(&site, &registry, &[])] {
                let outcome = outcome.fails(255);
                assert!(outcome.stderr.contains("config.json:1:"), "{name}: {}", outcome.report());
            }
            assert_eq!(registry.count(&any()), 0, "{name}: {}", registry.log());
        });
    }
    assert!(!site.home().join("started").exists());
}

#[test]
fn s36_a_helper_is_not_looked_for_in_the_current_directory() {
    let (registry, site) = world(bearer(true));
    let made = script(&site, "docker-credential-here", "touch $HOME/started");
    rustix::fs::rename(&made, site.work().join("docker-credential-here")).unwrap();
    for path in [".:/usr/bin:/bin", ":/usr/bin:/bin", "/usr/bin:/bin:", "../work:/usr/bin:/bin"] {
        both_ways(&site, &registry.host(), "here", |_| {
            let words = ["pull", "--force", "a.sif", &registry.docker("a:1")];
            let outcome = site.run(words).env("PATH", path).outcome().success();
            assert!(outcome.stderr.contains("is not on PATH"), "{}", outcome.report());
        });
    }
    assert!(!site.home().join("started").exists());
}

#[test]
fn s37_a_helper_gets_the_callers_environment_three_descriptors_and_no_secret_in_argv() {
    let (registry, site) = world(basic());
    let text = format!(
        "cat > $HOME/stdin-$1; env > $HOME/env; ls /proc/self/fd > $HOME/fds; \
         tr '\\0' ' ' < /proc/$$/cmdline > $HOME/argv-$1; case $1 in get) {};; esac",
        good()
    );
    script(&site, "docker-credential-test", &text);
    both_ways(&site, &registry.host(), "test", |_| {
        let image = registry.docker("a:1");
        let run = site.run(["pull", "--force", "a.sif", &image]);
        let run = run.env("AWS_PROFILE", "mine").env("SOME_PASSWORD", "canary-1");
        // Halves, so that they are no login for the pull.
        let run = run.env("ORLOP_DOCKER_PASSWORD", "canary-2").env("AWS_PASSWORD", "canary-3");
        run.outcome().success();
        let env = site.read_home("env").unwrap();
        assert!(env.contains("AWS_PROFILE=mine\n"), "{env}");
        assert!(env.contains(&format!("HOME={}\n", site.home().display())), "{env}");
        assert!(!env.contains("canary"), "{env}");
        let fds = site.read_home("fds").unwrap();
        let fds: Vec<&str> = fds.split_whitespace().collect();
        assert_eq!(fds, ["0", "1", "2", "3"], "3 is the listing itself");
        assert_eq!(site.read_home("stdin-get").unwrap(), registry.host());
    });
    // A login by the helper: the secret is on stdin and nowhere else.
    let text = format!(r#"{{"credHelpers":{{"{}":"test"}}}}"#, registry.host());
    site.write_home(CONFIG, text.as_bytes());
    log_in(&site, &registry, &[]).success();
    let argv = site.read_home("argv-store").unwrap();
    assert!(argv.trim_end().ends_with("docker-credential-test store"), "{argv}");
    let stdin: serde_json::Value =
        serde_json::from_str(&site.read_home("stdin-store").unwrap()).unwrap();
    assert_eq!(stdin["Secret"], SECRET);
    assert_eq!(stdin["ServerURL"], registry.host());
    assert!(!site.read_home(CONFIG).unwrap().contains("auth\""));
}

#[test]
fn a_real_helper_keeps_what_a_login_gives_it_and_a_logout_takes_it_back() {
    // Any of those that Debian has and that works without a session.
    let Some([_pass, _gpg, _helper]) = tools::all(["pass", "gpg", "docker-credential-pass"]) else {
        return;
    };
    let (registry, site) = world(basic());
    let key = "gpg --batch --passphrase '' --quick-generate-key kit default default never && pass init kit";
    site.program(std::path::Path::new("/bin/sh"), ["-c", key]).outcome().success();
    site.write_home(CONFIG, br#"{"credsStore":"pass"}"#);
    log_in(&site, &registry, &[]).success();
    assert!(site.read_home(CONFIG).unwrap().contains(&registry.host()));
    pull(&site, &registry).success();
    let outcome = site.orlop(["registry", "logout", "--all"]).success();
    assert!(outcome.stderr.contains("docker-credential-pass"), "{}", outcome.report());
    pull(&site, &registry).fails(255);
}
