//! The experiment of a trace: found by name or id, created by name.

use super::error::{FileStoreError, Result};
use super::files::{Files, if_there};
use super::yaml;
use crate::target::Experiment;
use crate::target::uri::file_uri;
use jiff::Timestamp;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};

/// The id of the experiment that every new store has.
pub(super) const DEFAULT_ID: &str = "0";

/// The folder of a store that holds deleted experiments.
pub(super) const TRASH: &str = ".trash";

/// The folder of a store that is MLflow's model registry instead of an experiment.
const MODELS: &str = "models";

const META: &str = "meta.yaml";

/// An experiment's folder.
#[derive(Debug)]
pub(super) struct ExperimentFolder {
    pub(super) id: String,
    pub(super) folder: PathBuf,
    is_in_trash: bool,
}

impl ExperimentFolder {
    /// The folder of the trace with this id, whether it exists or not.
    pub(super) fn trace(&self, id: &str) -> PathBuf {
        self.folder.join("traces").join(id)
    }

    /// When the experiment was created; None if it is deleted or has no readable `meta.yaml`.
    pub(super) fn made(&self) -> io::Result<Option<Timestamp>> {
        let meta = Meta::read(&self.folder)?;
        Ok(meta.filter(|meta| !(self.is_in_trash || meta.is_deleted)).map(|meta| meta.made))
    }

    /// Returns the experiment, or an error if it is deleted.
    pub(super) fn active(self) -> Result<ExperimentFolder> {
        let meta = Meta::read(&self.folder)?.ok_or_else(|| FileStoreError::BadExperiment(self.id.clone()))?;
        match self.is_in_trash || meta.is_deleted {
            true => Err(FileStoreError::DeletedExperiment(meta.name)),
            false => Ok(self),
        }
    }
}

struct Meta {
    name: String,
    is_deleted: bool,
    made: Timestamp,
}

impl Meta {
    /// None if the file is missing, or MLflow could not read it.
    fn read(folder: &Path) -> io::Result<Option<Meta>> {
        // MLflow cannot read a file that is not UTF-8.
        let file = if_there(fs::read(folder.join(META)))?.and_then(|file| String::from_utf8(file).ok());
        let Some(file) = file else { return Ok(None) };
        // MLflow ignores an experiment whose folder has another name than its id.
        let id = yaml::text(&file, "experiment_id");
        let is_this = id.is_some_and(|id| folder.file_name().is_some_and(|name| *name == *id));
        let name = yaml::text(&file, "name").filter(|_| is_this);
        let is_deleted = yaml::text(&file, "lifecycle_stage").is_some_and(|stage| stage == "deleted");
        let made = yaml::integer(&file, "creation_time").unwrap_or_default();
        let made = Timestamp::from_millisecond(made).unwrap_or(Timestamp::UNIX_EPOCH);
        Ok(name.map(|name| Meta { name, is_deleted, made }))
    }
}

/// Every experiment of the store, deleted ones last.
pub(super) fn all(root: &Path) -> io::Result<Vec<ExperimentFolder>> {
    let mut found = Vec::new();
    for (folder, is_in_trash) in [(root.to_owned(), false), (root.join(TRASH), true)] {
        for entry in if_there(fs::read_dir(&folder))?.into_iter().flatten() {
            let entry = entry?;
            // MLflow's ids are ASCII, so a name that is not UTF-8 is no experiment.
            let Ok(id) = entry.file_name().into_string() else { continue };
            if ![TRASH, MODELS].contains(&id.as_str()) && entry.path().is_dir() {
                found.push(ExperimentFolder { id, folder: entry.path(), is_in_trash });
            }
        }
    }
    Ok(found)
}

/// By name: created if missing. By id: must exist.
pub(super) fn find_or_make(files: &mut Files, wanted: &Experiment) -> Result<ExperimentFolder> {
    let mut there = all(&files.root)?;
    if there.is_empty() {
        // The folder exists but is empty.
        make_default(&files.root.clone(), files)?;
        there = all(&files.root)?;
    }
    match (among(there, wanted)?, wanted) {
        (Some(found), _) => Ok(found),
        (None, Experiment::Name(name)) => make(files, name),
        (None, Experiment::Id(id)) => Err(FileStoreError::NoExperiment(id.clone())),
    }
}

/// The experiment with this name or id; None if missing, an error if deleted.
pub(super) fn among(there: Vec<ExperimentFolder>, wanted: &Experiment) -> Result<Option<ExperimentFolder>> {
    for found in there {
        let is_wanted = match wanted {
            Experiment::Id(id) => found.id == *id,
            Experiment::Name(name) => Meta::read(&found.folder)?.is_some_and(|meta| meta.name == *name),
        };
        if is_wanted {
            return found.active().map(Some);
        }
    }
    Ok(None)
}

fn make(files: &mut Files, name: &str) -> Result<ExperimentFolder> {
    let root = files.root.clone();
    loop {
        let id = new_id();
        let folder = root.join(&id);
        let is_deleted = root.join(TRASH).join(&id).exists();
        if is_deleted || !files.make_new_folder(&folder)? {
            continue;
        }
        if let Err(error) = write_meta(files, &folder, &id, name) {
            // Without its file MLflow would report a broken experiment.
            let _ = fs::remove_dir(&folder);
            return Err(error.into());
        }
        return Ok(ExperimentFolder { id, folder, is_in_trash: false });
    }
}

/// Creates the experiment that MLflow creates in every new store. `root` is the store's final path.
pub(super) fn make_default(root: &Path, files: &mut Files) -> io::Result<()> {
    files.make_folder(&files.root.join(DEFAULT_ID))?;
    write_meta(files, &root.join(DEFAULT_ID), DEFAULT_ID, "Default")
}

/// `location` is the experiment's final path.
fn write_meta(files: &mut Files, location: &Path, id: &str, name: &str) -> io::Result<()> {
    let now = Timestamp::now().as_millisecond();
    let meta = yaml::mapping(&[
        ("artifact_location", file_uri(location).into()),
        ("creation_time", now.into()),
        ("experiment_id", id.into()),
        ("last_update_time", now.into()),
        ("lifecycle_stage", "active".into()),
        ("name", name.into()),
    ]);
    // The temporary file may be among the experiments: MLflow looks only at folders there.
    let root = files.root.clone();
    files.replace(&root.join(id).join(META), meta.as_bytes(), &root)?;
    files.settle()
}

/// 18 digits, as MLflow's own ids, different for each call: std's hash maps are seeded at random.
fn new_id() -> String {
    const SMALLEST: u64 = 100_000_000_000_000_000;
    let number = RandomState::new().hash_one(Timestamp::now().as_nanosecond());
    (SMALLEST + number % (9 * SMALLEST)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_id_has_eighteen_digits_and_another_attempt_another_id() {
        let ids: Vec<String> = (0..99).map(|_| new_id()).collect();
        assert!(ids.iter().all(|id| id.len() == 18 && id.bytes().all(|byte| byte.is_ascii_digit())));
        let distinct: std::collections::BTreeSet<&String> = ids.iter().collect();
        assert_eq!(distinct.len(), 99);
    }
}
