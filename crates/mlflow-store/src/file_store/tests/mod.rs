//! The exporter against real folders: the content of files, crashes, and changes by users.

mod crashes;
mod experiments;
mod refusals;
mod traces;

use super::*;
use crate::tests::{message, resumed, trace};
use std::collections::BTreeMap;
use std::fs;
use tempfile::TempDir;

/// Long enough for eight threads that create a store at once.
const BUSY: Duration = Duration::from_secs(20);

struct TestStore {
    folder: TempDir,
}

impl TestStore {
    /// The store's folder does not exist yet.
    fn new() -> TestStore {
        TestStore { folder: TempDir::new().unwrap() }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("ml runs")
    }

    fn export(&self, trace: &Trace) -> Result<Delivered, ExportError> {
        self.export_to(Experiment::Name("codex-sessions".to_owned()), trace)
    }

    fn export_to(&self, experiment: Experiment, trace: &Trace) -> Result<Delivered, ExportError> {
        FileStoreExporter::open(&self.root(), experiment, BUSY)?.export(trace, None)
    }

    /// The error of an export that does not wait for the lock.
    fn refused(&self, trace: &Trace) -> String {
        let experiment = Experiment::Name("codex-sessions".to_owned());
        let exporter = FileStoreExporter::open(&self.root(), experiment, Duration::ZERO);
        message(exporter.and_then(|mut exporter| exporter.export(trace, None)).unwrap_err())
    }

    fn read(&self) -> Option<Trace> {
        read(&self.root(), trace().id).unwrap()
    }

    /// The folder of the trace.
    fn of_trace(&self) -> PathBuf {
        let id = trace().id.to_string();
        let all = experiment::all(&self.root()).unwrap();
        all.into_iter().map(|found| found.trace(&id)).find(|folder| folder.is_dir()).unwrap()
    }

    /// Every file of the store but the lock, by its path in the store, with its content.
    fn files(&self) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        gather(&self.root(), &self.root(), &mut files);
        files.remove(".codex-traced.lock");
        files
    }
}

fn gather(root: &Path, folder: &Path, into: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => gather(root, &path, into),
            false => {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                into.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
}
