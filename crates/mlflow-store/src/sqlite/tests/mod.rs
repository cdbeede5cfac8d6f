//! The exporter against SQLite, on every schema of MLflow.

mod experiments;
mod filled;
mod forgotten;
mod places;
mod readiness;
mod refusals;
mod rows;
mod updates;

use super::connection::{SCHEMA, open};
use super::*;
use crate::tests::{message, trace};
use tempfile::TempDir;

const SCHEMAS: [(&str, &str); 7] = [
    ("ours", SCHEMA),
    ("3.6.0", include_str!("../../../../../tests/fixtures/mlflow-3.6.0.sql")),
    ("3.10.1", include_str!("../../../../../tests/fixtures/mlflow-3.10.1.sql")),
    ("3.14.0", include_str!("../../../../../tests/fixtures/mlflow-3.14.0.sql")),
    ("3.17.2", include_str!("../../../../../tests/fixtures/mlflow-3.17.2.sql")),
    ("3.18.0", include_str!("../../../../../tests/fixtures/mlflow-3.18.0.sql")),
    (
        "3.14.0 on its way to 3.17",
        concat!(
            include_str!("../../../../../tests/fixtures/mlflow-3.14.0.sql"),
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

/// Long enough for eight threads that create a database at once.
const BUSY: Duration = Duration::from_secs(20);

struct TestDatabase {
    folder: TempDir,
}

impl TestDatabase {
    /// No database yet.
    fn new() -> TestDatabase {
        TestDatabase { folder: TempDir::new().unwrap() }
    }

    /// A database as some MLflow made it.
    fn with(schema: &str) -> TestDatabase {
        let store = TestDatabase::new();
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

    /// Updates the trace by these of its spans.
    fn update(&self, trace: &Trace, spans: &[usize]) -> Result<Delivered, ExportError> {
        let spans = spans.iter().map(|at| trace.spans[*at].clone()).collect();
        let changes = Trace { spans, ..trace.clone() };
        let experiment = Experiment::Name("codex-sessions".to_owned());
        let mut exporter = SqliteExporter::open(&self.path(), experiment, BUSY)?;
        exporter.update(&changes).expect("SQLite takes updates")
    }

    /// The error of an export that does not wait for locks.
    fn refused(&self, trace: &Trace) -> String {
        let experiment = Experiment::Name("codex-sessions".to_owned());
        let exporter = SqliteExporter::open(&self.path(), experiment, Duration::ZERO);
        message(exporter.and_then(|mut exporter| exporter.export(trace, None)).unwrap_err())
    }

    fn read(&self) -> Trace {
        read(&self.path(), trace().id).unwrap().unwrap()
    }
}
