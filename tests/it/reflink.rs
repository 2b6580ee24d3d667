//! A SIF whose bytes the file system shares with the cache (`design.md` §5, §12.3).
//!
//! Not here: file systems that refuse it ([`crate::disks`]).

use crate::world::programs;
use orlop_kit::{Image, Layer, Person, Registry, Site, tools};

#[test]
fn a_sif_on_the_caches_disk_shares_its_blocks_and_has_the_same_bytes() {
    let Some([unshare, _, _]) = tools::all(["unshare", "mkfs.xfs", "filefrag"]) else { return };
    if !rustix::process::geteuid().is_root() {
        return tools::skip("only root may mount a disk with shared blocks");
    }
    let upper = Layer::noise("more/data", (1 << 20) + 77, 2);
    let image = Image::new().layer(Layer::noise("data", 3 << 20, 1)).layer(upper);
    let registry = Registry::new().image("a:1", image).start();
    let site = Site::of(Person::own(), &programs()).insecure(&registry);
    let (disk, at) = (site.root().join("disk"), site.root().join("mounted"));
    let script = format!(
        "truncate -s 320m {disk} && mkfs.xfs -q {disk} && mkdir {at} || exit 1\n\
         mount -o loop {disk} {at} || exit 77\n\
         export ORLOP_CACHEDIR={at}/cache\n\
         {orlop} pull {at}/shared.sif {image} && {orlop} pull copied.sif {image} || exit 1\n\
         cmp {at}/shared.sif copied.sif && {orlop} cache verify || exit 1\n\
         filefrag -v {at}/shared.sif\n\
         {orlop} daemon stop",
        disk = disk.display(),
        at = at.display(),
        orlop = site.programs().orlop.display(),
        image = registry.docker("a:1"),
    );
    let words = ["--mount", "--propagation", "private", "sh", "-c", &script];
    let outcome = site.program(&unshare, words).outcome();
    if outcome.status == 77 {
        return tools::skip("no loop device for XFS");
    }
    let outcome = outcome.success();
    // Extents as filefrag lists them: number, logical, physical, length in blocks, flags.
    let shared: u64 = (outcome.stdout.lines())
        .filter(|line| line.contains("shared"))
        .filter_map(|line| line.split(':').nth(3)?.trim().parse::<u64>().ok())
        .sum();
    assert!(shared * 4096 > 7 << 19, "of 4 MiB of noise: {}", outcome.report());
}
