//! The views of `show`: one turn, spans of a name, the net patch, and where the time went.

use crate::LAUNCHER;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::many::copy;
use support::{End, Home, Outcome, Terminal, run, run_with_input};

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

/// A folder under git, whose states become the recorded changes of a session.
struct Folder<'h> {
    home: &'h Home,
    changes: Vec<Value>,
}

impl Folder<'_> {
    fn git(&self, words: &[&str]) -> String {
        let identity =
            ["-c", "user.name=tester", "-c", "user.email=tester@example.com", "-c", "core.autocrlf=false"];
        let mut git = self.home.command("git");
        run(git.args(identity).args(words)).ended(End::Code(0)).stdout
    }

    fn path(&self, name: &str) -> String {
        self.home.work().join(name).display().to_string()
    }

    /// Writes files (None: removes) and keeps the changes as Codex records them.
    fn step(&mut self, files: &[(&str, Option<&str>)]) {
        let mut changes = json!({});
        for (name, content) in files {
            let path = self.home.work().join(name);
            let before = fs::read_to_string(&path).ok();
            match content {
                Some(content) => fs::write(&path, content).expect("write a file"),
                None => fs::remove_file(&path).expect("remove a file"),
            }
            self.git(&["add", "--all"]);
            changes[self.path(name)] = match (before, content) {
                (None, Some(content)) => json!({"type": "add", "content": content}),
                (Some(before), None) => json!({"type": "delete", "content": before}),
                (_, _) => json!({"type": "update", "unified_diff": self.hunks(name), "move_path": null}),
            };
        }
        self.git(&["commit", "--quiet", "--message", "step"]);
        self.changes.push(changes);
    }

    /// Writes the new content under another name.
    fn rename(&mut self, from: &str, to: &str, content: &str) {
        fs::write(self.home.work().join(from), content).expect("write a file");
        let hunks = self.hunks_of_files(from);
        self.git(&["mv", from, to]);
        self.git(&["commit", "--quiet", "--all", "--message", "rename"]);
        let update = json!({"type": "update", "unified_diff": hunks, "move_path": self.path(to)});
        self.changes.push(json!({ self.path(from): update }));
    }

    /// With one line of context, as Codex does it.
    fn hunks(&self, name: &str) -> String {
        without_header(&self.git(&["diff", "--unified=1", "HEAD", "--", name]))
    }

    fn hunks_of_files(&self, name: &str) -> String {
        without_header(&self.git(&["diff", "--unified=1", "--", name]))
    }

    fn session(&self) -> PathBuf {
        let text = fs::read_to_string("tests/corpus/0.169.0/exec-basic.jsonl").expect("a session");
        let text = text.replace("/srv/recordings/x/corpus/0.169.0/exec-basic/work", &self.path(""));
        let text = text.replace("/work/\"", "/work\"");
        let mut lines = Vec::new();
        for line in text.lines() {
            let mut record: Value = serde_json::from_str(line).expect("JSON");
            if record["payload"]["item"]["type"] != "FileChange" {
                lines.push(line.to_owned());
                continue;
            }
            for (number, changes) in self.changes.iter().enumerate() {
                // The call itself is recorded once.
                if number > 0 {
                    record["payload"]["item"]["id"] = json!(format!("call_{number}"));
                }
                record["payload"]["item"]["changes"] = changes.clone();
                lines.push(record.to_string());
            }
        }
        let path =
            self.home.root().join("rollout-2026-11-22T09-54-22-01a202ad-9e14-7080-b0ad-408167e4fb5e.jsonl");
        fs::write(&path, lines.join("\n") + "\n").expect("write the session");
        path
    }
}

fn without_header(diff: &str) -> String {
    diff.find("@@ ").map_or(String::new(), |at| diff[at..].to_owned())
}

/// Lines 1 to 40, some of them replaced.
fn numbered(replaced: &[(usize, &str)]) -> String {
    let line = |number: usize| {
        let other = replaced.iter().find(|(place, _)| *place == number);
        other.map_or_else(|| format!("line {number}\n"), |(_, text)| (*text).to_owned())
    };
    (1..=40).map(line).collect()
}

#[test]
fn git_applies_the_net_patch_to_the_original() {
    let home = Home::new(NO_MODEL);
    let mut folder = Folder { home: &home, changes: Vec::new() };
    let originals = [
        ("changed.txt", Some(&*numbered(&[]))),
        ("renamed.txt", Some(&*numbered(&[]))),
        ("deleted.txt", Some("a\nb\n")),
        ("windows.txt", Some("a\r\nb\r\nc\r\n")),
        ("open end.txt", Some("a\nb")),
        ("anew.txt", Some("old\nkept\n")),
        ("same.txt", Some("a\nb\nc\n")),
    ];
    folder.step(&originals);
    folder.git(&["tag", "original"]);
    folder.changes.clear();
    let many = numbered(&[(3, ""), (20, "x\ny\n"), (40, "last\n")]);
    folder.step(&[("changed.txt", Some(&many)), ("new.txt", Some("1\n2\n")), ("deleted.txt", None)]);
    folder.step(&[
        ("windows.txt", Some("a\r\nB\r\nc\r\n")),
        ("open end.txt", Some("a\nb\nc")),
        ("anew.txt", None),
    ]);
    let more = numbered(&[(1, "first\nline 1\n"), (3, ""), (20, "x\nz\n"), (30, ""), (40, "last\n")]);
    folder.step(&[
        ("changed.txt", Some(&more)),
        ("new.txt", Some("1\n2\n3\n")),
        ("same.txt", Some("a\nx\nc\n")),
    ]);
    folder.rename("renamed.txt", "moved.txt", &numbered(&[(10, "ten\n")]));
    folder.step(&[
        ("anew.txt", Some("new\nkept\n")),
        ("same.txt", Some("a\nb\nc\n")),
        ("gone.txt", Some("x\n")),
    ]);
    folder.step(&[("moved.txt", Some(&numbered(&[(10, "ten\n"), (12, "twelve\n")]))), ("gone.txt", None)]);
    let session = folder.session();

    let printed = run(&mut show(&home, &session, &["--diff"], "80")).ended(End::Code(0));
    assert_eq!(printed.stderr, "");
    folder.git(&["tag", "final"]);
    folder.git(&["checkout", "--quiet", "original"]);
    run_with_input(home.command("git").args(["apply", "--index", "-"]), printed.stdout.as_bytes())
        .ended(End::Code(0));
    assert_eq!(folder.git(&["diff", "--stat", "final"]), "", "{}", printed.stdout);
    assert!(
        !printed.stdout.contains("same.txt") && !printed.stdout.contains("gone.txt"),
        "{}",
        printed.stdout
    );
    assert!(printed.stdout.contains("rename from renamed.txt\nrename to moved.txt\n"), "{}", printed.stdout);

    // A command changes the file in between: each part applies to what it began with.
    let mut folder = Folder { home: &home, changes: Vec::new() };
    folder.step(&[("changed.txt", Some(&numbered(&[(1, "one\n")])))]);
    let before = folder.changes.pop();
    folder.step(&[("changed.txt", Some(&numbered(&[(1, "by a command\n")])))]);
    folder.changes.clear();
    folder.changes.extend(before);
    folder.step(&[("changed.txt", Some(&numbered(&[(1, "by a patch\n")])))]);
    let session = folder.session();
    let printed = run(&mut show(&home, &session, &["--diff"], "80")).ended(End::Code(0)).stdout;
    let notes: Vec<&str> = printed.lines().filter(|line| line.starts_with('#')).collect();
    assert_eq!(notes, ["# changed.txt: changed by something else in between"], "{printed}");
    assert_eq!(printed.matches("diff --git a/changed.txt b/changed.txt\n").count(), 2);
    assert!(printed.ends_with("-by a command\n+by a patch\n line 2\n"), "{printed}");
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
