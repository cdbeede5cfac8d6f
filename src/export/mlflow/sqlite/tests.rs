//! The exporter against SQLite itself, on every schema that MLflow has had.

use super::*;
use crate::export::mlflow::keys;
use crate::trace::ids::SpanId;
use crate::trace::model::{Span, SpanEvent, SpanStatus, SpanType, TraceState};
use rusqlite::params;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

const SCHEMAS: [(&str, &str); 6] = [
    ("ours", create::SCHEMA),
    ("3.6.0", include_str!("../../../../tests/fixtures/mlflow-3.6.0.sql")),
    ("3.10.1", include_str!("../../../../tests/fixtures/mlflow-3.10.1.sql")),
    ("3.14.0", include_str!("../../../../tests/fixtures/mlflow-3.14.0.sql")),
    ("3.17.2", include_str!("../../../../tests/fixtures/mlflow-3.17.2.sql")),
    (
        "3.14.0 on its way to 3.17",
        concat!(
            include_str!("../../../../tests/fixtures/mlflow-3.14.0.sql"),
            "ALTER TABLE trace_info ADD COLUMN trace_name VARCHAR(4096);
             ALTER TABLE trace_info ADD COLUMN session_id VARCHAR(250);
             ALTER TABLE trace_info ADD COLUMN input_tokens BIGINT;
             ALTER TABLE trace_info ADD COLUMN output_tokens BIGINT;
             ALTER TABLE trace_info ADD COLUMN total_tokens BIGINT;
             ALTER TABLE trace_info ADD COLUMN cache_read_input_tokens BIGINT;
             ALTER TABLE trace_info ADD COLUMN cache_creation_input_tokens BIGINT;
             ALTER TABLE trace_info ADD COLUMN input_cost FLOAT;
             ALTER TABLE trace_info ADD COLUMN output_cost FLOAT;
             ALTER TABLE trace_info ADD COLUMN total_cost FLOAT;
             ALTER TABLE spans ADD COLUMN input_cost FLOAT;
             ALTER TABLE spans ADD COLUMN output_cost FLOAT;
             ALTER TABLE spans ADD COLUMN total_cost FLOAT;
             ALTER TABLE spans ADD COLUMN model_name VARCHAR(500);
             ALTER TABLE spans ADD COLUMN model_provider VARCHAR(500);"
        ),
    ),
];

/// Long enough for eight threads that make a database at once.
const BUSY: Duration = Duration::from_secs(20);

struct Store {
    folder: TempDir,
}

impl Store {
    /// No database yet.
    fn new() -> Store {
        Store { folder: TempDir::new().unwrap() }
    }

    /// A database as some MLflow made it.
    fn with(schema: &str) -> Store {
        let store = Store::new();
        let connection = Connection::open(store.path()).unwrap();
        connection.execute_batch(&format!("BEGIN; {schema} COMMIT;")).unwrap();
        store
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("mlflow.db")
    }

    fn sql(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    fn run(&self, sql: &str) {
        self.sql().execute_batch(sql).unwrap();
    }

    /// The rows of a query, one text each.
    fn rows(&self, sql: &str) -> Vec<String> {
        let connection = self.sql();
        let mut statement = connection.prepare(sql).unwrap();
        let columns = statement.column_count();
        let rows = statement.query_map([], |row| {
            let cells = (0..columns).map(|index| match row.get_ref(index).unwrap() {
                rusqlite::types::ValueRef::Null => "-".to_owned(),
                rusqlite::types::ValueRef::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
                rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                rusqlite::types::ValueRef::Real(number) => number.to_string(),
                rusqlite::types::ValueRef::Blob(_) => "blob".to_owned(),
            });
            Ok(cells.collect::<Vec<_>>().join("|"))
        });
        rows.unwrap().collect::<Result<_, _>>().unwrap()
    }

    fn export(&self, trace: &Trace) -> Result<Delivered, ExportError> {
        self.export_to(Experiment::Name("codex-sessions".to_owned()), trace)
    }

    fn export_to(&self, experiment: Experiment, trace: &Trace) -> Result<Delivered, ExportError> {
        SqliteExporter::open(&self.path(), experiment, BUSY)?.export(trace, None)
    }

    /// Without waiting for anybody.
    fn refused(&self, trace: &Trace) -> String {
        let experiment = Experiment::Name("codex-sessions".to_owned());
        let exporter = SqliteExporter::open(&self.path(), experiment, Duration::ZERO);
        message(exporter.and_then(|mut exporter| exporter.export(trace, None)).unwrap_err())
    }

    fn read(&self) -> Trace {
        read(&self.path(), trace().id).unwrap().unwrap()
    }
}

fn span(number: u8, parent: Option<u8>, name: &str, span_type: SpanType) -> Span {
    let second = |second: u8| format!("2026-11-22T09:54:{second:02}.125Z").parse().unwrap();
    Span {
        id: SpanId([number; 8]),
        parent: parent.map(|parent| SpanId([parent; 8])),
        name: name.to_owned(),
        span_type,
        status: SpanStatus::Ok,
        started_at: second(number),
        ended_at: second(30),
        inputs: json!({"prompt": name}),
        outputs: Value::Null,
        attributes: Map::new(),
        events: Vec::new(),
    }
}

fn trace() -> Trace {
    let object = |value: Value| value.as_object().cloned().unwrap();
    let text = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    };
    let mut call = span(2, Some(1), "llm_call_1", SpanType::Llm);
    call.outputs = json!({"response": "nö"});
    call.attributes = object(json!({
        "input_tokens": 100,
        "mlflow.chat.tokenUsage": {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120},
        "mlflow.llm.model": "gpt-5-codex",
        "mlflow.llm.provider": "openai",
        "mlflow.llm.cost": {"input_cost": 0.25, "output_cost": 0.5, "total_cost": 0.75},
    }));
    let mut tool = span(3, Some(2), "tool_exec", SpanType::Tool);
    tool.status = SpanStatus::Error { message: "exit code 3".to_owned() };
    tool.events = vec![SpanEvent {
        name: "exception".to_owned(),
        at: tool.ended_at,
        attributes: object(json!({"exception.type": "ToolError", "exception.message": "exit code 3"})),
    }];
    let root = span(1, None, "codex_cli_session", SpanType::Agent);
    Trace {
        id: TraceId([7; 16]),
        name: "codex_cli_session".to_owned(),
        state: TraceState::Ok,
        started_at: root.started_at,
        ended_at: root.ended_at,
        request_preview: Some("write a parser".to_owned()),
        response_preview: None,
        metadata: text(&[
            ("mlflow.trace_schema.version", "3"),
            (keys::SESSION, "01a202b6-a73e-7ee3-8243-251c871b1d4f"),
            (
                keys::TOKEN_USAGE,
                r#"{"input_tokens": 100, "output_tokens": 20, "total_tokens": 120, "cache_read_input_tokens": 50}"#,
            ),
            (keys::COST, r#"{"input_cost": 0.25, "output_cost": 0.5, "total_cost": 0.75}"#),
            ("source", "codex_cli"),
            ("codex.tokens_reconciled", "false"),
        ]),
        tags: text(&[("codex.cli_version", "0.169.0"), ("codex.status", "running")]),
        spans: vec![root, call, tool],
    }
}

/// The same session after a resume: another status, one span less, one more, nothing to complain about.
fn resumed() -> Trace {
    let mut trace = trace();
    trace.state = TraceState::Error;
    trace.metadata.remove("codex.tokens_reconciled");
    trace.tags.insert("codex.status".to_owned(), "completed".to_owned());
    trace.spans.truncate(2);
    trace.spans.push(span(4, Some(1), "llm_call_2", SpanType::Llm));
    trace
}

fn message(error: ExportError) -> String {
    match error {
        ExportError::Transient { reason, .. } => format!("transient: {reason}"),
        ExportError::Target(reason) => format!("target: {reason}"),
        ExportError::Trace(reason) => format!("trace: {reason}"),
        ExportError::Stopped => "stopped".into(),
    }
}

#[test]
fn a_trace_comes_back_whole_from_every_schema() {
    for (version, schema) in SCHEMAS {
        let store = Store::with(schema);
        assert_eq!(store.export(&trace()).unwrap().experiment_id, "1", "{version}");
        assert_eq!(store.read(), trace(), "{version}");
        assert_eq!(store.rows("PRAGMA foreign_key_check"), [""; 0], "{version}");
    }
}

#[test]
fn an_update_is_in_place_and_leaves_nothing_behind() {
    for (version, schema) in SCHEMAS {
        let store = Store::with(schema);
        store.export(&trace()).unwrap();
        let before = store.rows("SELECT rowid FROM trace_info");
        store.export(&resumed()).unwrap();
        assert_eq!(store.read(), resumed(), "{version}");
        assert_eq!(store.rows("SELECT rowid FROM trace_info"), before, "{version}");
        store.export(&resumed()).unwrap();
        assert_eq!(store.read(), resumed(), "{version}");
    }
}

#[test]
fn what_people_added_in_mlflow_survives_an_update() {
    for (version, schema) in SCHEMAS {
        let store = Store::with(schema);
        store.export(&trace()).unwrap();
        let id = trace().id;
        store.run(&format!(
            "PRAGMA foreign_keys = ON;
             INSERT INTO assessments (assessment_id, trace_id, name, assessment_type, value, created_timestamp,
               last_updated_timestamp, source_type, valid)
               VALUES ('a-1', '{id}', 'good', 'feedback', 'true', 1, 1, 'HUMAN', 1);
             INSERT INTO trace_tags (request_id, key, value) VALUES ('{id}', 'reviewed', 'yes');
             UPDATE trace_tags SET value = 'mine' WHERE key = 'codex.status';
             DELETE FROM trace_tags WHERE key = 'codex.cli_version';"
        ));
        match version {
            "3.17.2" => store.run("UPDATE trace_info SET trace_name = 'The parser'"),
            _ => store.run("UPDATE trace_tags SET value = 'The parser' WHERE key = 'mlflow.traceName'"),
        }
        for _ in 0..2 {
            store.export(&resumed()).unwrap();
            let mut expected = resumed();
            expected.name = "The parser".to_owned();
            expected.tags = [("codex.status", "mine"), ("reviewed", "yes")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into();
            assert_eq!(store.read(), expected, "{version}");
            assert_eq!(store.rows("SELECT assessment_id FROM assessments"), ["a-1"], "{version}");
        }
    }
}

#[test]
fn mlflow_3_10_to_3_14_find_totals_and_dimensions_where_they_look() {
    for (version, schema) in &SCHEMAS[2..4] {
        let store = Store::with(schema);
        for _ in 0..2 {
            store.export(&trace()).unwrap();
            assert_eq!(
                store.rows("SELECT key, value FROM trace_metrics ORDER BY key"),
                ["cache_read_input_tokens|50", "input_tokens|100", "output_tokens|20", "total_tokens|120"],
                "{version}"
            );
            assert_eq!(
                store.rows("SELECT span_id, key, value FROM span_metrics ORDER BY key"),
                [
                    "0202020202020202|input_cost|0.25",
                    "0202020202020202|output_cost|0.5",
                    "0202020202020202|total_cost|0.75",
                ],
                "{version}"
            );
            assert_eq!(
                store.rows("SELECT name, dimension_attributes FROM spans ORDER BY span_id"),
                [
                    "codex_cli_session|-",
                    r#"llm_call_1|{"mlflow.llm.model": "gpt-5-codex", "mlflow.llm.provider": "openai"}"#,
                    "tool_exec|-",
                ],
                "{version}"
            );
        }
    }
}

#[test]
fn mlflow_3_17_finds_totals_and_dimensions_where_it_looks() {
    let store = Store::with(SCHEMAS[4].1);
    store.export(&trace()).unwrap();
    store.export(&trace()).unwrap();
    assert_eq!(
        store.rows(
            "SELECT trace_name, session_id, input_tokens, output_tokens, total_tokens, cache_read_input_tokens,
               cache_creation_input_tokens, input_cost, output_cost, total_cost, db_payload_generation
             FROM trace_info"
        ),
        ["codex_cli_session|01a202b6-a73e-7ee3-8243-251c871b1d4f|100|20|120|50|-|0.25|0.5|0.75|2"]
    );
    assert_eq!(
        store.rows(
            "SELECT name, model_name, model_provider, input_cost, output_cost, total_cost FROM spans
             ORDER BY span_id"
        ),
        ["codex_cli_session|-|-|-|-|-", "llm_call_1|gpt-5-codex|openai|0.25|0.5|0.75", "tool_exec|-|-|-|-|-"]
    );
    assert_eq!(
        store.rows("SELECT key FROM trace_request_metadata ORDER BY key"),
        [
            "codex.tags_written",
            "codex.tokens_reconciled",
            "mlflow.trace.infoFinalized",
            "mlflow.trace_schema.version",
            "source",
        ]
    );
    assert_eq!(
        store.rows("SELECT key FROM trace_tags ORDER BY key"),
        ["codex.cli_version", "codex.status", "mlflow.artifactLocation", "mlflow.trace.spansLocation"]
    );
}

#[test]
fn totals_on_their_way_into_columns_are_in_both_places() {
    let store = Store::with(SCHEMAS[5].1);
    store.export(&trace()).unwrap();
    assert_eq!(
        store.rows(
            "SELECT trace_name, total_tokens, total_cost,
               (SELECT value FROM trace_tags WHERE key = 'mlflow.traceName'),
               (SELECT value FROM trace_metrics WHERE key = 'total_tokens'),
               (SELECT count(*) FROM trace_request_metadata WHERE key IN
                 ('mlflow.trace.session', 'mlflow.trace.tokenUsage', 'mlflow.trace.cost'))
             FROM trace_info"
        ),
        ["codex_cli_session|120|0.75|codex_cli_session|120|3"]
    );
    assert_eq!(
        store.rows(
            "SELECT model_name, total_cost, dimension_attributes IS NOT NULL FROM spans WHERE type = 'LLM'"
        ),
        ["gpt-5-codex|0.75|1"]
    );
}

#[test]
fn a_new_database_is_private_and_has_the_experiments_that_mlflow_expects() {
    let store = Store::new();
    let path = store.folder.path().join("a/b/mlflow.db");
    SqliteExporter::open(&path, Experiment::Name("codex-sessions".to_owned()), BUSY)
        .unwrap()
        .export(&trace(), None)
        .unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!([mode(&path), mode(path.parent().unwrap())], [0o600, 0o700]);
    assert_eq!(mode(path.parent().unwrap().parent().unwrap()), 0o700);
    let left: Vec<_> =
        path.parent().unwrap().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["mlflow.db"]);
    let connection = Connection::open(&path).unwrap();
    let one = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(one("PRAGMA journal_mode"), "delete");
    assert_eq!(one("SELECT version_num FROM alembic_version"), "a1b2c3d4e5f6");
    assert_eq!(
        one("SELECT group_concat(experiment_id || name || lifecycle_stage) FROM experiments"),
        "0Defaultactive,1codex-sessionsactive"
    );
    let artifacts = format!("file://{}/artifacts/1", path.parent().unwrap().display());
    assert_eq!(one("SELECT artifact_location FROM experiments WHERE experiment_id = 1"), artifacts);
    assert_eq!(
        one("SELECT value FROM trace_tags WHERE key = 'mlflow.artifactLocation'"),
        format!("{artifacts}/traces/{}/artifacts", trace().id)
    );
}

#[test]
fn eight_launches_that_make_the_database_at_once_all_get_their_trace_in() {
    let store = Store::new();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let store = &store;
            scope.spawn(move || {
                let mut trace = trace();
                trace.id = TraceId([number; 16]);
                assert_eq!(store.export(&trace).unwrap().experiment_id, "1");
            });
        }
    });
    assert_eq!(store.rows("SELECT count(*) FROM trace_info"), ["8"]);
    assert_eq!(store.rows("SELECT name FROM experiments"), ["Default", "codex-sessions"]);
    assert_eq!(store.rows("PRAGMA integrity_check"), ["ok"]);
}

#[test]
fn an_experiment_is_found_by_name_or_id_and_only_made_by_name() {
    for (version, schema) in SCHEMAS {
        let store = Store::with(schema);
        store.run(
            "INSERT INTO experiments (experiment_id, name, lifecycle_stage, artifact_location)
                     VALUES (5, 'old', 'deleted', 'x'), (7, 'there', 'active', 's3://bucket/7/')",
        );
        let by_id = |id: &str| Experiment::Id(id.to_owned());
        let by_name = |name: &str| Experiment::Name(name.to_owned());
        let path = store.path();
        for (experiment, expected) in [
            (by_id("9"), format!("target: experiment 9 does not exist: {}", path.display())),
            (by_id("seven"), format!("target: experiment seven does not exist: {}", path.display())),
            (
                by_name("old"),
                format!(
                    "target: experiment old was deleted in MLflow (restore it, or choose another): {}",
                    path.display()
                ),
            ),
        ] {
            assert_eq!(message(store.export_to(experiment, &trace()).unwrap_err()), expected, "{version}");
        }
        assert_eq!(store.rows("SELECT count(*) FROM trace_info"), ["0"]);
        assert_eq!(store.export_to(by_id("7"), &trace()).unwrap().experiment_id, "7");
        // It is there already, so there it stays.
        assert_eq!(store.export_to(by_name("new"), &trace()).unwrap().experiment_id, "7");
        assert_eq!(store.rows("SELECT count(*) FROM experiments"), ["2"]);
        assert_eq!(
            store.rows("SELECT value FROM trace_tags WHERE key = 'mlflow.artifactLocation'"),
            [format!("s3://bucket/7/traces/{}/artifacts", trace().id)]
        );
    }
}

#[test]
fn reading_creates_nothing() {
    let store = Store::new();
    assert_eq!(read(&store.path(), trace().id).unwrap(), None);
    assert_eq!(store.folder.path().read_dir().unwrap().count(), 0);
}

#[test]
fn a_locked_database_is_worth_another_try() {
    let store = Store::with(create::SCHEMA);
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
fn a_file_that_is_no_mlflow_database_is_refused_and_left_alone() {
    let text = b"not a database, but long enough to be looked at ".repeat(40);
    let store = Store::new();
    std::fs::write(store.path(), &text).unwrap();
    assert_eq!(
        store.refused(&trace()),
        format!(
            "target: not a SQLite database: {} (move it away, or choose another tracking URI)",
            store.path().display()
        )
    );
    assert_eq!(std::fs::read(store.path()).unwrap(), text);

    let store = Store::with("CREATE TABLE mine (x);");
    assert_eq!(
        store.refused(&trace()),
        format!(
            "target: database schema is not one of MLflow 3.3 to 3.17: table experiments is missing \
             (upgrade it with `mlflow db upgrade`, or choose another tracking URI): {}",
            store.path().display()
        )
    );
    assert_eq!(store.rows("SELECT name FROM sqlite_master"), ["mine"]);
}

#[test]
fn a_database_that_mlflow_is_still_making_is_waited_for() {
    let store = Store::with("CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY);");
    std::thread::scope(|scope| {
        let export = scope.spawn(|| store.export(&trace()));
        store.run(&format!("BEGIN; DROP TABLE experiments; {} COMMIT;", create::SCHEMA));
        assert_eq!(export.join().unwrap().unwrap().experiment_id, "1");
    });
}

#[test]
fn spans_that_make_no_tree_never_reach_the_database() {
    let store = Store::new();
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
fn a_trace_that_mlflow_has_archived_is_not_written_over() {
    let store = Store::with(SCHEMAS[4].1);
    store.export(&trace()).unwrap();
    store.run("UPDATE trace_tags SET value = 'ARCHIVE_REPO' WHERE key = 'mlflow.trace.spansLocation'");
    let error = store.refused(&resumed());
    let id = trace().id;
    assert_eq!(
        error,
        format!(
            "trace: MLflow moved the spans of {id} out of the database (ARCHIVE_REPO): {}",
            store.path().display()
        )
    );
    assert_eq!(store.rows("SELECT count(*) FROM spans"), ["3"]);
}

#[test]
fn a_write_that_fails_half_way_leaves_the_trace_as_it_was() {
    let store = Store::with(create::SCHEMA);
    store.export(&trace()).unwrap();
    store.run(
        "CREATE TRIGGER full BEFORE INSERT ON spans WHEN NEW.name = 'llm_call_2'
         BEGIN SELECT RAISE(ABORT, 'no more spans'); END",
    );
    let error = store.refused(&resumed());
    assert_eq!(error, format!("target: no more spans: {}", store.path().display()));
    assert_eq!(store.read(), trace());
}

#[test]
fn what_is_too_wide_for_mlflow_is_cut() {
    let store = Store::new();
    let mut wide = trace();
    wide.metadata.insert("session_file".to_owned(), "ö".repeat(251));
    wide.metadata.insert("fits".to_owned(), "ö".repeat(250));
    store.export(&wide).unwrap();
    let read = store.read();
    assert_eq!(read.metadata["session_file"], "ö".repeat(247) + "...");
    assert_eq!(read.metadata["fits"], "ö".repeat(250));
}

#[test]
fn a_newer_mlflow_between_two_writes_changes_nothing() {
    let store = Store::with(create::SCHEMA);
    store.export(&trace()).unwrap();
    // What 3.17's migration does to a trace: name, session, tokens and cost move into columns.
    let connection = store.sql();
    for (column, kind) in [
        ("trace_name", "TEXT"),
        ("session_id", "TEXT"),
        ("input_tokens", "BIGINT"),
        ("output_tokens", "BIGINT"),
        ("total_tokens", "BIGINT"),
        ("cache_read_input_tokens", "BIGINT"),
        ("cache_creation_input_tokens", "BIGINT"),
        ("input_cost", "FLOAT"),
        ("output_cost", "FLOAT"),
        ("total_cost", "FLOAT"),
    ] {
        connection.execute_batch(&format!("ALTER TABLE trace_info ADD COLUMN {column} {kind}")).unwrap();
    }
    connection.execute("UPDATE trace_info SET trace_name = ?", params!["codex_cli_session"]).unwrap();
    connection.execute_batch("DELETE FROM trace_tags WHERE key = 'mlflow.traceName'").unwrap();
    store.export(&resumed()).unwrap();
    assert_eq!(store.read(), resumed());
    assert_eq!(
        store.rows("SELECT count(*) FROM trace_request_metadata WHERE key LIKE 'mlflow.trace.%'"),
        ["1"]
    );
}
