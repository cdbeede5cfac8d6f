//! A stand-in for Codex whose session is a pipe: what works on the session after Codex's end waits for the test.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Command;

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;

use crate::executable::write_program;
use crate::held_thread::HOLD;
use crate::home::Home;
use crate::run::{LIMIT, wait_for};

/// A session of the real Codex.
const SESSION: &str = include_str!("../corpus/0.169.0/exec-basic.jsonl");

/// Holds the thread as Codex does until the launch has noted it, prints a line, and ends with code 7.
const CODEX: &str = r#"
import sys
home, thread = os.environ["CODEX_HOME"], "THREAD"
held = hold(home, thread)
for path in glob.glob(f"{home}/sessions/*/*/*/rollout-*-{thread}.jsonl"):
    os.utime(path)
wait_until_noted(home, thread)
print("done", flush=True)
sys.exit(7)
"#;

/// A home, a Codex that ends there, and the pipe in the place of its session.
#[derive(Debug)]
pub struct Ending {
    pub home: Home,
    codex: PathBuf,
    session: PathBuf,
}

/// The other end of the pipe from which a process reads the session.
#[derive(Debug)]
pub struct Reader(File);

impl Default for Ending {
    fn default() -> Ending {
        Ending::new()
    }
}

impl Ending {
    pub fn new() -> Ending {
        let home = Home::new("http://127.0.0.1:9");
        let first = SESSION.lines().next().expect("a session has lines");
        let meta: Value = serde_json::from_str(first).expect("a line is JSON");
        let thread = meta["payload"]["id"].as_str().expect("the first line names the thread");
        let codex = home.root().join("codex.py");
        write_program(&codex, [HOLD, &CODEX.replace("THREAD", thread)].concat());
        let folder = home.sessions().join("2026/11/22");
        fs::create_dir_all(&folder).expect("make the session's folder");
        let session = folder.join(format!("rollout-2026-11-22T10-00-00-{thread}.jsonl"));
        mkfifo(&session, Mode::S_IRUSR | Mode::S_IWUSR).expect("make a pipe");
        Ending { home, codex, session }
    }

    /// The launcher under test, with the stand-in as the real Codex.
    pub fn traced(&self, launcher: &str) -> Command {
        let mut command = self.home.traced(launcher, &self.codex);
        // A tracer, which a slow launch starts, would read the pipe before the finisher.
        command.env("CODEX_TRACED_LIVE", "off");
        command
    }

    /// Waits for the process that works on the session: it reads until the session is handed over.
    #[track_caller]
    pub fn await_reader(&self) -> Reader {
        let mut reader = None;
        // A pipe without a reader cannot be opened.
        let open =
            || File::options().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&self.session).ok();
        wait_for("a process to read the session", LIMIT, || {
            reader = open();
            reader.is_some()
        });
        Reader(reader.expect("it was waited for"))
    }
}

impl Reader {
    pub fn hand_over(mut self) {
        self.0.write_all(SESSION.as_bytes()).expect("a pipe holds a small session");
    }
}
