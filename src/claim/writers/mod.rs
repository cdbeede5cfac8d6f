//! What a system tells of its processes, and of the files that they may write to.

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(target_os = "macos", path = "macos.rs")]
#[cfg_attr(not(any(target_os = "linux", target_os = "macos")), path = "elsewhere.rs")]
mod here;

pub(super) use here::Here;
use std::io;
use std::path::PathBuf;

/// What is known of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) parent: u32,
    /// Its program's device and inode.
    pub(super) file: Option<(u64, u64)>,
    /// Its program is a Codex, or we.
    pub(super) is_codex: bool,
    /// It serves other programs' sessions (`codex app-server`).
    pub(super) is_server: bool,
}

/// Who may write to what.
pub(super) trait Writers {
    /// None when it is gone, or not ours to look at.
    fn known(&self, id: u32) -> Option<Known>;
    fn children(&self, id: u32) -> Vec<u32>;
    /// Every process that can be seen.
    fn all(&self) -> Vec<u32>;
    /// The files that the process may write to, where their links end. An error means that nobody can tell.
    fn written_files(&self, id: u32) -> io::Result<Vec<PathBuf>>;
}

/// Whether a program of this path is a Codex, or we.
#[cfg(any(target_os = "linux", target_os = "macos"))]
fn is_codex(program: &std::path::Path) -> bool {
    program.file_name().is_some_and(|name| name.to_string_lossy().starts_with("codex"))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_is_known_by_what_it_may_write_to_and_by_its_parent() {
        let folder = tempfile::tempdir().unwrap();
        let path = fs::canonicalize(folder.path()).unwrap().join("written");
        fs::write(folder.path().join("read"), "").unwrap();
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(File::create(&path).unwrap())
            .stderr(File::open(folder.path().join("read")).unwrap())
            .spawn()
            .unwrap();
        let us = std::process::id();
        assert_eq!(Here.written_files(child.id()).unwrap(), [path]);
        assert!(Here.children(us).contains(&child.id()) && Here.all().contains(&child.id()));
        let known = Here.known(child.id()).unwrap();
        assert_eq!((known.parent, known.is_codex, known.is_server), (us, false, false));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(Here.known(child.id()).is_none());
        assert!(Here.written_files(child.id()).is_ok_and(|files| files.is_empty()), "gone is no blindness");
    }
}
