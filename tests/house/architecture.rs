//! The rooms of `src` use only the rooms before them, and the rules of the house hold in every file. The compiler
//! keeps the arrows between crates.

use regex::Regex;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

/// Each room uses only those before it.
const ROOMS: [&str; 12] = [
    "settings", "cli", "codex", "claim", "trace", "redact", "queue", "finish", "history", "tracer",
    "command", "launcher",
];

/// Every room may use it.
const SHARED: [&str; 1] = ["base"];

/// A longer file holds two nouns.
const MOST_LINES: usize = 350;

/// Where code calls the kernel without a safe wrapper.
const MAY_BE_UNSAFE: [&str; 2] = ["crates/launch/src/", "src/claim/"];

/// Ornate words for 1 000 lines of comments. ripgrep has 2, sudo-rs 4, atuin 8.
const MOST_ORNATE: usize = 10;

static ORNATE: LazyLock<Regex> = LazyLock::new(|| {
    let words = "nobody|somebody|everybody|anybody|whoever|whatever|whichever|whom|told|tells?|telling|untold|\
        stands?|stood|standing|lies?|lay|lain|meanwhile|shall|upon|hence|thus|thereby|therein|thereof|wherever|whence|\
        nought|anew|for ever|ours|theirs|says?|said|saying|speaks?|spoken?|hears?|heard|beside|in vain|once more|\
        as ever|of old|comes of|came of|made of|make of";
    regex(&format!(r"(?i)\b({words})\b"))
});

static QUOTED: LazyLock<Regex> = LazyLock::new(|| regex("`[^`]*`"));

static USED: LazyLock<Regex> = LazyLock::new(|| regex(r"\bcrate::(\w+)"));

static CLIMB: LazyLock<Regex> = LazyLock::new(|| regex(r"\b(?:super::)+"));

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a pattern")
}

struct Source {
    /// From the repository's root, such as `src/claim/observer.rs`.
    path: String,
    text: String,
}

impl Source {
    fn code(&self) -> impl Iterator<Item = &str> {
        self.text.lines().map(str::trim_start).filter(|line| !line.starts_with("//"))
    }

    fn comments(&self) -> impl Iterator<Item = &str> {
        let comments = self.text.lines().filter_map(|line| line.trim_start().strip_prefix("//"));
        comments.map(|comment| comment.trim_start_matches(['/', '!'])).filter(|text| !text.trim().is_empty())
    }
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    let mut folders: Vec<_> = folders.iter().map(|folder| root.join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of sources").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                let path = path.strip_prefix(root).expect("a path below the root").display().to_string();
                sources.push(Source { path, text });
            }
        }
    }
    assert!(!sources.is_empty());
    sources
}

/// One sentence for each rule that the file breaks.
fn violations(source: &Source) -> Vec<String> {
    let mut broken = Vec::new();
    let mut report = |sentence: String| broken.push(format!("{}: {sentence}", source.path));
    if !source.text.starts_with("//!") {
        report("the first line does not say what the file is".into());
    }
    let lines = source.text.lines().count();
    if lines > MOST_LINES {
        report(format!("{lines} lines, more than {MOST_LINES}"));
    }
    let may_be_unsafe = MAY_BE_UNSAFE.iter().any(|folder| source.path.starts_with(folder));
    if !may_be_unsafe && source.code().any(|line| line.contains("unsafe ")) {
        report("unsafe outside of launch and claim".into());
    }
    if source.code().any(|line| line.starts_with("#[allow(") || line.starts_with("#![allow(")) {
        report("#[allow] instead of #[expect(…, reason)]".into());
    }
    let Some(room) = room_of(&source.path) else { return broken };
    for used in rooms_used(source) {
        if !may_use(room, &used) {
            report(format!("{room} uses {used}"));
        }
    }
    broken
}

/// None for a file outside of `src`, and for the roots `lib.rs` and `main.rs`.
fn room_of(path: &str) -> Option<&str> {
    let inner = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let room = inner.split('/').next()?;
    (room != "lib" && room != "main").then_some(room)
}

/// The rooms that the code names. `crate::{…}` and a `super` that leaves the room hide the name, so they count as
/// the room `?`.
fn rooms_used(source: &Source) -> BTreeSet<String> {
    let folders = source.path.matches('/').count() - usize::from(source.path.ends_with("/mod.rs"));
    let mut used = BTreeSet::new();
    for line in source.code() {
        used.extend(USED.captures_iter(line).map(|found| found[1].to_owned()));
        let climbs_out =
            CLIMB.find_iter(line).any(|climb| climb.as_str().matches("super").count() >= folders);
        if line.contains("crate::{") || line.contains("crate::*") || climbs_out {
            used.insert("?".to_owned());
        }
    }
    used
}

fn may_use(room: &str, used: &str) -> bool {
    let place = |name: &str| ROOMS.iter().position(|known| *known == name);
    match (place(room), place(used)) {
        _ if room == used || SHARED.contains(&used) => true,
        (Some(room), Some(used)) => used < room,
        _ => false,
    }
}

fn planted(path: &str, code: &str) -> Vec<String> {
    let source = Source { path: path.into(), text: format!("//! A file.\n{code}\n") };
    violations(&source).into_iter().map(|sentence| sentence.replace(&format!("{path}: "), "")).collect()
}

#[test]
fn every_file_follows_the_rules_of_the_house() {
    let broken: Vec<String> = sources(&["src", "crates"]).iter().flat_map(violations).collect();
    assert_eq!(broken, [""; 0]);
}

#[test]
fn every_folder_of_src_is_a_room() {
    let mut named: BTreeSet<String> = ROOMS.iter().chain(&SHARED).map(|room| room.to_string()).collect();
    named.extend(["lib".to_owned(), "main".to_owned()]);
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap().flatten();
    let there = entries.map(|entry| entry.file_name().to_string_lossy().trim_end_matches(".rs").to_owned());
    assert_eq!(there.collect::<BTreeSet<_>>(), named);
}

#[test]
fn comments_use_plain_words() {
    let (mut comments, mut ornate) = (0, Vec::new());
    for source in sources(&["src", "crates", "tests", "examples", "benches"]) {
        for comment in source.comments() {
            comments += 1;
            let plain = QUOTED.replace_all(comment, "");
            ornate.extend(ORNATE.find_iter(&plain).map(|word| format!("{}: {}", source.path, word.as_str())));
        }
    }
    assert!(comments > 1000, "{comments} lines of comments");
    assert!(ornate.len() * 1000 < MOST_ORNATE * comments, "{} in {comments}: {ornate:#?}", ornate.len());
}

#[test]
fn a_planted_violation_is_found() {
    let table = [
        ("src/claim/a.rs", "use crate::finish::assemble;", "claim uses finish"),
        ("src/claim/a.rs", "    crate::queue::spool(paths)", "claim uses queue"),
        ("src/settings/mod.rs", "pub use crate::codex::home;", "settings uses codex"),
        ("src/trace/a.rs", "use crate::{finish, redact};", "trace uses ?"),
        ("src/trace/a/b.rs", "use super::super::super::finish;", "trace uses ?"),
        ("src/trace/mod.rs", "use super::finish;", "trace uses ?"),
        ("src/base/a.rs", "use crate::settings::Settings;", "base uses settings"),
        ("src/redact/a.rs", "unsafe { f() }", "unsafe outside of launch and claim"),
        ("src/redact/a.rs", "#[allow(dead_code)]", "#[allow] instead of #[expect(…, reason)]"),
    ];
    for (path, code, expected) in table {
        assert_eq!(planted(path, code), [expected], "{path}: {code}");
    }
    assert_eq!(planted("src/trace/a.rs", &"\n".repeat(MOST_LINES)), ["352 lines, more than 350"]);
    let without_title = Source { path: "src/trace/a.rs".into(), text: "use a;".into() };
    assert_eq!(violations(&without_title).len(), 1);
}

#[test]
fn code_that_follows_the_rules_passes() {
    let table = [
        ("src/finish/a.rs", "use crate::claim::Claim;\nuse crate::base::paths::Paths;"),
        ("src/finish/a.rs", "use super::b;\n// use crate::command;"),
        ("src/finish/a/b.rs", "use super::super::c;"),
        ("crates/launch/src/a.rs", "unsafe { f() }"),
        ("src/lib.rs", "pub mod launcher;"),
    ];
    for (path, code) in table {
        assert_eq!(planted(path, code), [""; 0], "{path}: {code}");
    }
}
