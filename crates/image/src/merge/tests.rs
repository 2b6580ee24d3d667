//! Rows L of the reliability document, each over its base of two layers. The id is in the name.

use crate::error::Error;
use crate::testing::{Header, Tar, Words, merged};

/// The lower layer of every row.
fn base() -> Vec<u8> {
    Tar::new()
        .dir("./", 0o755)
        .dir("a/", 0o750)
        .file("a/f", b"old")
        .file("a/g", b"g")
        .dir("a/d/", 0o755)
        .file("a/d/h", b"h")
        .symlink("ln", "a")
        .file("top", b"top")
        .end()
}

/// What `upper` makes of the base.
fn over(upper: Tar) -> Words {
    merged(&[base(), upper.end()]).unwrap().0
}

/// Why `upper` cannot be.
fn refused(upper: Tar) -> String {
    match merged(&[base(), upper.end()]) {
        Err(Error::LayerInvalid { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn is(words: &Words, path: &str, what: &str) {
    assert_eq!(words.get(path).map(|(text, _)| text.as_str()), Some(what), "{path}");
}

#[track_caller]
fn is_not(words: &Words, path: &str) {
    assert_eq!(words.get(path), None, "{path}");
}

#[track_caller]
fn same(words: &Words, one: &str, other: &str) {
    assert_eq!(words[one].1, words[other].1, "{one} and {other}");
}

/// A file entry, for rows about order.
fn file(tar: Tar) -> Tar {
    tar.file("a/f", b"new")
}

#[test]
fn l01_l02_names_are_taken_as_in_a_chroot() {
    let words = over(Tar::new().file("/abs", b"1").file("../../esc", b"2").file("a/./b", b"3"));
    is(&words, "abs", "file 644 1");
    is(&words, "esc", "file 644 2");
    is(&words, "a/b", "file 644 3");
}

#[test]
fn l04_the_root_takes_mode_and_owner_and_stays_writable() {
    let words = over(Tar::new().dir("./", 0o500));
    is(&words, "", "dir 700");
}

#[test]
fn l10_names_that_look_alike_stay_apart() {
    let words = over(Tar::new().file("README", b"1").file("readme", b"2").file("ﬁ", b"3"));
    assert_eq!(["README", "readme", "ﬁ"].map(|name| words.contains_key(name)), [true; 3]);
}

#[test]
fn l17_the_last_of_two_wins_and_a_link_between_keeps_the_first() {
    let words = over(Tar::new().file("x", b"1").link("y", "x").file("x", b"2"));
    is(&words, "x", "file 644 2");
    is(&words, "y", "file 644 1");
}

#[test]
fn l27_a_link_to_a_file_of_the_lower_layer_is_the_same_file() {
    let words = over(Tar::new().link("new", "a/f"));
    is(&words, "new", "file 644 old");
    same(&words, "new", "a/f");
}

#[test]
fn l28_a_link_to_nothing_is_refused() {
    assert!(refused(Tar::new().link("new", "nope")).contains("not there"));
    assert!(refused(Tar::new().link("new", "later").file("later", b"")).contains("not there"));
    assert!(refused(Tar::new().link("new", "new")).contains("not there"));
    assert!(refused(Tar::new().link("x", "y").link("y", "x")).contains("not there"));
    assert!(refused(Tar::new().link("x", "top/y")).contains("not there"));
}

#[test]
fn l29_a_link_to_itself_changes_nothing_and_is_mentioned() {
    let upper = Tar::new().link("a/f", "a/f").end();
    let (words, warnings) = merged(&[base(), upper]).unwrap();
    is(&words, "a/f", "file 644 old");
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("hard links to themselves"), "{warnings:?}");
}

#[test]
fn l30_a_link_to_what_the_same_layer_removes_is_kept_in_both_orders() {
    for upper in [
        Tar::new().file("a/.wh.f", b"").link("kept", "a/f"),
        Tar::new().link("kept", "a/f").file("a/.wh.f", b""),
        Tar::new().file(".wh.a", b"").link("kept", "a/f"),
        Tar::new().file("a/.wh..wh..opq", b"").link("kept", "ln/f"),
    ] {
        let words = over(upper);
        is(&words, "kept", "file 644 old");
        is_not(&words, "a/f");
    }
}

#[test]
fn l31_a_link_to_a_directory_is_refused() {
    assert!(refused(Tar::new().link("new", "a/d")).contains("directory"));
}

#[test]
fn l32_a_link_to_a_symlink_is_a_second_name_of_it() {
    let words = over(Tar::new().link("new", "ln"));
    is(&words, "new", "-> a");
    same(&words, "new", "ln");
}

#[test]
fn l33_targets_are_resolved_inside_the_image() {
    let words = over(Tar::new().link("1", "../../../a/f").link("2", "/a/f").link("3", "ln/f"));
    for name in ["1", "2", "3"] {
        same(&words, name, "a/f");
    }
}

#[test]
fn l34_l35_what_the_header_of_a_link_says_is_ignored() {
    let link =
        Header { link: b"a/f", mode: 0o4777, uid: 5, size: Some(512), ..Header::new(b'1', "x") };
    let words = over(Tar::new().header(&link).file("after", b"after"));
    is(&words, "a/f", "file 644 old");
    is(&words, "after", "file 644 after");
}

#[test]
fn l36_a_chain_of_links_is_one_inode() {
    let words = over(Tar::new().link("h1", "a/f").link("h2", "h1").link("h3", "h2"));
    same(&words, "h3", "a/f");
}

#[test]
fn l37_a_link_keeps_the_content_that_is_replaced_later() {
    let words = over(Tar::new().link("kept", "a/f").file("a/f", b"new"));
    is(&words, "kept", "file 644 old");
    is(&words, "a/f", "file 644 new");
}

#[test]
fn l38_targets_of_symlinks_are_kept_as_text() {
    let words = over(Tar::new().symlink("1", "/etc/shadow").symlink("2", "../../../x"));
    is(&words, "1", "-> /etc/shadow");
    is(&words, "2", "-> ../../../x");
}

#[test]
fn l40_a_loop_of_symlinks_is_refused() {
    let upper = Tar::new().symlink("l1", "l2").symlink("l2", "l1").file("l1/x", b"");
    assert!(refused(upper).contains("40 symbolic links"));
    let chain = (0..40).fold(Tar::new(), |tar, number| {
        tar.symlink(&format!("s{number}"), &format!("s{}", number + 1))
    });
    let words = over(chain.dir("s40", 0o755).file("s0/x", b"x"));
    is(&words, "s40/x", "file 644 x");
}

#[test]
fn l41_an_entry_below_a_symlink_lands_where_it_leads() {
    let words = over(Tar::new().file("ln/new", b"new"));
    is(&words, "a/new", "file 644 new");
    is(&words, "ln", "-> a");
}

#[test]
fn l42_an_entry_below_a_symlink_out_of_the_image_stays_inside() {
    for (target, at) in [("/tmp/x", "tmp/x/new"), ("../../../host", "host/new")] {
        let words = over(Tar::new().symlink("out", target).file("out/new", b"new"));
        is(&words, at, "file 644 new");
        is(&words, "out", &format!("-> {target}"));
    }
}

#[test]
fn l43_a_directory_over_a_symlink_takes_its_place() {
    let words = over(Tar::new().dir("ln/", 0o755).file("ln/new", b"new"));
    is(&words, "ln", "dir 755");
    is(&words, "ln/new", "file 644 new");
    is_not(&words, "a/new");
}

#[test]
fn l44_a_file_over_a_directory_takes_its_place_and_all_below_goes() {
    let words = over(Tar::new().file("a", b"now a file"));
    is(&words, "a", "file 644 now a file");
    is_not(&words, "a/f");
    is(&over(Tar::new().symlink("a", "x")), "a", "-> x");
}

#[test]
fn l45_an_entry_below_a_file_is_refused() {
    assert!(refused(Tar::new().file("top/x", b"")).contains("no directory"));
}

#[test]
fn l46_l48_a_directory_over_a_directory_changes_its_mode_alone() {
    let words = over(Tar::new().dir("a/", 0o711));
    is(&words, "a", "dir 711");
    is(&words, "a/f", "file 644 old");
    let words = over(Tar::new().file("n/x", b"x").dir("n/", 0));
    is(&words, "n", "dir 0");
    is(&words, "n/x", "file 644 x");
}

#[test]
fn l47_parents_that_nobody_describes_are_0755_and_others_stay() {
    let words = over(Tar::new().file("i/j/k", b"k").file("a/n", b"n"));
    is(&words, "i", "dir 755");
    is(&words, "i/j", "dir 755");
    is(&words, "a", "dir 750");
}

#[test]
fn l49_l50_devices_are_kept_and_none_is_a_whiteout() {
    let null = Header { device: (1, 3), ..Header::new(b'3', "null") };
    let zero = Header::new(b'3', "a/f");
    let sda = Header { device: (8, 0), ..Header::new(b'4', "sda") };
    let words =
        over(Tar::new().header(&null).header(&zero).header(&sda).header(&Header::new(b'6', "p")));
    is(&words, "null", "char 1:3");
    is(&words, "a/f", "char 0:0");
    is(&words, "sda", "block 8:0");
    is(&words, "p", "fifo");
}

#[test]
fn l59_l63_whiteouts_of_nothing_make_nothing() {
    let words =
        over(Tar::new().file(".wh.nope", b"").file("x/y/.wh.z", b"").file("zz/.wh..wh..opq", b""));
    assert_eq!(words, over(Tar::new()));
}

#[test]
fn l60_a_new_file_stays_whether_the_whiteout_comes_before_or_after() {
    for upper in [file(Tar::new().file("a/.wh.f", b"")), file(Tar::new()).file("a/.wh.f", b"")] {
        is(&over(upper), "a/f", "file 644 new");
    }
}

#[test]
fn l61_an_opaque_directory_loses_what_was_lower_in_both_orders() {
    let opaque = |tar: Tar| tar.file("a/.wh..wh..opq", b"");
    for upper in [file(opaque(Tar::new())), opaque(file(Tar::new()))] {
        let words = over(upper);
        is(&words, "a/f", "file 644 new");
        is(&words, "a", "dir 750");
        is_not(&words, "a/g");
        is_not(&words, "a/d");
    }
}

#[test]
fn l62_an_opaque_root_keeps_only_what_is_new() {
    let words = over(Tar::new().file("new", b"new").file(".wh..wh..opq", b""));
    assert_eq!(words.keys().collect::<Vec<_>>(), ["", "new"]);
}

#[test]
fn l64_a_directory_made_again_below_an_opaque_one_is_empty() {
    for upper in [
        Tar::new().file("a/.wh..wh..opq", b"").dir("a/d/", 0o700),
        Tar::new().dir("a/d/", 0o700).file("a/.wh..wh..opq", b""),
    ] {
        let words = over(upper);
        is(&words, "a/d", "dir 700");
        is_not(&words, "a/d/h");
    }
}

#[test]
fn l66_a_whiteout_through_a_symlink_acts_where_it_leads() {
    is_not(&over(Tar::new().file("ln/.wh.f", b"")), "a/f");
    let words = over(Tar::new().dir("ln/", 0o755).file("ln/.wh..wh..opq", b"").file("ln/x", b"x"));
    is(&words, "a/f", "file 644 old");
    is(&words, "ln/x", "file 644 x");
}

#[test]
fn l67_a_whiteout_of_any_type_is_one_and_its_data_are_skipped() {
    let words = over(Tar::new().file("a/.wh.f", &[7; 5000]).file("after", b"after"));
    is_not(&words, "a/f");
    is(&words, "after", "file 644 after");
    is_not(&over(Tar::new().dir("a/.wh.f/", 0o755)), "a/f");
    is_not(&over(Tar::new().symlink("a/.wh.f", "x")), "a/f");
}

#[test]
fn l69_names_of_aufs_are_hidden_and_links_to_them_keep_the_content() {
    let upper = Tar::new()
        .file(".wh..wh.plnk/1.2", b"shared")
        .link("name", ".wh..wh.plnk/1.2")
        .file(".wh..wh.aufs", b"")
        .file("a/.wh..wh.orph/x", b"");
    let words = over(upper);
    is(&words, "name", "file 644 shared");
    assert!(words.keys().all(|path| !path.contains(".wh.")), "{words:?}");
}

#[test]
fn a_whiteout_of_a_directory_leaves_what_the_layer_itself_put_there() {
    for upper in [
        Tar::new().file(".wh.a", b"").file("a/new", b"new"),
        Tar::new().file("a/new", b"new").file(".wh.a", b""),
    ] {
        let words = over(upper);
        is(&words, "a", "dir 755");
        is(&words, "a/new", "file 644 new");
        is_not(&words, "a/f");
        is_not(&words, "a/d");
    }
}

#[test]
fn l07_two_thousand_levels_and_an_opaque_root_over_them_need_no_stack() {
    let deep = ["d"; 2000].join("/");
    let lower = Tar::new().pax(&[("path", deep.as_bytes())]).dir("x", 0o755).end();
    let upper = Tar::new().file(".wh..wh..opq", b"").end();
    assert_eq!(merged(std::slice::from_ref(&lower)).unwrap().0.len(), 2001);
    assert_eq!(merged(&[lower, upper]).unwrap().0.len(), 1);
}
