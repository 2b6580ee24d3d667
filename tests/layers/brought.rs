//! What an image brings along in the places that Orlop itself uses: rows L83 to L88.
//!
//! Each image has links that lead to a directory of the host's; whatever is done with the image, in
//! that directory nothing is made, read into the container or changed. Not here: the texts of
//! Orlop's own files (`crates/image`: `singularity_d`).

use crate::beside::programs;
use crate::tree::{Tree, of_directory, of_sif};
use orlop_kit::image::raw::{Header, Tar};
use orlop_kit::{Image, Layer, Outcome, Person, Site, tools};
use std::path::Path;

/// A site and a directory of the host beside it, which everybody may write to.
struct Host {
    site: Site,
    outside: tempfile::TempDir,
    before: Tree,
}

/// What stands in files of the host that no container may see.
const SECRET: &str = "evil:x:0:0:of the host:/:/bin/probe\n";

impl Host {
    fn new() -> Option<Self> {
        if orlop_kit::image::probe().is_empty() || !tools::user_namespaces() {
            tools::skip("no static C library, or no user namespaces");
            return None;
        }
        let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        // No place that containers are given by default: home and temporary directories are.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let beside = if Person::own().is_root() { Path::new("/srv") } else { target };
        let outside = tempfile::Builder::new().permissions(everybody).tempdir_in(beside).unwrap();
        for name in ["passwd", "group", "sh", "x"] {
            std::fs::write(outside.path().join(name), SECRET).unwrap();
        }
        std::fs::create_dir(outside.path().join("env")).unwrap();
        let before = of_directory(outside.path());
        Some(Self { site: Site::new(&programs()), outside, before })
    }

    fn outside(&self) -> &str {
        self.outside.path().to_str().unwrap()
    }

    /// Pulls [`Image::tiny`] under this layer.
    fn pull(&self, upper: Tar) -> Tree {
        let image = Image::tiny().layer(Layer::raw(upper.end())).build();
        let layout = self.site.work().join("layout");
        image.write_layout(&layout, "1").unwrap();
        self.site.orlop(["pull", "--force", "a.sif", "oci:layout:1"]).success();
        std::fs::remove_dir_all(layout).unwrap();
        let tree = of_sif(&self.site.work().join("a.sif"));
        self.is_unchanged();
        tree
    }

    fn exec(&self, words: &[&str]) -> Outcome {
        let outcome = self.site.orlop(["exec", "a.sif"].into_iter().chain(words.iter().copied()));
        assert!(!outcome.stdout.contains(SECRET), "{}", outcome.report());
        self.is_unchanged();
        outcome
    }

    #[track_caller]
    fn is_unchanged(&self) {
        assert_eq!(of_directory(self.outside.path()), self.before);
    }
}

#[track_caller]
fn is(tree: &Tree, path: &str, words: &str) {
    let found = tree.get(path.as_bytes()).map(|node| node.words.as_str());
    assert_eq!(found, Some(words), "{path}");
}

/// Says `there` from inside.
const WORKS: [&str; 3] = ["/bin/probe", "args", "there"];

#[test]
fn l83_a_singularity_d_that_is_a_link_to_the_host_is_replaced_and_runs() {
    let Some(host) = Host::new() else { return };
    for target in [host.outside().to_owned(), format!("../../../../..{}", host.outside())] {
        let upper = Tar::new().symlink(".singularity.d", &target);
        let upper = upper.file(".singularity.d/env/10-evil.sh", b"exit 9\n");
        let tree = host.pull(upper);
        is(&tree, ".singularity.d", "dir 755");
        assert!(!tree.contains_key(&b".singularity.d/env/10-evil.sh"[..]));
        host.exec(&WORKS).success().prints("there\n");
    }
    is(&host.pull(Tar::new().file(".singularity.d", b"file")), ".singularity.d", "dir 755");
    host.exec(&WORKS).success().prints("there\n");
}

#[test]
fn l84_standard_files_that_are_links_to_the_host_are_replaced_and_others_stay() {
    let Some(host) = Host::new() else { return };
    let secret = format!("{}/x", host.outside());
    let upper = Tar::new()
        .symlink(".singularity.d/runscript", &secret)
        .symlink(".singularity.d/labels.json", &secret)
        .symlink(".singularity.d/actions/run", &secret)
        .file(".singularity.d/env/98-mine.sh", b"export MINE=kept\n");
    let tree = host.pull(upper);
    for (path, start) in [("runscript", "file 755 "), ("labels.json", "file 644 ")] {
        let node = &tree[format!(".singularity.d/{path}").as_bytes()];
        assert!(node.words.starts_with(start), "{node}");
    }
    is(&tree, ".singularity.d/env/98-mine.sh", "file 644 export MINE=kept\\n");
    host.exec(&WORKS).success().prints("there\n");
    host.site.orlop(["run", "a.sif", "args", "there"]).success().prints("there\n");
    host.is_unchanged();
}

#[test]
fn l85_files_that_are_bound_over_links_to_the_host_stay_inside() {
    let Some(host) = Host::new() else { return };
    for target in ["/etc/nothing", &format!("{}/x", host.outside()), "resolv.conf"] {
        let upper = Tar::new().symlink("etc/resolv.conf", target).symlink("etc/hosts", target);
        let tree = host.pull(upper);
        is(&tree, "etc/resolv.conf", "file 644 ");
        is(&tree, "etc/hosts", "file 644 ");
        host.exec(&WORKS).success().prints("there\n");
        host.exec(&["/bin/probe", "cat", "/etc/resolv.conf"]).success();
    }
}

#[test]
fn l86_accounts_that_are_no_small_regular_files_of_the_image_are_not_read() {
    let Some(host) = Host::new() else { return };
    let outside = format!("{}/", host.outside());
    let node = |kind: u8, name: &'static str| Header { device: (1, 3), ..Header::new(kind, name) };
    let large = vec![b'\n'; (16 << 20) + 1];
    let both = |make: &dyn Fn(Tar, &'static str) -> Tar| {
        ["etc/passwd", "etc/group"].into_iter().fold(Tar::new(), make)
    };
    let cases = [
        both(&|tar, name| tar.symlink(name, &format!("{outside}{}", &name[4..]))),
        both(&|tar, name| tar.symlink(name, &format!("../../../../{outside}{}", &name[4..]))),
        both(&|tar, name| tar.header(&node(b'6', name))),
        both(&|tar, name| tar.header(&node(b'3', name))),
        both(&|tar, name| tar.dir(name, 0o755)),
        both(&|tar, name| tar.symlink(name, &name[4..])),
        both(&|tar, name| tar.file(name, &large)),
    ];
    for (number, upper) in cases.into_iter().enumerate() {
        host.pull(upper);
        let outcome = host.exec(&WORKS);
        assert_eq!(outcome.status, 0, "case {number}: {}", outcome.report());
        for name in ["passwd", "group"] {
            let said = format!("WARNING: {name} file");
            assert!(outcome.stderr.contains(&said), "case {number}: {}", outcome.report());
        }
        assert!(!host.exec(&["/bin/probe", "ls", "/etc"]).stdout.contains("evil"));
    }
}

#[test]
fn l87_places_that_are_links_or_files_or_missing_get_real_directories() {
    let Some(host) = Host::new() else { return };
    let places = ["proc", "sys", "dev", "tmp", "home", "root", "var"];
    let each = |make: &dyn Fn(Tar, &str) -> Tar| places.into_iter().fold(Tar::new(), make);
    let cases = [
        each(&|tar, name| tar.symlink(name, host.outside())),
        each(&|tar, name| tar.symlink(name, &format!("../../../..{}", host.outside()))),
        each(&|tar, name| tar.symlink(name, name)),
        each(&|tar, name| tar.file(name, b"file")),
        each(&|tar, name| tar.file(&format!(".wh.{name}"), b"")),
    ];
    for (number, upper) in cases.into_iter().enumerate() {
        host.pull(upper);
        let outcome = host.exec(&["/bin/probe", "status", "NoNewPrivs"]);
        assert_eq!(
            (outcome.status, outcome.stdout.as_str()),
            (0, "1\n"),
            "case {number}: {}",
            outcome.report()
        );
        let write = ["/bin/probe", "write", "/dev/null", "x"];
        assert_eq!(host.exec(&write).status, 0, "case {number}");
    }
}

#[test]
fn l88_programs_behind_loops_and_links_to_the_host_end_in_a_fatal_message() {
    let Some(host) = Host::new() else { return };
    let outside = format!("{}/sh", host.outside());
    for target in ["sh", "../bin/sh", &outside, &format!("../../../..{outside}")] {
        host.pull(Tar::new().symlink("bin/sh", target));
        let outcome = host.exec(&["/bin/sh", "-c", "true"]).fails(255);
        assert!(outcome.stderr.contains("FATAL:"), "{}", outcome.report());
    }
    let linked = Path::new("/bin/true");
    for target in ["lib64", "/lib64", host.outside()] {
        let upper = Tar::new().symlink("lib64", target).symlink("lib", target);
        let program = std::fs::read(linked).unwrap();
        let header = Header { mode: 0o755, data: &program, ..Header::new(b'0', "bin/linked") };
        host.pull(upper.header(&header));
        let outcome = host.exec(&["/bin/linked"]).fails(255);
        assert!(outcome.stderr.contains("FATAL:"), "{}", outcome.report());
    }
    for target in ["etc", "/etc", "../../etc"] {
        host.pull(Tar::new().symlink("etc", target));
        let outcome = host.exec(&WORKS).fails(255);
        assert!(outcome.stderr.contains("FATAL:"), "{}", outcome.report());
    }
    host.pull(Tar::new().symlink("etc", host.outside()));
    host.exec(&WORKS).success().prints("there\n");
    let listed = host.exec(&["/bin/probe", "ls", "/etc"]).success().stdout;
    assert!(listed.contains("hosts") && !listed.contains("env"), "{listed}");
}
