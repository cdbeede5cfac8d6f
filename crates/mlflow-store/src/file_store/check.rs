//! Checks whether a file store would take traces. Creates and changes nothing.

use super::error::FileStoreError;
use super::experiment;
use crate::exporter::{Checked, ExportError};
use crate::target::Experiment;
use common::disk::{followed, would_take_files};
use std::path::Path;

/// The id of the experiment that every new store has.
const DEFAULT_ID: &str = "0";

pub fn check(root: &Path, wanted: &Experiment) -> Result<Checked, ExportError> {
    look(root, wanted).map_err(|error| error.at(root))
}

fn look(root: &Path, wanted: &Experiment) -> Result<Checked, FileStoreError> {
    would_take_files(&followed(root))?;
    let there = experiment::all(root)?;
    let version = (!there.is_empty()).then(|| "a folder of files".to_owned());
    let experiment_id = experiment::among(there, wanted)?.map(|found| found.id);
    match wanted {
        Experiment::Id(id) if experiment_id.is_none() && (version.is_some() || id != DEFAULT_ID) => {
            Err(FileStoreError::NoExperiment(id.clone()))
        }
        _ => Ok(Checked { version, experiment_id, clock: None }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_check_creates_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("mlruns");
        let name = |name: &str| Experiment::Name(name.into());
        let id = |id: &str| Experiment::Id(id.into());
        let new = Ok(Checked { version: None, experiment_id: None, clock: None });
        assert_eq!((check(&root, &name("e")), check(&root, &id("0"))), (new.clone(), new));
        assert!(check(&root, &id("7")).unwrap_err().to_string().starts_with("experiment 7 does not exist"));
        assert!(!root.exists());

        let text = "experiment_id: '5'\nname: mine\nlifecycle_stage: active\n";
        fs::create_dir_all(root.join("5")).unwrap();
        fs::write(root.join("5/meta.yaml"), text).unwrap();
        let found = |wanted| check(&root, &wanted).map(|checked| checked.experiment_id);
        assert_eq!(found(name("mine")), Ok(Some("5".into())));
        assert_eq!((found(id("5")), found(name("new"))), (Ok(Some("5".into())), Ok(None)));
        fs::write(root.join("5/meta.yaml"), text.replace("active", "deleted")).unwrap();
        assert!(matches!(found(name("mine")), Err(ExportError::Experiment(_))));
    }
}
