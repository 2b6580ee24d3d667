//! Large images: they are right, and what they take does not grow with them.
//!
//! A normal run takes small ones of each kind; with `ORLOP_KIT_LARGE` set they have the sizes of
//! the rows (L77, L79, R90), which takes minutes, and for the largest three times its size on disk.
//! Not here: full disks ([`crate::disks`]); many clients ([`crate::crowds`]).

use crate::run::runnable;
use crate::world::site;
use orlop_kit::image::Made;
use orlop_kit::{Compression, Digest, Entry, Image, Layer, Outcome, Registry, Site, memory, tools};
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Most memory of the daemon, whatever it converts, in bytes.
const DAEMON: u64 = 256 << 20;
/// Most memory of a client, in bytes.
const CLIENT: u64 = 64 << 20;

/// An image that was pulled into `a.sif`.
struct Pulled {
    _registry: Registry,
    site: Site,
}

/// Pulls the image and looks what daemon and client took.
fn pulled(image: Image, what: &str) -> Pulled {
    let registry = Registry::new().image("a:1", image).start();
    let site = site(&registry);
    let began = Instant::now();
    let (outcome, client) =
        site.run(["pull", "a.sif", &registry.docker("a:1")]).start().outcome_and_peak();
    outcome.success();
    let seconds = began.elapsed().as_secs_f32();
    let [daemon] = site.daemons()[..] else { panic!("one daemon: {:?}", site.daemons()) };
    let daemon = memory::peak(daemon).unwrap();
    let (daemon_mib, client_mib) = (daemon >> 20, client >> 20);
    let figures =
        format!("{what}: {seconds:.1} s, daemon {daemon_mib} MiB, client {client_mib} MiB");
    if tools::sized(0, 1) == 1 {
        tools::say(&figures);
    }
    assert!(daemon <= DAEMON, "{figures}");
    assert!(client <= CLIENT, "{figures}");
    Pulled { _registry: registry, site }
}

impl Pulled {
    fn sif(&self) -> std::path::PathBuf {
        self.site.work().join("a.sif")
    }

    /// `unsquashfs` with these words, then the SIF and these; none where it is not installed.
    fn unsquashfs(&self, words: &[&str], files: &[&str]) -> Option<Command> {
        let [unsquashfs] = tools::all(["unsquashfs"])?;
        let mut head = Vec::new();
        let sif = std::fs::File::open(self.sif()).unwrap();
        sif.take(16 << 20).read_to_end(&mut head).unwrap();
        let offset = crate::others::squashfs_offset(&head).to_string();
        let mut command = Command::new(unsquashfs);
        command.args(["-no-progress", "-offset", &offset]).args(words).arg(self.sif()).args(files);
        Some(command)
    }

    /// How many names `unsquashfs` lists below `squashfs-root/PATH/`.
    fn listed(&self, path: &str) -> Option<usize> {
        let text = tools::output(&mut self.unsquashfs(&["-lls"], &[path])?);
        let below = format!(" squashfs-root/{path}/");
        Some(text.lines().filter(|line| line.contains(&below)).count())
    }

    /// The digest of a file's content as `unsquashfs` reads it.
    fn digest(&self, path: &str) -> Option<Digest> {
        let mut command = self.unsquashfs(&["-cat"], &[path])?;
        let mut cat = command.stdout(Stdio::piped()).spawn().unwrap();
        let digest = Digest::of_reader(cat.stdout.take().unwrap()).unwrap();
        assert!(cat.wait().unwrap().success());
        Some(digest)
    }

    fn probe(&self, words: &[&str]) -> Outcome {
        let before = ["exec", "a.sif", "/bin/probe"];
        self.site.orlop(before.into_iter().chain(words.iter().copied())).success()
    }

    /// Bytes that the file system keeps below a directory.
    fn kept(&self, directory: &Path) -> u64 {
        use std::os::unix::fs::MetadataExt as _;
        let size =
            |path: String| directory.join(path).symlink_metadata().map(|at| at.blocks() * 512);
        self.site.tree(directory).into_iter().filter_map(|path| size(path).ok()).sum()
    }
}

/// Bytes of noise of the row's one file: ten gibibytes, or so many as fit on the disk three times.
fn noise_bytes() -> u64 {
    let size = tools::sized(24 << 20, 10 << 30);
    let disk = rustix::fs::statvfs(std::env::temp_dir()).unwrap();
    let free = disk.f_bavail * disk.f_frsize;
    size.min((free / 4).next_multiple_of(1 << 20))
}

#[test]
fn l77_one_file_of_many_bytes_that_do_not_compress_is_right() {
    let size = noise_bytes();
    let pulled = pulled(Image::noise(size), &format!("one file of {size} bytes of noise"));
    let tar = Made::new().noise("noise", size, 1);
    let head = tar.size() - size.next_multiple_of(512);
    if let Some(found) = pulled.digest("noise") {
        assert_eq!(found, Digest::of_reader(tar.reader(head).take(size)).unwrap());
    }
    assert!(pulled.kept(&pulled.site.cache()) < size + size / 8, "the segment is all that is kept");
    if runnable() {
        for at in [0, size / 2 + 5, size - 4096] {
            let mut wanted = Vec::new();
            tar.reader(head + at).take(4096).read_to_end(&mut wanted).unwrap();
            let read = pulled.probe(&["at", "/noise", &at.to_string(), "4096"]);
            assert!(read.bytes == wanted, "at {at}");
        }
    }
}

#[test]
fn l77_a_million_tiny_files_are_all_there() {
    let count = tools::sized(20_000, 1_000_000);
    let pulled = pulled(Image::files(count), &format!("{count} files of ten bytes"));
    if let Some(listed) = pulled.listed("files") {
        assert_eq!(listed as u64, count + count.div_ceil(1000));
    }
    if runnable() {
        let last = count - 1;
        let path = format!("/files/{:05}/{last:09}", last / 1000);
        pulled.probe(&["cat", &path]).prints(&format!("{last:09}\n"));
        let names = pulled.probe(&["ls", "/files/00007"]).stdout;
        assert_eq!(names.lines().count(), 1000);
    }
}

#[test]
fn l77_a_directory_of_300_000_entries_is_listed_and_each_is_found() {
    let count = tools::sized(20_000, 300_000);
    let pulled = pulled(Image::names(count), &format!("a directory of {count} entries"));
    if let Some(listed) = pulled.listed("names") {
        assert_eq!(listed as u64, count);
    }
    if runnable() {
        let names = pulled.probe(&["ls", "/names"]).stdout;
        let wanted = (0..count).map(|number| format!("{number:09}"));
        assert!(names.lines().eq(wanted), "{} names", names.lines().count());
        for number in [0, count / 2, count - 1] {
            let path = format!("/names/{number:09}");
            let stat = pulled.probe(&["stat", &path]).stdout;
            assert!(stat.starts_with("100644 "), "{path}: {stat}");
        }
    }
}

#[test]
fn l79_of_127_layers_that_each_replace_one_file_the_sif_holds_the_last() {
    let size = tools::sized(300 << 10, 100 << 20);
    let pulled = pulled(Image::layers(127, size), &format!("127 layers of {size} bytes"));
    let sif = pulled.sif().metadata().unwrap().len();
    let one = pulled.kept(&pulled.site.cache().join("segments")) / 127;
    assert!(sif < (2 << 20) + 2 * one, "{sif} bytes, a segment has {one}");
    if let Some(listed) = pulled.listed("own") {
        assert_eq!(listed, 127);
    }
    if runnable() {
        pulled.probe(&["at", "/same", "0", "10"]).prints("layer 126\n");
        pulled.probe(&["cat", "/own/000", "/own/126"]).prints("000\n126\n");
    }
}

#[test]
fn l77_a_file_beyond_four_gibibytes_is_whole() {
    const PLACES: [(u64, &[u8]); 3] =
        [(0, b"begin"), ((4 << 30) + 3, b"behind 4 GiB"), ((5 << 30) - 3, b"end")];
    let sparse = Entry::sparse("sparse", 5 << 30, &PLACES);
    let mut image = Image::tiny().layer(Layer::new().entry(sparse));
    let size = tools::sized(0, 4_500_000_000);
    if size > 0 {
        let tar = Made::new().repeated("whole", &b"0123456789".repeat(1000), size / 10_000).end();
        image = image.layer(Layer::made(&tar));
    }
    let pulled = pulled(image, &format!("a file of 5 GiB of holes and one of {size} bytes"));
    if !runnable() {
        return;
    }
    for (at, bytes) in PLACES {
        let read = pulled.probe(&["at", "/sparse", &at.to_string(), &bytes.len().to_string()]);
        assert!(read.bytes == bytes, "at {at}: {}", read.stdout);
    }
    let stat = pulled.probe(&["stat", "/sparse"]).stdout;
    assert!(stat.contains(&format!(" {} ", 5_u64 << 30)), "{stat}");
    if size > 0 {
        pulled.probe(&["at", "/whole", "4499999990", "10"]).prints("0123456789");
    }
}

#[test]
fn r90_a_bomb_is_refused_by_its_ratio_and_one_within_it_is_all_holes() {
    let size = tools::sized(0, 17 << 30);
    if size == 0 {
        return tools::skip("the ratio counts from 16 GiB on: ORLOP_KIT_LARGE is not set");
    }
    let tar = Made::new().zeros("zeros", size).end();
    let layer = |compression| Layer::made_as(&tar, &tar.bomb(compression), compression);
    let registry = Registry::new()
        .image("zstd:1", Image::tiny().layer(layer(Compression::Zstd)))
        .image("gzip:1", Image::tiny().layer(layer(Compression::Gzip)))
        .start();
    let site = site(&registry);
    let refused = site.orlop(["pull", "zstd.sif", &registry.docker("zstd:1")]).fails(255);
    assert!(refused.stderr.contains("limits.ratio is 1100"), "{}", refused.report());
    assert!(!site.work().join("zstd.sif").exists());
    site.orlop(["pull", "gzip.sif", &registry.docker("gzip:1")]).success();
    let sif = site.work().join("gzip.sif").metadata().unwrap().len();
    assert!(sif < 4 << 20, "{sif} bytes");
    let [daemon] = site.daemons()[..] else { panic!("one daemon: {:?}", site.daemons()) };
    assert!(memory::peak(daemon).unwrap() <= DAEMON);
}
