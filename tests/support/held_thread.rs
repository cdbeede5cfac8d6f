//! How a Python program in Codex's place holds a thread.

/// Begins the program: `hold(home, thread)` returns what must stay open.
pub const HOLD: &str = r#"#!/usr/bin/env python3
import fcntl, os
def hold(home, thread):
    os.makedirs(home + "/thread-writer-locks", exist_ok=True)
    lock = open(f"{home}/thread-writer-locks/{thread}.lock", "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    if "CODEX_TRACED_TEST_PORTABLE" not in os.environ:
        return [lock]
    # Codex has the session's file open too. The tests may have a pipe in its place, so here it is another of that name.
    os.makedirs(home + "/held", exist_ok=True)
    return [lock, open(f"{home}/held/rollout-2026-11-22T10-00-00-{thread}.jsonl", "w")]
"#;
