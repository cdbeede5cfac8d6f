//! The claim on a thread, and the kind of evidence for it.

use codex_session::thread::ThreadId;
use serde::{Deserialize, Serialize};

/// A thread that a launch wrote, and the evidence that decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    pub thread: ThreadId,
    pub attribution: Attribution,
}

/// The strongest evidence for a claim, strongest first (design §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribution {
    /// The interface's own log names a prompt that the thread contains.
    TuiLog,
    /// Codex's own process held the thread's writer lock, or had its session open for writing.
    Held,
    /// The command line named the thread, and it was written to; the writer was not observed.
    Named,
    /// No other session of the time can be the launch's; the writer was not observed.
    Only,
    /// No evidence: the user asked for the trace of an existing session.
    Import,
}

impl Attribution {
    pub fn as_str(self) -> &'static str {
        match self {
            Attribution::TuiLog => "tui_log",
            Attribution::Held => "held",
            Attribution::Named => "named",
            Attribution::Only => "only",
            Attribution::Import => "import",
        }
    }
}
