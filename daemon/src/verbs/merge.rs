//! The merge of an image's layers into its recipe, once for all who want the image at the same time.
//!
//! Not here: the layers ([`super::convert`]); the merge itself (`orlop-image`).

use std::sync::Arc;

use orlop_image::{
    ImageInputs, Recipe, SegmentIndex, SegmentKey, VirtualSif, architecture_of_programs,
    build_recipe, segment_key,
};
use orlop_proto::v1::Kind;
use orlop_sif::Architecture;
use orlop_store::Entry;

use super::convert::Converted;
use super::image::{self, Image};
use super::known::Made;
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::{headroom, memory};

/// What came of a merge.
#[derive(Clone, Debug)]
pub(crate) struct Merged {
    /// What the recipe says.
    pub(super) made: Arc<Made>,
    /// Sentences for the user.
    pub(super) warnings: Vec<String>,
}

/// Merges layers that were converted, or shares what others make of the same layers just now. Who
/// comes when it is made already finds it in the cache.
///
/// # Errors
/// LIMIT_EXCEEDED, CACHE_DAMAGED, FILE_FAILED, DISK_FULL.
pub(super) async fn merge(
    daemon: &Daemon,
    image: &Arc<Image>,
    converted: Vec<Arc<Converted>>,
) -> Result<Merged, Failure> {
    let (shared, wanted) = (daemon.clone(), Arc::clone(image));
    let (key, what) = (image.key.as_str(), image.chosen.digest.to_string());
    let flight = daemon.recipes.join(key, what, 0, move |_| async move {
        if let Some(found) = image::cached(&shared, &wanted).await? {
            return Ok(Merged { made: found.made, warnings: Vec::new() });
        }
        merge_now(&shared, wanted, converted).await
    });
    flight.landed().await
}

async fn merge_now(
    daemon: &Daemon,
    image: Arc<Image>,
    converted: Vec<Arc<Converted>>,
) -> Result<Merged, Failure> {
    let bytes =
        converted.iter().map(|layer| layer.segment.index.bytes()).fold(0, u64::saturating_add);
    let _turn = daemon.merges.acquire_many(memory::merge_weight(bytes)).await;
    let this = daemon.clone();
    daemon
        .blocking("merge", move || {
            memory::before_merge(bytes);
            memory::check_merge(bytes, headroom::bytes())?;
            let store = &this.store;
            let mut indexes = Vec::new();
            for (layer, converted) in image.layers.iter().zip(&converted) {
                let index = SegmentIndex::from_bytes(&converted.segment.index.read()?);
                let index = index.inspect_err(|error| {
                    let entry = Entry::Segment(layer.key.clone());
                    let aside = store.move_aside(&entry, &error.to_string());
                    tracing::warn!(key = %layer.key, ?aside, "a damaged segment was moved aside");
                })?;
                indexes.push((segment_key(&layer.descriptor.digest, &image.options), index));
            }
            let layers: Vec<(SegmentKey, &SegmentIndex)> =
                indexes.iter().map(|(key, index)| (key.clone(), index)).collect();
            let build = |programs| build_recipe(&inputs(&image, programs), &layers, &image.options);
            let (mut recipe, found) = match looked_at(build(None)?, &layers, &converted)? {
                Some(looked_at) => looked_at,
                // What is wrong with a segment is found, and healed, where all of it is read.
                None => (build(None)?, None),
            };
            let mut warnings = recipe.warnings().to_vec();
            let said = image.platform.architecture.as_str();
            if let Some(found) = found.filter(|found| found.name() != said) {
                recipe = build(Some(found))?;
                let found = found.name();
                warnings.push(format!("the image says {said}, and its programs are for {found}"));
            }
            store.put_recipe(&image.key, &recipe.to_bytes())?;
            this.checked.note(store, &Entry::Recipe(image.key.clone()));
            let made = Made::of(&recipe).map_err(|error| Failure::new(Kind::Internal, &error))?;
            this.counts.images_merged.add(1);
            let made = this.known.keep(store, &image.key, made);
            Ok(Merged { made, warnings })
        })
        .await
}

/// What the programs of an image that was just merged are made for; nothing at all where its
/// segments cannot be read.
fn looked_at(
    recipe: Recipe,
    layers: &[(SegmentKey, &SegmentIndex)],
    converted: &[Arc<Converted>],
) -> Result<Option<(Recipe, Option<Architecture>)>, Failure> {
    let mut files = Vec::new();
    for wanted in recipe.segments() {
        let mut known = layers.iter().zip(converted);
        let Some((_, one)) = known.find(|((key, _), _)| key == wanted) else { return Ok(None) };
        let file = one.segment.data.file().try_clone();
        files.push(file.map_err(|error| Failure::new(Kind::FileFailed, &error))?);
    }
    let Ok(image) = VirtualSif::new(recipe, files) else { return Ok(None) };
    let image = Arc::new(image);
    let found = architecture_of_programs(&image);
    Ok(Arc::into_inner(image).map(|image| (image.into_recipe(), found)))
}

fn inputs(image: &Image, programs: Option<Architecture>) -> ImageInputs {
    ImageInputs {
        manifest_digest: image.chosen.digest.clone(),
        platform: image.platform.clone(),
        programs,
        name: image.named.name.clone(),
        config: image.config.clone(),
        scheme: image.named.scheme.to_owned(),
    }
}
