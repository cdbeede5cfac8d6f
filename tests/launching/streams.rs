//! The other ends of Codex's streams: what a reader and a writer see when Codex has ended and the launcher still works.

use crate::LAUNCHER;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use std::fs::File;
use std::io::{ErrorKind, PipeReader, PipeWriter, Read, Write, pipe};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command};
use support::run::LIMIT;
use support::{
    End, Ending, Fault, FaultProxy, Gate, Home, ModelServer, PickyServer, Reply, Script, Terminal, codex,
    each_in_parallel, start, wait_for,
};

/// Copies stdout, and adds a pipe.
const MORE_STREAMS: &str = "exec \"$@\" 3>&1 4>more";

/// The command, started with more streams, and the other end of the pipe.
fn with_more_streams(home: &Home, command: &Command) -> (Command, File) {
    let more = home.work().join("more");
    mkfifo(&more, Mode::S_IRUSR | Mode::S_IWUSR).expect("make a pipe");
    let reader = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(more);
    let mut shell = home.command("sh");
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.args(["-c", MORE_STREAMS, "sh"]).arg(command.get_program()).args(command.get_args());
    (shell, reader.expect("open a pipe"))
}

/// A launcher on pipes, and their other ends.
struct OnPipes {
    child: Child,
    stdin: PipeWriter,
    stdout: PipeReader,
    stderr: PipeReader,
}

impl OnPipes {
    fn start(mut command: Command, is_merged: bool) -> OnPipes {
        let [(theirs, stdin), (stdout, out), (stderr, err)] = [(); 3].map(|()| pipe().expect("a pipe"));
        let err = if is_merged { out.try_clone().expect("one more descriptor") } else { err };
        let child = command.stdin(theirs).stdout(out).stderr(err).spawn().expect("start the launcher");
        OnPipes { child, stdin, stdout, stderr }
    }
}

/// All that comes until no process has the stream open any more.
fn read_to_end(mut stream: impl Read) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("read to the end");
    text
}

fn has_ended(stream: &impl AsFd) -> bool {
    let mut watched = [PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
    poll(&mut watched, PollTimeout::ZERO).expect("look at a pipe");
    watched[0].revents().is_some_and(|found| found.contains(PollFlags::POLLHUP))
}

fn runs(child: &mut Child) -> bool {
    child.try_wait().expect("a child of this test").is_none()
}

#[test]
fn the_streams_end_with_codex_and_stderr_with_the_last_line_that_may_follow() {
    // Whether stderr ends too, and is one pipe with stdout.
    let table =
        [("auto", false, false), ("always", false, false), ("never", true, false), ("never", true, true)];
    for (notice, ends_stderr, is_merged) in table {
        let case = format!("CODEX_TRACED_NOTICE={notice}, merged: {is_merged}");
        let ending = Ending::new();
        let mut traced = ending.traced(LAUNCHER);
        traced.args(["exec", "do it"]).env("CODEX_TRACED_NOTICE", notice).env("CODEX_TRACED_WAIT", "60");
        let (command, more) = with_more_streams(&ending.home, &traced);
        let mut launch = OnPipes::start(command, is_merged);
        assert_eq!(read_to_end(&launch.stdout), "done\n", "{case}");
        assert!(runs(&mut launch.child), "{case}: the launcher ended before stdout");
        let reader = ending.await_reader();
        wait_for("the end of the other pipe", LIMIT, || has_ended(&more));
        let written = launch.stdin.write_all(b"to Codex").map_err(|error| error.kind());
        assert_eq!(written, Err(ErrorKind::BrokenPipe), "{case}");
        assert_eq!(has_ended(&launch.stderr), ends_stderr, "{case}");
        reader.hand_over();
        assert_eq!(End::from(launch.child.wait().expect("wait")), End::Code(7), "{case}");
        assert_eq!(read_to_end(&launch.stderr), "", "{case}");
    }
}

/// `2>&1`: the line that may follow goes to the same reader.
#[test]
fn a_reader_of_both_outputs_waits_for_the_line_that_may_follow() {
    let ending = Ending::new();
    let mut command = ending.traced(LAUNCHER);
    command.args(["exec", "do it"]).env("CODEX_TRACED_WAIT", "0.2");
    let launch = OnPipes::start(command, true);
    let text = read_to_end(&launch.stdout);
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        matches!(lines[..], ["done", line] if line.starts_with("codex-traced: trace kept on disk")),
        "{text}"
    );
}

#[test]
fn the_relayed_terminal_is_left_with_codex_and_stderr_with_the_last_line_that_may_follow() {
    for notice in ["never", "auto"] {
        let ending = Ending::new();
        let mut traced = ending.traced(LAUNCHER);
        traced.arg("do it").env("CODEX_TRACED_NOTICE", notice).env("CODEX_TRACED_WAIT", "60");
        let (command, more) = with_more_streams(&ending.home, &traced);
        let terminal = Terminal::start(&command);
        if notice == "auto" {
            let reader = ending.await_reader();
            wait_for("the end of the other pipe", LIMIT, || has_ended(&more));
            reader.hand_over();
            assert_eq!(terminal.finish().ended(End::Code(7)).text(), "done\r\n");
            continue;
        }
        let mut left = terminal.wait_until_left();
        assert!(runs(&mut left.child), "the launcher ended before its terminal was left");
        let reader = ending.await_reader();
        assert!(has_ended(&more));
        assert_eq!(String::from_utf8_lossy(&left.bytes), "done\r\n");
        reader.hand_over();
        assert_eq!(End::from(left.child.wait().expect("wait")), End::Code(7));
    }
}

fn answer(status: u16, headers: &[(&'static str, &'static str)]) -> Fault {
    Fault::Answer { status, headers: headers.to_vec(), body: "" }
}

#[test]
fn whatever_a_server_does_a_reader_sees_the_end_of_stdout_before_it() {
    let Some(codex) = codex() else { return };
    let server = PickyServer::start();
    let address: SocketAddr = server.url().trim_start_matches("http://").parse().expect("an address");
    let html = Fault::Answer { status: 200, headers: vec![("content-type", "text/html")], body: "<html>" };
    let table = vec![
        None,
        Some(Fault::Hang),
        Some(Fault::Trickle),
        Some(Fault::ResetInBody),
        Some(Fault::LoseAnswer),
        Some(answer(301, &[("location", "http://127.0.0.1:9/")])),
        Some(answer(401, &[])),
        Some(answer(403, &[])),
        Some(answer(404, &[])),
        Some(answer(413, &[])),
        Some(answer(429, &[("retry-after", "60")])),
        Some(answer(429, &[])),
        Some(answer(500, &[])),
        Some(answer(503, &[])),
        Some(html),
    ];
    each_in_parallel(table, |fault| {
        let case = format!("{fault:?}");
        let (proxy, gate) = (FaultProxy::before(address), Gate::new());
        proxy.hold(&gate);
        if let Some(fault) = &fault {
            proxy.fail("", fault.clone());
        }
        let model = ModelServer::start(Script::new().reply(Reply::new().answer("done")));
        let home = Home::new(&model.url());
        let mut command = home.traced(LAUNCHER, &codex.native);
        command.args(["exec", "do it"]).envs([
            ("MLFLOW_TRACKING_URI", &*proxy.url()),
            ("MLFLOW_CODEX_TRACING_ENABLED", "true"),
            ("MLFLOW_HTTP_REQUEST_TIMEOUT", "20"),
            ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1"),
            ("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0"),
            ("CODEX_TRACED_WAIT", "60"),
        ]);
        let mut launch = start(&mut command);
        launch.wait_for_end_of_stdout();
        gate.wait_until_reached(LIMIT);
        assert!(launch.is_running(), "{case}: the launcher ended before stdout");
        gate.open();
        if matches!(fault, Some(Fault::Hang | Fault::Trickle)) {
            drop(proxy);
        }
        let outcome = launch.finish(LIMIT).ended(End::Code(0));
        assert_eq!(outcome.stdout, "done\n", "{case}");
    });
}
