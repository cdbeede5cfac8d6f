//! What a parent sees of stops and of the end: a job, an empty house, a terminal as it was.

use launch::companion::Companion;
use launch::mode::{Interface, LaunchMode};
use launch::orphan::Orphan;
use launch::program::{Program, StartState};
use nix::libc;
use nix::sys::termios::LocalFlags;
use nix::unistd::Pid;
use std::fs;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::{Duration, Instant};
use support::probe::probe;
use support::run::LIMIT;
use support::{Terminal, wait_for};

use super::twice::{Act, Place, Stage, Who, assert_same, send, wait_until};

/// The job's first process, as its group's number.
fn job(stage: &Stage) -> i32 {
    let seen = support::probe::parse(&fs::read_to_string(stage.at("seen")).expect("the probe told"));
    seen["group"].parse().expect("a group")
}

#[test]
fn a_stopped_job_goes_on_with_one_sigcont() {
    let stage = Stage::new();
    for stop in ["\x1a", "TSTP", "STOP", "itself"] {
        let seen = stage.observe(Place::Terminal, "PS1= exec bash --norc --noprofile -i", |act: &Act| {
            let terminal = act.terminal();
            let stops = if stop == "itself" { "stop-job 20; ready c; " } else { "" };
            let steps = format!("see; catch 18 12; ready a; until go; {stops}until b; exit 3");
            terminal.type_keys(format!("codex exec '{steps}'\n"));
            stage.wait_until_attended("a");
            fs::write(stage.at("go"), "").expect("tell the probe");
            let job = job(&stage);
            match stop {
                "\x1a" => terminal.type_keys(stop),
                "itself" => {}
                _ => send(-job, if stop == "TSTP" { libc::SIGTSTP } else { libc::SIGSTOP }),
            }
            terminal.wait_for("Stopped");
            terminal.type_keys("fg\n");
            let caught = || fs::read_to_string(stage.at("caught")).unwrap_or_default();
            wait_for("SIGCONT", LIMIT, || caught().contains("18"));
            if stop == "itself" {
                wait_until(&stage.at("c"));
            }
            // A second one would come before this.
            send(job, libc::SIGUSR2);
            wait_for("the last signal", LIMIT, || caught().contains("12"));
            fs::write(stage.at("b"), "").expect("tell the probe");
            terminal.type_keys("echo code$?; exit 5\n");
            terminal.wait_for("code3");
        });
        assert_eq!(seen[0]["file caught"], "18\\n12\\n", "{stop:?}");
        assert_eq!(seen[0]["file caught"], seen[1]["file caught"], "{stop:?}");
        assert_eq!(seen[0]["end"], seen[1]["end"]);
        assert_eq!(seen[1]["modes are put back"], "true");
    }
}

#[test]
fn what_codex_leaves_in_the_background_lives_on() {
    let stage = Stage::new();
    for (words, place) in [("exec ", Place::Pipes), ("exec ", Place::Terminal), ("", Place::Terminal)] {
        let seen = stage.observe(place, &format!("exec codex {words}'leave; exit 3'"), |act| {
            wait_until(&stage.at("left"));
            let started = format!("/proc/{}/exe", act.id());
            wait_for("the end", LIMIT, || !Path::new(&started).exists());
            let left = fs::read_to_string(stage.at("left")).expect("the probe told");
            // `kill` fails if there is no such process.
            send(left.parse().expect("a process"), libc::SIGKILL);
        });
        assert_same(words, &seen, &[]);
    }
}

#[test]
fn we_wake_a_few_times_a_second_at_most_while_codex_does_nothing() {
    let stage = Stage::new();
    for (words, place) in [("exec ", Place::Pipes), ("exec ", Place::Terminal), ("", Place::Terminal)] {
        let act = stage.begin(Who::Traced, place, &format!("exec codex {words}'ready a; until b; exit 3'"));
        stage.wait_until_attended("a");
        let ours: Vec<Pid> = stage.home.processes().into_iter().filter(|id| !is_probe(*id)).collect();
        let woken = || ours.iter().map(|id| switches(*id)).sum::<u64>();
        wait_for("all to have begun to wait", LIMIT, || ours.iter().all(|id| is_asleep(*id)));
        // At first Codex's files are looked at more often; and later too, until it holds a lock (0.147).
        let began = Instant::now();
        wait_for("the first moments to be over", LIMIT, || began.elapsed() > Duration::from_millis(1500));
        let in_a_second = || {
            let (before, since) = (woken(), Instant::now());
            wait_for("a while", LIMIT, || since.elapsed() > Duration::from_secs(1));
            (woken() - before) as f64 / since.elapsed().as_secs_f64()
        };
        // On a busy machine a process also sleeps while it waits for the disk; so the quietest of some seconds counts.
        let times = (0..3).map(|_| in_a_second()).fold(f64::INFINITY, f64::min);
        fs::write(stage.at("b"), "").expect("tell the probe");
        stage.end(act);
        println!("{words}{place:?}: woken {times:.0} times in a second");
        assert!(times <= 20.0, "{words}{place:?}: woken {times:.0} times in a second");
    }
}

fn is_probe(id: Pid) -> bool {
    fs::read_link(format!("/proc/{id}/exe")).is_ok_and(|file| file == probe())
}

fn status(id: Pid) -> String {
    fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default()
}

fn is_asleep(id: Pid) -> bool {
    status(id).contains("State:\tS")
}

fn switches(id: Pid) -> u64 {
    let status = status(id);
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or_default()
}

/// Panics while the relay runs.
struct Faulty(u32);

impl Companion for Faulty {
    fn wakes(&self) -> Option<BorrowedFd<'_>> {
        assert!(!Path::new("panic").exists(), "on purpose");
        None
    }

    fn began(&mut self, _: u32) {}

    fn ended(&mut self) {}

    fn attend(&mut self) -> Option<Duration> {
        self.0 += 1;
        Some(Duration::from_millis(5))
    }
}

/// Not a test of its own: `a_panic_of_ours…` runs it on a terminal, in a process with one thread.
#[test]
#[ignore = "run by a_panic_of_the_launcher_leaves_the_terminal_as_it_was"]
fn a_launch_that_panics() {
    let args = vec!["raw; ready a; until never".into()];
    let (file, name) = (probe(), "codex".into());
    let program = Program {
        file,
        name,
        args,
        added_variables: Vec::new(),
        removed_variables: Vec::new(),
        state: StartState::AsEntered,
        orphan: Orphan::LivesOn,
    };
    let _ = launch::run(LaunchMode::Pty(Interface::FullScreen), &program, c"probe", &mut Faulty(0));
    unreachable!("it panics");
}

#[test]
fn a_panic_of_the_launcher_leaves_the_terminal_as_it_was() {
    let stage = Stage::new();
    stage.cast(Who::Plain);
    let mut command = stage.home.command(probe());
    command.args([
        "--ignored",
        "--exact",
        "transparency::ends::a_launch_that_panics",
        "--test-threads=1",
        "--nocapture",
    ]);
    let terminal = Terminal::start(&command);
    wait_until(&stage.at("a"));
    let is_raw = || !terminal.modes().local_flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO);
    wait_for("a raw terminal", LIMIT, is_raw);
    fs::write(stage.at("panic"), "").expect("tell it to panic");
    let seen = terminal.finish();
    assert!(seen.text().contains("on purpose"), "{}", seen.text());
    assert_eq!(seen.modes_before, seen.modes_after);
    wait_for("all to be gone", LIMIT, || stage.home.processes().is_empty());
}
