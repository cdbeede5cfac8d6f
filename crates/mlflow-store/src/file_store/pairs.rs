//! Tags and metadata of a trace: in each folder, a file's name is a key and its content the value.

use super::error::{FileStoreError, Result};
use super::files::{Files, if_there};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The folder of one trace's tags or metadata.
pub(super) struct Pairs<'a> {
    /// The trace's folder, which also holds the temporary files.
    trace: &'a Path,
    name: &'static str,
}

impl<'a> Pairs<'a> {
    pub(super) fn tags(trace: &'a Path) -> Pairs<'a> {
        Pairs { trace, name: "tags" }
    }

    pub(super) fn metadata(trace: &'a Path) -> Pairs<'a> {
        Pairs { trace, name: "request_metadata" }
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.trace.join(self.name)
    }

    /// All pairs, with keys as MLflow reads them; empty if there is no folder.
    pub(super) fn read(&self) -> io::Result<BTreeMap<String, String>> {
        let mut pairs = BTreeMap::new();
        collect(&self.folder(), "", &mut pairs)?;
        Ok(pairs)
    }

    pub(super) fn put(&self, files: &mut Files, key: &str, value: &str) -> Result<()> {
        let path = self.folder().join(readable(key));
        let placed = files
            .make_folder(path.parent().unwrap_or(self.trace))
            .and_then(|()| files.replace(&path, value.as_bytes(), self.trace));
        placed.map_err(|error| match error.kind() {
            io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::InvalidFilename => FileStoreError::Key(key.to_owned()),
            _ => error.into(),
        })
    }

    pub(super) fn remove(&self, files: &mut Files, key: &str) -> io::Result<()> {
        files.remove(&self.folder().join(readable(key)))
    }
}

/// A key that MLflow can read. It refuses an experiment in which a key has other characters than these, or is
/// no plain relative path. Other characters become `_` and their code in hex.
pub(super) fn readable(key: &str) -> String {
    let mut written = String::with_capacity(key.len());
    for (index, part) in key.split('/').enumerate() {
        if index > 0 {
            written.push('/');
        }
        if ["", ".", ".."].contains(&part) {
            written.push('_');
        }
        for character in part.chars() {
            match character {
                '_' | '.' | '-' | ' ' | ':' => written.push(character),
                _ if character.is_ascii_alphanumeric() => written.push(character),
                other => written.push_str(&format!("_{:x}", u32::from(other))),
            }
        }
    }
    written
}

fn collect(folder: &Path, prefix: &str, into: &mut BTreeMap<String, String>) -> io::Result<()> {
    for entry in if_there(fs::read_dir(folder))?.into_iter().flatten() {
        let entry = entry?;
        let key = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            collect(&entry.path(), &format!("{key}/"), into)?;
        // A user may delete it during the read.
        } else if let Some(value) = if_there(fs::read(entry.path()))? {
            into.insert(key, String::from_utf8_lossy(&value).into_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_written_in_a_form_that_mlflow_reads() {
        for (key, written) in [
            ("mlflow.trace.session", "mlflow.trace.session"),
            ("a b:c-d_e", "a b:c-d_e"),
            ("team/red", "team/red"),
            ("", "_"),
            ("..", "_.."),
            ("a/../b", "a/_../b"),
            ("/abs", "_/abs"),
            ("a//b/", "a/_/b/_"),
            ("size%", "size_25"),
            ("größe\n", "gr_f6_dfe_a"),
        ] {
            assert_eq!(readable(key), written, "{key:?}");
        }
    }
}
