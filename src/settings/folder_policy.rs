//! The file of a project's folder that restricts what is traced there.
//!
//! `.codex/mlflow_config.json` in the folder that Codex works in, or in one above it, can only restrict: it switches
//! tracing off, or sets the content mode to `metadata`. It is untrusted input: it may come with a cloned repository.

use super::file::ConfigFile;
use super::modes::{CONTENT, Content, ENABLED, parse_switch};
use crate::base::paths::CodexHome;
use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Relative to a project's folder.
const FILE: &str = ".codex/mlflow_config.json";

/// Bytes. A file that only restricts needs far less.
const LARGEST_FILE: u64 = 64 << 10;

/// How many levels of parent folders are searched. Project trees are less deep.
const MOST_FOLDERS: usize = 128;

/// What the files of a session's folder and of its parents ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FolderPolicy {
    /// The file that switches tracing off.
    pub off: Option<PathBuf>,
    /// The file that restricts traces to metadata.
    pub metadata: Option<PathBuf>,
    /// Why a file cannot be followed. Such a file restricts to metadata: its author wanted a restriction.
    pub problem: Option<String>,
}

impl FolderPolicy {
    /// Reads the files of `folder` and its parents. Skips the home's own file, which is the configuration.
    pub fn read(folder: &Path, home: &CodexHome) -> FolderPolicy {
        let mut policy = FolderPolicy::default();
        if !folder.is_absolute() {
            return policy;
        }
        for above in folder.ancestors().take(MOST_FOLDERS) {
            let path = above.join(FILE);
            // Most folders have no file: one `lstat` each.
            let is_there = fs::symlink_metadata(&path).is_ok();
            if !is_there || path == home.config() || is_same_file(&path, &home.config()) {
                continue;
            }
            match read(&path) {
                Ok(file) => policy.add(&path, &file),
                Err(why) => {
                    policy.problem.get_or_insert_with(|| {
                        format!(
                            "{} cannot be followed ({why}), so only figures are traced in its folder",
                            path.display()
                        )
                    });
                    policy.metadata.get_or_insert(path);
                }
            }
        }
        policy
    }

    pub fn content(&self) -> Content {
        if self.metadata.is_some() { Content::Metadata } else { Content::Full }
    }

    fn add(&mut self, path: &Path, file: &ConfigFile) {
        // An unknown word switches off too.
        if file.text(ENABLED).is_some_and(|text| parse_switch(&text) != Some(true)) {
            self.off.get_or_insert_with(|| path.to_owned());
        }
        match file.text(CONTENT).map(|text| Content::parse(&text)) {
            Some(Some(Content::Metadata)) => _ = self.metadata.get_or_insert_with(|| path.to_owned()),
            Some(None) => {
                self.metadata.get_or_insert_with(|| path.to_owned());
                self.problem.get_or_insert_with(|| {
                    format!("{}: {CONTENT} is neither full nor metadata, so only figures are traced in its folder", path.display())
                });
            }
            Some(Some(Content::Full)) | None => {}
        }
    }
}

/// The path may lead to a pipe without a writer, or to an endless device.
fn read(path: &Path) -> Result<ConfigFile, String> {
    let opened =
        OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY).open(path);
    let file = opened.map_err(|error| error.to_string())?;
    if !file.metadata().is_ok_and(|file| file.is_file()) {
        return Err("it is no file".into());
    }
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(format!("it is larger than {} KiB", LARGEST_FILE >> 10));
    }
    ConfigFile::parse(&bytes).map_err(|invalid| invalid.to_string())
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    id(one).is_some_and(|found| Some(found) == id(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::world::World;

    fn home(path: &Path) -> CodexHome {
        let world = World { variables: [("CODEX_HOME", path.to_str().unwrap())].into(), ..World::default() };
        CodexHome::from_world(&world).unwrap()
    }

    fn say(folder: &Path, text: &str) -> PathBuf {
        fs::create_dir_all(folder.join(".codex")).unwrap();
        fs::write(folder.join(FILE), text).unwrap();
        folder.join(FILE)
    }

    const OFF: &str = r#"{"environment": {"MLFLOW_CODEX_TRACING_ENABLED": false}}"#;
    const METADATA: &str = r#"{"environment": {"CODEX_TRACED_CONTENT": "metadata"}}"#;
    const LOOSE: &str = r#"{"environment": {"MLFLOW_CODEX_TRACING_ENABLED": "true", "CODEX_TRACED_CONTENT": "full",
        "MLFLOW_TRACKING_URI": "http://elsewhere"}}"#;

    #[test]
    fn a_folders_file_restricts_its_subfolders_and_none_of_theirs_lifts_that() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("a/b");
        let upper = say(&root.path().join("a"), METADATA);
        say(&inner, LOOSE);
        let home = home(&root.path().join("home"));
        let policy = FolderPolicy::read(&inner, &home);
        assert_eq!(policy, FolderPolicy { metadata: Some(upper), ..FolderPolicy::default() });
        assert_eq!(FolderPolicy::read(root.path(), &home), FolderPolicy::default());
        let off = say(&inner, OFF);
        assert_eq!(FolderPolicy::read(&inner.join("not there"), &home).off, Some(off));
    }

    #[test]
    fn the_configuration_file_of_the_home_is_no_folders_file() {
        let root = tempfile::tempdir().unwrap();
        say(root.path(), OFF);
        assert_eq!(
            FolderPolicy::read(root.path(), &home(&root.path().join(".codex"))),
            FolderPolicy::default()
        );
        std::os::unix::fs::symlink(root.path().join(".codex"), root.path().join("link")).unwrap();
        assert_eq!(
            FolderPolicy::read(root.path(), &home(&root.path().join("link"))),
            FolderPolicy::default()
        );
    }

    #[test]
    fn an_unreadable_file_of_a_folder_restricts_to_metadata_without_blocking() {
        let root = tempfile::tempdir().unwrap();
        let home = home(&root.path().join("home"));
        let path = say(root.path(), "");
        let why = |policy: FolderPolicy| {
            policy.problem.filter(|_| policy.metadata.is_some() && policy.off.is_none()).unwrap()
        };
        let deep = "[".repeat(60_000);
        let nested = format!("{{\"environment\": {{\"a\": {deep}");
        for text in [
            "",
            "{",
            "[]",
            "\u{0}",
            &nested,
            &" ".repeat(70_000),
            r#"{"environment": {"CODEX_TRACED_CONTENT": "all"}}"#,
        ] {
            fs::write(&path, text).unwrap();
            why(FolderPolicy::read(root.path(), &home));
        }
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(why(FolderPolicy::read(root.path(), &home)).contains("it is no file"));
        for end in ["/dev/zero", "/proc/self/mem", "/"] {
            fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink(end, &path).unwrap();
            why(FolderPolicy::read(root.path(), &home));
        }
    }
}
