//! Refused traces, and the state of the database afterwards.

use super::*;
use crate::tests::resumed;

#[test]
fn a_locked_database_is_a_transient_failure() {
    let store = TestDatabase::with(SCHEMA);
    store.export(&trace()).unwrap();
    let other = store.sql();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let experiment = Experiment::Name("codex-sessions".to_owned());
    let mut exporter = SqliteExporter::open(&store.path(), experiment, Duration::from_millis(1)).unwrap();
    let error = message(exporter.export(&trace(), None).unwrap_err());
    assert_eq!(error, format!("transient: database is locked: {}", store.path().display()));
    other.execute_batch("ROLLBACK").unwrap();
    exporter.export(&trace(), None).unwrap();
}

#[test]
fn a_file_that_is_not_an_mlflow_database_is_refused_and_not_changed() {
    let text = b"not a database, but long enough to be looked at ".repeat(40);
    let store = TestDatabase::new();
    std::fs::write(store.path(), &text).unwrap();
    assert_eq!(
        store.refused(&trace()),
        format!(
            "target: not a SQLite database: {} (move it away, or choose another tracking URI)",
            store.path().display()
        )
    );
    assert_eq!(std::fs::read(store.path()).unwrap(), text);

    let store = TestDatabase::with("CREATE TABLE mine (x);");
    assert_eq!(
        store.refused(&trace()),
        format!(
            "target: database schema is not one of MLflow 3.3 to 3.18: table experiments is missing \
             (upgrade it with `mlflow db upgrade`, or choose another tracking URI): {}",
            store.path().display()
        )
    );
    assert_eq!(store.rows("SELECT name FROM sqlite_master"), ["mine"]);
}

#[test]
fn a_database_that_mlflow_is_still_creating_is_waited_for() {
    let store = TestDatabase::with("CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY);");
    std::thread::scope(|scope| {
        let export = scope.spawn(|| store.export(&trace()));
        store.run(&format!("BEGIN; DROP TABLE experiments; {} COMMIT;", SCHEMA));
        assert_eq!(export.join().unwrap().unwrap().experiment_id, "1");
    });
}

#[test]
fn spans_that_form_no_tree_never_reach_the_database() {
    let store = TestDatabase::new();
    let mut bad = trace();
    bad.spans[2].parent = Some(bad.spans[2].id);
    let error = store.refused(&bad);
    assert_eq!(
        error,
        format!(
            "trace: spans make no tree: span 0303030303030303 is its own parent: {}",
            store.path().display()
        )
    );
    assert_eq!(store.rows("SELECT count(*) FROM trace_info"), ["0"]);
}

#[test]
fn a_trace_that_mlflow_has_archived_is_not_overwritten() {
    let store = TestDatabase::with(SCHEMAS[4].1);
    store.export(&trace()).unwrap();
    store.run("UPDATE trace_tags SET value = 'ARCHIVE_REPO' WHERE key = 'mlflow.trace.spansLocation'");
    let error = store.refused(&resumed());
    let id = trace().id;
    assert_eq!(
        error,
        format!(
            "archived: MLflow moved the spans of {id} out of the database (ARCHIVE_REPO): {}",
            store.path().display()
        )
    );
    assert_eq!(store.rows("SELECT count(*) FROM spans"), ["3"]);
}

#[test]
fn a_write_that_fails_half_way_changes_nothing() {
    let store = TestDatabase::with(SCHEMA);
    store.export(&trace()).unwrap();
    store.run(
        "CREATE TRIGGER full BEFORE INSERT ON spans WHEN NEW.name = 'llm_call_2'
         BEGIN SELECT RAISE(ABORT, 'no more spans'); END",
    );
    let error = store.refused(&resumed());
    assert_eq!(error, format!("unclear: no more spans: {}", store.path().display()));
    assert_eq!(store.read(), trace());
}

#[test]
fn an_unknown_schema_is_refused_until_it_is_repaired() {
    let table = [
        (
            "ALTER TABLE spans RENAME TO kept",
            "ALTER TABLE kept RENAME TO spans",
            "table spans is missing (upgrade it with `mlflow db upgrade`, or choose another tracking URI)",
        ),
        (
            "DROP TABLE trace_tags;
             CREATE TABLE trace_tags (request_id TEXT, key TEXT, value TEXT, who TEXT NOT NULL,
               PRIMARY KEY (request_id, key))",
            "ALTER TABLE trace_tags DROP COLUMN who",
            "column trace_tags.who is new and must be filled (update codex-traced)",
        ),
    ];
    for (harm, repair, expected) in table {
        let store = TestDatabase::with(SCHEMA);
        store.run(harm);
        let error = store.refused(&trace());
        let path = store.path();
        assert_eq!(
            error,
            format!(
                "target: database schema is not one of MLflow 3.3 to 3.18: {expected}: {}",
                path.display()
            )
        );
        assert_eq!(store.rows("SELECT count(*) FROM trace_info"), ["0"]);
        store.run(repair);
        store.export(&trace()).unwrap();
        assert_eq!(store.read(), trace());
    }
}

#[test]
fn a_batch_is_stored_completely_or_not_at_all() {
    let store = TestDatabase::with(SCHEMA);
    let experiment = Experiment::Name("codex-sessions".to_owned());
    let mut exporter = SqliteExporter::open(&store.path(), experiment, BUSY).unwrap();
    let (one, mut other) = (trace(), trace());
    other.id = TraceId([9; 16]);
    let broken = Trace { spans: vec![other.spans[0].clone(), other.spans[0].clone()], ..other.clone() };
    let count = || store.rows("SELECT count(*) FROM trace_info");
    assert_eq!((exporter.export_together(&[&one, &broken]), count()), (None, vec!["0".to_owned()]));
    store.run("CREATE TRIGGER t BEFORE INSERT ON spans WHEN new.trace_id LIKE '%0909' BEGIN SELECT raise(ABORT, 'no'); END;");
    assert_eq!((exporter.export_together(&[&one, &other]), count()), (None, vec!["0".to_owned()]));
    store.run("DROP TRIGGER t");
    let delivered = exporter.export_together(&[&one, &other]).unwrap();
    assert_eq!(delivered, [&one, &other].map(|trace| exporter.export(trace, None).unwrap()));
    assert_eq!(count(), ["2"]);
}
