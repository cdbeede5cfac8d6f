//! Kills codex-traced, and Codex, at moments spread over the whole life of a launch; one `mlflow sync` must put it
//! all right.
//!
//! ```sh
//! cargo build --release && cargo run --release --example kills -- 80 40 20
//! ```
//!
//! The launches of the first two counts are an `exec` of two model responses and a command on a terminal, so that a
//! finisher follows; those of the third are the full-screen interface, from its start to its `/quit` and the
//! finisher's end. At its moment the launcher or the finisher is killed, the one that runs then. The long run
//! behind the tests of `tests/delivery/crashes.rs`, which kill before every single write.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};
use support::run::LIMIT;
use support::terminal::Seen;
use support::{Codex, End, Home, ModelServer, Reply, Script, Terminal, Tmux, run, wait_for};

/// How far a launch was when it was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    NotBegun,
    NoChild,
    NoClaim,
    Claimed,
    /// The launcher is at its own end.
    CodexEnded,
    /// The finisher makes the trace.
    Spooling,
    /// The trace is on disk, and the finisher sends it.
    Sending,
    Over,
}

/// What a kill's moment is counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    Start,
    /// Codex's end is noted.
    Exit,
}

fn main() {
    let mut counts = std::env::args().skip(1).map(|word| word.parse().expect("how many kills"));
    let mut count = |usual| counts.next().unwrap_or(usual);
    let (ours, codexes, interfaces) = (count(80), count(40), count(20));
    let codex = support::real::fetch_codex();
    let launcher = launcher();
    let mut play = Play::new(&codex, &launcher);
    let mut lives: Vec<(Duration, Duration)> = (0..5).map(|_| play.whole()).collect();
    lives.sort();
    let (until_exit, after_exit) = lives[2];
    play.renew();
    let (before, after) = (until_exit.as_millis(), after_exit.as_millis());
    println!(
        "a launch lives for {before} ms until Codex's end is noted, and {after} ms until its finisher's"
    );
    // The end of a launch is short, so it has kills of its own.
    play.kill_at_moments(ours / 2, Since::Start, until_exit, "codex-traced", Play::ours);
    play.kill_at_moments(ours - ours / 2, Since::Exit, after_exit, "codex-traced", Play::ours);
    play.kill_at_moments(codexes, Since::Start, until_exit, "codex", Play::codexes);
    let mut visit = || {
        let whole = play.visit(None).1;
        play.renew();
        whole
    };
    let mut lives = [visit(), visit(), visit()];
    lives.sort();
    println!("an interface lives for {} ms, its finisher too", lives[1].as_millis());
    play.kill_interfaces(interfaces, lives[1]);
    println!("every session that has a turn is traced once; nothing is left");
}

fn home_of(server: &ModelServer) -> Home {
    let home = Home::new(&server.url());
    // A model that Codex has no newer one to praise for.
    home.face("gpt-6.1-sol", &server.url());
    home
}

fn tell(histogram: &BTreeMap<Stage, u32>) {
    for (stage, count) in histogram {
        println!("  {:<12} {count:>3} {}", format!("{stage:?}"), "#".repeat(*count as usize));
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

/// In this example's folder, as cargo puts it.
fn launcher() -> PathBuf {
    let here = std::env::current_exe().expect("a running program has a path");
    let folder = here.parent().and_then(Path::parent).expect("examples/ of a target folder");
    let launcher = folder.join("codex-traced");
    assert!(launcher.exists(), "build it first: cargo build");
    launcher
}

struct Play<'a> {
    codex: &'a Codex,
    launcher: &'a Path,
    server: ModelServer,
    home: Home,
}

impl<'a> Play<'a> {
    fn new(codex: &'a Codex, launcher: &'a Path) -> Play<'a> {
        let server = ModelServer::start(Script::new());
        Play { codex, launcher, home: home_of(&server), server }
    }

    fn start(&self) -> Terminal {
        // What an earlier launch that was killed did not ask for is asked for now: the replies are all alike.
        let command = Reply::new().call("exec_command", json!({"cmd": "echo hi"}));
        self.server.play(Script::new().reply(command).reply(Reply::new().answer("done")));
        // As under a person's shell: who leads the session outlives the launcher, and so do those that it leaves.
        let mut shell = self.home.traced("sh", &self.codex.native);
        shell.args(["-c", "\"$@\"; code=$?; echo ended; read line; exit $code", "sh"]);
        Terminal::start(shell.arg(self.launcher).args(["exec", "--json", "go"]))
    }

    /// Waits for all that the launch left running, then ends the shell.
    fn finish(&self, terminal: Terminal) -> Seen {
        terminal.wait_for("ended");
        let shell = terminal.pid();
        wait_for("all processes to end", LIMIT, || self.home.processes().iter().all(|id| *id == shell));
        terminal.type_keys("\n");
        terminal.finish()
    }

    /// One launch without a kill: how long it lived until Codex's end was noted, and from then on.
    fn whole(&self) -> (Duration, Duration) {
        let began = Instant::now();
        let terminal = self.start();
        self.wait_for_exit();
        let until_exit = began.elapsed();
        self.finish(terminal).ended(End::Code(0));
        (until_exit, began.elapsed() - until_exit)
    }

    fn wait_for_exit(&self) {
        let until = Instant::now() + LIMIT;
        while !self.notes().contains("{\"exit\"") && Instant::now() < until {
            sleep(Duration::from_micros(200));
        }
    }

    /// All that launches have noted.
    fn notes(&self) -> String {
        let names = self.home.launches().into_iter().filter(|name| name.ends_with(".jsonl"));
        let folder = self.home.state().join("launches");
        names.map(|name| fs::read_to_string(folder.join(name)).unwrap_or_default()).collect()
    }

    fn kill_at_moments(
        &mut self,
        kills: u32,
        since: Since,
        span: Duration,
        who: &str,
        victims: fn(&Self, Pid) -> Vec<Pid>,
    ) {
        let mut histogram: BTreeMap<Stage, u32> = BTreeMap::new();
        let (mut ends, mut evidence) = (BTreeMap::<String, u32>::new(), BTreeMap::<String, u32>::new());
        for number in 0..kills {
            let began = Instant::now();
            let terminal = self.start();
            let began = match since {
                Since::Start => began,
                Since::Exit => {
                    self.wait_for_exit();
                    Instant::now()
                }
            };
            sleep((span * number / kills).saturating_sub(began.elapsed()));
            let launcher = child_of(terminal.pid());
            let victims = victims(self, launcher);
            let hit = victims.iter().filter(|id| kill(**id, Signal::SIGKILL).is_ok()).count();
            // After the kill: the notes are those of the very moment.
            let stage = self.stage(&victims, launcher);
            *histogram.entry(stage).or_default() += 1;
            let seen = self.finish(terminal);
            let hits = if hit == 0 { "nobody" } else { "hit" };
            *ends.entry(format!("{hits}, {:?}", seen.end)).or_default() += 1;
            assert_eq!(seen.modes_before, seen.modes_after, "kill {number} of {who}: the terminal's modes");
            for claimed in self.put_right(&format!("kill {number} of {who} ({stage:?})")) {
                *evidence.entry(claimed).or_default() += 1;
            }
        }
        println!("{kills} kills of {who}, from {since:?} on:");
        tell(&histogram);
        println!("  ended: {ends:?}\n  claimed by: {evidence:?}");
    }

    /// The launcher, or else its finisher.
    fn ours(&self, launcher: Pid) -> Vec<Pid> {
        if is_of(launcher, self.launcher) {
            return vec![launcher];
        }
        self.home.processes().into_iter().filter(|id| is_of(*id, self.launcher)).collect()
    }

    /// Opens the interface with a prompt and leaves it after the turn, or until ours are killed at that moment. Tells
    /// what was hit, and how long it all took.
    fn visit(&self, moment: Option<Duration>) -> (Option<Stage>, Duration) {
        self.server.play(Script::new().reply_to("Generate a concise", Reply::new().answer("a title")));
        let (codex, launcher) = (text(&self.codex.native), text(self.launcher));
        let shell = Tmux::start(&self.home, &[("CODEX_TRACED_CODEX_BIN", &codex), ("T", &launcher)]);
        shell.type_line("clear; $T go; echo ended$((1 + 1))");
        let (began, mut leaves, mut hit) = (Instant::now(), false, None);
        let is_over = || self.ours(Pid::from_raw(i32::MAX)).is_empty();
        while began.elapsed() < LIMIT {
            let screen = shell.screen();
            if moment.is_some_and(|moment| began.elapsed() >= moment) {
                let victims = self.ours(Pid::from_raw(i32::MAX));
                for id in &victims {
                    let _ = kill(*id, Signal::SIGKILL);
                }
                hit = Some(self.stage(&victims, self.launcher_of(&victims)));
                break;
            }
            if screen.contains("Worked for") && !leaves {
                shell.type_text("/quit");
                shell.wait_for("/quit");
                leaves = true;
            } else if leaves && !screen.contains("ended2") {
                // Typed this fast, an Enter may be taken for a part of what was pasted.
                shell.press("Enter");
            } else if leaves && is_over() {
                break;
            }
        }
        shell.wait_for("ended2");
        let whole = began.elapsed();
        // The turn goes on in Codex's daemon, or begins there, for a prompt that had left the interface.
        sleep(Duration::from_millis(500));
        let has_open_turn = |path: &PathBuf| {
            let text = fs::read_to_string(path).unwrap_or_default();
            text.contains("task_started") && !text.contains("task_complete") && !text.contains("turn_aborted")
        };
        wait_for("the turn to end", LIMIT, || !self.home.rollouts().iter().any(has_open_turn));
        wait_for("ours to end", LIMIT, is_over);
        (hit, whole)
    }

    fn launcher_of(&self, victims: &[Pid]) -> Pid {
        victims.iter().copied().find(|id| !is_finisher(*id)).unwrap_or(Pid::from_raw(i32::MAX))
    }

    fn kill_interfaces(&mut self, kills: u32, span: Duration) {
        let mut histogram: BTreeMap<Stage, u32> = BTreeMap::new();
        let mut evidence = BTreeMap::<String, u32>::new();
        for number in 0..kills {
            let (stage, _) = self.visit(Some(span * number / kills));
            let stage = stage.unwrap_or(Stage::Over);
            *histogram.entry(stage).or_default() += 1;
            for claimed in self.put_right(&format!("kill {number} of an interface ({stage:?})")) {
                *evidence.entry(claimed).or_default() += 1;
            }
        }
        println!("{kills} kills of an interface:");
        tell(&histogram);
        println!("  claimed by: {evidence:?}");
    }

    fn codexes(&self, launcher: Pid) -> Vec<Pid> {
        Some(child_of(launcher)).filter(|id| is_of(*id, &self.codex.native)).into_iter().collect()
    }

    fn stage(&self, victims: &[Pid], launcher: Pid) -> Stage {
        if !victims.is_empty() && !victims.contains(&launcher) && victims.iter().any(|id| is_finisher(*id)) {
            return if self.home.spooled().is_empty() { Stage::Spooling } else { Stage::Sending };
        }
        let notes = self.notes();
        match () {
            () if notes.contains("{\"exit\"") => Stage::CodexEnded,
            () if notes.contains("{\"claim\"") => Stage::Claimed,
            () if notes.contains("{\"child\"") => Stage::NoClaim,
            () if notes.contains("{\"launch\"") => Stage::NoChild,
            () if self.home.state().join("threads").exists() => Stage::Over,
            () => Stage::NotBegun,
        }
    }

    /// Every session with a turn is traced, once; by what evidence.
    fn put_right(&mut self, at: &str) -> Vec<String> {
        let mut sync = self.home.traced(self.launcher, Path::new("/nowhere"));
        let said = run(sync.args(["mlflow", "sync"])).ended(End::Code(0));
        let has_turn =
            |path: &PathBuf| fs::read_to_string(path).is_ok_and(|text| text.contains("task_started"));
        let mut turns: Vec<String> = self
            .home
            .rollouts()
            .into_iter()
            .filter(has_turn)
            .map(|path| {
                let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
                stem[stem.len() - 36..].to_owned()
            })
            .collect();
        turns.sort();
        let mut traced = match self.home.database().exists() {
            true => {
                let connection = rusqlite::Connection::open(self.home.database()).expect("open the database");
                let query = "SELECT value FROM trace_request_metadata WHERE key = 'session'";
                let mut statement = connection.prepare(query).expect("MLflow's table");
                let rows = statement.query_map([], |row| row.get::<_, String>(0)).expect("the traces");
                rows.map(|thread| thread.expect("text")).collect()
            }
            false => Vec::new(),
        };
        traced.sort();
        assert_eq!(traced, turns, "{at}: the traces, and the sessions that have a turn; {said:?}");
        let left: Vec<String> = self
            .home
            .launches()
            .into_iter()
            .chain(self.home.spooled())
            .filter(|name| name.ends_with("l"))
            .collect();
        assert_eq!(left, [""; 0], "{at}: nothing waits; {said:?}");
        // A home of its own for each: what one left cannot hide in the next.
        let records = self.home.records();
        let by = records
            .iter()
            .map(|record| record["launches"][0]["attribution"].as_str().expect("text").to_owned());
        let by = by.collect();
        self.renew();
        by
    }

    fn renew(&mut self) {
        self.server = ModelServer::start(Script::new());
        self.home = home_of(&self.server);
    }
}

/// The only child, if there is one.
fn child_of(id: Pid) -> Pid {
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    Pid::from_raw(children.split_whitespace().next().and_then(|id| id.parse().ok()).unwrap_or(i32::MAX))
}

fn is_of(id: Pid, program: &Path) -> bool {
    let running = fs::read_link(format!("/proc/{id}/exe"));
    running.ok().zip(fs::canonicalize(program).ok()).is_some_and(|(running, program)| running == program)
}

/// A process that has ended has no arguments left; this program alone can be its parent.
fn is_finisher(id: Pid) -> bool {
    let words = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    words.is_empty() || words.starts_with(b"codex-traced\0mlflow")
}
