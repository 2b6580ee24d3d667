//! Pins: which image a user means, and all that has to stay for it to be used without a registry.
//!
//! Not here: the files ([`orlop_store::Pin`]), keeping collectors off them (`orlop-store`).

use orlop_image::Recipe;
use orlop_oci::manifest::By;
use orlop_oci::{Digest, Document, ImageUri, Reference};
use orlop_proto::v1::{self, Kind};
use orlop_store::{Entry, Info, Store};

use super::asking::{self, Mirrors};
use super::lookup;
use super::pull::{self, Wanted};
use crate::caller::Caller;
use crate::daemon::Daemon;
use crate::failure::Failure;

/// Fewest characters of a key that name an entry.
const SHORTEST: usize = 6;

/// Pins an image that a URI names and that is in the cache.
///
/// # Errors
/// IMAGE_NOT_FOUND when it is not all there; what a pull from the cache fails with.
pub(crate) async fn pin_reference(
    daemon: &Daemon,
    caller: &Caller,
    wanted: Wanted,
) -> Result<v1::PinReply, Failure> {
    let reference = &wanted.reference;
    let asked =
        asking::ask(daemon, caller, reference, wanted.access.clone(), Mirrors::of(wanted.is_oras))
            .await?;
    let tag = lookup::known(daemon, &asked, reference).await?.open();
    let found = match &tag {
        Some(tag) => pull::entries(daemon, caller, &wanted, tag).await?.map(|found| (tag, found)),
        None => None,
    };
    let Some((tag, mut entries)) = found else { return Err(absent(&reference.canonical())) };
    let mut names = lookup::names(reference);
    // So that it can be named when the tag has moved on.
    names.push(lookup::by_digest(reference, &tag.digest));
    names.dedup();
    entries.extend(Store::tag_entries(&names));
    let name = name(reference, wanted.is_oras);
    let store = daemon.store.clone();
    daemon.blocking("pin", move || pin(&store, name, entries)).await
}

/// The name of a pin: its URI, spelled out.
fn name(reference: &Reference, is_oras: bool) -> String {
    let scheme = if is_oras { "oras" } else { "docker" };
    format!("{scheme}://{}", reference.canonical())
}

fn absent(what: &str) -> Failure {
    Failure::of(Kind::ImageNotFound, format!("{what} is not in the cache: pull it first"))
}

/// Pins what the beginning of a key or digest names. Blocks.
///
/// # Errors
/// IMAGE_NOT_FOUND, USAGE_INVALID when it names several.
pub(crate) fn pin_key(store: &Store, text: &str) -> Result<v1::PinReply, Failure> {
    let info = by_key(store, text)?.ok_or_else(|| absent(text))?;
    let mut entries = vec![info.entry.clone()];
    match &info.entry {
        Entry::Recipe(key) => {
            if let Some(leased) = store.recipe(key)? {
                let recipe = Recipe::from_bytes(&leased.read()?)?;
                let segments = recipe.segments().iter();
                entries.extend(
                    segments.filter_map(|key| key.as_str().parse().ok()).map(Entry::Segment),
                );
            }
        }
        Entry::Blob(digest) => entries.extend(below(store, digest)?),
        _ => {}
    }
    pin(store, info.entry.key(), entries)
}

/// What a manifest names: its config and, where it is one, its SIF.
fn below(store: &Store, digest: &Digest) -> Result<Vec<Entry>, Failure> {
    let Some(bytes) = store.document(digest)? else { return Ok(Vec::new()) };
    let Ok((Document::Manifest(manifest), _)) = Document::parse(&bytes, None, By::Digest) else {
        return Ok(Vec::new());
    };
    let mut entries = vec![Entry::Blob(manifest.config.digest.clone())];
    entries.extend(manifest.sif_layer().map(|layer| Entry::Blob(layer.digest.clone())));
    Ok(entries)
}

fn by_key(store: &Store, text: &str) -> Result<Option<Info>, Failure> {
    let bare = ["sha256:", "sha512:"].iter().find_map(|name| text.strip_prefix(name));
    let bare = bare.unwrap_or(text);
    if bare.len() < SHORTEST || !bare.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let message = format!(
            "\"{text}\" is neither docker://... or oras://... nor {SHORTEST} or more characters of a \
             key"
        );
        return Err(Failure::of(Kind::UsageInvalid, message));
    }
    let mut found = store.entries()?;
    found.retain(|info| {
        let key = info.entry.key();
        let is_image = !matches!(info.entry, Entry::Partial(_) | Entry::Tag(_));
        is_image
            && (key.starts_with(text)
                || key.split_once(':').map_or(&*key, |(_, hex)| hex).starts_with(text))
    });
    if found.len() > 1 {
        let message = format!("{text} is the beginning of {} keys", found.len());
        return Err(Failure::of(Kind::UsageInvalid, message));
    }
    Ok(found.pop())
}

fn pin(store: &Store, name: String, entries: Vec<Entry>) -> Result<v1::PinReply, Failure> {
    store.pin(&name, &entries)?;
    let there = store.entries()?;
    // Some names of an image may have been remembered under none.
    let kept = there.iter().filter(|info| entries.contains(&info.entry));
    let (entries, bytes) = kept.fold((0_u64, 0_u64), |(count, bytes), info| {
        (count.saturating_add(1), bytes.saturating_add(info.bytes))
    });
    Ok(v1::PinReply { names: vec![name], entries, bytes })
}

/// Takes pins away: all, the one of this name or image, or those that this key's beginning names.
/// Blocks.
///
/// # Errors
/// IMAGE_NOT_FOUND when there is none.
pub(crate) fn unpin(store: &Store, what: &str, all: bool) -> Result<v1::PinReply, Failure> {
    let canonical = match ImageUri::parse(what) {
        Ok(ImageUri::Docker(reference)) => name(&reference, false),
        Ok(ImageUri::Oras(reference)) => name(&reference, true),
        _ => what.to_owned(),
    };
    let is_key = what.len() >= SHORTEST && !what.contains('/');
    let mut pins = store.pins()?;
    pins.retain(|pin| {
        let by_key =
            || is_key && pin.name.strip_prefix("sha256:").unwrap_or(&pin.name).starts_with(what);
        all || pin.name == canonical
            || pin.name == what
            || (is_key && pin.name.starts_with(what))
            || by_key()
    });
    if pins.is_empty() && !all {
        return Err(Failure::of(Kind::ImageNotFound, format!("no pin is called {what}")));
    }
    let mut reply = v1::PinReply::default();
    for pin in pins {
        store.unpin(&pin.name)?;
        reply.entries = reply.entries.saturating_add(pin.entries.len() as u64);
        reply.names.push(pin.name);
    }
    Ok(reply)
}
