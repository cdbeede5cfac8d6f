//! What becomes of a session when Codex has ended: who waits for it, how long, and which messages they get.

use crate::LAUNCHER;
use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use serde_json::Value;
use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Command;
use support::processes::is_finisher;
use support::run::LIMIT;
use support::{End, HOLD, Home, Terminal, kill_all, run, start, wait_for, write_program};

/// A session of the real Codex.
const SESSION: &str = include_str!("../corpus/0.169.0/exec-basic.jsonl");

/// Holds the thread as Codex does until the launch has noted it, prints a line, and ends with code 7.
const CODEX: &str = r#"
import signal, sys
if sys.argv[1:] == ["exec", "idle"]:
    sys.exit(7)
home, thread = os.environ["CODEX_HOME"], "THREAD"
held = hold(home, thread)
for path in glob.glob(f"{home}/sessions/*/*/*/rollout-*-{thread}.jsonl"):
    os.utime(path)
wait_until_noted(home, thread)
print("done", flush=True)
if sys.argv[1:] == ["exec", "linger"]:
    signal.pause()
sys.exit(7)
"#;

/// A home, a Codex that writes the session there, and the session's file.
struct Stage {
    home: Home,
    codex: PathBuf,
    rollout: PathBuf,
}

impl Stage {
    /// The session's file is a pipe: its reader waits until the test releases it.
    fn waiting() -> Stage {
        let stage = Stage::empty();
        mkfifo(&stage.rollout, Mode::S_IRUSR | Mode::S_IWUSR).expect("make a pipe");
        stage
    }

    fn ready() -> Stage {
        let stage = Stage::empty();
        fs::write(&stage.rollout, SESSION).expect("write the session");
        stage
    }

    fn empty() -> Stage {
        let home = Home::new("http://127.0.0.1:9");
        let first = SESSION.lines().next().expect("a session has lines");
        let meta: Value = serde_json::from_str(first).expect("a line is JSON");
        let thread = meta["payload"]["id"].as_str().expect("the first line names the thread");
        let codex = home.root().join("codex.py");
        write_program(&codex, [HOLD, &CODEX.replace("THREAD", thread)].concat());
        let folder = home.sessions().join("2026/11/22");
        fs::create_dir_all(&folder).expect("make the session's folder");
        let rollout = folder.join(format!("rollout-2026-11-22T10-00-00-{thread}.jsonl"));
        Stage { home, codex, rollout }
    }

    fn traced(&self, words: &[&str]) -> Command {
        let mut command = self.home.traced(LAUNCHER, &self.codex);
        // A tracer, which a slow launch starts, would read the pipe before the finisher.
        command.args(words).env("CODEX_TRACED_LIVE", "off");
        command
    }

    /// Where a reader of the session waits for what we write.
    #[track_caller]
    fn reader(&self) -> File {
        let mut reader = None;
        wait_for("a reader of the session", LIMIT, || {
            reader = self.reader_now();
            reader.is_some()
        });
        reader.expect("it was waited for")
    }

    fn reader_now(&self) -> Option<File> {
        // Fails as long as the pipe has no reader.
        File::options().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&self.rollout).ok()
    }

    #[track_caller]
    fn tell(&self) {
        self.reader().write_all(SESSION.as_bytes()).expect("a pipe holds a small session");
    }

    fn finishers(&self) -> Vec<Pid> {
        self.home.processes().into_iter().filter(|id| is_finisher(*id)).collect()
    }

    #[track_caller]
    fn finisher(&self) -> Pid {
        match self.finishers()[..] {
            [only] => only,
            ref several => panic!("expected one finisher: {several:?}"),
        }
    }
}

/// The launcher's own lines on stderr.
fn said(text: &str) -> Vec<&str> {
    text.lines().map(str::trim_end).filter(|line| line.starts_with("codex-traced: ")).collect()
}

fn status(id: Pid, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.expect("the kernel tells it").trim().to_owned()
}

#[test]
fn on_a_terminal_a_process_of_its_own_goes_on_that_nothing_can_hang_up() {
    let stage = Stage::waiting();
    let seen = Terminal::start(&stage.traced(&["exec", "do it"])).finish().ended(End::Code(7));
    assert_eq!(seen.text(), "done\r\n");

    let reader = stage.reader();
    let finisher = stage.finisher();
    let stat = fs::read_to_string(format!("/proc/{finisher}/stat")).expect("it runs");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
    let (session, terminal) = (fields[3], fields[4]);
    assert_eq!((session, terminal), (&*finisher.to_string(), "0"), "a session without a terminal");
    let link = |name: &str| fs::read_link(format!("/proc/{finisher}/{name}")).expect("it runs");
    assert_eq!(["cwd", "fd/2"].map(link), ["/", "/dev/null"].map(PathBuf::from));
    assert_eq!(status(finisher, "Name"), "codex-traced");
    assert_eq!(status(finisher, "SigBlk"), "0000000000000000");
    kill(finisher, Signal::SIGHUP).expect("hang up");

    stage.tell();
    drop(reader);
    stage.home.wait_until_delivered();
    assert_eq!(stage.home.records()[0]["launches"][0]["exit"]["code"], 7);
    wait_for("the finisher to end", LIMIT, || stage.finishers().is_empty());
}

#[test]
fn the_finisher_holds_no_pipe_or_terminal_of_the_launch() {
    let stage = Stage::waiting();
    let mut shell = stage.home.traced("sh", &stage.codex);
    shell.args(["-c", "\"$0\" exec 'do it' 3>&1 | cat; echo closed", LAUNCHER]);
    let seen = Terminal::start(&shell).finish().ended(End::Code(0));
    assert_eq!(seen.text(), "done\r\nclosed\r\n");
    let reader = stage.reader();
    stage.finisher();
    stage.tell();
    drop(reader);
    stage.home.wait_until_delivered();
}

#[test]
fn a_window_that_is_closed_takes_codex_along_and_not_its_trace() {
    let stage = Stage::waiting();
    let terminal = Terminal::start(&stage.traced(&["exec", "linger"]));
    terminal.wait_for("done");
    // The launcher leads the session on its terminal: only it gets the hang-up of the window.
    assert_eq!(terminal.close(), End::Signal(Signal::SIGHUP as i32));
    stage.tell();
    stage.home.wait_until_delivered();
    assert_eq!(stage.home.records()[0]["launches"][0]["exit"]["signal"], 1);
}

/// The signal probe, a second process of the group, shows the launcher whether the group received the signal.
#[test]
fn a_closed_window_ends_codex_also_when_the_signal_probe_does_not_answer() {
    let stage = Stage::waiting();
    let terminal = Terminal::start(&stage.traced(&["exec", "linger"]));
    terminal.wait_for("done");
    let is_probe = |id: &Pid| {
        fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|name| name.trim_end() == "codex-witness")
    };
    let mut probe = None;
    wait_for("a signal probe", LIMIT, || {
        probe = stage.home.processes().into_iter().find(is_probe);
        probe.is_some()
    });
    let probe = probe.expect("it was waited for");
    kill(probe, Signal::SIGSTOP).expect("stop the signal probe");
    assert_eq!(terminal.close(), End::Signal(Signal::SIGHUP as i32));
    stage.tell();
    stage.home.wait_until_delivered();
}

#[test]
fn a_launch_is_finished_by_one_and_by_the_next_when_that_one_is_killed() {
    let stage = Stage::waiting();
    Terminal::start(&stage.traced(&["exec", "do it"])).finish().ended(End::Code(7));
    let reader = stage.reader();
    // It would wait for the session too.
    let other = run(stage.traced(&["exec", "idle"]).env("CODEX_TRACED_WAIT", "3600")).ended(End::Code(7));
    assert_eq!((other.stderr.as_str(), stage.home.records().len()), ("", 0));

    kill_all([stage.finisher()]);
    drop(reader);
    assert!(stage.reader_now().is_none());
    let next = start(stage.traced(&["exec", "idle"]).env("CODEX_TRACED_WAIT", "3600"));
    stage.tell();
    assert_eq!(next.finish(LIMIT).ended(End::Code(7)).stderr, "");
    assert_eq!((stage.home.launches(), stage.home.spooled()), (Vec::new(), Vec::new()));
    assert_eq!(stage.home.records().len(), 1);
}

#[test]
fn a_job_waits_for_so_long_and_leaves_the_rest_with_one_line() {
    let table = [
        (
            "",
            "codex-traced: trace kept on disk: not delivered within 0.2 s; run `codex-traced mlflow sync` to go on with it\n",
        ),
        ("never", ""),
    ];
    for (notice, line) in table {
        let stage = Stage::waiting();
        let mut job = stage.traced(&["exec", "do it"]);
        let outcome = run(job.env("CODEX_TRACED_WAIT", "0.2").env("CODEX_TRACED_NOTICE", notice));
        assert_eq!(
            (outcome.stdout.as_str(), outcome.stderr.as_str(), outcome.end),
            ("done\n", line, End::Code(7))
        );
        assert_eq!(stage.home.processes(), [], "nothing goes on behind a job's back");
        let sync = start(&mut stage.traced(&["mlflow", "sync"]));
        stage.tell();
        assert!(sync.finish(LIMIT).ended(End::Code(0)).stdout.starts_with("1 delivered, 0 waiting\n"));
        assert_eq!(stage.home.records()[0]["launches"][0]["exit"]["code"], 7);
    }
}

#[test]
fn a_second_interrupt_ends_the_waiting_at_once() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let stage = Stage::waiting();
        let job = start(stage.traced(&["exec", "do it"]).env("CODEX_TRACED_WAIT", "3600"));
        let reader = stage.reader();
        job.signal(signal);
        let outcome = job.finish(LIMIT).ended(End::Code(7));
        assert_eq!(said(&outcome.stderr).len(), 1, "{}", outcome.stderr);
        assert!(outcome.stderr.contains("its delivery was stopped"), "{}", outcome.stderr);
        assert_eq!(stage.home.launches().len(), 1);
        drop(reader);
    }
}

#[test]
fn with_a_wait_of_zero_a_job_leaves_its_work_to_a_finisher() {
    let stage = Stage::waiting();
    let outcome = run(stage.traced(&["exec", "do it"]).env("CODEX_TRACED_WAIT", "0")).ended(End::Code(7));
    assert_eq!(outcome.stderr, "");
    stage.tell();
    stage.home.wait_until_delivered();
}

#[test]
fn what_a_finisher_learns_too_late_is_printed_by_the_next_launch_once() {
    let stage = Stage::waiting();
    fs::create_dir(stage.home.state()).expect("make the state folder");
    fs::write(stage.home.database(), "a user's notes, and no database".repeat(40)).expect("write");
    let launch = || Terminal::start(&stage.traced(&["exec", "do it"])).finish().ended(End::Code(7)).text();
    assert_eq!(launch(), "done\r\n");
    stage.tell();
    wait_for("the finisher to end", LIMIT, || stage.finishers().is_empty());

    // These have finishers that wait, and know nothing yet.
    let (second, third) = (launch(), launch());
    let lines: Vec<&str> = second.lines().map(str::trim_end).collect();
    assert_eq!(lines.len(), 3, "{second}");
    assert!(
        lines[1].starts_with("codex-traced: trace kept on disk (1 waiting): not a SQLite database: "),
        "{second}"
    );
    assert_eq!(lines[2], "  hint: run `codex-traced mlflow sync` to try again");
    assert_eq!(third, "done\r\n");
}

/// Takes connections and never answers.
fn silent_server() -> (TcpListener, String) {
    let server = TcpListener::bind(("127.0.0.1", 0)).expect("bind a port of 127.0.0.1");
    server.set_nonblocking(true).expect("set it");
    let url = format!("http://{}", server.local_addr().expect("a bound socket has an address"));
    (server, url)
}

#[test]
fn a_server_that_never_answers_delays_no_user() {
    let stage = Stage::ready();
    let (server, url) = silent_server();
    let mut command = stage.traced(&["exec", "do it"]);
    command.env("MLFLOW_TRACKING_URI", &url).env("MLFLOW_CODEX_TRACING_ENABLED", "true");
    let seen = Terminal::start(&command).finish().ended(End::Code(7));
    assert_eq!(seen.text(), "done\r\n");
    wait_for("the server to be called", LIMIT, || server.accept().is_ok());
    assert_eq!((stage.home.launches().len(), stage.home.spooled().len()), (0, 1));
    stage.finisher();
    assert!(!stage.home.database().exists());

    // Another process delivers, so this one waits as long, and leaves it.
    let outcome = run(command.env("CODEX_TRACED_WAIT", "0.2")).ended(End::Code(7));
    assert_eq!((outcome.stdout.as_str(), said(&outcome.stderr).len()), ("done\n", 1), "{}", outcome.stderr);
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
}

#[test]
fn a_job_leaves_what_a_silent_server_does_not_take() {
    let stage = Stage::ready();
    let (_server, url) = silent_server();
    let mut command = stage.traced(&["exec", "do it"]);
    command.env("MLFLOW_TRACKING_URI", &url).env("MLFLOW_CODEX_TRACING_ENABLED", "true");
    let outcome = run(command.env("CODEX_TRACED_WAIT", "0.5")).ended(End::Code(7));
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    assert!(outcome.stderr.starts_with("codex-traced: trace kept on disk"), "{}", outcome.stderr);
    assert_eq!((stage.home.launches().len(), stage.home.spooled().len()), (0, 1));
    assert_eq!(stage.home.processes(), []);
}

#[test]
fn a_server_that_is_only_in_the_environment_is_never_called_and_a_user_is_notified_once() {
    let stage = Stage::ready();
    let (server, url) = silent_server();
    let mut command = stage.traced(&["exec", "do it"]);
    command.env("MLFLOW_TRACKING_URI", &url);
    let text = Terminal::start(&command).finish().ended(End::Code(7)).text();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let told = [
        "done".to_owned(),
        format!(
            "codex-traced: MLFLOW_TRACKING_URI names {url}, but tracing to it is not switched on: the trace stays on this machine"
        ),
        "  hint: set MLFLOW_CODEX_TRACING_ENABLED=true to send it there".to_owned(),
    ];
    assert_eq!(lines, told);
    stage.home.wait_until_delivered();
    wait_for("the finisher to end", LIMIT, || stage.finishers().is_empty());
    let called = server.accept().map_err(|error| error.kind()).map(|_| "called");
    assert_eq!(called, Err(std::io::ErrorKind::WouldBlock));
}

#[test]
fn the_settings_of_a_launch_that_died_hold_for_the_launch_that_finds_its_session() {
    for (content, is_told) in [("full", true), ("metadata", false)] {
        let stage = Stage::ready();
        let mut command = stage.traced(&["exec", "linger"]);
        let launch = start(command.env("CODEX_TRACED_CONTENT", content));
        wait_for("the session to be noted", LIMIT, || launch.stdout() == "done\n");
        launch.signal(Signal::SIGKILL);
        // Codex outlives the launcher; the test then ends Codex too.
        wait_for("codex to be alone", LIMIT, || stage.home.processes().len() == 1);
        kill_all(stage.home.processes());
        launch.finish(LIMIT).ended(End::Signal(Signal::SIGKILL as i32));
        let rollout = stage.rollout.to_str().expect("UTF-8");
        let said = run(&mut stage.traced(&["mlflow", "import", rollout])).ended(End::Code(0)).stdout;
        assert!(said.contains("1 new"), "{said}");
        let store = fs::read(stage.home.database()).expect("the local database");
        let prompt = b"please list files and edit";
        assert_eq!(store.windows(prompt.len()).any(|part| part == prompt), is_told, "{content}");
    }
}
