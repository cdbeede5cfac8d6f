//! A command on a terminal of its own, compared with the same command on the user's terminal: what it finds, what the
//! user sees, how it ends, and what is left.

use crate::LAUNCHER;
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, Termios};
use nix::unistd::Pid;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;
use support::processes;
use support::run::LIMIT;
use support::terminal::Seen;
use support::{End, Home, Terminal, Tmux, run, wait_for, write_program};

/// What a full-screen program could not undo, and we undo when it is killed.
const UNDONE: &str = "\x1b[?1049l";

/// Programs of a few lines in Codex's place.
struct Probe {
    home: Home,
    file: PathBuf,
}

impl Probe {
    fn sh(text: &str) -> Probe {
        Probe::new(&format!("#!/bin/sh\n{text}\n"))
    }

    fn python(text: &str) -> Probe {
        Probe::new(&format!(
            "#!/usr/bin/env python3\nimport fcntl, os, signal, struct, sys, termios, tty\n{text}\n"
        ))
    }

    fn new(text: &str) -> Probe {
        let home = Home::new("http://127.0.0.1:9");
        let file = home.root().join("probe");
        write_program(&file, text);
        Probe { home, file }
    }

    fn plain(&self) -> Command {
        let mut command = self.home.command(&self.file);
        // As the launcher's child is called, and the one variable that it adds.
        command.env("CODEX_TRACED_DEPTH", "1").env("USER", "tester");
        command
    }

    fn traced(&self) -> Command {
        self.home.traced(LAUNCHER, &self.file)
    }

    fn both(&self) -> [Command; 2] {
        [self.plain(), self.traced()]
    }

    /// Runs both to their ends without a key.
    fn see(&self) -> [Seen; 2] {
        self.both().map(|command| Terminal::start(&command).finish())
    }

    /// The process that runs the probe itself.
    fn process(&self) -> Option<Pid> {
        let file = self.file.to_string_lossy().into_owned();
        let runs_it = |id: &Pid| processes::words(*id).contains(&file);
        self.home.processes().into_iter().find(runs_it)
    }

    /// No process of this home is left.
    fn is_alone(&self) -> bool {
        self.home.processes().is_empty()
    }
}

#[track_caller]
fn assert_same([plain, traced]: [Seen; 2], end: End) {
    assert_eq!((plain.end, traced.end), (end, end), "{}\n{}", plain.text(), traced.text());
    assert_eq!(plain.text(), traced.text());
    assert_restored(&traced);
}

#[track_caller]
fn assert_restored(seen: &Seen) {
    assert_eq!(seen.modes_before, seen.modes_after, "the terminal's modes");
}

fn is_raw(modes: &Termios) -> bool {
    !modes.local_flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG)
}

#[test]
fn the_command_is_on_a_terminal_of_its_own_and_leads_its_foreground() {
    let probe = Probe::python(
        r#"
names = {os.ttyname(fd) for fd in range(3)}
devices = {os.fstat(fd).st_rdev for fd in range(3)}
print(len(names), len(devices), all(os.isatty(fd) for fd in range(3)))
print([fcntl.fcntl(fd, fcntl.F_GETFL) & 0o77777 for fd in range(3)])
print(os.getpgrp() == os.getpid() == os.tcgetpgrp(0), os.tcgetpgrp(os.open("/dev/tty", os.O_RDWR)) == os.getpgrp())
open("name", "w").write(names.pop())
"#,
    );
    let name = || fs::read_to_string(probe.home.work().join("name")).expect("the probe told");
    let plain = Terminal::start(&probe.plain());
    let before = [plain.finish(), Terminal::start(&probe.traced()).finish()];
    assert!(before[0].text().starts_with("1 1 True"), "{}", before[0].text());
    assert_same(before, End::Code(0));
    // On Linux the numbers show that there were two.
    assert!(name().starts_with("/dev/pts/"));
}

#[test]
fn what_else_the_command_was_started_with_is_the_same() {
    let probe = Probe::python(
        r#"
# Where the interface keeps a log of itself for us; the README's table has them.
ours = ("CODEX_TUI_RECORD_SESSION", "CODEX_TUI_SESSION_LOG_PATH")
print(sys.argv[1:], os.getcwd(), oct(os.umask(0)), sorted(pair for pair in os.environ.items() if pair[0] not in ours))
print([fd for fd in range(3, 200) if os.path.exists(f"/proc/self/fd/{fd}")])
print([line for line in open("/proc/self/status") if line.startswith(("SigBlk", "SigIgn", "SigPnd"))])
print(os.getpriority(os.PRIO_PROCESS, 0), [__import__("resource").getrlimit(n) for n in range(16)])
"#,
    );
    let [plain, traced] = probe.both().map(|command| {
        let shell = "umask 027; trap '' USR1 HUP; ulimit -n 512; exec 7</dev/null; exec \"$@\"";
        let mut started = probe.home.command("bash");
        started.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        started.args(["-c", shell, "bash"]).arg(command.get_program()).args(["hello", "two words", ""]);
        Terminal::start(&started).finish()
    });
    // Only the launcher gets the variable that names Codex.
    let told = format!("('CODEX_TRACED_CODEX_BIN', '{}'), ", probe.file.display());
    let traced = Seen { bytes: traced.text().replace(&told, "").into_bytes(), ..traced };
    assert!(plain.text().contains("[7"), "{}", plain.text());
    assert_same([plain, traced], End::Code(0));
}

#[test]
fn the_windows_size_and_its_changes_are_the_same() {
    let probe = Probe::python(
        r#"
def tell(*_):
    # One write: a signal in the middle of a print ends Python.
    os.write(1, b"size %r\n" % (struct.unpack("4H", fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8))),))
signal.signal(signal.SIGWINCH, tell)
tell()
while True: signal.pause()
"#,
    );
    for command in probe.both() {
        let terminal = Terminal::start(&command);
        terminal.wait_for("size (24, 80, 800, 480)");
        terminal.resize(50, 132);
        terminal.wait_for("size (50, 132,");
        terminal.signal(Signal::SIGTERM);
        terminal.finish().ended(End::Signal(15));
    }
}

#[test]
fn modes_are_handed_on_and_put_back() {
    let probe = Probe::python(
        r#"
print(termios.tcgetattr(0)[:6], termios.tcgetattr(0)[6])
saved = termios.tcgetattr(0)
tty.setraw(0)
os.write(1, b"ready")
os.read(0, 1)
termios.tcsetattr(0, termios.TCSANOW, saved)
sys.exit(3)
"#,
    );
    let seen = probe.both().map(|command| {
        let terminal = Terminal::start(&command);
        terminal.wait_for("ready");
        wait_for("raw modes", LIMIT, || is_raw(&terminal.modes()));
        terminal.type_keys("q");
        terminal.finish()
    });
    assert_restored(&seen[0]);
    assert_same(seen, End::Code(3));
}

#[test]
fn modes_that_are_not_the_usual_ones_are_handed_on() {
    let probe = Probe::sh("exec stty -a");
    let seen = probe.both().map(|command| {
        let mut shell = probe.home.command("sh");
        shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell.args(["-c", "stty -echo erase ^H -ixon; \"$@\"", "sh"]).arg(command.get_program());
        Terminal::start(&shell).finish()
    });
    let [plain, traced] = seen;
    assert!(plain.text().contains("-echo ") && plain.text().contains("erase = ^H"), "{}", plain.text());
    assert_eq!(plain.text(), traced.text());
    assert_eq!(plain.modes_after, traced.modes_after);
}

#[test]
fn every_byte_passes_unchanged_in_both_directions() {
    let probe = Probe::python(
        r#"
tty.setraw(0)
os.write(1, bytes(range(256)) + b"ready")
got = b""
while len(got) < 256: got += os.read(0, 4096)
os.write(1, got.hex().encode())
"#,
    );
    let every: Vec<u8> = (0..=255).collect();
    for command in probe.both() {
        let terminal = Terminal::start(&command);
        terminal.wait_for("ready");
        terminal.type_keys(&every);
        let seen = terminal.finish().ended(End::Code(0));
        assert_eq!(seen.bytes[..256], every);
        let hex: String = every.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(seen.text().ends_with(&hex), "{}", seen.text());
    }
}

#[test]
fn a_megabyte_each_way_arrives_whole() {
    let probe = Probe::python(
        r#"
import zlib
tty.setraw(0)
os.write(1, b"ready")
got, size = 0, 0
while size < 1 << 20:
    chunk = os.read(0, 65536)
    got, size = zlib.crc32(chunk, got), size + len(chunk)
os.write(1, b"got %d %d " % (size, got))
sent = bytes(i * i % 251 for i in range(1 << 20))
rest = sent
while rest: rest = rest[os.write(1, rest):]
os.write(1, b" sent %d" % zlib.crc32(sent))
"#,
    );
    let typed: Vec<u8> = (0..1_u32 << 20).map(|i| (i.wrapping_mul(31) >> 3) as u8).collect();
    let [plain, traced] = probe.both().map(|command| {
        let terminal = Terminal::start(&command);
        terminal.wait_for("ready");
        terminal.type_keys(&typed);
        terminal.finish().ended(End::Code(0))
    });
    assert!(plain.bytes.len() > 1 << 20);
    assert!(plain.bytes == traced.bytes);
}

#[test]
fn output_that_waits_for_a_slow_terminal_is_not_lost_at_the_end() {
    // As much as all buffers on the way hold while the test does not read.
    let probe = Probe::python(
        r#"
import time
os.set_blocking(1, False)
written, refused = 0, 0
while refused < 20:
    try: written, refused = written + os.write(1, b"x" * 1000), 0
    except BlockingIOError:
        refused += 1
        time.sleep(0.01)
open("written", "w").write("%d." % written)
"#,
    );
    let terminal = Terminal::start_unread(&probe.traced());
    let told = || fs::read_to_string(probe.home.work().join("written")).unwrap_or_default();
    wait_for("the command to write all", LIMIT, || told().ends_with('.'));
    let (written, ended) = (told(), Instant::now());
    // Far more than what an end waits for the output of others.
    wait_for("a while", LIMIT, || ended.elapsed().as_millis() > 400);
    terminal.read();
    let seen = terminal.finish().ended(End::Code(0));
    assert_eq!(format!("{}.", seen.bytes.len()), written);
    assert!(seen.bytes.len() > 16_000, "{written}");
}

#[test]
fn control_c_is_a_byte_for_a_raw_program_and_a_signal_for_another() {
    let raw = Probe::python("tty.setraw(0); os.write(1, b'ready'); os.write(1, b'%r' % os.read(0, 1))");
    let cooked = Probe::sh("echo ready; exec cat");
    for (probe, end) in [(raw, End::Code(0)), (cooked, End::Signal(Signal::SIGINT as i32))] {
        let [plain, traced] = probe.both().map(|command| {
            let terminal = Terminal::start(&command);
            terminal.wait_for("ready");
            terminal.type_keys([3]);
            terminal.finish().ended(end)
        });
        assert_eq!(plain.text(), traced.text());
        assert_restored(&traced);
    }
}

#[test]
fn the_end_is_the_commands_own() {
    for code in [0, 3, 255] {
        assert_same(Probe::sh(&format!("echo out; echo err >&2; exit {code}")).see(), End::Code(code));
    }
    for signal in [Signal::SIGTERM, Signal::SIGKILL, Signal::SIGSEGV] {
        let text = format!("stty raw -echo; printf begun; kill -{} $$", signal as i32);
        let [plain, traced] = Probe::sh(&text).see();
        assert_eq!((plain.end, traced.end), (End::Signal(signal as i32), plain.end));
        assert!(traced.text().starts_with("begun") && traced.text().contains(UNDONE), "{}", traced.text());
        assert_restored(&traced);
    }
}

#[test]
fn an_interface_that_has_not_taken_the_screen_is_not_undone_when_killed() {
    // As Codex's question on a dumb terminal, and as an interface that has just put the modes right.
    for before in ["", "was=$(stty -g); stty raw -echo; stty $was; "] {
        let [plain, traced] = Probe::sh(&format!("{before}printf 'Continue? '; kill -TERM $$")).see();
        assert_eq!((plain.text(), plain.end), (traced.text(), traced.end), "{before}");
        assert_eq!((traced.text().as_str(), traced.end), ("Continue? ", End::Signal(15)));
        assert_restored(&traced);
    }
}

#[test]
fn a_command_that_prints_lines_is_not_undone_when_killed() {
    let probe = Probe::sh("printf begun; kill -KILL $$");
    let mut command = probe.traced();
    let seen = Terminal::start(command.arg("exec").env("CODEX_TRACED_PTY", "always")).finish();
    assert_eq!((seen.text().as_str(), seen.end), ("begun", End::Signal(9)));
}

#[test]
fn a_command_that_cannot_start_fails_as_without_a_terminal() {
    let probe = Probe::new("#!/no/such/interpreter\n");
    let seen = Terminal::start(&probe.traced()).finish().ended(End::Code(127));
    assert!(seen.text().contains("cannot start"), "{}", seen.text());
    assert_restored(&seen);
}

#[test]
fn a_signal_to_the_launcher_ends_the_command_and_restores_the_terminal() {
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGUSR1, Signal::SIGQUIT] {
        let probe = Probe::sh("stty raw -echo; printf ready; exec tail -f /dev/null");
        let terminal = Terminal::start(&probe.traced());
        terminal.wait_for("ready");
        terminal.signal(signal);
        let seen = terminal.finish().ended(End::Signal(signal as i32));
        assert_restored(&seen);
        wait_for("the command to be gone", LIMIT, || probe.is_alone());
    }
}

#[test]
fn a_signal_that_the_command_handles_reaches_it_once() {
    let probe = Probe::python(
        r#"
import select
# Not by print, which cannot begin while it is at work.
def tell(number, _): os.write(1, b"got %s\n" % signal.Signals(number).name.encode())
for name in ("SIGUSR1", "SIGTERM", "SIGCONT"): signal.signal(getattr(signal, name), tell)
print("ready", flush=True)
# Python runs a handler between two steps of its own: a read that begins just after the signal would wait on.
while not select.select([sys.stdin], [], [], 0.05)[0] or sys.stdin.readline() != "end\n": pass
"#,
    );
    let seen = probe.both().map(|command| {
        let terminal = Terminal::start(&command);
        terminal.wait_for("ready");
        for signal in [Signal::SIGUSR1, Signal::SIGTERM, Signal::SIGCONT] {
            terminal.signal(signal);
            terminal.wait_for(&format!("got {signal}"));
        }
        terminal.type_keys("end\n");
        terminal.finish()
    });
    assert_same(seen, End::Code(0));
}

#[test]
fn a_killed_launcher_takes_the_command_with_it() {
    let probe = Probe::sh("printf ready; exec tail -f /dev/null");
    let terminal = Terminal::start(&probe.traced());
    terminal.wait_for("ready");
    terminal.signal(Signal::SIGKILL);
    terminal.finish().ended(End::Signal(9));
    wait_for("the command to be gone", LIMIT, || probe.is_alone());
}

#[test]
fn a_killed_monitor_takes_the_command_with_it() {
    let probe = Probe::sh("stty raw -echo; printf ready; exec tail -f /dev/null");
    let terminal = Terminal::start(&probe.traced());
    terminal.wait_for("ready");
    let children = processes::children(terminal.pid());
    // The monitor leads a session; the launcher's other child is in the launcher's session.
    let leads = |id: &Pid| nix::unistd::getsid(Some(*id)) == Ok(*id);
    let monitor = children.into_iter().find(leads).expect("the monitor");
    kill(monitor, Signal::SIGKILL).expect("kill the monitor");
    let seen = terminal.finish().ended(End::Signal(1));
    assert_restored(&seen);
    wait_for("the command to be gone", LIMIT, || probe.is_alone());
}

/// A copy elsewhere would hide the last close: the launcher would wait for output that never comes, and the command
/// would outlive a killed launcher.
#[cfg(target_os = "linux")]
#[test]
fn the_launchers_processes_have_the_new_terminals_master_only_in_the_launcher_and_its_slave_nowhere() {
    let probe = Probe::sh("tty > name; printf ready; cat");
    let terminal = Terminal::start(&probe.traced());
    terminal.wait_for("ready");
    let slave = fs::read_to_string(probe.home.work().join("name")).expect("the name of the terminal");
    let launcher = terminal.pid();
    let files_of = |process: Pid| -> Vec<String> {
        let files = fs::read_dir(format!("/proc/{process}/fd")).expect("its files").flatten();
        files.filter_map(|file| Some(fs::read_link(file.path()).ok()?.display().to_string())).collect()
    };
    let has = |process: Pid, name: &str| files_of(process).iter().any(|file| file.ends_with(name));
    // Monitor and signal probe close their copies after their start.
    let others_have_none = || {
        let children = processes::children(launcher);
        children.len() == 2 && !children.iter().any(|child| has(*child, "/ptmx") || has(*child, slave.trim()))
    };
    wait_for("monitor and signal probe without the new terminal", LIMIT, others_have_none);
    assert!(has(launcher, "/ptmx"), "{:?}", files_of(launcher));
    assert!(!has(launcher, slave.trim()), "{:?}", files_of(launcher));
    assert_eq!(terminal.close(), End::Signal(Signal::SIGHUP as i32));
}

#[test]
fn a_window_that_closes_leaves_nothing_alive() {
    let probe = Probe::sh("printf ready; exec tail -f /dev/null");
    for command in probe.both() {
        let terminal = Terminal::start(&command);
        terminal.wait_for("ready");
        assert_eq!(terminal.close(), End::Signal(Signal::SIGHUP as i32));
        wait_for("the command to be gone", LIMIT, || probe.is_alone());
    }
}

#[test]
fn what_the_command_leaves_in_the_background_lives_on() {
    let probe = Probe::python(
        r#"
child = os.fork()
if child == 0:
    with open("half", "w") as half: half.write(str(os.getpid()))
    os.rename("half", "left")
    signal.pause()
while not os.path.exists("left"): pass
print("end")
"#,
    );
    let terminal = Terminal::start(&probe.traced());
    wait_for("the launcher to end", LIMIT, || !processes::runs(terminal.pid()));
    let left = fs::read_to_string(probe.home.work().join("left")).expect("the probe told");
    let left = Pid::from_raw(left.parse().expect("a process"));
    // A hang-up would have killed it while the launcher, which waits for the monitor, ended.
    assert!(processes::runs(left), "it was hung up");
    kill(left, Signal::SIGKILL).expect("end it");
    terminal.finish().ended(End::Code(0));
}

#[test]
fn the_terminal_can_be_opened_again_by_its_name() {
    let probe = Probe::python(
        r#"
for fd in range(3): os.close(fd)
import time
time.sleep(0.2)
os.write(os.open("/dev/tty", os.O_WRONLY), b"still here")
"#,
    );
    let seen = probe.see();
    assert_eq!(seen[0].text(), "still here");
    assert_same(seen, End::Code(0));
}

#[test]
fn the_mode_follows_the_streams_and_the_setting() {
    let probe = Probe::sh(
        "streams=; for fd in 0 1 2; do test -t $fd && streams=$streams$fd; done; echo streams $streams.\n\
         test $(cut -d' ' -f6 /proc/$$/stat) = $(cut -d' ' -f6 /proc/$SHELL_ID/stat) || echo relayed",
    );
    let table = [
        ("", "", "012", true),
        ("exec", "", "012", false),
        ("review", "", "012", false),
        ("", "never", "012", false),
        ("exec", "always", "012", true),
        ("-m x resume --last", "auto", "012", true),
        (" >out; cat out", "", "02", false),
        (" 2>err; cat err", "", "01", false),
        (" </dev/null", "", "12", false),
        (" >out; cat out", "always", "02", false),
    ];
    for (words, setting, streams, relayed) in table {
        let mut shell = probe.home.command("sh");
        shell.env("CODEX_TRACED_PTY", setting).env("CODEX_TRACED_CODEX_BIN", &probe.file);
        shell.args(["-c", &format!("export SHELL_ID=$$; {LAUNCHER} {words}")]);
        let text = Terminal::start(&shell).finish().ended(End::Code(0)).text();
        assert!(text.contains(&format!("streams {streams}.")), "{words} {setting}: {text}");
        assert_eq!(text.contains("relayed"), relayed, "{words} {setting}: {text}");
    }
}

/// Stops as Codex does on Ctrl-Z: it restores its terminal and stops its whole group.
const STOPS: &str = r#"
saved = termios.tcgetattr(0)
signal.signal(signal.SIGWINCH, lambda *_: os.write(1, b"width %d\r\n" % os.get_terminal_size().columns))
tty.setraw(0)
os.write(1, b"begun\r\n")
while True:
    try: key = os.read(0, 1)
    except InterruptedError: continue
    if key == b"\x1a":
        termios.tcsetattr(0, termios.TCSANOW, saved)
        os.write(1, b"last words\r\n")
        os.kill(0, signal.SIGTSTP)
        tty.setraw(0)
        os.write(1, b"again\r\n")
    elif key == b"q": break
    else: os.write(1, b"key %r\r\n" % key)
termios.tcsetattr(0, termios.TCSANOW, saved)
sys.exit(5)
"#;

#[test]
fn a_stop_is_a_stopped_job_in_the_shell_and_fg_goes_on() {
    let probe = Probe::python(STOPS);
    let screens = probe.both().map(|command| {
        let tmux = Tmux::start(&probe.home, &variables(&command));
        tmux.type_line(&format!("alias it={}; clear", command.get_program().to_string_lossy()));
        tmux.wait_until("a clear screen", |screen| screen == "bash$");
        tmux.type_line("it");
        tmux.wait_for("begun");
        for round in 1..=2 {
            tmux.press("C-z");
            tmux.wait_until("a stopped job", |screen| screen.matches("Stopped").count() == round);
            tmux.type_line("fg");
            tmux.wait_until("it again", |screen| screen.matches("again").count() == round);
            tmux.resize(100 + u16::try_from(round).expect("small"), 30);
            tmux.wait_for(&format!("width {}", 100 + round));
            tmux.press("x");
            tmux.wait_until("a key", |screen| screen.matches("key b'x'").count() == round);
        }
        tmux.press("C-c");
        tmux.wait_for("key b'\\x03'");
        tmux.press("q");
        tmux.wait_until("a prompt", |screen| screen.ends_with("bash$"));
        tmux.type_line("echo code $?; jobs; stty -a | md5sum");
        tmux.wait_until("the modes", |screen| screen.contains("code 5") && screen.ends_with("bash$"));
        let mut lines: Vec<String> = tmux.screen().lines().map(str::to_owned).collect();
        lines.retain(|line| !line.contains("Stopped") && !line.starts_with('/'));
        lines
    });
    assert!(screens[0].iter().any(|line| line == "last words"));
    assert_eq!(screens[0], screens[1]);
}

fn variables(command: &Command) -> Vec<(&str, &str)> {
    let own = command.get_envs().filter_map(|(name, value)| Some((name.to_str()?, value?.to_str()?)));
    own.filter(|(name, _)| name.starts_with("CODEX_TRACED")).collect()
}

#[test]
fn a_stopped_job_that_is_killed_is_gone_and_one_sent_to_the_background_stops_again() {
    let probe = Probe::python(STOPS);
    for command in probe.both() {
        let program = command.get_program().to_string_lossy().into_owned();
        let tmux = Tmux::start(&probe.home, &variables(&command));
        tmux.type_line(&program);
        tmux.wait_for("begun");
        tmux.press("C-z");
        tmux.wait_for("Stopped");
        tmux.type_line("clear; bg; until jobs | grep -q Stopped; do :; done; echo stop$((1 + 1))");
        tmux.wait_for("stop2");
        tmux.type_line("clear; kill %1; while jobs | grep -q Stopped; do :; done; echo gone$((1 + 1))");
        tmux.wait_for("gone2");
        wait_for("the probe to be gone", LIMIT, || probe.process().is_none());
    }
}

#[test]
fn a_command_that_is_killed_while_stopped_is_killed_for_the_shell_at_once() {
    let probe = Probe::python(STOPS);
    for command in probe.both() {
        let program = command.get_program().to_string_lossy().into_owned();
        let tmux = Tmux::start(&probe.home, &variables(&command));
        tmux.type_line(&program);
        tmux.wait_for("begun");
        tmux.press("C-z");
        tmux.wait_for("Stopped");
        kill(probe.process().expect("the stopped probe"), Signal::SIGKILL).expect("kill it");
        tmux.type_line("clear; while jobs | grep -q Stopped; do :; done; echo gone$((1 + 1)) $(jobs)");
        tmux.wait_for("gone2");
        tmux.type_line("stty -a | grep -c -e ' -echo ' -e ' -icanon '");
        tmux.wait_until("its modes", |screen| screen.lines().any(|line| line == "0"));
    }
}

#[test]
fn started_in_the_background_it_stops_at_the_terminal_and_fg_begins() {
    let probe = Probe::python(STOPS);
    for command in probe.both() {
        let program = command.get_program().to_string_lossy().into_owned();
        let tmux = Tmux::start(&probe.home, &variables(&command));
        tmux.type_line(&format!("{program} &"));
        tmux.type_line("until jobs | grep Stopped; do :; done");
        tmux.wait_for("Stopped");
        // In one line: what is typed while the interface ends may be lost.
        tmux.type_line("fg; echo code $?");
        tmux.wait_for("begun");
        tmux.press("q");
        tmux.wait_for("code 5");
    }
}

#[test]
fn a_script_around_it_stops_too() {
    let probe = Probe::python(STOPS);
    for command in probe.both() {
        let program = command.get_program().to_string_lossy().into_owned();
        let tmux = Tmux::start(&probe.home, &variables(&command));
        tmux.type_line(&format!("sh -c '{program}; echo in the script $?'"));
        tmux.wait_for("begun");
        tmux.press("C-z");
        tmux.wait_for("Stopped");
        tmux.type_line("fg");
        tmux.wait_for("again");
        tmux.press("q");
        tmux.wait_for("in the script 5");
    }
}

#[test]
fn a_closed_window_of_a_shell_leaves_nothing_alive() {
    let probe = Probe::python(STOPS);
    for command in probe.both() {
        let tmux = Tmux::start(&probe.home, &variables(&command));
        tmux.type_line(&command.get_program().to_string_lossy());
        tmux.wait_for("begun");
        tmux.close_window();
        wait_for("all to be gone", LIMIT, || probe.is_alone());
    }
}

#[test]
fn no_command_prints_an_unexpected_line() {
    let probe = Probe::sh("echo hello");
    let seen = Terminal::start(&probe.traced()).finish().ended(End::Code(0));
    assert_eq!(seen.text(), "hello\r\n");
    assert_eq!(run(&mut probe.traced()).stdout, "hello\n");
}

/// The program, and then one who reads a line.
fn followed_by_a_reader(probe: &Probe, command: &Command) -> Command {
    let mut shell = probe.home.command("sh");
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.args(["-c", "\"$0\"; echo next; read line; echo \"read $line.\""]).arg(command.get_program());
    shell
}

#[test]
fn what_is_typed_once_the_modes_are_right_is_for_the_next_reader() {
    let probe = Probe::python(
        r#"
saved = termios.tcgetattr(0)
tty.setraw(0)
os.write(1, b"ready")
os.read(0, 1)
termios.tcsetattr(0, termios.TCSANOW, saved)
os.write(1, b" right ")
while not os.path.exists("typed"): __import__("time").sleep(0.001)
os._exit(0)
"#,
    );
    let typed = probe.home.work().join("typed");
    let both = [(probe.plain(), true), (probe.traced(), false)];
    let [plain, traced] = both.map(|(command, is_plain)| {
        let terminal = Terminal::start(&followed_by_a_reader(&probe, &command));
        terminal.wait_for("ready");
        terminal.type_keys("q");
        terminal.wait_for("right");
        terminal.type_keys("ahead\n");
        if is_plain {
            terminal.wait_for("ahead");
        }
        fs::write(&typed, "").expect("tell the probe");
        let seen = terminal.finish().ended(End::Code(0));
        fs::remove_file(&typed).expect("forget it");
        seen
    });
    assert_restored(&traced);
    assert_eq!(plain.text(), "ready right ahead\r\nnext\r\nread ahead.\r\n");
    // Had it reached the program's terminal, it would be shown there too.
    assert_eq!(traced.text(), "ready right next\r\nread ahead.\r\n");
}

#[test]
fn a_program_that_reads_lines_after_it_was_raw_gets_them() {
    let probe = Probe::python(
        r#"
saved = termios.tcgetattr(0)
tty.setraw(0)
os.write(1, b"ready")
os.read(0, 1)
termios.tcsetattr(0, termios.TCSANOW, saved)
print("right", flush=True)
print("line", repr(sys.stdin.readline()))
"#,
    );
    let seen = probe.both().map(|command| {
        let terminal = Terminal::start(&command);
        terminal.wait_for("ready");
        terminal.type_keys("q");
        terminal.wait_for("right");
        terminal.type_keys("hello\n");
        terminal.finish()
    });
    assert!(seen[0].text().ends_with("line 'hello\\n'\r\n"), "{}", seen[0].text());
    assert_same(seen, End::Code(0));
}
