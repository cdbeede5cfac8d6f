//! How a Python program in Codex's place holds a thread.

/// Begins the program: `hold(home, thread)` returns what must stay open, and `wait_until_noted(home, thread)` waits until
/// the launch has noted it, for 30 seconds at most.
pub const HOLD: &str = r#"#!/usr/bin/env python3
import fcntl, glob, os, time
def hold(home, thread):
    os.makedirs(home + "/thread-writer-locks", exist_ok=True)
    lock = open(f"{home}/thread-writer-locks/{thread}.lock", "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    if "CODEX_TRACED_TEST_PORTABLE" not in os.environ:
        return [lock]
    # Codex has the session's file open too. The tests may have a pipe in its place, so here it is another of that name.
    os.makedirs(home + "/held", exist_ok=True)
    return [lock, open(f"{home}/held/rollout-2026-11-22T10-00-00-{thread}.jsonl", "w")]
def is_noted(home, thread):
    for path in glob.glob(home + "/mlflow/launches/*.jsonl"):
        try:
            text = open(path).read()
        except FileNotFoundError:
            continue  # Another launch is done.
        if thread in text and f'"id":{os.getpid()},' in text:
            return True
    return False
def wait_until_noted(home, thread):
    until, launcher = time.monotonic() + 30, os.getppid()
    while not is_noted(home, thread) and time.monotonic() < until and os.getppid() == launcher:
        time.sleep(0.005)
"#;
