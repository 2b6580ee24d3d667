//! R70 to R94: blobs that break, lie, stall, or are not what the manifest says.
//!
//! N, the byte where things break, is 500 000. Not here: redirects, mirrors, TLS.

use super::stage::{IMAGE, Stage};
use orlop_kit::{
    Answer, Compression, Digest, Entry, Image, Layer, Piece, Registry, layer, until_true,
};

/// The byte at which a transfer breaks.
const N: u64 = 500_000;

fn stage() -> Stage {
    Stage::new(Registry::new())
}

/// Bytes of the upper layer as they are stored.
fn stored(stage: &Stage) -> Vec<u8> {
    stage.registry.blob(&stage.registry.layer_digest(1).unwrap()).unwrap()
}

/// An answer of chunks that do not end before the connection does.
fn chunked(bytes: &[u8]) -> Answer {
    let mut raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    raw.extend(format!("{:x}\r\n", bytes.len()).bytes());
    raw.extend(bytes);
    raw.extend(b"\r\n0\r\n\r\n");
    Answer::Raw(raw)
}

/// The other layer stays where it passed all checks; of the one that failed nothing is left.
#[track_caller]
fn nothing_left(stage: &Stage, variant: &str) {
    let digest = stage.registry.layer_digest(1).unwrap();
    for below in ["blobs/", "segments/", "partial/", "tmp/", "claims/"] {
        let left = stage.cached(below);
        let is_wrong = if below == "segments/" {
            left.iter().filter(|path| path.ends_with("/data")).count() > 1
        } else {
            left.iter().any(|path| path.contains(digest.hex()))
        };
        assert!(!is_wrong, "{variant}: {left:?}");
    }
}

#[test]
fn r70_a_closed_body_is_resumed_at_its_offset() {
    let mut stage = stage();
    stage.begin(layer(1), [Answer::CutAfter(N), Answer::Whole]);
    stage.ok("closed");
    stage.ranges("closed", &layer(1), &["", "bytes=500000-"]);
    assert_eq!(stage.registry.requests().len(), 7, "{}", stage.registry.log());
}

#[test]
fn r71_a_body_that_is_reset_for_ever_breaks_off_and_the_next_pull_goes_on() {
    let mut stage = stage();
    stage.begin(layer(1), [Answer::ResetAfter(N), Answer::ResetAfter(0)]);
    stage.fails("reset", "the transfer broke off");
    let ranges = stage.registry.ranges(&layer(1));
    assert_eq!(ranges.len(), 5, "{}", stage.registry.log());
    // What a reset overtakes in the server's own queue never arrives.
    let there = ranges[1].trim_start_matches("bytes=").trim_end_matches('-').to_owned();
    assert!((1..=N).contains(&there.parse().unwrap()), "{ranges:?}");
    assert!(ranges[1..].iter().all(|range| *range == ranges[1]), "{ranges:?}");
    let kept = stage.cached("partial/");
    assert!(kept.iter().any(|path| path.contains(stage.registry.layer_digest(1).unwrap().hex())));

    stage.registry.forget();
    stage.registry.script(layer(1), [Answer::Whole]);
    stage.ok("the next pull");
    stage.ranges("the next pull", &layer(1), &[&format!("bytes={there}-")]);
}

#[test]
fn r72_a_mebibyte_of_progress_begins_the_count_of_tries_again() {
    let image = Image::two_layers().layer(Layer::noise("more", 13 << 19, 7));
    let mut stage = Stage::of(Registry::new().image(IMAGE, image));
    stage.begin(layer(2), [Answer::CutAfter(1 << 20)]);
    stage.ok("a MiB each");
    stage.counts("a MiB each", &layer(2), 7);
}

#[test]
fn r73_another_length_is_not_read_and_asked_for_once_more() {
    let mut stage = stage();
    for lie in [Answer::Shorter(1), Answer::Longer(1)] {
        let variant = format!("{lie:?}");
        stage.begin(layer(1), [lie]);
        stage.fails(&variant, "wrong bytes from the registry");
        stage.counts(&variant, &layer(1), 2);
        nothing_left(&stage, &variant);
    }
}

#[test]
fn r74_more_bytes_than_the_size_are_not_read() {
    let mut stage = stage();
    let endless = Answer::Play(vec![
        Piece::Bytes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()),
        Piece::Times(u64::MAX, [b"2000\r\n".to_vec(), vec![b'x'; 8192], b"\r\n".to_vec()].concat()),
    ]);
    let longer = chunked(&[stored(&stage), b"abc".to_vec()].concat());
    for (variant, lie) in [("longer", longer), ("endless", endless)] {
        stage.begin(layer(1), [lie]);
        stage.fails(variant, "wrong bytes from the registry");
        stage.counts(variant, &layer(1), 2);
        nothing_left(&stage, variant);
    }
}

#[test]
fn r77_wrong_bytes_are_fetched_once_more_from_the_start() {
    let mut stage = stage();
    stage.begin(layer(1), [Answer::FlipBit(1_000_000), Answer::Whole]);
    stage.ok("once");
    stage.ranges("once", &layer(1), &["", ""]);

    stage.begin(layer(1), [Answer::FlipBit(1_000_000)]);
    stage.fails("always", "wrong bytes from the registry");
    stage.ranges("always", &layer(1), &["", ""]);
    nothing_left(&stage, "always");
}

#[test]
fn r78_a_whole_body_where_the_rest_was_asked_for_is_used_from_there() {
    let mut stage = stage();
    stage.begin(layer(1), [Answer::CutAfter(N), Answer::IgnoreRange]);
    stage.ok("200");
    stage.ranges("200", &layer(1), &["", "bytes=500000-"]);
}

#[test]
fn r78_more_than_is_dropped_of_a_whole_body_is_fetched_afresh() {
    for (skips, ranges) in
        [("500001", &["", "bytes=500000-"][..]), ("500000", &["", "bytes=500000-", ""])]
    {
        let mut stage = stage().env("ORLOP_LIMITS_SKIP_BYTES", skips);
        stage.begin(layer(1), [Answer::CutAfter(N), Answer::IgnoreRange, Answer::Whole]);
        stage.ok(skips);
        stage.ranges(skips, &layer(1), ranges);
    }
    // A server that always breaks off there and knows no ranges is not asked for ever.
    let mut stage = stage().env("ORLOP_LIMITS_SKIP_BYTES", "1");
    stage.begin(layer(1), [Answer::CutAfter(N), Answer::IgnoreRange].into_iter().cycle().take(100));
    stage.fails("always", "the transfer broke off");
    nothing_left(&stage, "always");
}

#[test]
fn r79_another_part_than_asked_for_is_not_used() {
    let mut stage = stage();
    let size = stored(&stage).len();
    let multipart = Answer::With(
        206,
        vec![("Content-Type", "multipart/byteranges; boundary=b".to_owned())],
        b"--b\r\nContent-Range: bytes 500000-500001/9\r\n\r\nab\r\n--b--\r\n".to_vec(),
    );
    let range = |first: u64, total: usize| format!("bytes {first}-{}/{total}", total - 1);
    for (variant, lie) in [
        ("another offset", Answer::Range(range(N - 1, size))),
        ("no Content-Range", Answer::Range(String::new())),
        ("another total", Answer::Range(range(N, size + 1))),
        ("multipart", multipart),
    ] {
        stage.begin(layer(1), [Answer::CutAfter(N), lie.clone(), Answer::Whole]);
        stage.ok(variant);
        stage.ranges(variant, &layer(1), &["", "bytes=500000-", ""]);

        stage.begin(layer(1), [Answer::CutAfter(N), lie, Answer::FlipBit(1_000_000)]);
        stage.fails(variant, "wrong bytes from the registry");
        nothing_left(&stage, variant);
    }
}

#[test]
fn r80_a_smaller_part_than_asked_for_is_taken_and_the_rest_asked_for() {
    let mut stage = stage();
    stage.begin(layer(1), [Answer::CutAfter(N), Answer::Less(N), Answer::Whole]);
    stage.ok("less");
    stage.ranges("less", &layer(1), &["", "bytes=500000-", "bytes=1000000-"]);
}

#[test]
fn r81_a_part_where_the_whole_was_asked_for_is_not_used() {
    let mut stage = stage();
    let size = stored(&stage).len();
    let part = Answer::Range(format!("bytes 0-{}/{size}", size - 1));
    stage.begin(layer(1), [part.clone(), Answer::Whole]);
    stage.ok("once");
    stage.ranges("once", &layer(1), &["", ""]);

    stage.begin(layer(1), [part]);
    stage.fails("always", "wrong bytes from the registry");
    stage.ranges("always", &layer(1), &["", ""]);
}

#[test]
fn r82_no_such_range_begins_afresh_once() {
    let mut stage = stage();
    stage.begin(layer(1), [Answer::CutAfter(N), Answer::Status(416), Answer::Whole]);
    stage.ok("resume");
    stage.ranges("resume", &layer(1), &["", "bytes=500000-", ""]);

    stage.begin(layer(1), [Answer::Status(416)]);
    stage.fails("plain", "the registry failed");
    stage.counts("plain", &layer(1), 1);
}

#[test]
fn r83_other_validators_between_parts_do_not_matter() {
    let mut stage = stage();
    let first = Answer::CutAfter(N)
        .with("ETag", "\"one\"")
        .with("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT");
    let second = Answer::Whole
        .with("ETag", "\"two\"")
        .with("Last-Modified", "Mon, 07 Nov 1994 08:49:37 GMT");
    stage.begin(layer(1), [first, second]);
    stage.ok("other ETag");
    stage.ranges("other ETag", &layer(1), &["", "bytes=500000-"]);
}

/// A stage whose blobs are fetched in parts: the upper layer has five.
fn in_parts() -> Stage {
    stage().env("ORLOP_LIMITS_RANGE_FROM", "1MiB").env("ORLOP_LIMITS_RANGE_CHUNK", "512KiB")
}

#[test]
fn r84_a_whole_body_where_the_first_part_was_asked_for_is_the_download() {
    let mut stage = in_parts();
    stage.begin(layer(1), [Answer::IgnoreRange]);
    stage.ok("200");
    stage.counts("200", &layer(1), 1);
    assert!(
        stage.registry.ranges(&layer(1))[0].starts_with("bytes=0-"),
        "{}",
        stage.registry.log()
    );
}

#[test]
fn r85_wrong_bytes_in_a_part_discard_all_and_one_stream_follows() {
    let mut stage = in_parts();
    let wrong = || Answer::FlipBit(1_000_000);
    stage.begin(layer(1), (0..5).map(|_| wrong()).chain([Answer::Whole]));
    stage.ok("once");
    let ranges = stage.registry.ranges(&layer(1));
    assert_eq!(ranges.iter().filter(|range| range.is_empty()).count(), 1, "{ranges:?}");
    assert_eq!((ranges.len(), ranges[5].as_str()), (6, ""), "{ranges:?}");

    stage.begin(layer(1), [wrong()]);
    stage.fails("always", "wrong bytes from the registry");
    nothing_left(&stage, "always");
}

#[test]
fn r86_an_encoding_that_was_not_asked_for_is_refused() {
    let mut stage = stage();
    stage.begin(layer(1), [Answer::Whole.with("Content-Encoding", "gzip")]);
    stage.fails("gzip", "the registry failed");
    stage.counts("gzip", &layer(1), 1);
    assert!(
        stage
            .registry
            .of(&layer(1))
            .iter()
            .all(|one| one.header("accept-encoding") == Some("identity"))
    );

    stage.begin(layer(1), [Answer::Whole.with("Content-Encoding", "identity")]);
    stage.ok("identity");
}

#[test]
fn r87_a_blob_that_is_not_there_is_named_and_the_other_layer_stays() {
    let mut stage = stage();
    stage.begin(layer(1), [Answer::Status(404)]);
    let gate = stage.registry.gate(layer(1));
    let pull = stage.site.run(["pull", "a.sif", &stage.uri()]).start();
    until_true("the other layer is there", || stage.cached("segments/").len() == 2);
    gate.open();
    let outcome = stage.failed("404", pull.outcome(), "not found:");
    let digest = stage.registry.layer_digest(1).unwrap();
    for words in [": blob unknown", digest.hex()] {
        assert!(outcome.stderr.contains(words), "{words}: {}", outcome.report());
    }
    stage.counts("404", &layer(1), 1);

    stage.registry.script(layer(1), [Answer::Whole]);
    stage.registry.forget();
    stage.ok("later");
    stage.counts("later", &layer(0), 0);
}

/// A stage whose upper layer is stored as these bytes.
fn stored_as(compression: Compression, bytes: Vec<u8>) -> Stage {
    let upper = upper().compression(compression).stored(bytes);
    Stage::of(Registry::new().image(IMAGE, Image::tiny().layer(upper)))
}

/// A layer of one file of noise, and one that compresses.
fn upper() -> Layer {
    Layer::noise("noise", 100_000, 5).entry(Entry::file("zeros", vec![0; 300_000]))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    Layer::raw(bytes.to_vec()).packed()
}

#[test]
fn r88_gzip_members_and_padding_are_read_and_other_bytes_are_not() {
    let tar = upper().tar();
    let (first, second) = tar.split_at(123_457);
    let padded = |padding: &[u8]| [gzip(&tar), padding.to_vec()].concat();
    for (variant, bytes) in [
        ("several members", [gzip(first), gzip(second)].concat()),
        ("an empty member", [gzip(first), gzip(&[]), gzip(second)].concat()),
        ("an empty member at the end", [gzip(&tar), gzip(&[])].concat()),
        ("NUL padding", padded(&[0; 1000])),
    ] {
        stored_as(Compression::Gzip, bytes).ok(variant);
    }
    let stage = stored_as(Compression::Gzip, padded(b"something else"));
    stage.fails("other bytes", "layer 2 is not valid");
    stage.counts("other bytes", &layer(1), 1);
    nothing_left(&stage, "other bytes");
}

#[test]
fn r89_a_damaged_stream_of_the_right_digest_is_the_layers_fault() {
    let whole = gzip(&upper().tar());
    let end = whole.len();
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    for (variant, bytes) in [
        ("cut off", whole[..end / 2].to_vec()),
        ("cut off in its trailer", whole[..end - 3].to_vec()),
        ("wrong CRC", flipped(end - 8)),
        ("wrong length", flipped(end - 4)),
    ] {
        let stage = stored_as(Compression::Gzip, bytes);
        for pull in 1..=2 {
            stage.fails(variant, "layer 2 is not valid");
            stage.counts(variant, &layer(1), pull);
            nothing_left(&stage, variant);
        }
    }
}

/// A zstd frame of raw blocks, made by hand (RFC 8878, section 3.1.1): its descriptor byte, its
/// window as a power of two, and what comes between these and the blocks, and after them.
fn frame(descriptor: u8, window: u8, between: &[u8], tar: &[u8], after: &[u8]) -> Vec<u8> {
    let mut bytes =
        [&[0x28, 0xb5, 0x2f, 0xfd, descriptor, (window - 10) << 3][..], between].concat();
    let mut blocks = tar.chunks(100_000).peekable();
    while let Some(block) = blocks.next() {
        let is_last = u32::from(blocks.peek().is_none());
        let head = (u32::try_from(block.len()).unwrap() << 3) | is_last;
        bytes.extend(&head.to_le_bytes()[..3]);
        bytes.extend(block);
    }
    bytes.extend(after);
    bytes
}

#[test]
fn r90_a_layer_that_grows_past_its_limit_is_refused_with_little_memory() {
    let zeros = Layer::new().entry(Entry::file("zeros", vec![0; 64 << 20]));
    for compression in [Compression::Gzip, Compression::Zstd] {
        let variant = format!("{compression:?}");
        let bomb = zeros.clone().compression(compression);
        let image = Image::tiny().layer(bomb);
        let stage = Stage::of(Registry::new().image(IMAGE, image));
        let stage = stage.env("ORLOP_LIMITS_LAYER_BYTES", "4MiB");
        let outcome = stage.fails(&variant, "limit reached:");
        assert!(outcome.stderr.contains("layer-bytes"), "{variant}: {}", outcome.report());
        assert!(stage.peak() < 256 << 10, "{variant}: {} KiB", stage.peak());
        stage.counts(&variant, &layer(1), 1);
        nothing_left(&stage, &variant);
    }
}

#[test]
fn r90_frames_that_ask_for_too_much_or_do_not_fit_are_refused() {
    let tar = upper().tar();
    let good = frame(0, 27, &[], &tar, &[]);
    stored_as(Compression::Zstd, good).ok("window 2^27");
    for (variant, bytes, words, detail) in [
        ("window 2^28", frame(0, 28, &[], &tar, &[]), "limit reached:", "zstd-window"),
        ("dictionary", frame(1, 20, &[5], &tar, &[]), "layer 2 is not valid", ""),
        ("checksum", frame(4, 20, &[], &tar, &[1, 2, 3, 4]), "layer 2 is not valid", ""),
    ] {
        let stage = stored_as(Compression::Zstd, bytes);
        let outcome = stage.fails(variant, words);
        assert!(outcome.stderr.contains(detail), "{variant}: {}", outcome.report());
        stage.counts(variant, &layer(1), 1);
        nothing_left(&stage, variant);
    }
}

#[test]
fn r91_zstd_frames_of_all_kinds_are_read() {
    let zstd = |bytes: &[u8]| Layer::raw(bytes.to_vec()).compression(Compression::Zstd).packed();
    let tar = upper().tar();
    let (first, second) = tar.split_at(123_457);
    let skipped = |magic: u32, content: &[u8]| {
        let size = u32::try_from(content.len()).unwrap();
        [&magic.to_le_bytes()[..], &size.to_le_bytes(), content].concat()
    };
    let two = [zstd(first), zstd(second)].concat();
    // The seekable format: two entries of 8 bytes, then their number, flags, and its own mark.
    let table = [&[0; 16][..], &2_u32.to_le_bytes(), &[0], &0x8F92_EAB1_u32.to_le_bytes()].concat();
    for (variant, bytes) in [
        ("several frames", two.clone()),
        ("skippable first", [skipped(0x184D_2A50, b"note"), zstd(&tar)].concat()),
        ("skippable last", [zstd(&tar), skipped(0x184D_2A5F, &[7; 1000])].concat()),
        ("seekable", [two, skipped(0x184D_2A5E, &table)].concat()),
    ] {
        stored_as(Compression::Zstd, bytes).ok(variant);
    }
}

#[test]
fn r92_what_the_bytes_are_counts_not_what_the_type_says() {
    let tar = upper().tar();
    let zstd = Layer::raw(tar.clone()).compression(Compression::Zstd).packed();
    for (variant, bytes) in [("zstd", zstd), ("plain tar", tar)] {
        let outcome = stored_as(Compression::Gzip, bytes).ok(variant);
        assert!(outcome.stderr.contains("WARNING"), "{variant}: {}", outcome.report());
    }
    for (name, magic) in [("xz", &b"\xfd7zXZ\x00\x00\x04"[..]), ("bzip2", b"BZh91AY&SY")] {
        let stage = stored_as(Compression::Gzip, [magic, &[0; 600]].concat());
        let outcome = stage.fails(name, "layer 2 is not valid");
        assert!(outcome.stderr.contains(name), "{name}: {}", outcome.report());
        nothing_left(&stage, name);
    }
}

#[test]
fn r93_another_diff_id_is_the_layers_fault() {
    let stage = stored_as(Compression::Gzip, gzip(&Layer::noise("other", 1000, 6).tar()));
    let outcome = stage.fails("diff_id", "layer 2 is not valid");
    assert!(outcome.stderr.contains("diff_id"), "{}", outcome.report());
    stage.counts("diff_id", &layer(1), 1);
    nothing_left(&stage, "diff_id");
}

#[test]
fn r94_a_blob_without_a_byte_is_an_empty_layer() {
    let empty = Layer::raw(Vec::new()).stored(Vec::new());
    let stage = Stage::of(Registry::new().image(IMAGE, Image::tiny().layer(empty)));
    assert_eq!(stage.registry.layer_digest(1).unwrap(), Digest::of(b""));
    stage.ok("empty");
}
