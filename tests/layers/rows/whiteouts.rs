//! Whiteouts: rows L59 to L70.

use super::{Row, hold};
use orlop_kit::image::raw::Tar;

fn new(tar: Tar) -> Tar {
    tar.file("a/f", b"new")
}

fn opaque(tar: Tar, directory: &str) -> Tar {
    tar.file(&format!("{directory}.wh..wh..opq"), b"")
}

#[test]
fn l59_to_l66_whiteouts_give_the_tree_that_umoci_unpacks() {
    hold(vec![
        Row::new("L59", Tar::new().file(".wh.nope", b"")).has_not("nope"),
        // umoci makes the parents of a whiteout.
        Row::new("L59", Tar::new().file("x/y/.wh.z", b"")).has_not("x").except(&["x"]),
        Row::new("L60", new(Tar::new().file("a/.wh.f", b""))).has("a/f", "file 644 new"),
        Row::new("L60", new(Tar::new()).file("a/.wh.f", b"")).has("a/f", "file 644 new"),
        Row::new("L61", new(opaque(Tar::new(), "a/")))
            .has("a/f", "file 644 new")
            .has_not("a/g")
            .has_not("a/d"),
        Row::new("L61", opaque(new(Tar::new()), "a/"))
            .has("a/f", "file 644 new")
            .has_not("a/g")
            .has_not("a/d"),
        Row::new("L62", opaque(Tar::new().file("new", b"new"), ""))
            .has("new", "file 644 new")
            .has_not("a")
            .has_not("top"),
        Row::new("L62", opaque(Tar::new(), "").file("new", b"new"))
            .has("new", "file 644 new")
            .has_not("a")
            .has_not("top"),
        Row::new("L63", opaque(Tar::new(), "zz/")).has_not("zz").except(&["zz"]),
        Row::new("L64", opaque(Tar::new(), "a/").dir("a/d/", 0o700))
            .has("a/d", "dir 700")
            .has_not("a/d/h"),
        Row::new("L64", opaque(Tar::new().dir("a/d/", 0o700), "a/"))
            .has("a/d", "dir 700")
            .has_not("a/d/h"),
        // umoci removes the directory, then fails.
        Row::new("L65", Tar::new().file(".wh.", b"")).refused("whiteout names no entry"),
        Row::new("L65", Tar::new().file("a/.wh..", b"")).refused("whiteout names no entry"),
        Row::new("L65", Tar::new().file("a/.wh...", b"")).refused("whiteout names no entry"),
        Row::new("L66", Tar::new().file("ln/.wh.f", b"")).has_not("a/f").has("a/g", "file 644 g"),
    ]);
}

#[test]
fn l67_to_l70_odd_whiteouts_give_the_tree_that_umoci_unpacks() {
    hold(vec![
        Row::new("L67", Tar::new().dir("a/.wh.f/", 0o755)).has_not("a/f"),
        Row::new("L67", Tar::new().symlink("a/.wh.f", "x")).has_not("a/f"),
        Row::new("L67", Tar::new().file("a/.wh.f", &vec![7; 1 << 20]).file("after", b"after"))
            .has_not("a/f")
            .has("after", "file 644 after"),
        Row::new("L68", Tar::new().file(".wh.a/x", b"")).refused("begins with .wh."),
        Row::new("L68", Tar::new().file("a/.wh.f/in", b"")).refused("begins with .wh."),
        // What AUFS keeps for itself is no file of the image.
        Row::new(
            "L69",
            Tar::new()
                .file(".wh..wh.plnk/1.2", b"shared")
                .link("name", ".wh..wh.plnk/1.2")
                .file(".wh..wh.aufs", b"")
                .file("a/.wh..wh.orph/x", b""),
        )
        .has("name", "file 644 shared")
        .check(|tree| {
            let hidden = |path: &[u8]| path.windows(4).any(|window| window == b".wh.");
            assert!(!tree.keys().any(|path| hidden(path)), "{tree:?}");
        })
        .ours(),
        Row::new(
            "L70",
            Tar::new()
                .pax(&[
                    ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
                    ("SCHILY.xattr.user.overlay.redirect", b"/"),
                ])
                .dir("a/", 0o711)
                .pax(&[("SCHILY.xattr.user.overlay.whiteout", b"")])
                .file("a/g", b""),
        )
        .has("a", "dir 711")
        .has("a/f", "file 644 old")
        .has("a/g", "file 644 ")
        .warns("3 extended attributes of overlayfs were dropped")
        .check(|tree| assert!(tree.values().all(|node| node.xattrs.is_empty())))
        .ours(),
    ]);
}
