//! The program's log file, `codex_tracing.log`: created with its first line, never before Codex has started.

use common::disk::{make_private_folder, private_options};
use std::fs::{self, File};
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata};
use tracing_subscriber::fmt::format::{DefaultFields, Format};
use tracing_subscriber::fmt::{MakeWriter, Subscriber};

/// Above this size in bytes the file is renamed to `.log.old`, of which there is one: readers need the end of a
/// log.
const LARGEST: u64 = 4 << 20;

const LEVEL: LevelFilter = LevelFilter::INFO;

/// Makes `tracing` write to the file from now on.
pub(crate) fn begin(path: PathBuf) {
    let log = Log { path, subscriber: OnceLock::new() };
    // A second launch in one process (tests) keeps the first one's log.
    let _ = tracing::subscriber::set_global_default(log);
}

/// Makes its subscriber with the first line, which most launches never write: that takes 20 µs.
struct Log {
    path: PathBuf,
    subscriber: OnceLock<Subscriber<DefaultFields, Format, LevelFilter, LogFile>>,
}

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= LEVEL
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LEVEL)
    }

    fn event(&self, event: &Event<'_>) {
        let subscriber = self.subscriber.get_or_init(|| {
            tracing_subscriber::fmt()
                .with_max_level(LEVEL)
                .with_ansi(false)
                .with_target(false)
                .with_writer(LogFile::new(self.path.clone()))
                .finish()
        });
        subscriber.event(event);
    }

    // This program has no spans.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Makes a panic a line of the log: nothing of it reaches the user's terminal.
pub(crate) fn take_panics() {
    std::panic::set_hook(Box::new(|panic| tracing::error!("a defect of ours: {panic}")));
}

/// Runs work after which Codex's exit must stay as it is. None when the work panics; the log has the panic.
pub(crate) fn quietly<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

struct LogFile {
    path: PathBuf,
    open: Mutex<Option<File>>,
}

/// Writer of one line.
struct LineWriter<'a>(&'a LogFile);

impl LogFile {
    fn new(path: PathBuf) -> LogFile {
        LogFile { path, open: Mutex::new(None) }
    }

    fn open(path: &Path) -> io::Result<File> {
        path.parent().map_or(Ok(()), make_private_folder)?;
        if fs::metadata(path).is_ok_and(|file| file.len() > LARGEST) {
            fs::rename(path, path.with_extension("log.old"))?;
        }
        private_options().append(true).create(true).open(path)
    }
}

impl Write for LineWriter<'_> {
    /// A log that cannot be written must have no effect: the line counts as written.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut open = self.0.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if open.is_none() {
            *open = LogFile::open(&self.0.path).ok();
        }
        if let Some(file) = open.as_mut() {
            let _ = file.write_all(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> LineWriter<'a> {
        LineWriter(self)
    }
}
