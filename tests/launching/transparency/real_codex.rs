//! Each case runs twice, as `codex` and as `codex-traced`: same bytes, same end, once ids and times are put aside.

use crate::LAUNCHER;
use nix::sys::signal::Signal;
use serde_json::json;
use std::path::Path;
use std::process::Command;
use support::run::LIMIT;
use support::{Codex, End, Gate, Home, ModelServer, Outcome, Reply, Script, codex, run, start};

const PATCH: &str = "*** Begin Patch\n*** Add File: hello.txt\n+hello\n*** End Patch\n";

fn a_small_job() -> Script {
    Script::new()
        .reply(Reply::new().reasoning("**Plan** list").call("exec_command", json!({"cmd": "ls"})))
        .reply(
            Reply::new()
                .commentary("Now what fails.")
                .call("exec_command", json!({"cmd": "echo no >&2; exit 3"})),
        )
        .reply(Reply::new().custom("apply_patch", PATCH))
        .reply(Reply::new().answer("done"))
}

/// The same arguments and the same script, plain and traced.
struct Twice {
    codex: Codex,
    home: Home,
    server: ModelServer,
}

impl Twice {
    fn new() -> Option<Twice> {
        let codex = codex()?;
        let server = ModelServer::start(Script::new());
        let home = Home::new(&server.url());
        Some(Twice { codex, home, server })
    }

    fn commands(&self, words: &[&str]) -> [Command; 2] {
        let mut plain = self.home.command(&self.codex.native);
        plain.args(words);
        let mut traced = self.home.traced(LAUNCHER, &self.codex.native);
        traced.args(words);
        [plain, traced]
    }

    fn observe(&self, script: &Script, words: &[&str]) -> [Outcome; 2] {
        self.commands(words).map(|mut command| {
            self.home.reset_work();
            self.server.play(script.clone());
            run(&mut command)
        })
    }

    /// Runs both, ends each by the signal while the model's answer stalls.
    fn interrupt(&self, signal: Signal) -> [Outcome; 2] {
        self.commands(&["exec", "--json", "do it"]).map(|mut command| {
            let never = Gate::new();
            self.server.play(Script::new().reply(Reply::new().stall_at_start(&never)));
            let running = start(&mut command);
            never.wait_until_reached(LIMIT);
            running.signal(signal);
            running.finish(LIMIT)
        })
    }

    fn assert_traced(&self, sessions: usize) {
        assert_eq!(self.home.claimed().len(), sessions, "threads that were claimed");
    }
}

#[track_caller]
fn assert_same([plain, traced]: [Outcome; 2], end: End) {
    assert_eq!(plain.end, end, "{}{}", plain.stdout, plain.stderr);
    assert_eq!(plain.normalised(), traced.normalised());
}

#[test]
fn a_job_that_succeeds_is_the_same() {
    let Some(twice) = Twice::new() else { return };
    for words in [&["exec", "do it"][..], &["exec", "--json", "do it"]] {
        let outcomes = twice.observe(&a_small_job(), words);
        assert!(outcomes[0].stdout.contains("done"));
        assert_same(outcomes, End::Code(0));
    }
    twice.assert_traced(2);
}

#[test]
fn a_planted_difference_of_one_byte_is_seen() {
    let Some(twice) = Twice::new() else { return };
    let [plain, mut traced] = twice.observe(&a_small_job(), &["exec", "--json", "do it"]);
    traced.stdout = traced.stdout.replacen("done", "dOne", 1);
    assert_ne!(plain.normalised(), traced.normalised());
}

#[test]
fn a_turn_that_fails_is_the_same() {
    let Some(twice) = Twice::new() else { return };
    let failing = Script::new().reply(Reply::new().failed("insufficient_quota", "no money left"));
    for words in [&["exec", "do it"][..], &["exec", "--json", "do it"]] {
        assert_same(twice.observe(&failing, words), End::Code(1));
    }
    twice.assert_traced(2);
}

#[test]
fn a_bad_option_is_the_same_and_leaves_nothing() {
    let Some(twice) = Twice::new() else { return };
    assert_same(twice.observe(&Script::new(), &["exec", "--no-such-option"]), End::Code(2));
    assert_eq!(twice.home.rollouts(), [""; 0].map(Path::new));
    twice.assert_traced(0);
}

#[test]
fn sigint_is_the_same_and_the_turn_is_traced() {
    let Some(twice) = Twice::new() else { return };
    assert_same(twice.interrupt(Signal::SIGINT), End::Code(1));
    twice.assert_traced(1);
}

#[test]
fn deadly_signals_are_the_same() {
    let Some(twice) = Twice::new() else { return };
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2] {
        let outcomes = twice.interrupt(signal);
        assert_same(outcomes, End::Signal(signal as i32));
    }
}

#[test]
fn the_shell_sees_143_after_sigterm() {
    let Some(twice) = Twice::new() else { return };
    let ends = twice.commands(&["exec", "do it"]).map(|command| {
        let never = Gate::new();
        twice.server.play(Script::new().reply(Reply::new().stall_at_start(&never)));
        let mut shell = twice.home.command("sh");
        shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell.args(["-c", "\"$@\" & echo $!; wait $!; echo code $?", "sh"]).arg(command.get_program());
        shell.args(command.get_args());
        let running = start(&mut shell);
        never.wait_until_reached(LIMIT);
        let child = running.stdout().trim().parse().expect("the shell told its child");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), Signal::SIGTERM).expect("signal our child");
        running.finish(LIMIT).stdout.lines().last().map(str::to_owned)
    });
    assert_eq!(ends, [Some("code 143".to_owned()), Some("code 143".to_owned())]);
}

#[test]
fn what_is_in_a_pipe_reaches_codex() {
    let Some(twice) = Twice::new() else { return };
    let outcomes = twice.commands(&["exec", "-"]).map(|mut command| {
        twice.server.play(Script::new().reply(Reply::new().answer("read")));
        support::run_with_input(&mut command, b"from the pipe\n")
    });
    assert!(twice.server.requests().last().expect("a request").to_string().contains("from the pipe"));
    assert_same(outcomes, End::Code(0));
}
