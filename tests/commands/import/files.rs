//! One session in several files: every command makes the same trace of them, in any folders.

use super::{NO_MODEL, assert_imported, import, original, ours, stored, summary};
use codex_traced::trace::ids::trace_of_thread;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use support::{End, Home, run};

/// What a rewind adds to a file's name.
const REWOUND: &str = "01a21d00-0000-7000-8000-000000000001";

fn show(home: &Home, what: &str) -> Value {
    let outcome = run(&mut ours(home, &["show", what, "--json"])).ended(End::Code(0));
    serde_json::from_str(&outcome.stdout).expect("show prints JSON")
}

/// The sign that all of a session is there.
fn measure(trace: &Value) -> (usize, Value, Value) {
    let spans = trace["spans"].as_array().expect("spans");
    let (metadata, id) = (&trace["metadata"], &trace["id"]);
    (spans.len(), metadata["mlflow.trace.tokenUsage"].clone(), id.clone())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn every_command_gathers_a_sessions_files_in_one_way() {
    let lines = ["rewind-1", "rewind-2"].map(|name| fs::read_to_string(original(name)).expect("the corpus"));
    let first: Value = serde_json::from_str(lines[0].lines().next().expect("a line")).expect("JSON");
    let thread = first["payload"]["id"].as_str().expect("an id");
    let names = ["".to_owned(), format!("_{REWOUND}")]
        .map(|suffix| format!("rollout-2026-10-06T12-00-00-{thread}{suffix}.jsonl"));
    let (day, archive, further) = ("codex/sessions/2026/10/06", "codex/archived_sessions", "further/2026");
    let layouts =
        [[day, day], [archive, day], [day, archive], [archive, archive], [further, day], [day, further]];
    let mut measured = Vec::new();
    for layout in layouts {
        let home = Home::new(NO_MODEL);
        let config = json!({"sessions_dir": home.root().join("further")}).to_string();
        fs::write(home.codex().join("mlflow_config.json"), config).expect("write the configuration");
        let put = |place: usize| -> PathBuf {
            let folder = home.root().join(layout[place]);
            fs::create_dir_all(&folder).expect("make a folder");
            fs::write(folder.join(&names[place]), &lines[place]).expect("write a file");
            folder.join(&names[place])
        };
        let files = [put(0), put(1)];
        let shown = files.each_ref().map(|file| measure(&show(&home, text(file))));
        assert_imported(&home, &["--all"], "1 new, 0 updated, 0 unchanged, 0 failed");
        let id = trace_of_thread(thread).to_string();
        let imported = measure(&show(&home, &id));
        assert_eq!(shown, [imported.clone(), imported.clone()], "{layout:?}");
        for file in &files {
            assert_imported(&home, &[text(file)], "0 new, 0 updated, 1 unchanged, 0 failed");
        }
        let latest = run(&mut ours(&home, &["trace-latest"])).ended(End::Code(0));
        assert_eq!(summary(&latest), "0 new, 0 updated, 1 unchanged, 0 failed", "{layout:?}");
        let forgotten = run(&mut ours(&home, &["forget", thread])).ended(End::Code(0)).stdout;
        for file in files.iter().filter(|file| file.starts_with(home.codex())) {
            assert!(forgotten.contains(text(file)), "{layout:?}: {forgotten}");
        }
        measured.push(imported);
    }
    assert!(measured.iter().all(|one| *one == measured[0]), "{measured:?}");
}

#[test]
fn a_session_whose_id_is_no_uuid_is_one_for_every_command_and_a_bad_id_is_named() {
    let home = Home::new(NO_MODEL);
    let lines = fs::read_to_string(original("exec-basic")).expect("the corpus");
    let first: Value = serde_json::from_str(lines.lines().next().expect("a line")).expect("JSON");
    let own = first["payload"]["id"].as_str().expect("an id");
    let folder = home.sessions().join("2026/10/06");
    fs::create_dir_all(&folder).expect("make a folder");
    let put = |id: &str, name: &str| {
        let file = folder.join(format!("rollout-2026-10-06T12-00-00-{name}.jsonl"));
        fs::write(&file, lines.replace(own, id)).expect("write a file");
        file
    };
    let file = put("sess-abc", "sess-abc");
    assert_imported(&home, &[text(&file)], "1 new, 0 updated, 0 unchanged, 0 failed");
    for words in ["sess-abc", text(&folder), "--all"] {
        assert_imported(&home, &[words], "0 new, 0 updated, 1 unchanged, 0 failed");
    }
    let trace = stored(&home, "sess-abc").expect("a trace");
    assert_eq!(trace.metadata["session"], "sess-abc");
    let by_id = measure(&show(&home, "sess-abc"));
    assert_eq!(by_id, measure(&show(&home, text(&file))));
    run(&mut ours(&home, &["forget", "sess-abc"])).ended(End::Code(0));
    assert!(stored(&home, "sess-abc").is_none());
    let nonsense = run(&mut ours(&home, &["show", "nonsense"])).ended(End::Code(1));
    assert!(nonsense.stderr.contains("nonsense is neither a trace id"), "{}", nonsense.stderr);

    let bad = put("../up", "up");
    for words in [text(&bad), text(&folder)] {
        let outcome = import(&home, &[words]).ended(End::Code(1));
        let why = "rollout-2026-10-06T12-00-00-up.jsonl: its session id \"../up\" can name no trace";
        assert!(outcome.stdout.contains(why), "{}", outcome.stdout);
    }
}
