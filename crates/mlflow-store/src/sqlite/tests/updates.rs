//! Updates of a trace by some of its spans, and exports that write only what differs.

use super::*;
use crate::ids::SpanId;
use crate::tests::resumed;
use crate::trace::{Span, TraceState};

/// The trace while its session runs: the first span only, then two, then all, with a changed root each time.
fn growing() -> [Trace; 3] {
    [1, 2, 3].map(|count: usize| {
        let mut part = trace();
        part.spans.truncate(count);
        part.spans[0].attributes.insert("turns", (count as u64).into());
        part.state = if count == 3 { TraceState::Ok } else { TraceState::InProgress };
        part.request_preview = Some(format!("prompt {count}"));
        part.tags.insert("codex.status".to_owned(), format!("at {count}"));
        part
    })
}

/// Every row of every table, except counters and times of writing.
fn all_rows(store: &TestDatabase) -> Vec<String> {
    let tables = store.rows("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name");
    let rows = |table: String| {
        let columns = store.rows(&format!(
            "SELECT group_concat('\"' || name || '\"') FROM pragma_table_xinfo('{table}')
             WHERE name NOT IN ('db_payload_generation', 'creation_time', 'last_update_time', 'artifact_location')"
        ));
        let sql = format!("SELECT '{table}', {} FROM \"{table}\"", columns[0]);
        let mut rows = store.rows(&sql);
        rows.retain(|row| !row.contains("|mlflow.artifactLocation|"));
        rows.sort();
        rows
    };
    tables.into_iter().flat_map(rows).collect()
}

#[test]
fn a_trace_that_grew_by_updates_has_the_rows_of_a_trace_exported_whole() {
    for (version, schema) in SCHEMAS {
        let (grown, whole) = (TestDatabase::with(schema), TestDatabase::with(schema));
        let [first, second, third] = growing();
        grown.export(&first).unwrap();
        assert_eq!(grown.update(&second, &[0, 1]).unwrap().spans_sent, 2, "{version}");
        assert_eq!(grown.read(), second, "{version}");
        grown.update(&third, &[2]).unwrap();
        let more = Trace { spans: [&second.spans[..], &third.spans[2..]].concat(), ..second };
        assert_eq!(grown.read(), more, "{version}: the information follows with the root");
        grown.update(&third, &[0]).unwrap();
        whole.export(&third).unwrap();
        assert_eq!(all_rows(&grown), all_rows(&whole), "{version}");
    }
}

#[test]
fn an_update_counts_as_a_write_and_replaces_the_metrics_of_its_spans_only() {
    let store = TestDatabase::with(SCHEMAS[3].1);
    let mut trace = trace();
    let mut priced = |at: usize, cost: f64| {
        let costs = serde_json::json!({"total_cost": cost});
        trace.spans[at].attributes.insert(mlflow_keys::SPAN_COST, costs.into());
        trace.clone()
    };
    priced(1, 1.0);
    store.export(&priced(2, 2.0)).unwrap();
    let changed = priced(2, 4.0);
    store.update(&changed, &[2]).unwrap();
    assert_eq!(
        store.rows("SELECT span_id, key, value FROM span_metrics ORDER BY span_id"),
        ["0202020202020202|total_cost|1", "0303030303030303|total_cost|4"]
    );
    store.update(&changed, &[]).unwrap();
    assert_eq!(store.rows("SELECT db_payload_generation FROM trace_info"), ["3"]);
}

#[test]
fn what_people_added_survives_an_update() {
    for (version, schema) in SCHEMAS {
        let store = TestDatabase::with(schema);
        let [first, second, third] = growing();
        store.export(&first).unwrap();
        let id = first.id;
        store.run(&format!(
            "INSERT INTO assessments (assessment_id, trace_id, name, assessment_type, value, created_timestamp,
               last_updated_timestamp, source_type, valid)
               VALUES ('a-1', '{id}', 'good', 'feedback', 'true', 1, 1, 'HUMAN', 1);
             INSERT INTO trace_tags (request_id, key, value) VALUES ('{id}', 'reviewed', 'yes');
             DELETE FROM trace_tags WHERE key = 'codex.cli_version';"
        ));
        store.update(&second, &[0, 1]).unwrap();
        store.run("UPDATE trace_tags SET value = 'mine' WHERE key = 'codex.status'");
        store.update(&third, &[0, 2]).unwrap();
        let tags = [("codex.status", "mine"), ("reviewed", "yes")];
        let tags = tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        assert_eq!(store.read(), Trace { tags, ..third }, "{version}");
        assert_eq!(store.rows("SELECT assessment_id FROM assessments"), ["a-1"], "{version}");
    }
}

#[test]
fn an_update_of_a_trace_that_is_gone_creates_nothing() {
    let store = TestDatabase::with(SCHEMA);
    let experiment = Experiment::Name("codex-sessions".to_owned());
    let mut exporter = SqliteExporter::open(&store.path(), experiment, BUSY).unwrap();
    let mut refused = || message(exporter.update(&trace()).unwrap().unwrap_err());
    let (id, path) = (trace().id, store.path());
    let gone = format!("gone: database has no trace {id}: {}", path.display());
    assert_eq!(refused(), gone);
    store.export(&trace()).unwrap();
    assert!(forget(&path, id, BUSY).unwrap());
    assert_eq!(refused(), gone);
    std::fs::write(&path, "").unwrap();
    assert_eq!((refused(), std::fs::read(&path).unwrap().len()), (gone.clone(), 0));
    std::fs::remove_file(&path).unwrap();
    assert_eq!((refused(), path.exists()), (gone, false));
}

#[test]
fn an_update_of_an_archived_or_broken_trace_is_refused() {
    let store = TestDatabase::with(SCHEMAS[4].1);
    store.export(&trace()).unwrap();
    let own_parent = |mut trace: Trace| {
        trace.spans[2].parent = Some(trace.spans[2].id);
        message(store.update(&trace, &[2]).unwrap_err())
    };
    assert!(own_parent(trace()).starts_with("trace: spans make no tree: "));
    store.run("UPDATE trace_tags SET value = 'ARCHIVE_REPO' WHERE key = 'mlflow.trace.spansLocation'");
    let refused = message(store.update(&resumed(), &[0, 2]).unwrap_err());
    assert!(refused.starts_with("archived: MLflow moved the spans of "), "{refused}");
    assert_eq!(store.read().spans, trace().spans);
}

/// The names of the spans whose row an export wrote.
fn written_by(store: &TestDatabase, export: impl FnOnce()) -> Vec<String> {
    store.run(
        "CREATE TABLE written (name TEXT);
         CREATE TRIGGER inserted AFTER INSERT ON spans BEGIN INSERT INTO written VALUES (NEW.name); END;
         CREATE TRIGGER updated AFTER UPDATE ON spans BEGIN INSERT INTO written VALUES (NEW.name); END;",
    );
    export();
    let names = store.rows("SELECT name FROM written ORDER BY name");
    store.run("DROP TRIGGER inserted; DROP TRIGGER updated; DROP TABLE written");
    names
}

#[test]
fn an_export_writes_only_the_rows_that_differ() {
    for (version, schema) in SCHEMAS {
        let store = TestDatabase::with(schema);
        store.export(&trace()).unwrap();
        let export = |trace: &Trace| written_by(&store, || drop(store.export(trace).unwrap()));
        assert_eq!(export(&trace()), [""; 0], "{version}");
        let mut changed = trace();
        changed.spans[2].outputs = serde_json::json!("more").into();
        assert_eq!(export(&changed), ["tool_exec"], "{version}");
        // As in a database from a backup.
        store.run("UPDATE spans SET content = replace(content, 'nö', 'no') WHERE name = 'llm_call_1'");
        store.run("DELETE FROM spans WHERE name = 'tool_exec'");
        assert_eq!(export(&changed), ["llm_call_1", "tool_exec"], "{version}");
        assert_eq!(store.read(), changed, "{version}");
        let kept: Vec<Span> = changed.spans[..2].to_vec();
        let fewer = Trace { spans: kept, ..changed };
        assert_eq!(export(&fewer), [""; 0], "{version}");
        assert_eq!(store.read(), fewer, "{version}");
    }
}

/// A trace with this many spans below the root.
fn with_spans(count: u32) -> Trace {
    let mut long = trace();
    long.spans.truncate(2);
    let one = long.spans.pop().unwrap();
    let span = |number: u32| {
        let [a, b, c, d] = number.to_be_bytes();
        Span { id: SpanId([9, 9, 9, 9, a, b, c, d]), ..one.clone() }
    };
    long.spans.extend((0..count).map(span));
    long
}

/// The bytes of the database that an update of the root and two spans writes.
fn bytes_of_update(count: u32) -> u64 {
    let store = TestDatabase::with(SCHEMAS[5].1);
    let mut long = with_spans(count);
    store.export(&long).unwrap();
    // In this mode each page that is written makes the log longer, as long as another connection reads it.
    store.run("PRAGMA journal_mode = WAL");
    let other = store.sql();
    other.execute_batch("BEGIN; SELECT count(*) FROM spans").unwrap();
    let log = || std::fs::metadata(store.path().with_extension("db-wal")).unwrap().len();
    let before = log();
    for at in [0, 1, 2] {
        long.spans[at].outputs = serde_json::json!("changed").into();
    }
    store.update(&long, &[0, 1, 2]).unwrap();
    log() - before
}

#[test]
fn an_update_of_a_long_session_writes_little_more_than_of_a_short_one() {
    let (short, long) = (bytes_of_update(10), bytes_of_update(3_000));
    assert!((1..200_000).contains(&short) && long < short + 50_000, "{short} {long}");
}
