//! Streams and their ends: rows L71 to L76. L79 too; L77 and L78 are about amounts: `tests/it`, `crates/image`.

use super::{Row, hold};
use crate::beside::Bench;
use orlop_kit::image::raw::Tar;
use orlop_kit::{Digest, Layer};

#[test]
fn l71_to_l76_ends_of_streams_give_the_tree_that_umoci_unpacks() {
    let one = || Tar::new().file("x", b"data");
    let archive = |head: &[u8]| {
        let mut bytes = head.to_vec();
        bytes.resize(2048, 0x5a);
        bytes
    };
    let rest = [one().end(), Tar::new().file("y", b"").end()].concat();
    hold(vec![
        Row::stream("L71", one().bytes()).has("x", "file 644 data"),
        Row::stream("L71", one().raw(&[0; 512]).bytes()).has("x", "file 644 data"),
        Row::stream("L72", Vec::new()).has("a/f", "file 644 old"),
        Row::stream("L72", vec![0; 1024]).has("a/f", "file 644 old"),
        Row::stream("L73", one().raw(&[0; 512]).file("y", b"").end()).refused("zeros"),
        Row::stream("L74", rest)
            .has("x", "file 644 data")
            .has_not("y")
            .warns("behind the end of the tar"),
        Row::stream("L75", one().bytes()[..514].to_vec()).refused("cut off"),
        Row::stream("L75", one().bytes()[..300].to_vec()).refused("cut off"),
        Row::stream("L75", one().bytes()[..600].to_vec())
            .has("x", "file 644 data")
            .warns("within the padding"),
        Row::stream("L76", orlop_kit::image::noise(512, 5)).refused("not a tar"),
        Row::stream("L76", archive(b"\x7fELF\x02\x01\x01")).refused("not a tar"),
        Row::stream("L76", archive(b"PK\x03\x04")).refused("not a tar"),
    ]);
}

#[test]
fn l79_of_127_layers_that_replace_one_file_the_sif_holds_one() {
    const BYTES: usize = 256 << 10;
    let mut bench = Bench::new();
    let seen = bench.see((1..=127).map(|seed| Layer::noise("file", BYTES, seed)), false);
    let wanted = format!("file 644 {}", Digest::of(&orlop_kit::image::noise(BYTES, 127)));
    assert_eq!(seen.tree()[&b"file"[..]].words, wanted);
    let sif = bench.site.work().join("a.sif").metadata().unwrap().len();
    assert!(sif < 2 * BYTES as u64, "{sif} bytes");
}
