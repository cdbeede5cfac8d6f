//! A home with sessions that grow: the stand-in for Codex, its plan, and the lines of a recorded session.

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use support::Home;

/// A turn of 220 tool calls in code mode, of 8 KB each.
const RECORDED: &str = include_str!("../../tests/corpus/0.169.0/scale-61.jsonl");

/// The program that is measured.
pub(crate) fn launcher() -> PathBuf {
    if let Some(file) = std::env::var_os("LIVE_LAUNCHER") {
        return file.into();
    }
    let here = std::env::current_exe().expect("a running program has a path");
    let target = here.ancestors().nth(3).expect("…/target/PROFILE/examples/live");
    let built = ["release", "debug"].map(|profile| target.join(profile).join("codex-traced"));
    built.into_iter().find(|file| file.is_file()).expect("build codex-traced first")
}

pub(crate) fn circumstances() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("{}; load before: {}", launcher().display(), load.trim())
}

pub(crate) fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().take(1).collect()
}

/// A home in which the stand-in writes sessions.
pub(crate) struct Stage {
    pub(crate) home: Home,
    codex: PathBuf,
    threads: Vec<Value>,
    lines: Option<PathBuf>,
}

/// What the stand-in does: see codex.py.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) pause: Duration,
    pub(crate) bursts: usize,
    pub(crate) lives: Duration,
    /// After so many writes it rests so long.
    pub(crate) rests: Option<(usize, Duration)>,
}

impl Stage {
    /// Each thread has a session file of about so many bytes.
    pub(crate) fn new(threads: usize, bytes: usize) -> Stage {
        let home = Home::new("http://127.0.0.1:9");
        let codex = home.root().join("codex.py");
        fs::write(&codex, include_str!("codex.py")).expect("write the program");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&codex, mode).expect("make it executable");
        let folder = home.sessions().join("2026/11/22");
        fs::create_dir_all(&folder).expect("make the sessions' folder");
        let thread = |number: usize| {
            let id = format!("01a202c6-b317-7e20-9e22-{number:012x}");
            let file = folder.join(format!("rollout-2026-11-22T10-00-00-{id}.jsonl"));
            let turn = write_session(&file, &id, bytes);
            json!({"id": id, "file": file, "turn": turn})
        };
        let threads = (0..threads).map(thread).collect();
        Stage { home, codex, threads, lines: None }
    }

    /// The lines that the stand-in appends: the calls of the recorded turn, none of its end.
    pub(crate) fn with_lines(mut self) -> Stage {
        let file = self.home.root().join("lines");
        let (_, calls, _) = parts();
        let recorded = recorded_thread();
        let named = |line: &str| renamed(line, "ROUND", "TURN").replace(&recorded, "THREAD");
        fs::write(&file, calls.iter().map(|line| named(line)).collect::<String>()).expect("write the lines");
        self.lines = Some(file);
        self
    }

    pub(crate) fn file(&self) -> PathBuf {
        PathBuf::from(self.threads[0]["file"].as_str().expect("a path"))
    }

    /// The stand-in through codex-traced.
    pub(crate) fn traced(&self, plan: Plan) -> Command {
        self.command(plan, self.home.traced(launcher(), &self.codex))
    }

    /// The stand-in alone.
    pub(crate) fn plain(&self, plan: Plan) -> Command {
        self.command(plan, self.home.command(&self.codex))
    }

    fn command(&self, plan: Plan, mut command: Command) -> Command {
        let file = self.home.root().join("plan");
        let rests = plan.rests.map(|(writes, time)| json!([writes, time.as_secs_f64()]));
        let text = json!({
            "threads": self.threads,
            "lines": self.lines,
            "pause": plan.pause.as_secs_f64(),
            "bursts": plan.bursts,
            "seconds": plan.lives.as_secs_f64(),
            "rests": rests,
        });
        fs::write(&file, text.to_string()).expect("write the plan");
        command.env("LIVE_PLAN", file);
        command
    }

    /// When the stand-in ended, in nanoseconds of the machine's clock.
    pub(crate) fn ended_at(&self) -> u128 {
        let note = fs::read_to_string(self.home.work().join("ended")).expect("the stand-in noted its end");
        note.parse().expect("a number")
    }

    /// Ends what is left of a launch: an interrupted measurement, a tracer that goes on.
    pub(crate) fn end_all(&self) {
        for id in self.home.processes() {
            let _ = kill(id, Signal::SIGKILL);
        }
    }
}

/// The head of the recorded session, the lines of its calls, and its end.
fn parts() -> (Vec<&'static str>, Vec<&'static str>, Vec<&'static str>) {
    let lines: Vec<&str> = RECORDED.split_inclusive('\n').collect();
    let is_prompt = |line: &&str| line.contains("\"type\":\"UserMessage\"");
    let head = lines.iter().position(is_prompt).expect("a prompt") + 1;
    let is_last = |line: &&str| line.contains("\"type\":\"AgentMessage\"");
    let end = lines.iter().position(is_last).expect("an answer");
    (lines[..head].to_vec(), lines[head..end].to_vec(), lines[end..].to_vec())
}

fn recorded_thread() -> String {
    let meta: Value = serde_json::from_str(parts().0[0]).expect("a line is JSON");
    meta["payload"]["id"].as_str().expect("the first line names the thread").to_owned()
}

const RECORDED_TURN: &str = "01a202c6-b333-7870-b2e7-b9c4c552521b";

/// A line with ids of its own for its turn and the calls in it.
fn renamed(line: &str, round: &str, turn: &str) -> String {
    let named = line.replace(":\"call_", &format!(":\"call_{round}_"));
    named.replace(":\"exec-", &format!(":\"exec-{round}-")).replace(RECORDED_TURN, turn)
}

/// The recorded turn again and again, until the file has so many bytes; the last turn still runs. Returns its id.
fn write_session(file: &Path, id: &str, bytes: usize) -> String {
    let (head, calls, end) = parts();
    let recorded = recorded_thread();
    let mut out = BufWriter::new(File::create(file).expect("a session file"));
    let mut written = 0;
    let mut write = |line: &str| {
        out.write_all(line.as_bytes()).expect("space");
        written += line.len();
        written
    };
    write(&head[0].replace(&recorded, id));
    for round in 0_u64.. {
        let turn = format!("01a202c6-b333-7870-b2e7-{round:012x}");
        let named = |line: &&str| renamed(line, &format!("r{round}"), &turn).replace(&recorded, id);
        let lines = |lines: &[&str]| -> Vec<String> { lines.iter().map(named).collect() };
        lines(&head[1..]).iter().for_each(|line| _ = write(line));
        for line in lines(&calls) {
            if write(&line) >= bytes {
                return turn;
            }
        }
        lines(&end).iter().for_each(|line| _ = write(line));
    }
    unreachable!("a file of so many bytes")
}
