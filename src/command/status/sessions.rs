//! How many session files there are: in the folder that `import` reads, and in Codex's own.

use crate::base::codex_home::CodexHome;
use crate::settings::{Settings, Source};
use codex_session::rollout::path::files_below;
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(Debug, Serialize)]
pub(super) struct Sessions {
    pub(super) folder: PathBuf,
    pub(super) folder_source: Source,
    pub(super) files: usize,
    /// Codex's own folder, if it is another one.
    pub(super) codex_folder: Option<PathBuf>,
    pub(super) codex_files: Option<usize>,
}

impl Sessions {
    pub(super) fn count(home: &CodexHome, settings: &Settings) -> Sessions {
        let folder = settings.sessions_dir.value.clone();
        let codex_folder = Some(home.sessions()).filter(|own| *own != folder);
        Sessions {
            files: session_files(&folder),
            folder,
            folder_source: settings.sessions_dir.source,
            codex_files: codex_folder.as_deref().map(session_files),
            codex_folder,
        }
    }
}

/// The number of session files in the folder, at any depth.
fn session_files(folder: &Path) -> usize {
    let names = files_below([folder.to_path_buf()]).map(|entry| entry.file_name());
    names.filter(|name| is_session_file(&name.to_string_lossy())).count()
}

fn is_session_file(name: &str) -> bool {
    name.starts_with("rollout-") && [".jsonl", ".jsonl.zst", ".json"].iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn session_files_are_counted_at_any_depth_and_other_files_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let day = folder.path().join("2026/11/22");
        fs::create_dir_all(&day).unwrap();
        for name in ["rollout-a.jsonl", "rollout-b.jsonl.zst", "rollout-c.json", "history.jsonl", "rollout-d"]
        {
            fs::write(day.join(name), "").unwrap();
        }
        std::os::unix::fs::symlink(folder.path(), day.join("rollout-circle.jsonl.d")).unwrap();
        assert_eq!(session_files(folder.path()), 3);
        assert_eq!(session_files(&folder.path().join("not there")), 0);
    }
}
