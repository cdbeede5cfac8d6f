//! What a terminal and pipes carry through codex-traced compared with what they carry without it, in one run.
//!
//! `cargo bench --bench relay -- bulk|echo|start [COUNT]`; without words all three. On a quiet machine only.
//! `BENCH_LAUNCHER=FILE` measures another build, `FILE:FILE` several in turn (start only).

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};
use support::Home;
use support::probe::{clock, pattern, probe};

static LAUNCHERS: LazyLock<Vec<String>> = LazyLock::new(|| match std::env::var("BENCH_LAUNCHER") {
    Ok(files) => files.split(':').map(str::to_owned).collect(),
    Err(_) => vec![env!("CARGO_BIN_EXE_codex-traced").to_owned()],
});

/// In its first second the launcher looks at Codex's open files 100 times; after it, a person types.
const SETTLED: Duration = Duration::from_millis(1100);

/// A fast typist.
const BETWEEN_KEYS: Duration = Duration::from_millis(5);

const MEGABYTE: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Bare,
    /// By this one of the launchers.
    Traced(usize),
    Script,
}

const TRACED: Who = Who::Traced(0);

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let wants = |what: &str| words.is_empty() || words[0] == what;
    let count = |usual: usize| words.get(1).and_then(|word| word.parse().ok()).unwrap_or(usual);
    println!("load: {}", fs::read_to_string("/proc/loadavg").unwrap_or_default().trim());
    let stage = Stage::new();
    if wants("bulk") {
        stage.bulk(count(1024));
    }
    if wants("echo") {
        stage.echo(count(2000));
    }
    if wants("start") {
        stage.start(count(200));
    }
}

struct Stage {
    home: Home,
}

/// A program on a terminal of ours.
struct OnTerminal {
    master: File,
    child: Child,
}

impl Stage {
    fn new() -> Stage {
        let home = Home::new("http://127.0.0.1:9");
        let bare = home.root().join("bin");
        fs::create_dir(&bare).expect("make a folder");
        std::os::unix::fs::symlink(probe(), bare.join("codex")).expect("a bare codex");
        Stage { home }
    }

    fn command(&self, who: Who, words: &[&str]) -> Command {
        let bare = self.home.root().join("bin/codex");
        let mut command = match who {
            Who::Bare => self.home.command(bare),
            Who::Traced(launcher) => self.home.traced(&LAUNCHERS[launcher], &bare),
            Who::Script => {
                let mut script = self.home.command("script");
                let line = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
                script.args(["-q", "-e", "-c", &format!("{} {line}", bare.display()), "/dev/null"]);
                return script;
            }
        };
        command.args(words);
        command
    }

    fn on_terminal(&self, who: Who, steps: &str) -> OnTerminal {
        let pair = nix::pty::openpty(None, None).expect("a terminal");
        let (master, slave) = (File::from(pair.master), pair.slave);
        let command = self.command(who, &[steps]);
        let mut leader = self.home.command("setsid");
        leader.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        leader.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let stream = |fd: &OwnedFd| Stdio::from(fd.try_clone().expect("one more descriptor"));
        leader.stdin(stream(&slave)).stdout(stream(&slave)).stderr(stream(&slave));
        OnTerminal { master, child: leader.spawn().expect("start setsid") }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.home.work().join(name)
    }

    fn forget(&self) {
        for name in ["a", "b", "taken"] {
            let _ = fs::remove_file(self.at(name));
        }
    }

    /// The launcher's memory at its highest, in KiB.
    fn memory(&self) -> u64 {
        let ours = |id: &nix::unistd::Pid| {
            fs::read_link(format!("/proc/{id}/exe")).is_ok_and(|file| file.ends_with("codex-traced"))
        };
        let highest = |id: nix::unistd::Pid| {
            let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        self.home.processes().into_iter().filter(ours).filter_map(highest).max().unwrap_or(0)
    }

    fn bulk(&self, megabytes: usize) {
        let size = megabytes * MEGABYTE;
        for who in [Who::Bare, TRACED, Who::Script] {
            self.forget();
            let mut terminal = self.on_terminal(who, &format!("raw; ready a; until b; send {size}; exit 0"));
            self.wait_for("a");
            fs::write(self.at("b"), "").expect("tell the probe");
            let (rate, memory) = self.receive(&mut terminal.master, size);
            println!(
                "terminal, out, {who:?}: {megabytes} MB, every byte right, {rate:.0} MB/s, memory {memory}"
            );
            terminal.end();
        }
        for who in [Who::Bare, TRACED, Who::Script] {
            self.forget();
            let mut terminal = self.on_terminal(who, &format!("raw; ready a; take {size}; exit 0"));
            self.wait_for("a");
            let rate = self.send(&mut terminal.master, size);
            println!("terminal, in, {who:?}: {megabytes} MB, {}, {rate:.0} MB/s", self.taken());
            terminal.end();
        }
        for who in [Who::Bare, TRACED] {
            self.forget();
            let mut command =
                self.command(who, &["exec", &format!("ready a; send {size}; take {size}; exit 0")]);
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start");
            let (out, memory) = self.receive(child.stdout.as_mut().expect("a pipe"), size);
            let back = self.send(child.stdin.as_mut().expect("a pipe"), size);
            let taken = self.taken();
            println!(
                "pipes, {who:?}: {megabytes} MB out, every byte right, {out:.0} MB/s, memory {memory}; in {taken}, {back:.0} MB/s"
            );
            assert!(child.wait().expect("wait").success());
        }
    }

    /// The rate, and the launcher's memory after a tenth and after nine.
    fn receive(&self, from: &mut (impl Read + AsFd), size: usize) -> (f64, String) {
        let pattern = pattern();
        let mut chunk = vec![0; 1 << 16];
        let (mut taken, mut early, mut late, began) = (0, None, None, Instant::now());
        while taken < size {
            let count = from.read(&mut chunk).expect("read");
            assert!(count > 0, "ended after {taken} bytes");
            pattern.check(taken, &chunk[..count]);
            taken += count;
            if early.is_none() && taken > size / 10 {
                early = Some(self.memory());
            }
            // Soon after it no process is left to look at.
            if late.is_none() && taken > size / 10 * 9 {
                late = Some(self.memory());
            }
        }
        let rate = rate(size, began);
        (rate, format!("{} KiB, then {} KiB", early.unwrap_or(0), late.unwrap_or(0)))
    }

    fn send(&self, to: &mut impl Write, size: usize) -> f64 {
        let pattern = pattern();
        let began = Instant::now();
        pattern.write(to, size);
        self.wait_for("taken");
        rate(size, began)
    }

    fn taken(&self) -> String {
        fs::read_to_string(self.at("taken")).expect("what the probe took")
    }

    fn wait_for(&self, name: &str) {
        while !self.at(name).exists() {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn echo(&self, keys: usize) {
        let mut delays = [Who::Bare, TRACED, Who::Script].map(|who| (who, Vec::new()));
        // In turns: a machine does not stay as it is.
        for _ in 0..10 {
            for (who, delays) in &mut delays {
                self.forget();
                let mut terminal = self.on_terminal(*who, "raw; ready a; echo; exit 0");
                self.wait_for("a");
                thread::sleep(SETTLED);
                for _ in 0..keys / 10 {
                    delays.push(key(&mut terminal.master));
                    thread::sleep(BETWEEN_KEYS);
                }
                terminal.master.write_all(b"q").expect("type");
                terminal.end();
            }
        }
        for (who, delays) in &mut delays {
            println!("echo, {who:?}: {} keys, {}", delays.len(), spread(delays));
        }
    }

    fn start(&self, runs: usize) {
        for (words, on_terminal) in [(&["exec", "clock"][..], false), (&["clock"], true)] {
            // By turns: a machine does not stay as it is.
            let all: Vec<Who> =
                std::iter::once(Who::Bare).chain((0..LAUNCHERS.len()).map(Who::Traced)).collect();
            let mut taken: Vec<Vec<Start>> = all.iter().map(|_| Vec::new()).collect();
            for run in 0..runs + 5 {
                for (who, taken) in all.iter().zip(&mut taken) {
                    let command = self.command(*who, words);
                    let start = if on_terminal { self.start_on_terminal(command) } else { start(command) };
                    // The first are for the caches.
                    if run >= 5 {
                        taken.push(start);
                    }
                }
            }
            let place = if on_terminal { "full-screen on a terminal" } else { "exec on pipes" };
            let of: [(&str, Time); 3] = [
                ("to its first act", |start| start.acts),
                ("to its first byte", |start| start.shows),
                ("to its end", |start| start.ends),
            ];
            for (what, time) in of {
                let times: Vec<Vec<f64>> = taken.iter().map(|all| all.iter().map(time).collect()).collect();
                let bare = &times[0];
                println!("start, {place}, {what}: {runs} runs in turn, bare {}", spread(&mut bare.clone()));
                for (traced, launcher) in times[1..].iter().zip(LAUNCHERS.iter()) {
                    let mut added: Vec<f64> = traced.iter().zip(bare).map(|(t, bare)| t - bare).collect();
                    println!(
                        "  {launcher}: traced {}, added {}",
                        spread(&mut traced.clone()),
                        spread(&mut added)
                    );
                }
            }
        }
    }

    /// Without setsid, whose own start would be in it.
    fn start_on_terminal(&self, command: Command) -> Start {
        let pair = nix::pty::openpty(None, None).expect("a terminal");
        let master = File::from(pair.master);
        let mut copy = Command::new(command.get_program());
        copy.args(command.get_args()).env_clear();
        copy.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        copy.current_dir(self.home.work());
        let stream = || Stdio::from(pair.slave.try_clone().expect("one more descriptor"));
        copy.stdin(stream()).stdout(stream()).stderr(stream());
        leads_a_session(&mut copy);
        let began = clock();
        let child = copy.spawn().expect("start");
        drop(copy);
        measured(master, child, began)
    }
}

type Time = fn(&Start) -> f64;

/// How long it took a program, in microseconds.
struct Start {
    /// It runs.
    acts: f64,
    /// Something of it is here.
    shows: f64,
    ends: f64,
}

fn start(mut command: Command) -> Start {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let began = clock();
    let mut child = command.spawn().expect("start");
    let out = child.stdout.take().expect("a pipe");
    measured(out, child, began)
}

/// The program prints when it began.
fn measured(mut out: impl Read, mut child: Child, began: u64) -> Start {
    let since = |at: u64| (at - began) as f64 / 1000.0;
    let mut said = [0; 64];
    let count = out.read(&mut said).expect("read");
    let shown = clock();
    let stamp = str::from_utf8(&said[..count]).expect("digits").trim().parse().expect("a time");
    child.wait().expect("wait");
    Start { acts: since(stamp), shows: since(shown), ends: since(clock()) }
}

#[expect(unsafe_code, reason = "a session and its terminal, between fork and exec")]
fn leads_a_session(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    // SAFETY: only system calls.
    unsafe {
        command.pre_exec(|| {
            nix::unistd::setsid()?;
            libc::ioctl(0, libc::TIOCSCTTY, 0);
            Ok(())
        });
    }
}

impl OnTerminal {
    fn end(mut self) {
        let status = self.child.wait().expect("wait");
        assert!(status.success(), "{status}");
    }
}

/// Typed, and shown.
fn key(master: &mut File) -> f64 {
    let began = Instant::now();
    master.write_all(b"x").expect("type");
    poll(&mut [PollFd::new(master.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).expect("wait");
    let delay = microseconds(began);
    assert_eq!(master.read(&mut [0; 16]).expect("read"), 1);
    delay
}

fn microseconds(began: Instant) -> f64 {
    began.elapsed().as_nanos() as f64 / 1000.0
}

fn rate(size: usize, began: Instant) -> f64 {
    size as f64 / MEGABYTE as f64 / began.elapsed().as_secs_f64()
}

fn spread(times: &mut [f64]) -> String {
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    format!("p50 {:.0} µs, p99 {:.0} µs", at(0.5), at(0.99))
}
