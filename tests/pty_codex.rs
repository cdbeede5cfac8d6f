//! The real Codex's full-screen interface in a shell, plain and traced: same screen, same end, same terminal.

use std::path::Path;
use support::{Codex, Home, ModelServer, Reply, Script, Tmux, codex, normalised};

const LAUNCHER: &str = env!("CARGO_BIN_EXE_codex-traced");

/// What a person saw on the way from the command line and back.
#[derive(Debug, PartialEq)]
struct Visit {
    start: String,
    answered: String,
    /// The alternate screen, mouse and cursor, as tmux knows them.
    within: String,
    stopped: String,
    after: String,
    left: String,
}

/// Exit code and modes of the terminal.
const TELL: &str = "echo code $?; stty -a | cksum";

fn visit(codex: &Codex, program: &Path, words: &str) -> Visit {
    // Shown only when the test fails.
    println!("in {}:", program.display());
    let server = ModelServer::start(Script::new().reply(Reply::new().answer("the first answer")));
    let home = Home::new(&server.url());
    // Otherwise the first start of a home offers a newer model.
    home.configure("[notice.model_migrations]\n\"gpt-5.5\" = \"gpt-6-sol\"");
    let tmux = Tmux::start(&home, &[("CODEX_TRACED_CODEX_BIN", &codex.native.to_string_lossy())]);
    let state = "#{alternate_on} #{mouse_any_flag} #{cursor_flag}";
    tmux.type_line(&format!("codex() {{ {} \"$@\"; }}; clear", program.display()));
    tmux.type_line("stty -a | cksum");
    tmux.wait_until("the modes", |screen| sum_on(screen).is_some() && screen.ends_with("bash$"));
    let modes = sum_on(&tmux.screen());
    tmux.type_line(&format!("clear; codex {words}"));
    tmux.wait_for("GPT-5.5");
    let start = settled(&tmux);
    type_slowly(&tmux, "say it");
    tmux.wait_for("Worked for");
    let answered = settled(&tmux);
    let within = tmux.state(state);
    tmux.press("C-z");
    tmux.wait_for("Stopped");
    let stopped = tmux.state(state);
    tmux.type_line("fg");
    tmux.wait_until("the answer again", |screen| {
        screen.contains("the first answer") && tmux.state("#{alternate_on}") == within[..1]
    });
    type_slowly(&tmux, "/quit");
    tmux.wait_until("the shell", |screen| screen.ends_with("bash$") && tmux.state("#{alternate_on}") == "0");
    tmux.type_line(TELL);
    tmux.wait_until("the code", |screen| sum_on(screen).is_some() && screen.ends_with("bash$"));
    let left = tmux.state(state);
    let screen = tmux.screen();
    assert_eq!(sum_on(&screen), modes, "the terminal's modes\n{screen}");
    let after = screen.lines().find(|line| line.starts_with("code ")).unwrap_or_default().to_owned();
    let root = home.root().display().to_string();
    let plainly = |text: String| {
        let lines = text.lines().filter(|line| !line.contains("Worked for"));
        normalised(&lines.collect::<Vec<_>>().join("\n").replace(&root, "<root>"))
    };
    Visit { start: plainly(start), answered: plainly(answered), within, stopped, after, left }
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

/// The screen, once it is the same twice.
fn settled(tmux: &Tmux) -> String {
    let mut before = String::new();
    tmux.wait_until("a screen at rest", |screen| std::mem::replace(&mut before, screen.to_owned()) == screen);
    before
}

fn compare(words: &str) {
    let Some(codex) = codex() else { return };
    let plain = visit(&codex, &codex.native, words);
    let traced = visit(&codex, Path::new(LAUNCHER), words);
    assert_eq!(plain.after, "code 0");
    assert_eq!(plain, traced);
}

#[test]
fn a_session_with_the_daemon_looks_and_ends_the_same() {
    compare("");
}

#[test]
fn a_session_without_the_daemon_looks_and_ends_the_same() {
    compare("--no-daemon");
}
