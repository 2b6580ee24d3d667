//! What a reference is: its digests, and its documents as the registry sent them.
//!
//! Without a platform the top document alone may be asked for: it means the same everywhere, also
//! where it holds nothing for this machine. Not here: choosing from an index
//! ([`super::documents`]), words about it (the client's).

use bytes::Bytes;
use orlop_oci::{Document, Reference};
use orlop_proto::v1;
use orlop_registry::Fetched;

use super::asking::{self, Asked, Mirrors};
use super::documents::{self, Chosen};
use super::image::Target;
use super::lookup;
use crate::caller::Caller;
use crate::daemon::Daemon;
use crate::failure::Failure;

/// What is asked about.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The reference.
    pub(crate) reference: Reference,
    /// A SIF artifact rather than an image of layers.
    pub(crate) is_oras: bool,
    /// Whose manifest; none for the top document alone.
    pub(crate) target: Option<Target>,
    /// How to reach the registry and as whom.
    pub(crate) access: v1::Access,
}

/// An image's documents.
#[derive(Debug)]
pub(crate) struct Inspected {
    /// The top document.
    pub(crate) top: Bytes,
    /// The manifest, where it is another document.
    pub(crate) manifest: Bytes,
    /// The config, where the manifest was asked for.
    pub(crate) config: Bytes,
    /// What is known besides.
    pub(crate) done: v1::InspectDone,
}

/// Finds the digests of a reference.
///
/// # Errors
/// What the registry says; PLATFORM_MISSING.
pub(crate) async fn resolve(
    daemon: &Daemon,
    caller: &Caller,
    wanted: Wanted,
) -> Result<v1::ResolveReply, Failure> {
    let Wanted { reference, is_oras, target, access } = wanted;
    let mut asked = asking::ask(daemon, caller, &reference, access, Mirrors::of(is_oras)).await?;
    let (digest, manifest_digest, source, mut warnings) = match target {
        Some(target) => {
            let (chosen, answered) =
                documents::choose_manifest(daemon, &asked, &reference, &target.platform).await?;
            if target.is_explicit {
                check_platform(daemon, &asked, &chosen, &target).await?;
            }
            let Chosen { top, digest, source, warnings, .. } = chosen;
            lookup::remember(daemon, &reference, &answered, &digest);
            (top.digest.to_string(), digest.to_string(), source, warnings)
        }
        // What HEAD says is enough: on the Docker Hub it does not count as a pull.
        None => {
            let resolved = asked.sources.resolve().await?;
            (resolved.digest.to_string(), String::new(), resolved.source, Vec::new())
        }
    };
    warnings.extend(asked.notices());
    Ok(v1::ResolveReply {
        reference: reference.canonical(),
        digest,
        manifest_digest,
        source,
        repository: reference.repository(),
        warnings,
    })
}

/// Fetches the documents of a reference, but for its layers.
///
/// # Errors
/// What the registry says; PLATFORM_MISSING, MANIFEST_INVALID, IMAGE_UNSUPPORTED.
pub(crate) async fn inspect(
    daemon: &Daemon,
    caller: &Caller,
    wanted: Wanted,
) -> Result<Inspected, Failure> {
    let Wanted { reference, is_oras, target, access } = wanted;
    let mut asked = asking::ask(daemon, caller, &reference, access, Mirrors::of(is_oras)).await?;
    let Some(target) = target else {
        let (top, source, _) = documents::find_top(daemon, &asked).await?;
        let mut done = done(&reference, &top, source);
        done.warnings = asked.notices();
        return Ok(Inspected {
            top: top.bytes,
            manifest: Bytes::new(),
            config: Bytes::new(),
            done,
        });
    };
    let (chosen, answered) =
        documents::choose_manifest(daemon, &asked, &reference, &target.platform).await?;
    if target.is_explicit {
        check_platform(daemon, &asked, &chosen, &target).await?;
    }
    let config = documents::config_bytes(daemon, Some(asked.origin()), &chosen.manifest).await?;
    lookup::remember(daemon, &reference, &answered, &chosen.digest);
    let Chosen { top, digest, bytes, source, by_index, warnings, .. } = chosen;
    let mut done = done(&reference, &top, source);
    done.manifest_digest = digest.to_string();
    done.warnings = warnings;
    done.warnings.extend(asked.notices());
    let manifest = if by_index { bytes } else { Bytes::new() };
    Ok(Inspected { top: top.bytes, manifest, config, done })
}

/// An image without an index has to be for the platform that the user named, as in a pull. What is
/// no image of layers says nothing about platforms.
async fn check_platform(
    daemon: &Daemon,
    asked: &Asked,
    chosen: &Chosen,
    target: &Target,
) -> Result<(), Failure> {
    if chosen.by_index || !chosen.manifest.config.media_type.is_image_config() {
        return Ok(());
    }
    let config = documents::config_of(daemon, Some(asked.origin()), &chosen.manifest).await?;
    target.settle(chosen, &config).map(drop)
}

fn done(reference: &Reference, top: &Fetched, source: String) -> v1::InspectDone {
    let by = orlop_oci::manifest::By::Digest;
    let parsed = Document::parse(&top.bytes, top.content_type.as_deref(), by);
    let media_type = match (parsed, &top.content_type) {
        (Ok((document, _)), _) => document.media_type().to_string(),
        (Err(_), Some(sent)) => sent.clone(),
        (Err(_), None) => String::new(),
    };
    v1::InspectDone {
        reference: reference.canonical(),
        digest: top.digest.to_string(),
        media_type,
        source,
        ..v1::InspectDone::default()
    }
}
