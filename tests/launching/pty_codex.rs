//! The real Codex's full-screen interface in a shell, plain and traced: same screen, same end, same terminal.

use crate::LAUNCHER;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use support::run::LIMIT;
use support::{Codex, Gate, Home, ModelServer, Reply, Script, Tmux, codex, normalised};

/// What a person saw on the way from the command line and back: the whole screen, and the alternate screen, mouse
/// and cursor as tmux knows them.
type Moment = (&'static str, String, String);

/// Exit code and modes of the terminal.
const TELL: &str = "code=$?; clear; echo code $code; stty -a | cksum";

/// A newer model is not offered at the first start of a home, and what waits does not blink.
const QUIET: &str = "[notice.model_migrations]\n\"gpt-5.5\" = \"gpt-6-sol\"\n[tui]\nanimations = false";

fn visit(codex: &Codex, program: &Path, words: &str) -> Vec<Moment> {
    // Shown only when the test fails.
    println!("in {}:", program.display());
    let gate = Gate::new();
    let answer = Reply::new().answer("the first answer").stall_at_start(&gate);
    let title = Reply::new().answer("a title");
    let script = Script::new().reply_to("Generate a concise", title).reply_to("say it", answer);
    let server = ModelServer::start(script);
    let home = Home::new(&server.url());
    home.configure(QUIET);
    // The shell shows a stopped job as it was typed: both by the same name.
    let folder = home.root().join("bin");
    fs::create_dir(&folder).expect("make a folder for one program");
    symlink(program, folder.join("codex")).expect("call it codex");
    let (_, usual) = home.environment().swap_remove(0);
    let path = format!("{}:{}", folder.display(), usual.display());
    let native = codex.native.to_string_lossy();
    let tmux = Tmux::start(&home, &[("CODEX_TRACED_CODEX_BIN", &native), ("PATH", &path)]);
    let root = home.root().display().to_string();
    let moment = |name: &'static str| -> Moment {
        (name, settled(&tmux, &root), tmux.state("#{alternate_on} #{mouse_any_flag} #{cursor_flag}"))
    };

    tmux.type_line("stty -a | cksum");
    tmux.wait_until("the modes", |screen| sum_on(screen).is_some() && screen.ends_with("bash$"));
    let modes = sum_on(&tmux.screen());
    tmux.type_line(&format!("clear; codex {words}"));
    tmux.wait_for("GPT-5.5");
    let start = moment("start");
    type_slowly(&tmux, "say it");
    gate.wait_until_reached(LIMIT);
    tmux.wait_for("esc to interrupt");
    let running = moment("running");
    gate.open();
    tmux.wait_for("Worked for");
    let answered = moment("answered");
    tmux.press("C-z");
    tmux.wait_until("the shell", |screen| screen.contains("Stopped") && screen.ends_with("bash$"));
    let stopped = moment("stopped");
    tmux.type_line("fg");
    tmux.wait_until("the answer again", |screen| {
        screen.contains("the first answer") && tmux.state("#{alternate_on}") == answered.2[..1]
    });
    let again = moment("again");
    type_slowly(&tmux, "/quit");
    tmux.wait_until("the shell", |screen| screen.ends_with("bash$") && tmux.state("#{alternate_on}") == "0");
    let left = moment("left");
    tmux.type_line(TELL);
    tmux.wait_until("the code", |screen| sum_on(screen).is_some() && screen.ends_with("bash$"));
    let screen = tmux.screen();
    assert_eq!(sum_on(&screen), modes, "the terminal's modes\n{screen}");
    let end = moment("end");
    vec![start, running, answered, stopped, again, left, end]
}

/// What cksum printed: two numbers on a line. The command that asks for it is on the screen before.
fn sum_on(screen: &str) -> Option<String> {
    let is_sum = |line: &&str| {
        let words: Vec<&str> = line.split(' ').collect();
        words.len() == 2 && words.iter().all(|word| word.parse::<u64>().is_ok())
    };
    screen.lines().find(is_sum).map(str::to_owned)
}

/// As a person does: Codex takes what comes at once for something pasted, and Enter for a line of it.
fn type_slowly(tmux: &Tmux, line: &str) {
    for (at, key) in line.char_indices() {
        tmux.type_text(&key.to_string());
        tmux.wait_for(&format!("› {}", line[..at + key.len_utf8()].trim_end()));
    }
    tmux.press("Enter");
}

/// The screen without ids and times, once it is the same twice.
fn settled(tmux: &Tmux, root: &str) -> String {
    let mut before = String::new();
    tmux.wait_until("a screen at rest", |screen| {
        let now = normalised(&screen.replace(root, "<root>"));
        std::mem::replace(&mut before, now.clone()) == now
    });
    before
}

fn compare(words: &str) {
    let Some(codex) = codex() else { return };
    let plain = visit(&codex, &codex.native, words);
    let traced = visit(&codex, Path::new(LAUNCHER), words);
    assert!(plain.last().is_some_and(|(_, screen, _)| screen.starts_with("code 0\n")), "{plain:?}");
    for (plain, traced) in plain.iter().zip(&traced) {
        assert_eq!(plain, traced);
    }
}

#[test]
fn a_session_with_the_daemon_looks_and_ends_the_same() {
    compare("");
}

#[test]
fn a_session_without_the_daemon_looks_and_ends_the_same() {
    compare("--no-daemon");
}
