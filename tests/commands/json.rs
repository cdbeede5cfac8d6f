//! The keys of `--json` are those that docs/json.md promises.

use crate::history::{json, recorded};
use crate::situation::Situation;
use codex_session::thread::ThreadId;
use codex_traced::claim::unclaimed::{self, Unclaimed};
use codex_traced::queue::receipts::{Receipts, StoredReceipt};
use codex_traced::queue::spool::entry::Rank;
use jiff::Timestamp;
use mlflow_store::ids::TraceId;
use mlflow_store::receipt::Receipt;
use mlflow_store::target::Target;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use support::End;

/// `a.b`, `list[].c`; null counts as there.
fn keys(value: &Value, at: &str, into: &mut BTreeSet<String>) {
    match value {
        // An empty object is a map whose keys are data.
        Value::Object(object) if !object.is_empty() => {
            for (key, value) in object {
                let at = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
                keys(value, &at, into);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| keys(value, &format!("{at}[]"), into)),
        _ => _ = into.insert(at.to_owned()),
    }
}

fn promised(section: &str) -> BTreeSet<String> {
    let docs = fs::read_to_string("docs/json.md").expect("docs/json.md");
    let (_, rest) = docs.split_once(&format!("\n## {section}\n")).expect("a section for the command");
    let section = rest.split("\n## ").next().unwrap_or(rest);
    section.split("\n| `").skip(1).filter_map(|row| Some(row.split('`').next()?.to_owned())).collect()
}

#[test]
fn status_prints_every_key_that_is_promised_and_no_other() {
    let mut found = BTreeSet::new();
    let situation = Situation::fresh().with_waiting_traces();
    let receipt =
        Receipt::from_spans(Target::Http("http://u:p@h".into()), "1".into(), Timestamp::UNIX_EPOCH, &[]);
    let kept = StoredReceipt { receipt, rank: Rank { ended_at: Timestamp::UNIX_EPOCH, spans: 0 }, bytes: 1 };
    Receipts::new(situation.home.state().join("receipts"))
        .keep(TraceId([3; 16]), kept)
        .expect("keep a receipt");
    let nobodys = Unclaimed {
        thread: ThreadId::parse("01a202b6-a73e-7ee3-8243-251c871b1d4f").expect("a UUID"),
        launch_id: "1".into(),
        launched_at: Timestamp::UNIX_EPOCH,
        of: 2,
    };
    unclaimed::add(&situation.home.state().join("unclaimed.json"), vec![nobodys])
        .expect("leave a session unclaimed");
    for config in [
        r#"{"environment": {"MLFLOW_CODEX_TRACING_ENABLED": "perhaps"}}"#,
        r#"{"environment": {"MLFLOW_TRACKING_URI": "databricks", "MLFLOW_EXPERIMENT_ID": "5"}}"#,
        r#"{"targets": [{"tracking_uri": "/a", "experiment_id": "5"}, {"tracking_uri": "/b"}]}"#,
    ] {
        situation.write_config(config);
        let said = situation.say(&["status", "--json"]).ended(End::Code(0)).stdout;
        keys(&serde_json::from_str(&said).expect("JSON"), "", &mut found);
    }
    assert_eq!(found, promised("status"));
}

#[test]
fn doctor_prints_every_key_that_is_promised_and_its_worst_is_how_it_ends() {
    let mut found = BTreeSet::new();
    for (version, worst, code) in [("0.200.0", "ok", 0), ("unknown", "warning", 1), ("0.20.0", "error", 2)] {
        let situation = Situation::fresh();
        situation.codex_of_version(version);
        let said = situation.say(&["doctor", "--json"]).ended(End::Code(code)).stdout;
        let json: Value = serde_json::from_str(&said).expect("JSON");
        assert_eq!(json["worst"], worst);
        keys(&json, "", &mut found);
        let docs = fs::read_to_string("docs/json.md").expect("docs/json.md");
        for finding in json["findings"].as_array().expect("a list") {
            let check = finding["check"].as_str().expect("text");
            assert!(docs.contains(&format!("`{check}`")), "{check} is not told");
        }
    }
    assert_eq!(found, promised("doctor"));
}

/// What `show` prints of the corpus's session with patches, where one of the files is outside of its folder.
fn shown(option: &str) -> BTreeSet<String> {
    let situation = Situation::fresh();
    let text = fs::read_to_string("tests/corpus/0.169.0/exec-basic.jsonl").expect("a session");
    let text = text.replace("/srv/recordings/x/corpus/0.169.0/exec-basic/work/new.txt", "/elsewhere/new.txt");
    let path =
        situation.home.root().join("rollout-2026-11-22T09-54-22-01a202ad-9e14-7080-b0ad-408167e4fb5e.jsonl");
    fs::write(&path, text).expect("write a session");
    let path = path.display().to_string();
    let printed = situation.say(&["show", &path, option, "--json"]).ended(End::Code(0)).stdout;
    let mut found = BTreeSet::new();
    keys(&serde_json::from_str(&printed).expect("JSON"), "", &mut found);
    // An empty list has no keys.
    found.remove("[].notes");
    found
}

#[test]
fn the_views_of_show_print_every_key_that_is_promised_and_no_other() {
    for option in ["--times", "--diff"] {
        assert_eq!(shown(option), promised(&format!("`show {option} --json`")));
    }
}

#[test]
fn prices_prints_every_key_that_is_promised_and_no_other() {
    let situation = Situation::fresh();
    let model = |name: &str, rate: u32| {
        format!(
            r#""{name}": {{"mode": "chat", "pricing": {{"input_per_million_tokens": {rate}, "output_per_million_tokens": {rate}}}}}"#
        )
    };
    let file = situation.home.codex().join("own.json");
    fs::write(&file, format!("{{\"models\": {{{}, {}}}}}", model("gpt-5", 1), model("gpt-7", 2)))
        .expect("a file");
    situation.write_config(r#"{"prices": "own.json"}"#);
    let read = |words: &[&str], found: &mut BTreeSet<String>| {
        let printed = situation.say(words).ended(End::Code(0)).stdout;
        keys(&serde_json::from_str(&printed).expect("JSON"), "", found);
    };
    let (mut updated, mut shown) = (BTreeSet::new(), BTreeSet::new());
    // A list of the future is a problem of an update.
    let ahead =
        r#"{"version": 1, "lists": [{"valid_from": "9998-01-01T00:00:00Z", "source": "", "as_of": ""}]}"#;
    fs::create_dir_all(situation.home.state()).expect("a folder");
    fs::write(situation.home.state().join("prices.json"), ahead).expect("a file");
    read(&["prices", "--update", &file.display().to_string(), "--json"], &mut updated);
    read(&["prices", "--json"], &mut shown);
    fs::remove_file(&file).expect("remove the file");
    read(&["prices", "--json"], &mut shown);
    assert_eq!(shown, promised("prices"));
    assert_eq!(updated, promised("prices --update"));
}

/// Of all versions, with a trace in a store.
#[test]
fn list_prints_every_key_that_is_promised_and_no_other() {
    let situation = recorded(&["0.36.0", "0.169.0"]);
    situation.say(&["import", "--all"]).ended(End::Code(0));
    let mut found = BTreeSet::new();
    for words in [&["list", "--json", "--limit", "0"][..], &["list", "--json", "--search", "hello"]] {
        keys(&json(&situation, words), "", &mut found);
    }
    assert_eq!(found, promised("`list --json`"));
}

/// The keys of a row are those of all of `--by`; a row has the figures of the total.
#[test]
fn usage_prints_every_key_that_is_promised_and_no_other() {
    let situation = recorded(&["0.36.0", "0.169.0"]);
    let mut found = BTreeSet::new();
    for by in ["day", "session"] {
        let usage = json(&situation, &["usage", "--json", "--by", by]);
        // All models of the recordings have a price.
        assert!(usage["unpriced"].as_array().is_some_and(Vec::is_empty), "{usage}");
        keys(&usage, "", &mut found);
    }
    let figures: BTreeSet<String> =
        found.iter().filter_map(|key| Some(key.strip_prefix("total.")?.to_owned())).collect();
    assert!(figures.len() > 5 && figures.iter().all(|figure| found.contains(&format!("rows[].{figure}"))));
    found.retain(|key| !key.starts_with("total."));
    found.extend(["total".into(), "unpriced[]".into()]);
    assert_eq!(found, promised("`usage --json`"));
}
