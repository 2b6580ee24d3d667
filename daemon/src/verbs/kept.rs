//! Layers that are kept as they came (`cache.keep-layers`): what is missing of an image is made of
//! them, and nobody is asked.
//!
//! Not here: how a layer is converted ([`super::convert`]), when a kept one goes (`orlop-store`).

use std::sync::{Arc, PoisonError};

use orlop_image::Workers;
use orlop_proto::v1::Kind;
use orlop_store::{Entry, Leased};

use super::cache::Content;
use super::convert::{Converted, Error, Layer, make};
use super::spool::{Counted, Shared};
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::flights::Facts;
use crate::tasks::Stop;

/// Publishes a download, all of which has come and was converted, as a layer that is kept. Nobody
/// waits, and a failure is nobody's: the layer can be had again.
pub(super) fn keep(daemon: &Daemon, partial: &Shared) {
    let Some(partial) = partial.lock().unwrap_or_else(PoisonError::into_inner).take() else {
        return;
    };
    let this = daemon.clone();
    daemon.tasks.detached("keep", move || match partial.publish_layer() {
        // The cap counts it.
        Ok(_) => this.collect_later(),
        Err(error) => tracing::debug!(%error, "a layer is not kept"),
    });
}

/// Converts a layer from what is kept of it; `None` where nothing is, or where it turned out to be
/// damaged and was moved aside.
///
/// # Errors
/// LAYER_INVALID, LIMIT_EXCEEDED, DISK_FULL, FILE_FAILED.
pub(super) async fn segment(
    daemon: &Daemon,
    (layer, workers): (&Layer, &Workers),
    facts: &Arc<Facts>,
) -> Result<Option<Converted>, Failure> {
    let (store, descriptor) = (daemon.store.clone(), layer.descriptor.clone());
    let look = move || Ok(store.layer(&descriptor.digest, descriptor.size)?);
    let Some(kept) = daemon.blocking("layer", look).await? else { return Ok(None) };
    let _turn = layer.turn(daemon).await;
    let (this, layer, facts) = (daemon.clone(), layer.clone(), Arc::clone(facts));
    let workers = workers.clone();
    let part = facts.part();
    let work = move |stop: &Stop| {
        let _part = part;
        convert(&this, (&layer, &workers), kept, &facts, stop)
    };
    let made = daemon.tasks.blocking("convert", work).await;
    made.map_err(|lost| Failure::new(Kind::Internal, &lost))?
}

/// Blocks.
fn convert(
    daemon: &Daemon,
    (layer, workers): (&Layer, &Workers),
    kept: Leased,
    facts: &Facts,
    stop: &Stop,
) -> Result<Option<Converted>, Failure> {
    use orlop_image::Error as E;
    let mut reader = Counted::new(kept.file(), facts);
    let error = match make(daemon, (layer, workers), &layer.source(), &mut reader, stop) {
        Ok(made) => {
            daemon.counts.layers_converted.add(1);
            return Ok(Some(made));
        }
        Err(Error::Store(error)) => return Err(error.into()),
        Err(Error::Image(error @ (E::Disk { .. } | E::Stopped))) => return Err(error.into()),
        Err(Error::Image(error)) => error,
    };
    drop(kept);
    let entry = Entry::Layer(layer.descriptor.digest.clone());
    // Whatever was wrong with it: if it is not what came, what comes anew may be right.
    match daemon.store.verify_entry(&entry, &Content, stop.flag())? {
        true => Err(error.into()),
        false => Ok(None),
    }
}
