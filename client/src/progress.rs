//! Progress: the daemon's facts as bars on a terminal, or as plain lines.
//!
//! Bars go to stderr, one a layer as long as there is room, else one for all; nothing is drawn
//! when stderr is no terminal or the level is below information. Not here: other lines
//! ([`crate::output`]).

use std::collections::BTreeSet;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use orlop_proto::v1::pull_event::Event;
use orlop_proto::v1::{PullPhase, PullResolved};

use crate::output::{Level, Output};
use crate::pulling::Telling;

/// Most layers that get a bar each.
const ROWS: usize = 12;
/// Digits of a digest that name a layer to people.
const SHORT: usize = 12;

/// What is shown of a pull, a push or a write.
#[derive(Debug)]
pub(crate) struct Progress {
    bars: Option<MultiProgress>,
    layers: Vec<ProgressBar>,
    whole: Option<ProgressBar>,
    sizes: Vec<u64>,
    done: Vec<u64>,
    announcement: &'static [&'static str],
    telling: Telling,
    announced: bool,
    finished: bool,
    /// What was said, in tries before this one and in this one.
    said: [BTreeSet<String>; 2],
}

impl Progress {
    /// The progress of a pull.
    pub(crate) fn new(output: &Output, uri: &str, telling: Telling) -> Self {
        let bars = output
            .may_draw()
            .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)));
        Self {
            bars,
            layers: Vec::new(),
            whole: None,
            sizes: Vec::new(),
            done: Vec::new(),
            announcement: announcement(uri, telling),
            telling,
            announced: false,
            finished: false,
            said: Default::default(),
        }
    }

    /// The same command's next try: what was said is not said again.
    pub(crate) fn again(&mut self) {
        self.end();
        let [before, now] = &mut self.said;
        before.append(now);
        self.layers.clear();
        self.whole = None;
        self.finished = false;
    }

    /// The progress of writing or sending one file.
    pub(crate) fn writing(output: &Output, size: u64) -> Self {
        let mut this = Self::new(output, "", Telling::Pull);
        this.announced = true;
        this.whole = this.bars.as_ref().map(|bars| bars.add(bar(size, "")));
        this
    }

    /// Tells of bytes written or sent, in all.
    pub(crate) fn written(&mut self, bytes: u64) {
        if let Some(bar) = &self.whole {
            bar.set_position(bytes);
        }
    }

    /// Shows a fact.
    pub(crate) fn show(&mut self, event: &Event, output: &mut Output) {
        match event {
            Event::Resolved(resolved) => self.resolved(resolved, output),
            Event::Progress(progress) => {
                let Ok(layer) = usize::try_from(progress.layer) else { return };
                if let Some(done) = self.done.get_mut(layer) {
                    *done = progress.bytes;
                }
                if let Some(bar) = self.layers.get(layer) {
                    bar.set_position(progress.bytes);
                }
                if let Some(bar) = &self.whole {
                    bar.set_position(self.done.iter().sum());
                }
            }
            Event::Phase(phase) => match PullPhase::try_from(*phase) {
                Ok(PullPhase::Waiting) => {
                    self.line(
                        Level::Info,
                        "Waiting for another process that converts this image",
                        output,
                    );
                }
                Ok(PullPhase::Merging) => self.line(Level::Verbose, "Merging the layers", output),
                _ => {}
            },
            Event::Warning(warning) => {
                let level = if warning.is_detail { Level::Verbose } else { Level::Warning };
                self.line(level, &warning.text, output);
            }
            Event::Done(_) => {}
        }
    }

    fn resolved(&mut self, resolved: &PullResolved, output: &mut Output) {
        let from = format!("{} from {}", resolved.digest, resolved.source);
        self.line(Level::Verbose, &from, output);
        if resolved.cached {
            return;
        }
        self.announce(output);
        self.sizes = resolved.layers.iter().map(|layer| layer.size).collect();
        self.done =
            resolved.layers.iter().map(|layer| if layer.cached { layer.size } else { 0 }).collect();
        let Some(bars) = &self.bars else { return };
        if resolved.layers.len() <= ROWS {
            for layer in &resolved.layers {
                let digest = layer.digest.split_once(':').map_or("", |(_, hex)| hex);
                let name = digest.get(..SHORT).unwrap_or(digest);
                let bar = bars.add(bar(layer.size, name));
                if layer.cached {
                    bar.set_position(layer.size);
                }
                self.layers.push(bar);
            }
        } else {
            self.whole = Some(bars.add(bar(self.sizes.iter().sum(), "all layers")));
        }
    }

    fn announce(&mut self, output: &mut Output) {
        if std::mem::replace(&mut self.announced, true) {
            return;
        }
        for line in self.announcement {
            self.line(Level::Info, line, output);
        }
    }

    /// Says whether anything had to be fetched, when the pull has ended well.
    pub(crate) fn settle(&mut self, cached: bool, output: &mut Output) {
        if cached && !self.announced && self.telling == Telling::Pull {
            output.info("Using cached SIF image");
        }
    }

    fn line(&mut self, level: Level, text: &str, output: &mut Output) {
        let [before, now] = &mut self.said;
        if before.contains(text) {
            return;
        }
        now.insert(text.to_owned());
        match &self.bars {
            Some(bars) => bars.suspend(|| output.message(level, text)),
            None => output.message(level, text),
        }
    }

    /// Takes the bars away.
    pub(crate) fn end(&mut self) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        for bar in self.layers.iter().chain(&self.whole) {
            bar.finish_and_clear();
        }
        if let Some(bars) = &self.bars {
            drop(bars.clear());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

/// What is said when something has to be fetched or converted.
fn announcement(uri: &str, telling: Telling) -> &'static [&'static str] {
    match uri.split_once(':') {
        Some(("oras", _)) => &["Downloading oras image"],
        Some(("http" | "https", _)) => &["Downloading network image"],
        _ if telling == Telling::Build => &[],
        _ => &["Converting OCI blobs to SIF format", "Starting build..."],
    }
}

fn bar(total: u64, name: &str) -> ProgressBar {
    let template =
        "{prefix:12} {bytes:>10} / {total_bytes:10} [{bar:30}] {binary_bytes_per_sec:>12} {eta:>4}";
    let style = ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=>-");
    let bar = ProgressBar::new(total).with_style(style).with_prefix(name.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
