//! From the indexes of an image's layers to its recipe.
//!
//! The order of work: merge, add Orlop's own files, choose blocks and place them, write the
//! tables, put a SIF around it. The bytes depend on the arguments alone.
//! Layout of the partition: a page for the superblock, blocks of the layers, blocks of Orlop's
//! own files, tables, zeros up to a whole page. SIF: contract, section 7.5.
//! Not here: each of these steps.

use orlop_oci::config::ImageConfig;
use orlop_oci::digest::Digest;
use orlop_oci::platform::Platform;
use orlop_sif::{Architecture, Layout, NewObject, Stamp};

use super::extents::Placed;
use super::own::OwnData;
use super::tables::{self, Order, Places, Sources};
use super::{Bytes, Piece, Recipe, own};
use crate::error::Error;
use crate::key::{SegmentKey, segment_key, sif_id};
use crate::merge::{Merged, merge};
use crate::options::Options;
use crate::segment::SegmentIndex;
use crate::singularity_d::{self, Facts, Objects};

/// Bytes of a page: alignment of the partition, room for the superblock.
const PAGE: u64 = 4096;

/// What, besides its layers, an image's SIF is made of.
#[derive(Clone, Debug)]
pub struct ImageInputs {
    /// Digest of the manifest of this platform (not of the index).
    pub manifest_digest: Digest,
    /// The platform asked for and found.
    pub platform: Platform,
    /// What the programs are made for, where the platform says something else: the SIF says this.
    pub programs: Option<Architecture>,
    /// The canonical reference the user named, `host/path[:tag]`, without a digest.
    pub name: String,
    /// The image config.
    pub config: ImageConfig,
    /// `docker` for images from a registry.
    pub scheme: String,
}

/// Makes the recipe of an image: `layers` are the keys and indexes of its segments, the base
/// first. `options` are those the segments were made under.
///
/// # Errors
/// [`Error::LayerInvalid`], [`Error::ImageLimit`], [`Error::DiffId`]: the image is not what an
/// image may be; [`Error::Damaged`]: an index is of other options or damaged, the segment has to
/// be made again; [`Error::Build`]: squashfs or SIF cannot hold the image.
pub fn build_recipe(
    inputs: &ImageInputs,
    layers: &[(SegmentKey, &SegmentIndex)],
    options: &Options,
) -> Result<Recipe, Error> {
    check(inputs, layers, options)?;
    let indexes: Vec<&SegmentIndex> = layers.iter().map(|(_, index)| *index).collect();
    let created = inputs.config.created.unwrap_or(0);
    let time = u32::try_from(created.clamp(0, u32::MAX.into())).unwrap_or(0);
    let Merged { mut tree, mut warnings } = merge(&indexes, time, &options.limits)?;
    let converter = options.id();
    let facts = Facts {
        scheme: &inputs.scheme,
        from: &format!("{}@{}", inputs.name, inputs.manifest_digest),
        platform: &inputs.platform,
        config: &inputs.config,
        converter: &converter,
    };
    let (files, objects) = singularity_d::files(&facts);
    warnings.extend(singularity_d::place(&mut tree, &files));
    let own = own::encode(&files, options)?;
    let order = Order::of(&tree)?;

    let placed = indexes.iter().map(|index| Placed::new(index.blocks(), index.fragments()));
    let mut places = Places {
        block_size: options.block_size,
        layers: placed.collect(),
        own: Placed::new(&own.blocks, &own.fragments),
    };
    order.want(&tree, &own, &mut places);
    let base = head(inputs, &objects, 0, options)?.len() as u64;
    let mut cursor = PAGE;
    let (segments, mut pieces) = place_blocks(layers, &own, &mut places, base, &mut cursor);
    let sources = Sources { tree: &tree, order: &order, layers: &indexes, own: &own };
    let tables = tables::write(&sources, &mut places, options, cursor)?;
    push(&mut pieces, base.saturating_add(cursor), tables.bytes);
    let length = tables.bytes_used.next_multiple_of(PAGE);

    let mut first = Vec::new();
    push(&mut first, 0, head(inputs, &objects, length, options)?);
    push(&mut first, base, tables.superblock.to_vec());
    first.append(&mut pieces);
    let sif_size = base.saturating_add(length);
    Ok(Recipe { segments, sif_size, partition: (base, length), pieces: first, warnings })
}

/// Gives all blocks their places from `cursor` on; also gives the segments that are needed and the
/// pieces of a SIF whose partition begins at `base`.
fn place_blocks(
    layers: &[(SegmentKey, &SegmentIndex)],
    own: &OwnData,
    places: &mut Places<'_>,
    base: u64,
    cursor: &mut u64,
) -> (Vec<SegmentKey>, Vec<Piece>) {
    let mut segments: Vec<SegmentKey> = Vec::new();
    let mut pieces = Vec::new();
    for ((key, _), place) in layers.iter().zip(&mut places.layers) {
        let runs = place.place(cursor);
        if runs.is_empty() {
            continue;
        }
        let known = segments.iter().position(|segment| segment == key);
        let number = known.unwrap_or(segments.len());
        if known.is_none() {
            segments.push(key.clone());
        }
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        pieces.extend(runs.into_iter().map(|run| run.into_piece(base, number)));
    }
    for run in places.own.place(cursor) {
        // Orlop's own blocks are all wanted but for those of files that found no place.
        let start = run.blocks.first().map_or(0, |block| block.offset);
        let end =
            run.blocks.last().map_or(0, |block| block.offset.saturating_add(block.length.into()));
        let range = usize::try_from(start).unwrap_or(0)..usize::try_from(end).unwrap_or(0);
        let bytes = own.bytes.get(range).unwrap_or_default().to_vec();
        push(&mut pieces, base.saturating_add(run.offset), bytes);
    }
    (segments, pieces)
}

fn push(pieces: &mut Vec<Piece>, offset: u64, bytes: Vec<u8>) {
    if !bytes.is_empty() {
        let length = bytes.len() as u64;
        pieces.push(Piece { offset, length, bytes: Bytes::Here(bytes) });
    }
}

/// Checks that the segments are those of this image under these options.
fn check(
    inputs: &ImageInputs,
    layers: &[(SegmentKey, &SegmentIndex)],
    options: &Options,
) -> Result<(), Error> {
    let promised = &inputs.config.diff_ids;
    if !promised.is_empty() && promised.len() != layers.len() {
        let (said, found) = (promised.len(), layers.len());
        let cause = format!("the image config names {said} layers, the manifest {found}").into();
        return Err(Error::Build { what: "the image", cause });
    }
    for (number, (key, index)) in layers.iter().enumerate() {
        let is_right = index.options_id() == options.id()
            && index.block_size() == options.block_size
            && *key == segment_key(index.layer(), options);
        if !is_right {
            let fault = "it was made under other options or of another layer".to_owned();
            return Err(Error::Damaged { what: "segment index", fault });
        }
        if let Some(expected) = promised.get(number).filter(|promised| *promised != index.diff_id())
        {
            let (layer, expected) = (index.layer().clone(), expected.clone());
            return Err(Error::DiffId { layer, expected, actual: index.diff_id().clone() });
        }
    }
    Ok(())
}

/// The bytes of the SIF before its partition of `length` bytes.
fn head(
    inputs: &ImageInputs,
    objects: &Objects,
    length: u64,
    options: &Options,
) -> Result<Vec<u8>, Error> {
    let id = sif_id(&inputs.manifest_digest, &inputs.platform, &inputs.name, options);
    let stamp = Stamp { id, time: inputs.config.created.unwrap_or(0) };
    let texts = [&objects.definition, &objects.inspect, &objects.oci_config];
    let [definition, inspect, oci_config] = texts.map(|text| text.len() as u64);
    let said = Architecture::from_name(&inputs.platform.architecture);
    let architecture = inputs.programs.or(said);
    let layout = Layout::new(
        &stamp,
        &[
            NewObject::definition(definition),
            NewObject::json("inspect-metadata.json", inspect),
            NewObject::json("oci-config.json", oci_config),
            NewObject::squashfs(length, architecture),
        ],
    )
    .map_err(|cause| Error::Build { what: "the SIF", cause: cause.into() })?;
    let mut bytes = layout.head;
    for (offset, text) in
        layout.offsets.iter().zip(texts.map(Vec::as_slice).into_iter().chain([&[][..]]))
    {
        bytes.resize(usize::try_from(*offset).unwrap_or(bytes.len()), 0);
        bytes.extend_from_slice(text);
    }
    Ok(bytes)
}
