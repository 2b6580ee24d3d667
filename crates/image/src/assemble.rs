//! stub
use std::fs::File;
use crate::error::Error;
use crate::recipe::Recipe;
/// Writes the SIF: `progress` is told the bytes written so far.
pub fn assemble(recipe: &Recipe, segments: &[File], out: &File, progress: &mut dyn FnMut(u64), stop: &dyn Fn() -> bool) -> Result<(), Error> {
    let _ = (recipe, segments, out, progress, stop);
    Err(Error::Stopped)
}
