//! Processes on Linux, from `/proc`.

use super::{ProcessInfo, Processes, ThreadOf, is_codex};
use codex_session::thread::ThreadId;
use common::disk::{entries, kernel_list};
use launch::process::parent_of;
use std::os::unix::fs::MetadataExt;
use std::{fs, io};

#[derive(Clone, Copy, Debug)]
pub(in crate::claim) struct LocalProcesses;

impl Processes for LocalProcesses {
    fn known(&self, id: u32) -> Option<ProcessInfo> {
        let parent = parent_of(id)?;
        let link = format!("/proc/{id}/exe");
        let program = fs::read_link(&link).ok()?;
        let file = fs::metadata(&link).ok().map(|file| (file.dev(), file.ino()));
        let words = fs::read(format!("/proc/{id}/cmdline")).ok()?;
        let is_server = words.split(|byte| *byte == 0).nth(1) == Some(b"app-server");
        Some(ProcessInfo { parent, file, is_codex: is_codex(&program), is_server })
    }

    fn children(&self, id: u32) -> Vec<u32> {
        // Each thread has its own children.
        let threads = entries(format!("/proc/{id}/task").as_ref());
        let lists = threads.map(|thread| kernel_list::read(&thread.path().join("children")));
        if let Ok(lists) = lists.collect::<io::Result<Vec<String>>>() {
            let ids = lists.iter().flat_map(|list| list.split_whitespace());
            return ids.filter_map(|id| id.parse().ok()).collect();
        }
        // A kernel without CONFIG_PROC_CHILDREN; or the process is gone, and has none.
        self.all().into_iter().filter(|other| parent_of(*other) == Some(id)).collect()
    }

    fn all(&self) -> Vec<u32> {
        entries("/proc".as_ref()).filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    }

    /// A sandbox or a container may have no `/proc`, or that of other processes.
    fn sees(&self) -> io::Result<()> {
        fs::metadata("/proc/self/fd").map(drop)
    }

    fn written(&self, id: u32, thread_of: ThreadOf) -> io::Result<Vec<ThreadId>> {
        let entries = match fs::read_dir(format!("/proc/{id}/fd")) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.sees().is_ok() => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let written = |entry: fs::DirEntry| {
            let thread = thread_of(&fs::read_link(entry.path()).ok()?)?;
            is_for_writing(&entry).then_some(thread)
        };
        Ok(entries.flatten().filter_map(written).collect())
    }
}

/// The mode of the link in `/proc`: the owner's bit for writing.
fn is_for_writing(entry: &fs::DirEntry) -> bool {
    entry.metadata().is_ok_and(|link| link.mode() & 0o200 != 0)
}
