//! `show --follow` shows a session while Codex writes it: on a terminal in place, through a pipe line by line.

mod lines;

use crate::LAUNCHER;
use nix::sys::signal::Signal;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use support::many::copy;
use support::tmux::Tmux;
use support::{Codex, End, Home, ModelServer, Reply, Script, Terminal, codex, run};

/// No session here asks a model for anything.
const NO_MODEL: &str = "http://127.0.0.1:9";

/// What `show --follow` writes when it gives the terminal back.
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

fn show(home: &Home, words: &[&str]) -> Command {
    let mut command = home.command(LAUNCHER);
    command.env("USER", "tester").args(["mlflow", "show"]).args(words);
    command
}

/// A command that runs until the test makes this file in the work folder.
fn until(file: &str) -> String {
    format!("echo begun; until [ -e {file} ]; do sleep 0.05; done; echo done")
}

/// Makes the file that the command waits for.
fn release(home: &Home, file: &str) {
    fs::write(home.work().join(file), "").expect("write a file");
}

/// bash in tmux, with the launcher at hand as `$T`.
fn shell<'a>(home: &'a Home, codex: Option<&Codex>) -> Tmux<'a> {
    let native = codex.map_or("/nowhere/codex", |codex| codex.native.to_str().expect("UTF-8"));
    Tmux::start(home, &[("CODEX_TRACED_CODEX_BIN", native), ("USER", "tester"), ("T", LAUNCHER)])
}

/// A session file that this process seems to write, as Codex does: it holds the thread's lock.
struct Written {
    thread: String,
    path: PathBuf,
    lock: File,
}

fn written(home: &Home, name: &str) -> Written {
    let copied = copy(&Path::new("tests/corpus/0.169.0").join(name), &home.sessions(), 1);
    let folder = home.codex().join("thread-writer-locks");
    fs::create_dir_all(&folder).expect("make the folder of locks");
    let lock = File::create(folder.join(format!("{}.lock", copied.thread))).expect("make a lock");
    lock.lock().expect("lock it");
    Written { thread: copied.thread, path: copied.path, lock }
}

/// In code mode, as the newest models have it.
fn runs(command: &str) -> Reply {
    let call = format!(
        "const {{output}} = await tools.exec_command({{cmd: {command:?}, yield_time_ms: 30000}}); text(output)"
    );
    Reply::new().custom("exec", &call)
}

fn two_turns() -> Script {
    Script::new()
        .reply_to("Generate a concise", Reply::new().answer("a title"))
        .reply_to("second prompt", Reply::new().answer("second answer").usage(300, 0, 3, 0))
        .reply_to("first prompt", runs(&until("go")).usage(100, 0, 1, 0))
        .reply_to("first prompt", Reply::new().answer("first answer").usage(200, 0, 2, 0))
}

#[test]
fn beside_a_running_interface_the_tree_grows_in_place_and_stays_at_the_end() {
    let Some(codex) = codex() else { return };
    let server = ModelServer::start(two_turns());
    let home = Home::new(&server.url());
    // Codex has no newer model to praise, which would be a question before the first prompt.
    home.face("gpt-6.1-sol", &server.url());
    let (front, beside) = (shell(&home, Some(&codex)), shell(&home, Some(&codex)));
    front.type_line("$T; echo ended $?");
    front.wait_for("? for shortcuts");
    beside.type_line("clear; $T mlflow show --follow; echo followed $?");
    beside.wait_for("a launch  waits for its first prompt");
    front.submit("first prompt", "esc to interrupt");
    let is_call = |line: &&str| line.contains("tool_exec  running ") && line.contains("echo begun");
    let first = |screen: &str| screen.lines().next().unwrap_or_default().to_owned();
    // Codex writes the tokens of the response after its call.
    beside.wait_until("the tool call that runs, and the tokens", |screen| {
        screen.lines().any(|line| is_call(&line)) && first(screen).contains("100 in, 1 out")
    });
    let state = first(&beside.screen());
    assert!(state.contains("  running "), "{state}");
    assert_eq!(beside.state("#{alternate_on} #{cursor_flag}"), "1 0");
    println!("{}\n", beside.screen());
    // The seconds go on, though no line is written.
    beside.wait_until("later seconds", |screen| first(screen) != state);
    release(&home, "go");
    beside.wait_until("the first answer", |screen| {
        screen.contains("response: first answer") && first(screen).contains("  completed · 300 in, 3 out")
    });
    front.ask("second prompt", "second answer");
    beside
        .wait_until("the second turn", |screen| first(screen).contains("turn 2  completed · 600 in, 6 out"));
    println!("{}\n", beside.screen());
    assert!(!beside.screen().contains("followed"), "the interface is open");
    // A line for the path of the session file.
    beside.resize(200, 30);
    front.submit("/quit", "ended 0");
    beside.wait_for("followed 0");
    let (screen, shown) = (beside.screen(), run(&mut show(&home, &[&home.rollout().display().to_string()])));
    println!("{screen}");
    assert!(screen.starts_with("codex_cli_session  completed"), "{screen}");
    assert!(screen.contains(shown.stdout.trim_end()), "{screen}\n{}", shown.stdout);
    assert_eq!(beside.state("#{alternate_on} #{cursor_flag}"), "0 1");
}

#[test]
fn a_session_that_is_over_is_shown_as_without_the_option() {
    let home = Home::new(NO_MODEL);
    let copied = copy(Path::new("tests/corpus/0.169.0/exec-json-resume-1.jsonl"), &home.sessions(), 1);
    let file = copied.path.display().to_string();
    let terminal = |words: &[&str]| {
        let mut command = show(&home, words);
        command.env("TERM", "xterm");
        let seen = Terminal::start(&command).finish();
        assert_eq!(seen.modes_before, seen.modes_after);
        seen.ended(End::Code(0)).text()
    };
    let shown = terminal(&[&file]);
    assert!(shown.contains("codex_cli_session") && shown.contains("\x1b["), "{shown}");
    let trace = format!("tr-{}", copied.thread.replace('-', ""));
    for word in [&file, &copied.thread, &trace] {
        assert_eq!(terminal(&["--follow", word]), shown, "{word}");
    }
}

#[test]
fn without_a_session_that_runs_the_user_reads_what_to_do() {
    let home = Home::new(NO_MODEL);
    copy(Path::new("tests/corpus/0.169.0/exec-basic.jsonl"), &home.sessions(), 1);
    let said = run(&mut show(&home, &["--follow"])).ended(End::Code(1)).stderr;
    assert!(said.contains("no session runs\n  hint: start one"), "{said}");
    let said = run(&mut show(&home, &["--follow", "nothing"])).ended(End::Code(1)).stderr;
    assert!(said.contains("nothing is neither a trace id (tr-…), a session id, nor a file"), "{said}");
    let unknown = "01a1ffff-0000-7000-8000-000000000001";
    let said = run(&mut show(&home, &["--follow", unknown])).ended(End::Code(1)).stderr;
    assert!(said.contains(&format!("there is no session file of {unknown}\n  hint: ")), "{said}");
}

#[test]
fn ctrl_c_ends_it_and_gives_the_terminal_back() {
    let home = Home::new(NO_MODEL);
    let written = written(&home, "exec-json-resume-1.jsonl");
    let mut command = show(&home, &["--follow"]);
    let terminal = Terminal::start(command.env("TERM", "xterm").env("NO_COLOR", "1"));
    terminal.wait_for(&format!("{}  turn 4  completed", written.thread));
    terminal.type_keys("\x03");
    let seen = terminal.finish().ended(End::Signal(Signal::SIGINT as i32));
    let text = seen.text();
    assert!(text.starts_with("\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[H"), "{text}");
    let (_, after) = text.split_once(LEAVE).expect("it leaves the alternate screen");
    assert!(after.starts_with(&format!("{}  turn 4  completed", written.thread)), "{after}");
    assert!(!after.contains('\x1b'), "{after}");
    assert_eq!(seen.modes_before, seen.modes_after);
}

#[test]
fn a_small_window_shows_the_end_of_the_tree_and_a_larger_one_all_of_it() {
    let home = Home::new(NO_MODEL);
    let written = written(&home, "exec-json-resume-1.jsonl");
    let shell = shell(&home, None);
    shell.resize(60, 8);
    shell.type_line("clear; $T mlflow show --follow; echo followed $?");
    shell.wait_for("above");
    let screen = shell.screen();
    let lines: Vec<&str> = screen.lines().collect();
    assert!(lines.len() == 8 && lines.iter().all(|line| line.chars().count() < 60), "{screen}");
    assert!(lines[0].starts_with(&written.thread) && lines[7].starts_with("response: "), "{screen}");
    shell.resize(100, 40);
    shell.wait_for("prompt: ");
    assert!(!shell.screen().contains("above"), "{}", shell.screen());
    // Stopped, it gives the terminal back; continued, it takes it again.
    shell.press("C-z");
    shell.wait_for("Stopped");
    assert_eq!(shell.state("#{alternate_on} #{cursor_flag}"), "0 1");
    shell.type_line("fg");
    shell.wait_for("prompt: ");
    assert_eq!(shell.state("#{alternate_on} #{cursor_flag}"), "1 0");
    // Its writer ends: so does the session.
    drop(written.lock);
    shell.wait_for(" in session file ");
    assert_eq!(shell.state("#{alternate_on} #{cursor_flag}"), "0 1");
}
