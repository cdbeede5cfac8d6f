//! What the system reports of its processes, and of the files that they may write to.

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(target_os = "macos", path = "macos.rs")]
#[cfg_attr(not(any(target_os = "linux", target_os = "macos")), path = "unsupported.rs")]
mod here;
#[cfg(any(target_os = "macos", test))]
mod process_arguments;

use codex_session::thread::ThreadId;
pub(super) use here::LocalProcesses;
use std::io;
use std::path::Path;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProcessInfo {
    pub(super) parent: u32,
    /// Its program's device and inode.
    pub(super) file: Option<(u64, u64)>,
    /// Its program is a Codex, or codex-traced.
    pub(super) is_codex: bool,
    /// It serves other programs (`codex app-server`), by its first word.
    pub(super) is_server: bool,
}

/// The thread of a file by its name, for the kind of files that are searched.
pub(super) type ThreadOf = fn(&Path) -> Option<ThreadId>;

/// Access to processes and their open files.
pub(super) trait Processes {
    /// None when it is gone, or belongs to another user.
    fn known(&self, id: u32) -> Option<ProcessInfo>;
    fn children(&self, id: u32) -> Vec<u32>;
    fn all(&self) -> Vec<u32>;
    /// An error where the system shows no process at all, not even this one.
    fn sees(&self) -> io::Result<()> {
        Ok(())
    }
    /// The threads whose files the process may write to, in any folder. An error means that the system does not
    /// show it.
    fn written(&self, id: u32, thread_of: ThreadOf) -> io::Result<Vec<ThreadId>>;
}

/// Whether a program of this path is a Codex, or codex-traced.
#[cfg(any(target_os = "linux", target_os = "macos"))]
fn is_codex(program: &std::path::Path) -> bool {
    program.file_name().is_some_and(|name| name.to_string_lossy().starts_with("codex"))
}

#[cfg(all(test, any(target_os = "linux", target_os = "macos")))]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_shows_its_parent_and_what_it_may_write_to() {
        let folder = tempfile::tempdir().unwrap();
        let [written, read] =
            ["01a202b6-a73e-7ee3-8243-251c871b1d4f", "01a202b6-ffff-7ee3-8243-251c871b1d4f"];
        let session = |id: &str| folder.path().join(format!("rollout-2026-11-22T10-04-14-{id}.jsonl"));
        fs::write(session(read), "").unwrap();
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(File::create(session(written)).unwrap())
            .stderr(File::open(session(read)).unwrap())
            .spawn()
            .unwrap();
        let us = std::process::id();
        assert_eq!(
            LocalProcesses.written(child.id(), ThreadId::from_rollout_name).unwrap(),
            [ThreadId::parse(written).unwrap()]
        );
        assert!(
            LocalProcesses.children(us).contains(&child.id()) && LocalProcesses.all().contains(&child.id())
        );
        let known = LocalProcesses.known(child.id()).unwrap();
        assert_eq!((known.parent, known.is_codex, known.is_server), (us, false, false));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(LocalProcesses.known(child.id()).is_none());
        assert!(
            LocalProcesses
                .written(child.id(), ThreadId::from_rollout_name)
                .is_ok_and(|threads| threads.is_empty()),
            "gone is no blindness"
        );
    }
}
