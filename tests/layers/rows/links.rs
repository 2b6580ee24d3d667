//! Links: rows L27 to L43.

use super::{Row, hold};
use orlop_kit::image::raw::{Header, Tar};

#[test]
fn l27_to_l37_hard_links_give_the_tree_that_umoci_unpacks() {
    let told =
        Header { link: b"a/f", mode: 0o4777, uid: 5, size: Some(512), ..Header::new(b'1', "x") };
    let many = (0..200).fold(Tar::new(), |tar, number| tar.link(&format!("h{number}"), "a/f"));
    let without = |kind: u8| {
        let header = Header { link: b"a", size: Some(512), ..Header::new(kind, "x") };
        Tar::new().header(&header).file("after", b"after")
    };
    hold(vec![
        Row::new("L27", Tar::new().link("new", "a/f"))
            .has("new", "file 644 old")
            .same("new", "a/f"),
        Row::new("L28", Tar::new().link("new", "nope")).refused("not there"),
        Row::new("L28", Tar::new().link("new", "later").file("later", b"")).refused("not there"),
        Row::new("L28", Tar::new().link("new", "new")).refused("not there"),
        Row::new("L28", Tar::new().link("x", "y").link("y", "x")).refused("not there"),
        // umoci loses the file.
        Row::new("L29", Tar::new().link("a/f", "a/f"))
            .has("a/f", "file 644 old")
            .warns("hard links to themselves")
            .ours(),
        // umoci removes the target first.
        Row::new("L30", Tar::new().file("a/.wh.f", b"").link("kept", "a/f"))
            .has("kept", "file 644 old")
            .has_not("a/f")
            .ours(),
        Row::new("L30", Tar::new().link("kept", "a/f").file("a/.wh.f", b""))
            .has("kept", "file 644 old")
            .has_not("a/f"),
        Row::new("L31", Tar::new().link("new", "a/d")).refused("directory"),
        Row::new("L32", Tar::new().link("new", "ln")).has("new", "-> a").same("new", "ln"),
        Row::new("L33", Tar::new().link("x", "../../../a/f")).same("x", "a/f"),
        Row::new("L33", Tar::new().link("x", "/a/f")).same("x", "a/f"),
        Row::new("L33", Tar::new().link("x", "ln/f")).same("x", "a/f"),
        Row::new("L34", Tar::new().pax(&[("SCHILY.xattr.user.a", b"v")]).header(&told))
            .has("x", "file 644 old")
            .same("x", "a/f"),
        Row::new("L35", Tar::new().header(&told).file("after", b"after"))
            .has("after", "file 644 after"),
        Row::new("L35", without(b'2')).has("after", "file 644 after"),
        Row::new("L35", without(b'3')).has("after", "file 644 after"),
        Row::new("L35", without(b'5')).has("after", "file 644 after"),
        Row::new("L35", without(b'6')).has("after", "file 644 after"),
        Row::new("L36", Tar::new().link("h1", "a/f").link("h2", "h1")).same("h2", "a/f"),
        Row::new("L36", many)
            .same("h0", "h199")
            .check(|tree| assert_eq!(tree[&b"h7"[..]].links, 201)),
        Row::new("L37", Tar::new().link("kept", "a/f").file("a/f", b"new"))
            .has("kept", "file 644 old")
            .has("a/f", "file 644 new"),
    ]);
}

#[test]
fn l38_to_l43_symbolic_links_give_the_tree_that_umoci_unpacks() {
    let target = |length| {
        let target = vec![b't'; length];
        Tar::new().pax(&[("linkpath", &target)]).symlink("x", "")
    };
    hold(vec![
        Row::new(
            "L38",
            Tar::new()
                .symlink("1", "/etc/shadow")
                .symlink("2", "../../../x")
                .symlink("3", "/proc/self/fd/3"),
        )
        .has("1", "-> /etc/shadow")
        .has("2", "-> ../../../x")
        .has("3", "-> /proc/self/fd/3"),
        Row::new("L38", target(4095)).has("x", &format!("-> {}", "t".repeat(4095))),
        Row::new("L38", target(4096)).refused("path-bytes"),
        Row::new("L39", Tar::new().symlink("x", "")).refused("target"),
        Row::new("L40", Tar::new().symlink("l1", "l2").symlink("l2", "l1").file("l1/x", b""))
            .refused("40 symbolic links"),
        Row::new("L41", Tar::new().file("ln/new", b"new"))
            .has("a/new", "file 644 new")
            .has("ln", "-> a"),
        Row::new("L42", Tar::new().symlink("out", "/tmp/x").file("out/new", b"new"))
            .has("tmp/x/new", "file 644 new")
            .has("out", "-> /tmp/x"),
        Row::new("L42", Tar::new().symlink("out", "../../../host").file("out/new", b"new"))
            .has("host/new", "file 644 new")
            .has("out", "-> ../../../host"),
        Row::new("L43", Tar::new().dir("ln/", 0o711).file("ln/new", b"new"))
            .has("ln", "dir 711")
            .has("ln/new", "file 644 new")
            .has_not("a/new"),
    ]);
}
