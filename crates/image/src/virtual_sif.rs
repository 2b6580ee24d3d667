//! stub
use std::fs::File;
use std::io;
use orlop_squashfs::ReadAt;
use crate::error::Error;
use crate::recipe::Recipe;
/// A SIF that is not written anywhere
#[derive(Debug)]
pub struct VirtualSif { recipe: Recipe, segments: Vec<File> }
impl VirtualSif {
    /// new
    pub fn new(recipe: Recipe, segments: Vec<File>) -> Result<Self, Error> { Ok(Self { recipe, segments }) }
    /// Offset and length of the squashfs partition, in bytes.
    #[must_use]
    pub fn partition(&self) -> (u64, u64) { let _ = &self.segments; self.recipe.partition() }
}
impl ReadAt for VirtualSif {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> { let _ = (buf, offset); Err(io::ErrorKind::Unsupported.into()) }
    fn size(&self) -> u64 { self.recipe.sif_size() }
}
