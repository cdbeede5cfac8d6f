//! Runs a command with a limit and keeps all that could be observed of it.

use std::fmt::Debug;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::processes::runs;

/// Far more than any run here needs, far less than a CI job's patience.
pub const LIMIT: Duration = Duration::from_secs(120);

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(5);

/// What a process that has ended leaves to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub stdout: String,
    pub stderr: String,
    pub end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Code(i32),
    Signal(i32),
}

impl From<ExitStatus> for End {
    fn from(status: ExitStatus) -> End {
        match (status.code(), status.signal()) {
            (Some(code), _) => End::Code(code),
            (None, Some(signal)) => End::Signal(signal),
            (None, None) => unreachable!("a process that was waited for has a code or a signal"),
        }
    }
}

impl Outcome {
    /// stdout as JSON, line by line, as `codex exec --json` writes it.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<serde_json::Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.stdout.lines().map(parse).collect()
    }

    #[track_caller]
    pub fn ended(self, end: End) -> Outcome {
        assert_eq!(self.end, end, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

/// A process that was started and whose output is being collected.
#[derive(Debug)]
pub struct Running {
    child: Child,
    command: String,
    stdout: Collected,
    stderr: Collected,
}

/// Runs to the end within `LIMIT`, with an empty stdin.
#[track_caller]
pub fn run(command: &mut Command) -> Outcome {
    start(command).finish(LIMIT)
}

#[track_caller]
pub fn run_with_input(command: &mut Command, input: &[u8]) -> Outcome {
    start_with_input(command, input).finish(LIMIT)
}

#[track_caller]
pub fn start_with_input(command: &mut Command, input: &[u8]) -> Running {
    let mut running = spawn(command, Stdio::piped());
    let mut stdin = running.child.stdin.take().expect("stdin is a pipe");
    let input = input.to_vec();
    // A process that ends without reading its input is none of the writer's business.
    thread::spawn(move || stdin.write_all(&input));
    running
}

/// Its stdin stays open until the caller drops it.
#[track_caller]
pub fn start_with_open_input(command: &mut Command) -> (Running, ChildStdin) {
    let mut running = spawn(command, Stdio::piped());
    let stdin = running.child.stdin.take().expect("stdin is a pipe");
    (running, stdin)
}

#[track_caller]
pub fn start(command: &mut Command) -> Running {
    spawn(command, Stdio::null())
}

#[track_caller]
fn spawn(command: &mut Command, stdin: Stdio) -> Running {
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child =
        command.spawn().unwrap_or_else(|error| panic!("cannot start {}: {error}", written(command)));
    let stdout = Collected::from(child.stdout.take().expect("stdout is a pipe"));
    let stderr = Collected::from(child.stderr.take().expect("stderr is a pipe"));
    Running { child, command: format!("{:?}", command.get_program()), stdout, stderr }
}

impl Running {
    pub fn pid(&self) -> Pid {
        pid(&self.child)
    }

    pub fn signal(&self, signal: Signal) {
        // Not yet waited for, so the id is still this process's.
        kill(self.pid(), signal).unwrap_or_else(|error| panic!("cannot signal {}: {error}", self.command));
    }

    /// What came out on stdout so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// As `finish`, with a SIGKILL when the process has not ended by itself within this time.
    #[track_caller]
    pub fn finish_or_kill(mut self, patience: Duration) -> Outcome {
        let until = Instant::now() + patience;
        while Instant::now() < until && self.child.try_wait().expect("our own child").is_none() {
            thread::sleep(POLL);
        }
        let _ = self.child.kill();
        self.finish(LIMIT)
    }

    /// Waits until no process has stdout open any more; this one may still run.
    #[track_caller]
    pub fn wait_for_end_of_stdout(&self) {
        wait_for(&format!("the end of stdout of {}", self.command), LIMIT, || self.stdout.is_closed());
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("our own child can be waited for").is_none()
    }

    /// Waits for the end and for both streams to close; past the limit it kills what it started, and panics.
    #[track_caller]
    pub fn finish(mut self, limit: Duration) -> Outcome {
        let until = Instant::now() + limit;
        let mut status = None;
        while Instant::now() < until {
            status = status.or_else(|| self.child.try_wait().expect("our own child can be waited for"));
            if let Some(status) = status
                && self.stdout.is_closed()
                && self.stderr.is_closed()
            {
                return Outcome { stdout: self.stdout(), stderr: self.stderr(), end: status.into() };
            }
            thread::sleep(POLL);
        }
        let what = match status {
            Some(_) => "ended, but something it left behind holds its stdout or stderr",
            None => "did not end",
        };
        let (stdout, stderr) = (self.stdout(), self.stderr());
        panic!("{} {what} within {limit:?}\nstdout:\n{stdout}\nstderr:\n{stderr}", self.command);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Looks at a condition until it holds; panics with `what` when the limit is over.
#[track_caller]
pub fn wait_for(what: &str, limit: Duration, condition: impl FnMut() -> bool) {
    let mut condition = condition;
    let until = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < until, "waited {limit:?} for {what}");
        thread::sleep(POLL);
    }
}

/// Kills processes, and waits until the kernel has closed their files. Before that, a process that ends shows no command line
/// and no environment: it would pass for one that is gone, and still hold its locks.
#[track_caller]
pub fn kill_all(ids: impl IntoIterator<Item = Pid>) {
    let ids: Vec<Pid> = ids.into_iter().collect();
    // Some may have ended by themselves.
    ids.iter().for_each(|id| _ = kill(*id, Signal::SIGKILL));
    wait_for("killed processes to close their files", LIMIT, || !ids.iter().copied().any(runs));
}

/// The program and its arguments; Debug adds the whole environment.
fn written(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a process id fits its own type"))
}

/// A stream that a thread reads to its end.
#[derive(Debug)]
struct Collected {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Collected {
    fn from(mut stream: impl Read + Send + Debug + 'static) -> Collected {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let reader = thread::spawn({
            let bytes = Arc::clone(&bytes);
            move || {
                let mut chunk = [0; 8192];
                while let Ok(count @ 1..) = stream.read(&mut chunk) {
                    bytes.lock().unwrap().extend_from_slice(&chunk[..count]);
                }
            }
        });
        Collected { bytes, reader }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for chunk in self.bytes.lock().unwrap().utf8_chunks() {
            text.push_str(chunk.valid());
            // Not the replacement character, which would make different bytes look the same.
            text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
        }
        text
    }

    fn is_closed(&self) -> bool {
        self.reader.is_finished()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn an_outcome_has_both_streams_and_the_code() {
        let outcome = run(&mut sh("echo out; echo err >&2; exit 3"));
        let expected = Outcome { stdout: "out\n".into(), stderr: "err\n".into(), end: End::Code(3) };
        assert_eq!(outcome, expected);
    }

    #[test]
    fn bytes_that_are_no_text_stay_apart() {
        assert_eq!(run(&mut sh(r"printf 'a\377\376b'")).stdout, r"a\xff\xfeb");
    }

    #[test]
    fn input_reaches_the_command() {
        assert_eq!(run_with_input(&mut sh("cat"), b"hello").stdout, "hello");
    }

    #[test]
    fn death_by_a_signal_is_not_a_code() {
        let running = start(&mut sh("echo ready; exec tail -f /dev/null"));
        wait_for("the shell", LIMIT, || running.stdout().contains("ready"));
        running.signal(Signal::SIGTERM);
        assert_eq!(running.finish(LIMIT).end, End::Signal(Signal::SIGTERM as i32));
    }

    #[test]
    #[should_panic(expected = "did not end within")]
    fn past_its_limit_a_command_is_killed_and_its_output_is_shown() {
        start(&mut sh("echo said; exec tail -f /dev/null")).finish(Duration::from_millis(200));
    }
}
