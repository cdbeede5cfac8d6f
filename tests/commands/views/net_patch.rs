//! Git applies the patch of `show --diff` to the files as they were.

use super::{NO_MODEL, show};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use support::{End, Home, run, run_with_input};

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
fn git_applies_a_patch_in_which_files_take_places() {
    let home = Home::new(NO_MODEL);
    let mut folder = Folder { home: &home, changes: Vec::new() };
    folder.step(&[("a", Some("1\n")), ("b", Some("2\n")), ("c", Some("4\n"))]);
    folder.step(&[("left", Some(&numbered(&[]))), ("right", Some(&numbered(&[(20, "right\n")])))]);
    folder.git(&["tag", "original"]);
    folder.changes.clear();
    folder.step(&[("a", Some("3\n")), ("n", Some("new\n"))]);
    folder.step(&[("b", None), ("c", None)]);
    folder.rename("a", "b", "3\n");
    folder.rename("n", "c", "new\n");
    // Two files change places.
    folder.rename("left", "between", &numbered(&[(1, "first\n")]));
    folder.rename("right", "left", &numbered(&[(20, "right\n"), (40, "last\n")]));
    folder.rename("between", "right", &numbered(&[(1, "first\n"), (2, "second\n")]));
    let session = folder.session();
    let printed = run(&mut show(&home, &session, &["--diff"], "80")).ended(End::Code(0));
    assert_eq!(printed.stderr, "");
    folder.git(&["tag", "final"]);
    folder.git(&["checkout", "--quiet", "original"]);
    run_with_input(home.command("git").args(["apply", "--index", "-"]), printed.stdout.as_bytes())
        .ended(End::Code(0));
    assert_eq!(folder.git(&["diff", "--stat", "final"]), "", "{}", printed.stdout);
    assert!(!printed.stdout.contains('#'), "{}", printed.stdout);
}
