//! Detects which of MLflow's schemas a database has. Decided by its columns; MLflow 3.3 to 3.18 have four
//! layouts.

use super::error::{Result, UnknownShape};
use rusqlite::{Connection, OptionalExtension};
use std::collections::BTreeMap;

/// What differs between the databases of MLflow 3.3 to 3.18, for the tables of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SchemaShape {
    /// The name, the session, the tokens and the cost of a trace.
    pub(super) totals: StoredIn,
    /// The model and the cost of a span, which its content holds in every schema.
    pub(super) span_facts: StoredIn,
    /// Whether the name of an experiment is unique within a workspace only (3.10 and later).
    pub(super) has_workspaces: bool,
    /// Whether MLflow counts the writes to a trace (3.14 and later), to detect writes while it archives the
    /// trace.
    pub(super) counts_writes: bool,
}

/// The tested schema revisions, oldest first: the one that codex-traced creates, and the last one of each
/// release.
const TRIED: [&str; 10] = [
    "a1b2c3d4e5f6",
    "1a0cddfcaa16",
    "71994744cf8e",
    "bf29a5ff90ea",
    "1bd49d398cd23",
    "1b5f0d9ad7c1",
    "7d34483879f0",
    "b7e4c1a90f23",
    REVISION_3_17,
    REVISION_3_18,
];
const REVISION_3_17: &str = "dc11669786a5";
const REVISION_3_18: &str = "f4a9b2c7d1e6";

/// Where the database keeps totals or facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoredIn {
    /// In tags and metadata, or in the content, only.
    Text,
    /// Also as metrics (3.10 to 3.14): rows of `trace_metrics` with the tokens; rows of `span_metrics`, and
    /// `spans.dimension_attributes`.
    Metrics,
    /// As metrics and in columns, during the migration to 3.17, which empties columns whose rows it does not
    /// find, and deletes the rows at its end.
    Moving,
    /// In columns (3.17 and later); totals only there.
    Columns,
}

impl StoredIn {
    /// Whether totals are in tags and metadata.
    pub(super) fn in_metadata(self) -> bool {
        self != StoredIn::Columns
    }

    pub(super) fn in_metrics(self) -> bool {
        matches!(self, StoredIn::Metrics | StoredIn::Moving)
    }

    pub(super) fn in_columns(self) -> bool {
        matches!(self, StoredIn::Moving | StoredIn::Columns)
    }

    fn new(in_columns: bool, in_metrics: bool) -> StoredIn {
        match (in_columns, in_metrics) {
            (true, true) => StoredIn::Moving,
            (true, false) => StoredIn::Columns,
            (false, true) => StoredIn::Metrics,
            (false, false) => StoredIn::Text,
        }
    }
}

/// A table's columns; true if an INSERT must name the column.
type Columns = BTreeMap<String, bool>;

const EXPERIMENTS: &str =
    "experiment_id name artifact_location lifecycle_stage creation_time last_update_time";
const WORKSPACE: &str = "workspace";
const TRACE_INFO: &str =
    "request_id experiment_id timestamp_ms execution_time_ms status request_preview response_preview";
const TRACE_TOTALS: &str = "trace_name session_id input_tokens output_tokens total_tokens cache_read_input_tokens \
                            cache_creation_input_tokens input_cost output_cost total_cost";
const GENERATION: &str = "db_payload_generation";
const PAIRS: &str = "request_id key value";
const SPANS: &str = "trace_id experiment_id span_id parent_span_id name type status start_time_unix_nano \
                     end_time_unix_nano content";
const SPAN_COLUMNS: &str = "input_cost output_cost total_cost model_name model_provider";
const DIMENSIONS: &str = "dimension_attributes";
const SPAN_METRICS: &str = "trace_id span_id key value";

/// The tables that an export writes: the columns that it always fills, and groups of columns that only some
/// versions have. An incomplete group counts as absent.
const WRITTEN: [(&str, &str, &[&str]); 5] = [
    ("experiments", EXPERIMENTS, &[WORKSPACE]),
    ("trace_info", TRACE_INFO, &[TRACE_TOTALS, GENERATION]),
    ("trace_tags", PAIRS, &[]),
    ("trace_request_metadata", PAIRS, &[]),
    ("spans", SPANS, &[SPAN_COLUMNS, DIMENSIONS]),
];

impl SchemaShape {
    /// The shape of an open database; inside a transaction, it stays true until the end of it.
    pub(super) fn read(connection: &Connection) -> Result<SchemaShape> {
        let mut tables = BTreeMap::new();
        for table in WRITTEN.iter().map(|(table, ..)| *table).chain(["trace_metrics", "span_metrics"]) {
            tables.insert(table, columns(connection, table)?);
        }
        Ok(SchemaShape::decide(&tables)?)
    }

    fn decide(tables: &BTreeMap<&'static str, Columns>) -> Result<SchemaShape, UnknownShape> {
        let has = |table: &str, names: &str| names.split(' ').all(|name| tables[table].contains_key(name));
        for (table, always, sometimes) in WRITTEN {
            let there = &tables[table];
            if there.is_empty() {
                return Err(UnknownShape::NoTable(table));
            }
            if let Some(missing) = always.split(' ').find(|name| !there.contains_key(*name)) {
                return Err(UnknownShape::NoColumn(table, missing));
            }
            let groups = sometimes.iter().filter(|group| has(table, group)).chain([&always]);
            let known: Vec<&str> = groups.flat_map(|group| group.split(' ')).collect();
            if let Some((name, _)) =
                there.iter().find(|(name, must)| **must && !known.contains(&name.as_str()))
            {
                return Err(UnknownShape::NewColumn(table, name.clone()));
            }
        }
        // These are the last that 3.17's migration removes.
        let dimensions = has("spans", DIMENSIONS) && has("span_metrics", SPAN_METRICS);
        let in_columns = has("trace_info", TRACE_TOTALS);
        let in_metrics = has("trace_metrics", PAIRS) && (dimensions || !in_columns);
        Ok(SchemaShape {
            totals: StoredIn::new(in_columns, in_metrics),
            span_facts: StoredIn::new(has("spans", SPAN_COLUMNS), dimensions),
            has_workspaces: has("experiments", WORKSPACE),
            counts_writes: has("trace_info", GENERATION),
        })
    }

    /// The oldest tested MLflow with this schema. An untested revision is written to as well, if its tables have
    /// the known columns. Alembic's revision is missing where another program manages the tables.
    pub(super) fn version(self, connection: &Connection) -> rusqlite::Result<String> {
        let SchemaShape { totals, span_facts, has_workspaces, counts_writes } = self;
        let revision: Option<String> = match connection.table_exists(None, "alembic_version")? {
            false => None,
            true => connection
                .query_row("SELECT version_num FROM alembic_version", [], |row| row.get(0))
                .optional()?,
        };
        let version = match revision.as_deref() {
            _ if totals == StoredIn::Moving || span_facts == StoredIn::Moving => {
                "MLflow 3.14, being upgraded to 3.17"
            }
            Some(REVISION_3_17) if totals == StoredIn::Columns => "MLflow 3.17",
            Some(REVISION_3_18) if totals == StoredIn::Columns => "MLflow 3.18",
            _ if totals == StoredIn::Columns => "MLflow 3.17 or newer",
            _ if counts_writes => "MLflow 3.14",
            _ if has_workspaces => "MLflow 3.10",
            _ => "MLflow 3.6",
        };
        Ok(match revision.filter(|revision| !TRIED.contains(&revision.as_str())) {
            Some(untried) => format!("{version} (revision {untried} was not tried; its tables are as known)"),
            None => version.to_owned(),
        })
    }
}

/// The table's columns, without generated ones, which `table_info` omits.
fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Columns> {
    let mut statement =
        connection.prepare("SELECT name, \"notnull\" AND dflt_value IS NULL FROM pragma_table_info(?)")?;
    statement.query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

#[cfg(test)]
mod tests {
    use super::super::error::SqliteError;
    use super::*;

    fn open(sql: &str) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(sql).unwrap();
        connection
    }

    const SHAPE_3_6: SchemaShape = SchemaShape {
        totals: StoredIn::Text,
        span_facts: StoredIn::Text,
        has_workspaces: false,
        counts_writes: false,
    };
    const SHAPE_3_10: SchemaShape = SchemaShape {
        totals: StoredIn::Metrics,
        span_facts: StoredIn::Metrics,
        has_workspaces: true,
        counts_writes: false,
    };
    const SHAPE_3_17: SchemaShape = SchemaShape {
        totals: StoredIn::Columns,
        span_facts: StoredIn::Columns,
        has_workspaces: true,
        counts_writes: true,
    };

    #[test]
    fn the_schema_of_every_supported_mlflow_is_known() {
        let cases = [
            (super::super::connection::SCHEMA, SHAPE_3_6),
            (include_str!("../../../../tests/fixtures/mlflow-3.6.0.sql"), SHAPE_3_6),
            (include_str!("../../../../tests/fixtures/mlflow-3.10.1.sql"), SHAPE_3_10),
            (
                include_str!("../../../../tests/fixtures/mlflow-3.14.0.sql"),
                SchemaShape { counts_writes: true, ..SHAPE_3_10 },
            ),
            (include_str!("../../../../tests/fixtures/mlflow-3.17.2.sql"), SHAPE_3_17),
            (include_str!("../../../../tests/fixtures/mlflow-3.18.0.sql"), SHAPE_3_17),
        ];
        for (sql, expected) in cases {
            assert_eq!(SchemaShape::read(&open(sql)).unwrap(), expected, "{}", sql.lines().next().unwrap());
        }
    }

    #[test]
    fn a_schema_that_an_export_cannot_fill_is_unknown() {
        let cases = [
            ("DROP TABLE spans;", UnknownShape::NoTable("spans")),
            (
                "ALTER TABLE trace_info DROP COLUMN request_preview;",
                UnknownShape::NoColumn("trace_info", "request_preview"),
            ),
            (
                "DROP TABLE trace_tags; CREATE TABLE trace_tags (request_id TEXT, key TEXT, value TEXT, who TEXT NOT NULL);",
                UnknownShape::NewColumn("trace_tags", "who".to_owned()),
            ),
        ];
        for (change, expected) in cases {
            let connection = open(super::super::connection::SCHEMA);
            connection.execute_batch(change).unwrap();
            let error = SchemaShape::read(&connection).unwrap_err();
            assert!(matches!(&error, SqliteError::Shape(found) if *found == expected), "{change} {error}");
        }
    }

    #[test]
    fn a_new_column_with_a_default_is_accepted() {
        let connection = open(super::super::connection::SCHEMA);
        connection.execute_batch("ALTER TABLE spans ADD COLUMN colour TEXT NOT NULL DEFAULT 'red';").unwrap();
        assert_eq!(SchemaShape::read(&connection).unwrap(), SHAPE_3_6);
    }
}
