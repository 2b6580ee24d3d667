//! Extended attributes: rows L80 to L82. L83 to L89 are about what the image brings along:
//! `crates/image`.

use super::{Row, hold};
use crate::tree::Tree;
use orlop_kit::image::raw::Tar;

/// A file capability as the kernel stores it: version 2, `cap_net_bind_service` permitted.
const CAPABILITY: &[u8] = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

fn with(name: &str, value: &[u8]) -> Tar {
    Tar::new().pax(&[(&format!("SCHILY.xattr.{name}"), value)]).file("x", b"1")
}

fn names(tree: &Tree) -> Vec<String> {
    tree[&b"x"[..]].xattrs.keys().map(|name| name.escape_ascii().to_string()).collect()
}

#[test]
fn l80_to_l82_extended_attributes_give_the_tree_that_umoci_unpacks() {
    let many: Vec<String> =
        (0..1000).map(|number| format!("SCHILY.xattr.user.n{number}")).collect();
    let records: Vec<(&str, &[u8])> = many.iter().map(|name| (name.as_str(), &b"v"[..])).collect();
    let dropped: [(&str, &[u8]); 5] = [
        ("SCHILY.xattr.security.selinux", b"system_u:object_r:x_t:s0"),
        ("SCHILY.xattr.security.ima", b"\x01"),
        ("SCHILY.xattr.trusted.x", b"t"),
        ("SCHILY.xattr.system.posix_acl_access", b"\x02\0\0\0"),
        ("SCHILY.xattr.system.nfs4_acl", b"a"),
    ];
    hold(vec![
        Row::new("L80", with("user.a", b"\0\xff"))
            .check(|tree| assert_eq!(tree[&b"x"[..]].xattrs[&b"user.a"[..]], b"\0\xff")),
        Row::new("L80", with("security.capability", CAPABILITY))
            .check(|tree| assert_eq!(names(tree), ["security.capability"])),
        Row::new("L81", Tar::new().pax(&dropped).file("x", b"1"))
            .has("x", "file 644 1")
            .check(|tree| assert_eq!(names(tree), [""; 0]))
            .ours(),
        Row::new("L82", with(&format!("user.{}", "n".repeat(251)), b"v")).refused("255 bytes"),
        Row::new("L82", with("user.a", &vec![b'v'; 64 << 10]))
            .check(|tree| assert_eq!(tree[&b"x"[..]].xattrs[&b"user.a"[..]].len(), 64 << 10))
            .ours(),
        Row::new("L82", with("user.a", &vec![b'v'; (64 << 10) + 1])).refused("xattr-bytes"),
        // Disks do not hold so many.
        Row::new("L82", Tar::new().pax(&records).file("x", b"1"))
            .check(|tree| assert_eq!(names(tree).len(), 1000))
            .ours(),
        // umoci's tar reader takes a record without a value for none.
        Row::new("L82", with("user.empty", b""))
            .check(|tree| assert_eq!(names(tree), ["user.empty"]))
            .except(&["x"]),
    ]);
}
