//! Which entry of an index is taken for a platform.
//!
//! Rules: `registry.md` §7.3. Pure: what has to be fetched to know more is returned as a list of
//! entries. Not here: fetching, and the limits on depth and number of nested indexes.

use std::fmt;

use crate::descriptor::Descriptor;
use crate::manifest::Index;
use crate::platform::Platform;

#[cfg(test)]
mod tests;

/// Most platforms that an error lists.
const OFFERED_MAX: usize = 20;

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice<'a> {
    /// Go on with this entry: a manifest, or a nested index when its type says so.
    Entry(&'a Descriptor),
    /// No entry names a fitting platform. These name none, in file order: a nested index is chosen
    /// from in turn, of a manifest the config's platform counts.
    LookInside(Vec<&'a Descriptor>),
}

/// No entry fits and there is none to look into.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct SelectionError {
    /// What was asked for.
    pub wanted: Platform,
    /// What the index offers, each once, in file order, without build attestations.
    pub offered: Vec<Platform>,
}

impl fmt::Display for SelectionError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "no image for {}; offered: ", self.wanted)?;
        if self.offered.is_empty() {
            return out.write_str("none");
        }
        for (place, platform) in self.offered.iter().take(OFFERED_MAX).enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(out, "{comma}{}", platform.to_string().escape_debug())?;
        }
        match self.offered.len().saturating_sub(OFFERED_MAX) {
            0 => Ok(()),
            more => write!(out, " and {more} more"),
        }
    }
}

/// Chooses from `index` the entry that fits `wanted` best.
///
/// # Errors
/// [`SelectionError`] when nothing fits and nothing is left to look into.
pub fn choose<'a>(index: &'a Index, wanted: &Platform) -> Result<Choice<'a>, SelectionError> {
    let is_usable =
        |entry: &&Descriptor| entry.media_type.is_index() || entry.media_type.is_manifest();
    let usable: Vec<&Descriptor> = index.manifests.iter().filter(is_usable).collect();
    // min_by_key keeps the first of equals: file order.
    let best = usable
        .iter()
        .filter_map(|entry| Some((rank(wanted, entry.platform.as_ref()?)?, *entry)))
        .min_by_key(|(rank, _)| *rank);
    if let Some((_, entry)) = best {
        return Ok(Choice::Entry(entry));
    }
    let unlabelled: Vec<_> =
        usable.iter().copied().filter(|entry| entry.platform.is_none()).collect();
    if !unlabelled.is_empty() {
        return Ok(Choice::LookInside(unlabelled));
    }
    let mut offered: Vec<Platform> = Vec::new();
    let known = usable.iter().filter_map(|entry| entry.platform.as_ref());
    for platform in known.filter(|platform| !platform.is_unknown()) {
        if !offered.contains(platform) {
            offered.push(platform.clone());
        }
    }
    Err(SelectionError { wanted: wanted.clone(), offered })
}

/// Says how well a machine of platform `wanted` runs `offered`: 0 is exact, `None` not at all.
#[must_use]
pub fn rank(wanted: &Platform, offered: &Platform) -> Option<u32> {
    if wanted.os != offered.os || wanted.architecture != offered.architecture {
        return None;
    }
    if wanted.variant == offered.variant {
        return Some(0);
    }
    let ladder = match wanted.architecture.as_str() {
        "amd64" => amd64_ladder(wanted.variant.as_deref()),
        "arm" => arm_ladder(wanted.variant.as_deref()),
        "arm64" => arm64_ladder(wanted.variant.as_deref()),
        // Elsewhere only the baseline, which an entry without variant is.
        _ => vec![None],
    };
    let step = ladder.iter().position(|rung| *rung == offered.variant)?;
    u32::try_from(step).ok()?.checked_add(1)
}

/// `v4` runs `v3`, `v2` and the baseline.
fn amd64_ladder(variant: Option<&str>) -> Vec<Option<String>> {
    let level = variant.and_then(|text| text.strip_prefix('v')?.parse::<u32>().ok()).unwrap_or(1);
    let below = (2..level.min(16)).rev().map(|lower| Some(format!("v{lower}")));
    below.chain([None]).collect()
}

/// `v7` runs `v6` and `v5`.
fn arm_ladder(variant: Option<&str>) -> Vec<Option<String>> {
    let level = variant.and_then(|text| text.strip_prefix('v')?.parse::<u32>().ok()).unwrap_or(7);
    (5..level.min(16)).rev().map(|lower| Some(format!("v{lower}"))).collect()
}

/// `v9.x` runs its lower minors down to `v9`, then `v8.(x+5)` and down to the baseline, `v8`.
fn arm64_ladder(variant: Option<&str>) -> Vec<Option<String>> {
    let (major, minor) = variant
        .and_then(|text| text.strip_prefix('v'))
        .map_or(("8", "0"), |text| text.split_once('.').unwrap_or((text, "0")));
    let (Ok(major), Ok(minor)) = (major.parse::<u32>(), minor.parse::<u32>()) else {
        return vec![None];
    };
    let minor = minor.min(16);
    let name = |major: u32, minor: u32| match (major, minor) {
        (8, 0) => None,
        (major, 0) => Some(format!("v{major}")),
        (major, minor) => Some(format!("v{major}.{minor}")),
    };
    let own = (0..minor).rev().map(|lower| name(major, lower));
    let eighth = if major == 9 { minor.saturating_add(6) } else { 0 };
    own.chain((0..eighth).rev().map(|lower| name(8, lower))).collect()
}
