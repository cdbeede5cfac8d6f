//! Sessions that an import does not read again, and what makes it read them.

use super::{Copied, NO_MODEL, copy, import, original, ours, stored, summary};
use codex_traced::trace::ids::trace_of_thread;
use rusqlite::Connection;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use support::{End, Home, run};

/// The import reads 20 sessions or fewer each time.
const COUNT: usize = 25;

struct Imported {
    home: Home,
    copies: Vec<Copied>,
}

impl Imported {
    fn new() -> Imported {
        let home = Home::new(NO_MODEL);
        let copies: Vec<Copied> = (0..COUNT)
            .map(|number| {
                let copied = copy(&original("exec-basic"), &home.sessions(), number);
                let folder = home.work().join(number.to_string());
                fs::create_dir(&folder).expect("a folder for the session");
                let text = fs::read_to_string(&copied.path).expect("the copy");
                let moved = text.replace(
                    "/srv/recordings/x/corpus/0.169.0/exec-basic/work",
                    folder.to_str().expect("UTF-8"),
                );
                assert_ne!(moved, text, "the recording is of another folder");
                fs::write(&copied.path, moved).expect("move the session");
                copied
            })
            .collect();
        let imported = Imported { home, copies };
        imported.again("25 new, 0 updated, 0 unchanged, 0 failed", 0);
        imported.again("0 new, 0 updated, 25 unchanged, 0 failed", COUNT);
        imported
    }

    /// Imports all sessions. The import reads all but `known` of them.
    #[track_caller]
    fn again(&self, expected: &str, known: usize) {
        let (outcome, log) = self.import(&["--all"]);
        assert_eq!((summary(&outcome), outcome.end), (expected, End::Code(0)), "{outcome:?}");
        let line = format!("import: {known} of {COUNT} sessions are as an earlier import left them");
        assert!(log.contains(&line), "no line {line}: {log}");
    }

    /// With the log of that import alone.
    #[track_caller]
    fn import(&self, words: &[&str]) -> (support::Outcome, String) {
        let log = self.home.state().join("codex_tracing.log");
        let _ = fs::remove_file(&log);
        let outcome = import(&self.home, words);
        (outcome, fs::read_to_string(&log).unwrap_or_default())
    }

    fn database(&self) -> Connection {
        Connection::open(self.home.database()).expect("the store")
    }

    fn cache(&self) -> PathBuf {
        self.home.state().join("imported.json")
    }

    /// Adds the line to the last session.
    fn append(&self, line: &str) {
        let file = OpenOptions::new().append(true).open(&self.copies[COUNT - 1].path);
        writeln!(file.expect("the session file"), "{line}").expect("append a line");
    }
}

const UNCHANGED: &str = "0 new, 0 updated, 25 unchanged, 0 failed";
const ONE_UPDATED: &str = "0 new, 1 updated, 24 unchanged, 0 failed";
const ONE_NEW: &str = "1 new, 0 updated, 24 unchanged, 0 failed";

#[test]
fn a_session_whose_file_changed_is_read_again() {
    let imported = Imported::new();
    // A line of an unknown kind: the trace counts it.
    imported.append(r#"{"timestamp":"2026-10-01T11:00:00.000Z","type":"unheard_of","payload":{}}"#);
    imported.again(ONE_UPDATED, COUNT - 1);
    imported.again(UNCHANGED, COUNT);
    // The same bytes in another file.
    let path = &imported.copies[0].path;
    let bytes = fs::read(path).expect("the session file");
    fs::remove_file(path).expect("remove it");
    fs::write(path, bytes).expect("write it anew");
    imported.again(UNCHANGED, COUNT - 1);
    // A further turn, which has no end.
    imported.append(r#"{"timestamp":"2026-10-01T12:00:00.000Z","type":"event_msg","payload":{"type":"user_message","message":"go on"}}"#);
    imported.again(ONE_UPDATED, COUNT - 1);
    imported.again(UNCHANGED, COUNT);
    let (outcome, log) = imported.import(&["--all", "--again"]);
    assert_eq!(summary(&outcome), "0 new, 25 updated, 0 unchanged, 0 failed");
    assert!(log.contains("import: 0 of 25 sessions are as"), "{log}");
    imported.again(UNCHANGED, COUNT);
}

#[test]
fn a_trace_that_its_target_lost_is_sent_again() {
    let imported = Imported::new();
    let thread = &imported.copies[3].thread;
    imported
        .database()
        .execute("DELETE FROM trace_info WHERE request_id = ?1", [trace_of_thread(thread).to_string()])
        .expect("delete a trace");
    assert_eq!(stored(&imported.home, thread), None);
    imported.again(ONE_NEW, COUNT - 1);
    assert!(stored(&imported.home, thread).is_some());
    imported.again(UNCHANGED, COUNT);
}

#[test]
fn what_is_not_known_of_a_session_makes_it_read() {
    let imported = Imported::new();
    let receipts = imported.home.state().join("receipts");
    let receipt = receipts.join(format!("{}.json", trace_of_thread(&imported.copies[4].thread)));
    fs::remove_file(receipt).expect("remove a receipt");
    imported.again(ONE_NEW, COUNT - 1);
    // Such a cache of another program, a torn one, and none.
    let text = fs::read_to_string(imported.cache()).expect("the cache");
    let version = env!("CARGO_PKG_VERSION");
    assert!(text.contains(version), "{text}");
    for other in [Some(text.replacen(version, "99.0.0", 1)), Some(text[..text.len() / 2].to_owned()), None] {
        match &other {
            Some(other) => fs::write(imported.cache(), other).expect("replace the cache"),
            None => fs::remove_file(imported.cache()).expect("remove the cache"),
        }
        imported.again(UNCHANGED, 0);
        imported.again(UNCHANGED, COUNT);
    }
}

#[test]
fn settings_and_files_of_folders_count() {
    let imported = Imported::new();
    let folder = imported.home.work().join("7/.codex");
    fs::create_dir(&folder).expect("a folder for the rule");
    fs::write(folder.join("mlflow_config.json"), r#"{"environment":{"CODEX_TRACED_CONTENT":"metadata"}}"#)
        .expect("write the rule");
    imported.again(ONE_UPDATED, COUNT - 1);
    let trace = stored(&imported.home, &imported.copies[7].thread).expect("a trace");
    assert_eq!(trace.request_preview, None, "figures alone");
    imported.again(UNCHANGED, COUNT);
    let config = imported.home.codex().join("mlflow_config.json");
    let before = fs::read_to_string(&config).unwrap_or_else(|_| "{}".into());
    let mut object: serde_json::Value = serde_json::from_str(&before).expect("a configuration");
    object["environment"]["CODEX_TRACED_CONTENT"] = "metadata".into();
    fs::write(&config, object.to_string()).expect("write the configuration");
    imported.again("0 new, 24 updated, 1 unchanged, 0 failed", 0);
    imported.again(UNCHANGED, COUNT);
    object["redaction"] = serde_json::json!({"rules": [{"name": "of-the-team", "pattern": "list files"}]});
    fs::write(&config, object.to_string()).expect("write a rule for secrets");
    imported.again(UNCHANGED, 0);
    imported.again(UNCHANGED, COUNT);
}

#[test]
fn a_changed_subagent_makes_its_session_read() {
    let imported = Imported::new();
    let home = &imported.home;
    copy(&original("subagent-v1-1"), &home.sessions(), 101);
    let child = copy(&original("subagent-v1-2"), &home.sessions(), 102);
    let text = fs::read_to_string(&child.path).expect("the copy");
    let parents = fs::read_to_string(original("subagent-v1-1")).expect("the original");
    let parent = parents.lines().next().and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let parent = parent.expect("a first line")["payload"]["id"].as_str().expect("its id").to_owned();
    let copied = format!("01a1{:04x}-0000-7000-8000-00000000{:04x}", 101, 101);
    fs::write(&child.path, text.replace(&parent, &copied)).expect("name the copied parent");
    let again = |expected: &str, line: &str| {
        let (outcome, log) = imported.import(&["--all"]);
        assert_eq!(summary(&outcome), expected, "{outcome:?}");
        assert!(log.contains(line), "{log}");
    };
    again("1 new, 0 updated, 25 unchanged, 0 failed", "import: 25 of 26 sessions are as");
    again("0 new, 0 updated, 26 unchanged, 0 failed", "import: 26 of 26 sessions are as");
    fs::remove_file(&child.path).expect("remove the sub-agent");
    again("0 new, 0 updated, 26 unchanged, 0 failed", "import: 25 of 26 sessions are as");
}

#[test]
fn a_forgotten_session_leaves_no_folder_in_the_cache() {
    let imported = Imported::new();
    let folder = imported.home.work().join("9");
    let is_named = |text: &str| text.contains(&format!("{}\"", folder.display()));
    assert!(is_named(&fs::read_to_string(imported.cache()).expect("the cache")));
    run(ours(&imported.home, &["forget", &imported.copies[9].thread]).env("CODEX_TRACED_NOTICE", "never"))
        .ended(End::Code(0));
    assert!(!imported.cache().exists());
    imported.again(ONE_NEW, 0);
}
