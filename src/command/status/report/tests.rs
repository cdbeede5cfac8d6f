//! Links of delivered traces, and the count of session files.

use super::*;
use std::fs;

#[test]
fn links_exist_for_every_target_with_a_page_and_hold_no_credentials() {
    let access = Access {
        variables: [("DATABRICKS_HOST", "https://w.example"), ("DATABRICKS_TOKEN", "x")].into(),
        ..Access::default()
    };
    let of = |target: Target| {
        let receipt = Receipt::from_spans(target, "3".into(), Timestamp::UNIX_EPOCH, &[]);
        delivered(TraceId([7; 16]), &receipt, &access).link
    };
    let shown = "experiments/3/traces?selectedEvaluationId=tr-07070707070707070707070707070707";
    let table = [
        (Target::Http("http://ada:secret@host:5000".into()), Some("http://host:5000/#/")),
        (Target::Databricks { profile: None }, Some("https://w.example/ml/")),
        (Target::Sqlite("/x.db".into()), None),
    ];
    for (target, page) in table {
        assert_eq!(of(target), page.map(|page| format!("{page}{shown}")));
    }
}

#[test]
fn session_files_are_counted_at_any_depth_and_other_files_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let day = folder.path().join("2026/11/22");
    fs::create_dir_all(&day).unwrap();
    for name in ["rollout-a.jsonl", "rollout-b.jsonl.zst", "rollout-c.json", "history.jsonl", "rollout-d"] {
        fs::write(day.join(name), "").unwrap();
    }
    std::os::unix::fs::symlink(folder.path(), day.join("rollout-circle.jsonl.d")).unwrap();
    assert_eq!(session_files(folder.path()), 3);
    assert_eq!(session_files(&folder.path().join("not there")), 0);
}
