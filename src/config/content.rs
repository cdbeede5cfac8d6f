//! How much of a session may leave: all but secrets, or figures alone. And what a project's folder says of it.
//!
//! `.codex/mlflow_config.json` in the folder that Codex works in, or in one above it, may only tighten: it switches
//! tracing off, or leaves figures. It is not ours, so it is read as what a stranger may have put there.

use super::file::ConfigFile;
use crate::codex::home::CodexHome;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

pub const CONTENT: &str = "CODEX_TRACED_CONTENT";

/// Where a folder says it.
const FILE: &str = ".codex/mlflow_config.json";

/// Nobody needs more to say off or metadata.
const LARGEST_FILE: u64 = 64 << 10;

/// Deeper than people work.
const MOST_FOLDERS: usize = 128;

/// The stricter one is the greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// All but secrets.
    #[default]
    Full,
    /// Names of models and tools, times, counts, tokens, cost, statuses, versions, ids.
    Metadata,
}

/// What the folders say in which a session was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folders {
    /// The file that switches tracing off.
    pub off: Option<PathBuf>,
    /// The file that leaves figures.
    pub metadata: Option<PathBuf>,
    /// A file that cannot be followed leaves figures too: somebody wanted something of it.
    pub problem: Option<String>,
}

impl Content {
    /// None for a word that is neither.
    pub fn parse(text: &str) -> Option<Content> {
        match text.trim().to_ascii_lowercase().as_str() {
            "full" => Some(Content::Full),
            "metadata" => Some(Content::Metadata),
            _ => None,
        }
    }

    /// Nothing is to be seen of it.
    pub fn is_full(&self) -> bool {
        *self == Content::Full
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Content::Full => "full",
            Content::Metadata => "metadata",
        })
    }
}

impl Folders {
    /// Of this folder and all above it; the home's own file is the configuration, and no folder's.
    pub fn of(folder: &Path, home: &CodexHome) -> Folders {
        let mut said = Folders::default();
        if !folder.is_absolute() {
            return said;
        }
        for above in folder.ancestors().take(MOST_FOLDERS) {
            let path = above.join(FILE);
            if path == home.config() || is_same_file(&path, &home.config()) {
                continue;
            }
            match read(&path) {
                Ok(None) => {}
                Ok(Some(file)) => said.add(&path, &file),
                Err(why) => {
                    said.problem.get_or_insert_with(|| {
                        format!(
                            "{} cannot be followed ({why}), so only figures are traced in its folder",
                            path.display()
                        )
                    });
                    said.metadata.get_or_insert(path);
                }
            }
        }
        said
    }

    pub fn content(&self) -> Content {
        if self.metadata.is_some() { Content::Metadata } else { Content::Full }
    }

    fn add(&mut self, path: &Path, file: &ConfigFile) {
        if file.text(super::settings::ENABLED).is_some_and(|text| super::settings::is_off(&text)) {
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

/// None where there is none. What lies there may be a pipe that nobody writes to, or have no end.
fn read(path: &Path) -> Result<Option<ConfigFile>, String> {
    // Most folders have none: one look each, and nothing opened.
    if fs::symlink_metadata(path).is_err() {
        return Ok(None);
    }
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
    ConfigFile::parse(&bytes).map(Some).map_err(|fault| fault.to_string())
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    id(one).is_some_and(|found| Some(found) == id(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::World;

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
    fn a_folder_tightens_for_all_that_is_below_it_and_nothing_below_loosens_it() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("a/b");
        let upper = say(&root.path().join("a"), METADATA);
        say(&inner, LOOSE);
        let home = home(&root.path().join("home"));
        let said = Folders::of(&inner, &home);
        assert_eq!(said, Folders { metadata: Some(upper), ..Folders::default() });
        assert_eq!(Folders::of(root.path(), &home), Folders::default());
        let off = say(&inner, OFF);
        assert_eq!(Folders::of(&inner.join("not there"), &home).off, Some(off));
    }

    #[test]
    fn the_homes_own_file_is_no_folders() {
        let root = tempfile::tempdir().unwrap();
        say(root.path(), OFF);
        assert_eq!(Folders::of(root.path(), &home(&root.path().join(".codex"))), Folders::default());
        std::os::unix::fs::symlink(root.path().join(".codex"), root.path().join("link")).unwrap();
        assert_eq!(Folders::of(root.path(), &home(&root.path().join("link"))), Folders::default());
    }

    #[test]
    fn what_a_stranger_may_put_there_leaves_figures_and_holds_nobody_up() {
        let root = tempfile::tempdir().unwrap();
        let home = home(&root.path().join("home"));
        let path = say(root.path(), "");
        let why =
            |said: Folders| said.problem.filter(|_| said.metadata.is_some() && said.off.is_none()).unwrap();
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
            why(Folders::of(root.path(), &home));
        }
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(why(Folders::of(root.path(), &home)).contains("it is no file"));
        for end in ["/dev/zero", "/proc/self/mem", "/"] {
            fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink(end, &path).unwrap();
            why(Folders::of(root.path(), &home));
        }
    }
}
