//! Images: layers become segments, segments and a recipe become a SIF.
//!
//! [`convert`] turns one layer's blob into a segment (data file and [`SegmentIndex`]) in one pass;
//! [`build_recipe`] merges the indexes of an image into a [`Recipe`]: everything of the SIF that
//! is no segment data, and the list of what to take from which segment; [`assemble`] writes the
//! SIF, [`VirtualSif`] reads it without writing it. The same input gives the same bytes, whatever
//! the number of threads, the machine or the day. Nothing of a layer is ever opened, made or
//! followed on the host: names are only keys of a tree in memory.
//!
//! Not here: fetching blobs (`orlop-registry`), keeping segments and recipes (`orlop-store`), the
//! bytes of squashfs and SIF (`orlop-squashfs`, `orlop-sif`).

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

mod assemble;
mod blocks;
mod decode;
mod decompressed;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod key;
mod limits;
mod merge;
mod names;
mod options;
mod pipeline;
mod programs;
mod recipe;
mod segment;
mod singularity_d;
mod sink;
mod source;
mod tar;
#[cfg(test)]
mod testing;
mod tree;
mod virtual_sif;
mod wire;
mod workers;

pub use assemble::assemble;
pub use decompressed::Decompressed;
pub use error::{BoxError, Error, Place, escaped};
pub use key::{KeyError, RecipeKey, SegmentKey, recipe_key, segment_key};
pub use limits::Limits;
pub use options::{FORMAT, Method, Options};
pub use pipeline::{Conversion, LayerSource, convert};
pub use programs::architecture_of_programs;
pub use recipe::{ImageInputs, Recipe, build_recipe};
pub use segment::SegmentIndex;
pub use singularity_d::scripts;
pub use tar::{Member, MemberKind, members};
pub use virtual_sif::{DOUBTED, Mend, VirtualSif};
pub use workers::Workers;
