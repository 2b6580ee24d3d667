//! Where log lines go: the journal under systemd, else a file that never grows past its limit.
//!
//! Filter: `ORLOP_LOG`, else `RUST_LOG`, in the syntax of tracing-subscriber; `info` by default.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Bytes of a log file after which it steps aside.
const FILE_BYTES: u64 = 8 << 20;
/// Former log files that are kept.
const KEPT: u32 = 3;
/// Bytes of a line after which it is cut.
const LINE_BYTES: usize = 4096;

/// Where the log goes and what was lost.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    place: String,
    file: Option<PathBuf>,
    dropped: Arc<AtomicU64>,
}

impl Log {
    /// A path, or `journald`, or nothing.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// The log's file, for what the runtime says as it ends the process: that memory is gone, which
    /// no line of the log can say any more.
    pub(crate) fn last_words(&self) -> Option<File> {
        File::options().append(true).open(self.file.as_ref()?).ok()
    }

    /// Lines that could not be written.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Begins logging, to the journal when the service manager connected it, else to `file`.
    pub(crate) fn start(filter: &str, under_systemd: bool, file: Option<&Path>) -> Self {
        let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
        // What libraries say in detail may hold headers: no filter brings it into a log.
        let tame = filter_fn(|line| {
            line.target().starts_with("orlop") || *line.level() <= tracing::Level::INFO
        });
        let registry = tracing_subscriber::registry().with(filter).with(tame);
        if under_systemd && let Ok(journal) = tracing_journald::layer() {
            let journal = journal.with_syslog_identifier("orlopd".to_owned());
            drop(registry.with(journal).try_init());
            return Self { place: "journald".to_owned(), ..Self::default() };
        }
        let Some(file) = file else { return Self::default() };
        let dropped = Arc::<AtomicU64>::default();
        let writer = Rotating::new(file.to_owned(), Arc::clone(&dropped));
        let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer);
        drop(registry.with(lines).try_init());
        Self { place: file.display().to_string(), file: Some(file.to_owned()), dropped }
    }
}

/// A log file with a size limit. A line that cannot be written is counted, never waited for.
#[derive(Clone, Debug)]
struct Rotating {
    path: Arc<PathBuf>,
    open: Arc<Mutex<Option<(File, u64)>>>,
    dropped: Arc<AtomicU64>,
}

impl Rotating {
    fn new(path: PathBuf, dropped: Arc<AtomicU64>) -> Self {
        Self { path: Arc::new(path), open: Arc::default(), dropped }
    }

    fn open(&self) -> io::Result<(File, u64)> {
        use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
        if let Some(parent) = self.path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        let file = File::options().create(true).append(true).mode(0o600).open(&*self.path)?;
        let bytes = file.metadata()?.len();
        Ok((file, bytes))
    }

    fn line(&self, line: &[u8]) -> io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut file, bytes) = match open.take() {
            Some((_, bytes)) if bytes >= FILE_BYTES => {
                step_aside(&self.path);
                self.open()?
            }
            Some(open) => open,
            None => self.open()?,
        };
        file.write_all(line)?;
        *open = Some((file, bytes.saturating_add(line.len() as u64)));
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "a full log steps aside: nothing is published")]
fn step_aside(path: &Path) {
    let numbered = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    for number in (1..KEPT).rev() {
        drop(std::fs::rename(numbered(number), numbered(number.saturating_add(1))));
    }
    drop(std::fs::rename(path, numbered(1)));
}

impl Write for Rotating {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let shown = line.get(..LINE_BYTES).unwrap_or(line);
        let cut = shown.len() < line.len();
        if self.line(shown).and_then(|()| if cut { self.line(b"\n") } else { Ok(()) }).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Rotating {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_steps_aside_and_a_lost_line_is_counted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state/orlopd.log");
        let dropped = Arc::<AtomicU64>::default();
        let mut log = Rotating::new(path.clone(), Arc::clone(&dropped));
        let line = [b'x'; LINE_BYTES];
        for _ in 0..=FILE_BYTES.div_ceil(LINE_BYTES as u64) {
            log.write_all(&line).unwrap();
        }
        log.write_all(&[b'y'; 2 * LINE_BYTES]).unwrap();
        assert_eq!(path.with_extension("log.1").metadata().unwrap().len(), FILE_BYTES);
        assert_eq!(path.metadata().unwrap().len(), 2 * LINE_BYTES as u64 + 1);
        let mut nowhere = Rotating::new("/proc/none/orlopd.log".into(), Arc::clone(&dropped));
        nowhere.write_all(b"lost\n").unwrap();
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
    }
}
