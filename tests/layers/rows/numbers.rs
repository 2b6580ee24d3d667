//! Numbers, times and owners: rows L20 to L26. L19 and L23 are large: `crates/image`.

use super::{Row, hold};
use crate::tree::{Node, Tree};
use orlop_kit::image::raw::{Header, Tar, block, sum};

fn x(tree: &Tree) -> &Node {
    &tree[&b"x"[..]]
}

#[test]
fn l20_to_l26_numbers_give_the_tree_that_umoci_unpacks() {
    let size = |field: [u8; 12]| {
        let mut header = block(&Header::new(b'0', "x"));
        header[124..136].copy_from_slice(&field);
        sum(&mut header);
        Tar::new().raw(&header)
    };
    let pax = |key: &str, value: &str| Tar::new().pax(&[(key, value.as_bytes())]).file("x", b"1");
    let mode = |mode, kind| Tar::new().header(&Header { mode, ..Header::new(kind, "x") });
    let mut wrong = block(&Header::new(b'0', "x"));
    wrong[0] = b'y';
    let mut old = block(&Header::new(b'0', b"\xe4"));
    old[148..156].fill(b' ');
    let signed: i64 = old.iter().map(|&byte| i64::from(byte.cast_signed())).sum();
    old[148..156].copy_from_slice(format!("{signed:06o}\0 ").as_bytes());
    hold(vec![
        Row::new("L20", size([0xff; 12])).refused("negative"),
        Row::new("L20", size(*b"\x80\0\0\0\x80\0\0\0\0\0\0\0")).refused("64 bits"),
        Row::new("L20", size(*b"89zz\0\0\0\0\0\0\0\0")).refused("octal"),
        // Times that squashfs does not hold are moved to the nearest one it does.
        Row::new("L21", pax("mtime", "-5.5"))
            .warns("times outside 1970 to 2106")
            .except(&["x"])
            .check(|tree| assert_eq!(x(tree).mtime, 0)),
        Row::new("L21", pax("mtime", "99999999999"))
            .warns("times outside 1970 to 2106")
            .except(&["x"])
            .check(|tree| assert_eq!(x(tree).mtime, i64::from(u32::MAX))),
        Row::new("L21", pax("mtime", "1.9")).check(|tree| assert_eq!(x(tree).mtime, 1)),
        Row::new("L22", pax("uid", "4294967294"))
            .check(|tree| assert_eq!(x(tree).owner, (4_294_967_294, 0))),
        Row::new("L22", pax("uid", "4294967296")).refused("owner"),
        Row::new("L22", pax("gid", "-1")).refused("owner"),
        Row::new("L22", pax("uid", "4294967295")).refused("owner"),
        Row::new("L24", mode(0o4755, b'0')).has("x", "file 4755 "),
        Row::new("L24", mode(0o2755, b'0')).has("x", "file 2755 "),
        Row::new("L24", mode(0o1777, b'5')).has("x", "dir 1777"),
        Row::new("L24", mode(0o2755, b'5')).has("x", "dir 2755"),
        Row::new("L24", mode(0, b'5')).has("x", "dir 0"),
        Row::new(
            "L24",
            Tar::new().header(&Header { mode: 0, data: b"in", ..Header::new(b'0', "x") }),
        )
        .has("x", "file 0 in"),
        Row::new("L25", mode(0o100_644, b'0')).has("x", "file 644 "),
        Row::new("L25", mode(1 << 20, b'0')).has("x", "file 0 "),
        Row::new("L26", Tar::new().raw(&wrong)).refused("checksum"),
        Row::new("L26", Tar::new().raw(&old))
            .check(|tree| assert_eq!(tree[&b"\xe4"[..]].words, "file 644 ")),
    ]);
}
