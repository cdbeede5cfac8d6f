//! Decides which session files a launch wrote.

pub mod claims;
pub mod launch_record;
pub mod launches;
pub mod observer;
pub mod thread_record;
pub mod unclaimed;
pub mod verdict;

mod ancestry;
mod app_servers;
mod held_threads;
mod interface_log_reader;
mod open_files;
mod processes;
mod writer_locks;

use crate::base::paths::CodexHome;
use codex_session::thread::ThreadId;
use common::disk::file_system::FileSystem;
use launch::process::Process;

/// The process that holds the thread's lock, and so may still write to the thread. A daemon holds the locks of
/// idle threads too, so a holder does not mean that a turn runs. None also where the system cannot report it,
/// and for a Codex before 0.147, which has no locks.
pub fn writer_of(home: &CodexHome, thread: &ThreadId) -> Option<Process> {
    let by_locks = match FileSystem::from_path(home.path()) {
        FileSystem::Local => writer_locks::holder_of(home, thread).ok(),
        FileSystem::Network => None,
    };
    let holder = by_locks.unwrap_or_else(|| open_files::writer_of(&processes::LocalProcesses, thread));
    holder.map(Process::from_id)
}
