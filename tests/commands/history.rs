//! `list` and `usage`: transcripts, an independent count, filters, limits for jobs, the pager.

use crate::situation::Situation;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{End, Outcome, Terminal, run};

/// Versions whose sessions the transcripts show: without a count of tokens, old, and new with sub-agents.
const SHOWN: [&str; 3] = ["0.20.0", "0.36.0", "0.165.0"];

pub(crate) fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

/// A home with the recorded sessions of these versions.
pub(crate) fn recorded(versions: &[&str]) -> Situation {
    let situation = Situation::fresh();
    for version in versions {
        let folder = situation.home.sessions().join(version);
        fs::create_dir_all(&folder).expect("make a folder");
        for file in fs::read_dir(corpus().join(version)).expect("the corpus").flatten() {
            fs::copy(file.path(), folder.join(file.file_name())).expect("copy a session");
        }
    }
    situation
}

fn every_version() -> Vec<String> {
    let folders = fs::read_dir(corpus()).expect("the corpus").flatten();
    folders.filter_map(|folder| folder.file_name().into_string().ok()).collect()
}

pub(crate) fn command(situation: &Situation, words: &[&str], columns: &str) -> Command {
    let mut command = situation.command(words);
    command.env("COLUMNS", columns).env("TZ", "UTC");
    command
}

#[track_caller]
pub(crate) fn stdout(situation: &Situation, words: &[&str], columns: &str) -> String {
    let Outcome { stdout, stderr, end } = run(&mut command(situation, words, columns));
    assert_eq!(end, End::Code(0), "{stderr}");
    stdout
}

#[track_caller]
pub(crate) fn json(situation: &Situation, words: &[&str]) -> Value {
    serde_json::from_str(&stdout(situation, words, "80")).expect("JSON")
}

/// Ids of the sessions that `list` shows.
#[track_caller]
pub(crate) fn ids(situation: &Situation, words: &[&str]) -> Vec<String> {
    let listed = json(situation, &[&["list", "--json"], words].concat());
    let sessions = listed["sessions"].as_array().expect("a list");
    sessions.iter().map(|session| session["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn sessions_and_their_cost_on_narrow_and_wide_output() {
    let situation = recorded(&SHOWN);
    let commands: [&[&str]; 8] = [
        &["list"],
        &["ls", "--limit", "2"],
        &["list", "--search", "SECOND prompt"],
        &["usage"],
        &["usage", "--by", "model,day"],
        &["usage", "--by", "subagent"],
        &["usage", "--by", "session"],
        &["usage", "--by", "week", "--csv"],
    ];
    let mut said = String::new();
    for columns in ["80", "200"] {
        for words in commands {
            let text = stdout(&situation, words, columns);
            let is_narrow =
                text.lines().all(|line| line.chars().count() <= columns.parse().expect("a number"));
            assert!(is_narrow || words.contains(&"--csv"), "{text}");
            assert!(!text.contains('\u{1b}'), "{text}");
            said += &format!("$ COLUMNS={columns} codex-traced mlflow {}\n{text}\n", words.join(" "));
        }
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots/commands");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("history", said));
}

#[test]
fn the_tokens_are_those_of_an_independent_count() {
    let versions = every_version();
    let situation = recorded(&versions.iter().map(String::as_str).collect::<Vec<_>>());
    let mut python = Command::new("python3");
    python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/count_tokens.py"));
    let counted = python.arg(situation.home.sessions()).output().expect("run Python");
    let counted: BTreeMap<String, BTreeMap<String, u64>> =
        serde_json::from_slice(&counted.stdout).expect("counts by thread");
    const FIGURES: [&str; 4] =
        ["input_tokens", "cached_input_tokens", "output_tokens", "reasoning_output_tokens"];
    let usage = json(&situation, &["usage", "--by", "session", "--json"]);
    for figure in FIGURES {
        let expected: u64 = counted.values().map(|thread| thread[figure]).sum();
        assert_eq!(usage["total"][figure], expected, "{figure}");
        let rows = usage["rows"].as_array().expect("rows").iter();
        assert_eq!(rows.filter_map(|row| row[figure].as_u64()).sum::<u64>(), expected, "{figure}");
    }
    let sessions = json(&situation, &["list", "--json", "--limit", "0"]);
    let alone =
        sessions["sessions"].as_array().expect("sessions").iter().filter(|one| one["sub_agents"] == 0);
    let mut compared = 0;
    for session in alone {
        let thread = session["id"].as_str().expect("an id");
        // Files of Codex up to 0.2x count nothing.
        let Some(counts) = counted.get(thread) else { continue };
        for figure in FIGURES {
            assert_eq!(session[figure], counts[figure], "{thread} {figure}");
        }
        compared += 1;
    }
    assert!(compared > 50, "{compared} of {}", counted.len());
}

#[test]
fn sessions_are_filtered_by_time_place_model_status_and_text() {
    let situation = recorded(&["0.165.0", "0.169.0"]);
    let all = ids(&situation, &["--limit", "0"]);
    let count = |words: &[&str]| ids(&situation, &[&["--limit", "0"], words].concat()).len();
    let table: [(&[&str], bool); 10] = [
        (&["--since", "2026-11-25"], true),
        (&["--until", "2026-11-25"], true),
        (&["--since", "2027-01-01"], false),
        (&["--status", "failed"], true),
        (&["--status", "running"], false),
        (&["--model", "GPT-6"], true),
        (&["--model", "claude"], false),
        (&["--search", "hello"], true),
        (&["--search", "no session has this"], false),
        (&["--here"], false),
    ];
    for (words, is_some) in table {
        let found = count(words);
        assert!(found < all.len() && (found > 0) == is_some, "{words:?}: {found} of {}", all.len());
    }
    // No recorded session goes on from one of these days to the other.
    assert_eq!(count(&["--since", "2026-11-25"]) + count(&["--until", "2026-11-25"]), all.len());
    assert_eq!(count(&["--since", "2020-01-01", "--until", "2030-01-01"]), all.len());
    // A session of this folder, and one of a repository's other folder.
    let (work, file) = (situation.home.work(), "here.jsonl");
    fs::create_dir_all(work.join(".git")).expect("make a repository");
    fs::create_dir_all(work.join("deep")).expect("make a folder");
    let text = fs::read_to_string(corpus().join("0.169.0/exec-basic.jsonl")).expect("a session");
    let there = text.replace(
        "/srv/recordings/x/corpus/0.169.0/exec-basic/work",
        &work.join("deep").display().to_string(),
    );
    assert!(there != text, "the folder of the recording is another");
    fs::remove_file(situation.home.sessions().join("0.169.0/exec-basic.jsonl")).expect("remove");
    fs::write(situation.home.sessions().join(file), there).expect("write a session");
    assert_eq!(count(&["--here"]), 1);
}

#[test]
fn a_job_ends_with_1_when_more_was_spent() {
    let situation = recorded(&["0.169.0"]);
    let table: [(&[&str], i32, &str); 5] = [
        (&["--fail-over", "1000000"], 0, ""),
        (&["--fail-over", "0.01"], 1, "was spent, more than $0.0100"),
        (&["--fail-over", "0.01", "--since", "2030-01-01"], 0, ""),
        (&["--fail-over", "much"], 2, "invalid value"),
        (&["--fail-over", "-1"], 1, "--fail-over needs an amount"),
    ];
    for (words, code, sentence) in table {
        let outcome = run(&mut command(&situation, &[&["usage"], words].concat(), "80"));
        assert_eq!(outcome.end, End::Code(code), "{words:?} {}", outcome.stderr);
        assert!(outcome.stderr.contains(sentence), "{words:?}: {}", outcome.stderr);
    }
    for (words, sentence) in [
        (["--by", "day,day"], "--by names one key twice"),
        (["--by", "day,model,branch"], "--by has 3 keys"),
        (["--fail-over", "nan"], "--fail-over needs an amount"),
        (["--since", "soon"], "soon is no time"),
    ] {
        let outcome = run(&mut command(&situation, &["usage", words[0], words[1]], "80"));
        assert_eq!(outcome.end, End::Code(1), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(sentence), "{}", outcome.stderr);
    }
}

#[test]
fn a_terminal_gets_colours_and_a_pager() {
    let situation = recorded(&["0.165.0"]);
    let shown = |pager: &str| {
        let mut list = command(&situation, &["list"], "80");
        list.env("PAGER", pager).env("TERM", "xterm");
        Terminal::start(&list).finish().ended(End::Code(0)).text()
    };
    let paged = shown("sed s/^/paged:/");
    assert!(paged.contains("paged:") && paged.contains("\u{1b}[2m"), "{paged:?}");
    for pager in ["", "cat", "/no/such/program"] {
        let plain = shown(pager);
        assert!(plain.contains("SESSION") && !plain.contains("paged:"), "{plain:?}");
    }
}

#[test]
fn the_end_of_an_id_names_a_session_that_no_store_has() {
    let situation = recorded(&["0.165.0"]);
    let file = "rollout-2026-11-22T10-00-00-01a202b6-a73e-7ee3-8243-251c871b1d4f.jsonl";
    let text = fs::read_to_string(corpus().join("0.169.0/exec-basic.jsonl")).expect("a session");
    let folder = situation.home.sessions().join("2026/11/22");
    fs::create_dir_all(&folder).expect("make a folder");
    fs::write(folder.join(file), text).expect("write a session");
    let narrow = stdout(&situation, &["list"], "80");
    assert!(narrow.contains("871b1d4f"), "{narrow}");
    for words in [["show", "871b1d4f"], ["show", "251C871B1D4F"], ["export", "871b1d4f"]] {
        let shown = stdout(&situation, &words, "80");
        assert!(shown.contains("please list files and edit"), "{words:?} {shown}");
    }
    for (part, sentence) in
        [("01a202", "sessions have an id that begins or ends with"), ("ffffff", "is neither")]
    {
        let outcome = run(&mut situation.command(&["show", part]));
        assert_eq!(outcome.end, End::Code(1), "{part} {}", outcome.stdout);
        assert!(outcome.stderr.contains(sentence), "{part} {}", outcome.stderr);
    }
}
