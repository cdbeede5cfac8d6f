//! Which rollouts did this launch write?

mod follow;
pub mod hold;
pub mod journal;
pub mod record;
pub mod watch;

#[cfg(target_os = "linux")]
mod ancestry;
#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "elsewhere.rs")]
mod writers;

use crate::codex::home::CodexHome;
use crate::codex::thread::ThreadId;
use record::Attribution;
use serde::{Deserialize, Serialize};

/// A thread that a launch wrote, and the evidence that decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    pub thread: ThreadId,
    pub attribution: Attribution,
}

/// Whether some process may still write to the thread: it holds the thread's lock. A daemon holds the locks
/// of idle threads too, so this does not tell that a turn runs. False where nothing can be told.
pub fn has_writer(home: &CodexHome, thread: &ThreadId) -> bool {
    writers::is_locked(home, thread)
}
