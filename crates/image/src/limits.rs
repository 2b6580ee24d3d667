//! Bounds on what a layer may ask for.
//!
//! A value handed in by the caller, whose settings decide; the default is the table of defaults.
//! Not here: limits of transport (`orlop-registry`) and of the formats, which are fixed.

/// Bounds on one layer and one image. Each field's key in the settings is its name with `-`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the tar of one layer, and of the apparent sizes of its files together.
    pub layer_bytes: u64,
    /// Bytes of tar a byte of blob may give, looked at once [`Self::RATIO_FROM`] bytes came.
    pub ratio: u64,
    /// Largest window of a zstd frame, as a power of two.
    pub zstd_window_log: u32,
    /// Entries of one layer.
    pub entries: u64,
    /// Entries of one image, all layers together.
    pub image_entries: u64,
    /// Bytes of one pax header, and of one GNU long name.
    pub pax_bytes: u64,
    /// Extents in the map of a sparse file.
    pub sparse_map: u64,
    /// Apparent bytes of one file.
    pub file_bytes: u64,
    /// Bytes of one extended attribute's value.
    pub xattr_bytes: u64,
}

impl Limits {
    /// Bytes of tar from which on [`Self::ratio`] is looked at: 16 GiB.
    pub const RATIO_FROM: u64 = 16 << 30;
    /// Bytes of one component of a path: Linux's `NAME_MAX`.
    pub const NAME_BYTES: usize = 255;
    /// Bytes of a path: Linux's `PATH_MAX` without its final NUL.
    pub const PATH_BYTES: usize = 4095;
    /// Bytes of the target of a symbolic link.
    pub const TARGET_BYTES: usize = 4095;
    /// Symbolic links followed in one path: Linux's `MAXSYMLINKS`.
    pub const HOPS: u32 = 40;
    /// Bytes of the name of an extended attribute.
    pub const XATTR_NAME_BYTES: usize = 255;
    /// Bytes of all extended attributes of one inode, names and values.
    pub const XATTR_TOTAL_BYTES: usize = 1 << 20;
    /// Different owners and groups of one image: squashfs counts them in 16 bits.
    pub const IDS: usize = 65_535;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            layer_bytes: 1 << 40,
            ratio: 1100,
            zstd_window_log: 27,
            entries: 10_000_000,
            image_entries: 20_000_000,
            pax_bytes: 1 << 20,
            sparse_map: 65_536,
            file_bytes: 1 << 40,
            xattr_bytes: 64 << 10,
        }
    }
}
