//! The views of `show`: one turn, spans of a name, the net patch, and where the time went.

mod net_patch;

use crate::LAUNCHER;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::many::copy;
use support::{End, Home, Outcome, Terminal, run};

/// No session here asks a model for anything.
const NO_MODEL: &str = "http://127.0.0.1:9";

const NESTED: [&str; 3] = ["nested-agents-1.jsonl", "nested-agents-2.jsonl", "nested-agents-3.jsonl"];

fn show(home: &Home, file: &Path, words: &[&str], columns: &str) -> Command {
    let mut command = home.command(LAUNCHER);
    command.env("USER", "tester").env("COLUMNS", columns);
    command.args(["mlflow", "show"]).arg(file).args(words);
    command
}

fn corpus(name: &str) -> PathBuf {
    fs::canonicalize(Path::new("tests/corpus").join(name)).expect("a session of the corpus")
}

/// The files of a family where Codex wrote them. The first one's path.
fn family(home: &Home, names: &[&str]) -> PathBuf {
    let place = |name: &&str| {
        let text = fs::read_to_string(corpus("0.169.0").join(name)).expect("a session");
        let first: Value = serde_json::from_str(text.lines().next().unwrap_or_default()).expect("JSON");
        let thread = first["payload"]["id"].as_str().expect("an id");
        let path = home.sessions().join(format!("2026/11/25/rollout-2026-11-25T13-19-07-{thread}.jsonl"));
        fs::create_dir_all(path.parent().expect("a folder")).expect("make the day's folder");
        fs::write(&path, text).expect("write a session");
        path
    };
    let paths: Vec<PathBuf> = names.iter().map(place).collect();
    paths[0].clone()
}

/// The commands one after the other, in `tests/snapshots/commands/<name>.snap`.
#[track_caller]
fn review(name: &str, home: &Home, file: &Path, commands: &[&[&str]], columns: &str) {
    let transcript = |words: &&[&str]| {
        let Outcome { stdout, stderr, end } = run(&mut show(home, file, words, columns));
        let End::Code(code) = end else { panic!("ended by {end:?}") };
        let words = words.join(" ");
        format!("$ codex-traced mlflow show FILE {words}\n{stdout}{stderr}[ends with {code}]\n")
    };
    let text = commands.iter().map(transcript).collect::<Vec<_>>().join("\n");
    let text = text.replace(&file.display().to_string(), "FILE");
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots/commands");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn one_turn_is_shown_alone() {
    let home = Home::new(NO_MODEL);
    let file = corpus("0.169.0/exec-json-resume-1.jsonl");
    let commands: [&[&str]; 6] = [
        &["--turn", "1"],
        &["--turn", "4", "--times"],
        &["--turn", "2", "--span", "llm*"],
        &["--turn", "2", "--diff"],
        &["--turn", "9"],
        &["--turn", "0"],
    ];
    review("show turn", &home, &file, &commands, "80");
    let printed = run(&mut show(&home, &file, &["--turn", "2", "--json"], "80")).ended(End::Code(0)).stdout;
    let trace: Value = serde_json::from_str(&printed).expect("JSON");
    let spans = trace["spans"].as_array().expect("a list").iter();
    let names: Vec<_> = spans.map(|span| (span["name"].as_str(), span["parent"].is_null())).collect();
    assert_eq!(names, [(Some("turn_2"), true), (Some("llm_call_3"), false)]);
}

#[test]
fn spans_of_a_name_are_shown_whole() {
    let home = Home::new(NO_MODEL);
    let file = corpus("0.169.0/exec-basic.jsonl");
    let commands: [&[&str]; 4] = [
        &["--span", "tool_apply_patch"],
        &["--span", "tool_exec*"],
        &["--span", "llm_call_4"],
        &["--span", "nope"],
    ];
    review("show span", &home, &file, &commands, "80");
    let words = ["--span", "tool_exec_command", "--json"];
    let printed = run(&mut show(&home, &file, &words, "80")).ended(End::Code(0)).stdout;
    let spans: Value = serde_json::from_str(&printed).expect("JSON");
    let cmds: Vec<_> = spans.as_array().expect("a list").iter().map(|span| &span["inputs"]["cmd"]).collect();
    assert_eq!(cmds, ["ls -la; cat a.txt", "echo err >&2; sleep 0.3; exit 3"]);
}

#[test]
fn the_changes_of_files_are_one_patch() {
    let home = Home::new(NO_MODEL);
    for (name, file) in [
        ("show diff", corpus("0.169.0/exec-basic.jsonl")),
        ("show diff in code mode", corpus("0.169.0/codemode.jsonl")),
        ("show diff without changes", family(&home, &NESTED)),
        ("show diff without record", corpus("0.115.0/exec-tools.jsonl")),
    ] {
        review(name, &home, &file, &[&["--diff"], &["--diff", "--json"]], "80");
    }
}

#[test]
fn the_time_fits_the_width() {
    let home = Home::new(NO_MODEL);
    for (name, file) in [
        ("show times of agents", family(&home, &NESTED)),
        ("show times of turns", corpus("0.169.0/exec-json-resume-1.jsonl")),
    ] {
        for columns in ["80", "200"] {
            review(&format!("{name} in {columns} columns"), &home, &file, &[&["--times"]], columns);
        }
        for columns in [40, 60, 80, 133, 200] {
            let printed = run(&mut show(&home, &file, &["--times"], &columns.to_string())).stdout;
            let widest = printed.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(columns), "{columns} columns: {printed}");
        }
    }
}

#[test]
fn a_terminal_has_colours_and_its_own_width() {
    let home = Home::new(NO_MODEL);
    let file = corpus("0.169.0/exec-basic.jsonl");
    let shown = |words: &[&str]| {
        let mut command = show(&home, &file, words, "200");
        Terminal::start(command.env("TERM", "xterm")).finish().ended(End::Code(0)).text()
    };
    let diff = shown(&["--diff"]);
    for line in [
        "\u{1b}[1mdiff --git a/a.txt b/a.txt\u{1b}[0m\r\n",
        "\u{1b}[2m@@ -1 +1 @@\u{1b}[0m\r\n",
        "\u{1b}[31m-hello\u{1b}[0m\r\n",
        "\u{1b}[32m+hello world\u{1b}[0m\r\n",
    ] {
        assert!(diff.contains(line), "{diff:?} has no {line:?}");
    }
    let times = shown(&["--times"]);
    assert!(times.contains("\u{1b}[36m█") && times.contains("\u{1b}[33m▒"), "{times:?}");
    let plain = regex::Regex::new("\u{1b}\\[[0-9;]*m").expect("a pattern").replace_all(&times, "");
    assert_eq!(plain.lines().map(|line| line.trim_end().chars().count()).max(), Some(80), "{plain}");
}

#[test]
fn a_stored_trace_has_the_same_views() {
    let home = Home::new(NO_MODEL);
    let copied = copy(&corpus("0.169.0/exec-json-resume-1.jsonl"), &home.sessions(), 1);
    run(home.command(LAUNCHER).env("USER", "tester").args(["mlflow", "import", &copied.thread]))
        .ended(End::Code(0));
    let printed =
        |what: &Path, words: &[&str]| run(&mut show(&home, what, words, "80")).ended(End::Code(0)).stdout;
    let stored = Path::new(&copied.thread);
    for words in [&["--times"][..], &["--times", "--json"], &["--turn", "1", "--span", "llm_call_*"]] {
        assert_eq!(printed(stored, words), printed(&copied.path, words), "{words:?}");
    }
    let tokens = |what: &Path| {
        let trace: Value = serde_json::from_str(&printed(what, &["--turn", "1", "--json"])).expect("JSON");
        trace["metadata"]["mlflow.trace.tokenUsage"].clone()
    };
    assert_eq!((tokens(stored), tokens(stored).is_string()), (tokens(&copied.path), true));
}
