//! However the full-screen Codex is ended, plain and traced: what the shell, the terminal, the processes and the
//! trace are left with.

use crate::LAUNCHER;
use nix::sys::signal::Signal::{self, SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGSTOP, SIGTERM};
use nix::sys::signal::kill;
use nix::unistd::Pid;
use std::fs;
use std::time::{Duration, Instant};
use support::processes::{self, is_finisher, words};
use support::run::LIMIT;
use support::{
    Gate, Home, ModelServer, Oracle, Reply, Script, Tmux, Trace, codex, each_in_parallel, run, wait_for,
};

use Deed::{CloseBeforeMonitor, CloseInMidTurn, CloseWhileStopped, Codex, KillPane, Launcher, Monitor};

/// The modes are read by a script: the interactive shell above it would put them right first.
const VISIT: &str = "stty -a >before; \"$@\"; code=$?; stty -a >after; exit $code";

/// What Codex keeps for all windows of its home, by the words of their command lines.
const KEPT: [(&str, &str); 2] = [("--managed-daemon", "daemon"), ("pid-update-loop", "updater")];

/// How late the monitor learns of the closed window: Codex draws several times in it.
const LATE: Duration = Duration::from_millis(700);

const KEPT_ONLY: &str = "daemon, updater";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    /// In plain Codex there is only Codex to hit.
    Launcher(Signal),
    Codex(Signal),
    Monitor(Signal),
    KillPane,
    /// The terminal emulator dies while the model thinks.
    CloseInMidTurn,
    /// The same, and the monitor learns of it late, as on a busy machine.
    CloseBeforeMonitor,
    /// And Codex is stopped, which the monitor reports before it learns of the window.
    CloseWhileStopped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Plain,
    Traced,
}

#[derive(Clone, Copy)]
struct Row {
    deed: Deed,
    plain: &'static str,
    traced: &'static str,
    trace: &'static str,
    /// Why the two are not the same.
    why: &'static str,
}

const fn row(deed: Deed, [plain, traced]: [&'static str; 2], trace: &'static str, why: &'static str) -> Row {
    Row { deed, plain, traced, trace, why }
}

const PUT_RIGHT: &str = "the terminal's modes and screen are put right (README)";

/// The exit code, the terminal's modes, and tmux's flags of the alternate screen, the mouse and the cursor.
const TABLE: [Row; 16] = [
    row(Launcher(SIGTERM), ["143 changed 1 0 1", "143 same 0 0 1"], "OK completed, signal 15", PUT_RIGHT),
    row(Launcher(SIGHUP), ["129 changed 1 0 1", "129 same 0 0 1"], "OK completed, signal 1", PUT_RIGHT),
    row(Launcher(SIGINT), ["130 changed 1 0 1", "130 same 0 0 1"], "OK completed, signal 2", PUT_RIGHT),
    row(Launcher(SIGKILL), ["137 changed 1 0 1"; 2], "OK completed, end unknown", ""),
    row(Codex(SIGTERM), ["143 changed 1 0 1", "143 same 0 0 1"], "OK completed, signal 15", PUT_RIGHT),
    row(Codex(SIGHUP), ["129 changed 1 0 1", "129 same 0 0 1"], "OK completed, signal 1", PUT_RIGHT),
    row(Codex(SIGINT), ["130 changed 1 0 1", "130 same 0 0 1"], "OK completed, signal 2", PUT_RIGHT),
    row(Codex(SIGKILL), ["137 changed 1 0 1", "137 same 0 0 1"], "OK completed, signal 9", PUT_RIGHT),
    row(Monitor(SIGTERM), ["0 same 0 0 1"; 2], "OK completed, code 0", ""),
    row(Monitor(SIGHUP), ["0 same 0 0 1"; 2], "OK completed, code 0", ""),
    row(Monitor(SIGINT), ["0 same 0 0 1"; 2], "OK completed, code 0", ""),
    row(Monitor(SIGKILL), ["129 changed 1 0 1", "129 same 0 0 1"], "OK completed, signal 1", PUT_RIGHT),
    row(KillPane, ["closed"; 2], "OK completed, signal 1", ""),
    row(CloseInMidTurn, ["closed"; 2], "OK completed, signal 1", ""),
    row(CloseBeforeMonitor, ["closed"; 2], "OK completed, signal 1", ""),
    row(CloseWhileStopped, ["closed"; 2], "OK completed, signal 1", ""),
];

impl Deed {
    /// What plain Codex gets in comparison. A killed monitor hangs up the command's terminal; it ignores the other
    /// signals, so nothing happens.
    fn to_plain(self) -> Option<Signal> {
        match self {
            Launcher(signal) | Codex(signal) => Some(signal),
            Monitor(SIGKILL) => Some(SIGHUP),
            Monitor(_) | KillPane | CloseInMidTurn | CloseBeforeMonitor | CloseWhileStopped => None,
        }
    }

    fn closes_the_window(self) -> bool {
        self == KillPane || self.is_in_mid_turn()
    }

    fn is_in_mid_turn(self) -> bool {
        matches!(self, CloseInMidTurn | CloseBeforeMonitor | CloseWhileStopped)
    }

    fn is_unheard(self) -> bool {
        matches!(self, Monitor(signal) if signal != SIGKILL)
    }

    fn prompt(self) -> &'static str {
        if self.is_in_mid_turn() { "slow prompt" } else { "first prompt" }
    }
}

/// One run of the interface in a home of its own.
struct Visit {
    home: Home,
    gate: Gate,
    /// Keeps answering the daemon.
    _server: ModelServer,
}

impl Visit {
    fn new() -> Visit {
        let gate = Gate::new();
        let title = || Reply::new().answer("a title");
        let script = Script::new()
            .reply_to("Generate a concise", title())
            .reply_to("Generate a concise", title())
            .reply_to("slow prompt", Reply::new().answer("late answer").stall_at_start(&gate))
            .reply_to("second prompt", Reply::new().answer("second answer"))
            .reply_to("first prompt", Reply::new().answer("first answer"));
        let server = ModelServer::start(script);
        let home = Home::new(&server.url());
        // A model that Codex has no newer one to praise for.
        home.face("gpt-6.1-sol", &server.url());
        Visit { home, gate, _server: server }
    }

    /// Does it, and returns what is left.
    fn suffer(&self, deed: Deed, who: Who, codex: &support::Codex, target: &str) -> (String, String) {
        let native = codex.native.to_str().expect("UTF-8");
        let variables =
            [("CODEX_TRACED_CODEX_BIN", native), ("USER", "tester"), ("MLFLOW_TRACKING_URI", target)];
        let shell = Tmux::start(&self.home, &variables);
        let window = self.home.processes();
        let program = if who == Who::Plain { native } else { LAUNCHER };
        fs::write(self.home.work().join("visit"), VISIT).expect("write the script");
        shell.type_line(&format!("clear; sh visit {program} '{}'; echo $? >code", deed.prompt()));
        if deed.is_in_mid_turn() {
            self.gate.wait_until_reached(LIMIT);
            shell.wait_for("esc to interrupt");
        } else {
            shell.wait_for("Worked for");
        }
        let kept =
            || KEPT.iter().all(|(word, _)| self.processes().iter().any(|id| words(*id).contains(word)));
        wait_for("the daemon and its updater", LIMIT, kept);

        let hit = |id: Pid, signal| kill(id, signal).expect("hit a process that runs");
        let family = self.family(who);
        match (deed, &family[..]) {
            (KillPane, _) => shell.close_window(),
            (CloseBeforeMonitor | CloseWhileStopped, [_, monitor, codex]) => {
                hit(*monitor, SIGSTOP);
                if deed == CloseWhileStopped {
                    hit(*codex, SIGSTOP);
                }
                hit(self.terminal(&window), SIGKILL);
                // Nothing may happen now, and no event shows that.
                let until = Instant::now() + LATE;
                while Instant::now() < until {
                    let all_run = family.iter().all(|id| processes::is_there(*id));
                    assert!(all_run, "the terminal closed before the hang-up came");
                }
                hit(*monitor, SIGCONT);
            }
            (CloseInMidTurn | CloseBeforeMonitor | CloseWhileStopped, _) => {
                hit(self.terminal(&window), SIGKILL)
            }
            (_, [codex]) => _ = deed.to_plain().map(|signal| hit(*codex, signal)),
            (Launcher(signal), [launcher, ..]) => hit(*launcher, signal),
            (Monitor(signal), [_, monitor, _]) => hit(*monitor, signal),
            (Codex(signal), [.., codex]) => hit(*codex, signal),
            _ => panic!("{deed:?} in {family:?}"),
        }
        if deed.is_unheard() {
            shell.submit("second prompt", "second answer");
            shell.submit("/quit", "codex resume");
        }
        let is_gone = |id: &Pid| !processes::is_there(*id);
        wait_for(&format!("all of {who:?} to go after {deed:?}"), LIMIT, || family.iter().all(is_gone));
        if deed.closes_the_window() {
            return ("closed".to_owned(), self.left(&[], deed));
        }
        let told = |name: &str| fs::read_to_string(self.home.work().join(name)).unwrap_or_default();
        wait_for("the shell to tell the code", LIMIT, || told("code").ends_with('\n'));
        // What comes before it on the screen is there then.
        shell.type_line("echo mark$((1 + 1))");
        shell.wait_for("mark2");
        let screen = shell.state("#{alternate_on} #{mouse_any_flag} #{cursor_flag}");
        let modes = if told("before") == told("after") { "same" } else { "changed" };
        (format!("{} {modes} {screen}", told("code").trim()), self.left(&window, deed))
    }

    fn processes(&self) -> Vec<Pid> {
        self.home.processes()
    }

    /// Launcher, monitor and Codex; or Codex alone.
    fn family(&self, who: Who) -> Vec<Pid> {
        let script = self.processes().into_iter().find(|id| words(*id).starts_with("sh visit"));
        let mut family = vec![script.expect("the script runs")];
        for _ in 0..if who == Who::Plain { 1 } else { 3 } {
            let parent = family.last().copied();
            let is_child = |id: &Pid| {
                processes::parent(*id) == parent
                    && !is_finisher(*id)
                    && !words(*id).starts_with("codex-witness")
            };
            let child = self.processes().into_iter().find(is_child);
            family.push(child.expect("each has a child but the last"));
        }
        family.split_off(1)
    }

    fn terminal(&self, window: &[Pid]) -> Pid {
        let is_tmux = |id: &Pid| words(*id).starts_with("tmux");
        window.iter().copied().find(is_tmux).expect("tmux's server")
    }

    /// Who else still runs, once that is what Codex keeps, or else after a while.
    fn left(&self, window: &[Pid], deed: Deed) -> String {
        let told = |id: &Pid| {
            let words = words(*id);
            let kept = KEPT.iter().find(|(word, _)| words.contains(word));
            kept.map_or(words.clone(), |(_, name)| (*name).to_owned())
        };
        let until = Instant::now() + LIMIT;
        loop {
            let mut left: Vec<String> =
                self.processes().iter().filter(|id| !window.contains(id)).map(told).collect();
            // It waits for the turn's end; `finish` sees it go.
            left.retain(|words| !deed.is_in_mid_turn() || !words.starts_with("codex-traced mlflow finish"));
            left.sort();
            if left == KEPT.map(|(_, name)| name) || Instant::now() > until {
                return left.join(", ");
            }
        }
    }

    /// Until the trace is delivered.
    fn finish(&self, deed: Deed, codex: &support::Codex) {
        let next_launch = || {
            let mut command = self.home.traced(LAUNCHER, &codex.native);
            run(command.args(["exec", "--no-such-option"]));
        };
        match deed {
            Launcher(SIGKILL) => {
                // A launch of more than two seconds has a tracer, which completes the trace.
                let has_tracer = self.processes().iter().any(|id| is_finisher(*id));
                if !has_tracer && !self.home.launches().is_empty() {
                    next_launch();
                }
            }
            CloseInMidTurn | CloseBeforeMonitor | CloseWhileStopped => {
                let noted = || !self.home.launches().is_empty() && self.home.spooled().is_empty();
                wait_for("the trace as far as it got", LIMIT, noted);
                // Without another launch.
                self.gate.open();
                let is_gone = || !self.processes().iter().any(|id| is_finisher(*id));
                wait_for("the finisher to end with the turn", LIMIT, is_gone);
            }
            _ => {}
        }
        let done = || self.home.launches().is_empty() && self.home.spooled().is_empty();
        wait_for(&format!("the trace after {deed:?}"), LIMIT, done);
    }
}

/// State, status, and how Codex ended.
fn told(trace: &Trace) -> String {
    let root = trace.span("codex_cli_session");
    let ended = ["code", "signal"].iter().find_map(|kind| {
        let number = root.attributes.get(&format!("process.exit.{kind}"))?;
        Some(format!("{kind} {number}"))
    });
    let status = root.outputs["status"].as_str().unwrap_or("unknown");
    format!("{} {status}, {}", trace.state, ended.unwrap_or_else(|| "end unknown".to_owned()))
}

#[test]
fn every_ending_leaves_what_plain_codex_leaves_or_better_and_one_trace() {
    let (Some(codex), Some(oracle)) = (codex(), Oracle::newest()) else { return };
    let folder = Visit::new();
    let database = folder.home.root().join("all.db");
    let target = format!("sqlite:///{}", database.display());
    let seen = each_in_parallel(TABLE.to_vec(), |row| {
        let plain = Visit::new().suffer(row.deed, Who::Plain, &codex, &target);
        let visit = Visit::new();
        let traced = visit.suffer(row.deed, Who::Traced, &codex, &target);
        visit.finish(row.deed, &codex);
        (row, plain, traced, visit.home.rollout())
    });
    let traces = oracle.traces(&database);
    assert_eq!(traces.len(), TABLE.len(), "one trace each");
    let mut wrong = Vec::new();
    for (row, plain, traced, rollout) in seen {
        let file = rollout.to_str().expect("UTF-8");
        let its = |trace: &&Trace| trace.metadata["session_file"] == file;
        let its: Vec<String> = traces.iter().filter(its).map(told).collect();
        let trace = its.join(" and ");
        let left = [&plain.1, &traced.1];
        // For a person who asks, with --nocapture.
        let deed = format!("{:?}", row.deed);
        println!("{deed:<18} plain {} | traced {} | left {left:?} | trace {trace}", plain.0, traced.0);
        if (&*plain.0, &*traced.0, &*trace) != (row.plain, row.traced, row.trace) || left != [KEPT_ONLY; 2] {
            wrong.push(format!("{deed}: {plain:?} | {traced:?} | {trace}"));
        }
        assert_eq!(row.plain == row.traced, row.why.is_empty(), "{:?}: a difference has a reason", row.deed);
    }
    assert_eq!(wrong, [""; 0]);
}
