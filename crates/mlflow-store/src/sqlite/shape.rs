//! Detects which of MLflow's schemas a database has. Decided by its columns; MLflow 3.3 to 3.18 have four
//! layouts.

use super::error::{SqliteError, UnknownShape};
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};

/// What differs between the databases of MLflow 3.3 to 3.18, for the tables of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SchemaShape {
    pub(super) totals: Totals,
    pub(super) span_facts: SpanFacts,
    pub(super) workspaces: Workspaces,
    pub(super) generation: Generation,
}

/// Where the name, the session, the tokens and the cost of a trace are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Totals {
    /// In tags and metadata only.
    Metadata,
    /// The tokens also in `trace_metrics` (3.10 to 3.14).
    Metrics,
    /// In both, during the migration to 3.17, which empties columns whose rows it does not find, and deletes
    /// the rows at its end.
    Moving,
    /// In columns of `trace_info`, and only there (3.17 and later).
    Columns,
}

/// Where the model and the cost of a span are, in addition to its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SpanFacts {
    Content,
    /// In `spans.dimension_attributes` and `span_metrics` (3.10 to 3.14).
    Dimensions,
    /// In both, during the migration to 3.17.
    Moving,
    /// In columns of `spans` (3.17 and later).
    Columns,
}

impl Totals {
    pub(super) fn in_metadata(self) -> bool {
        self != Totals::Columns
    }

    pub(super) fn in_metrics(self) -> bool {
        matches!(self, Totals::Metrics | Totals::Moving)
    }

    pub(super) fn in_columns(self) -> bool {
        matches!(self, Totals::Moving | Totals::Columns)
    }
}

impl SpanFacts {
    pub(super) fn in_dimensions(self) -> bool {
        matches!(self, SpanFacts::Dimensions | SpanFacts::Moving)
    }

    pub(super) fn in_columns(self) -> bool {
        matches!(self, SpanFacts::Moving | SpanFacts::Columns)
    }
}

/// Whether the name of an experiment is unique within a workspace only (3.10 and later).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Workspaces {
    None,
    Named,
}

/// Whether MLflow counts the writes to a trace (3.14 and later), to detect writes while it archives the
/// trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Generation {
    None,
    Counted,
}

/// A table's columns; `Must` if an INSERT must name the column.
type Columns = BTreeMap<String, Filling>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filling {
    MayBeLeftOut,
    Must,
}

const EXPERIMENTS: &[&str] =
    &["experiment_id", "name", "artifact_location", "lifecycle_stage", "creation_time", "last_update_time"];
const WORKSPACE: &[&str] = &["workspace"];
const TRACE_INFO: &[&str] = &[
    "request_id",
    "experiment_id",
    "timestamp_ms",
    "execution_time_ms",
    "status",
    "request_preview",
    "response_preview",
];
const TRACE_TOTALS: &[&str] = &[
    "trace_name",
    "session_id",
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "input_cost",
    "output_cost",
    "total_cost",
];
const GENERATION: &[&str] = &["db_payload_generation"];
const PAIRS: &[&str] = &["request_id", "key", "value"];
const SPANS: &[&str] = &[
    "trace_id",
    "experiment_id",
    "span_id",
    "parent_span_id",
    "name",
    "type",
    "status",
    "start_time_unix_nano",
    "end_time_unix_nano",
    "content",
];
const SPAN_COLUMNS: &[&str] = &["input_cost", "output_cost", "total_cost", "model_name", "model_provider"];
const DIMENSIONS: &[&str] = &["dimension_attributes"];
const SPAN_METRICS: &[&str] = &["trace_id", "span_id", "key", "value"];

/// A table that an export writes, with the columns that it can fill.
struct Table {
    name: &'static str,
    always: &'static [&'static str],
    /// Groups of columns that only some versions have; an incomplete group counts as absent.
    sometimes: &'static [&'static [&'static str]],
}

const WRITTEN: &[Table] = &[
    Table { name: "experiments", always: EXPERIMENTS, sometimes: &[WORKSPACE] },
    Table { name: "trace_info", always: TRACE_INFO, sometimes: &[TRACE_TOTALS, GENERATION] },
    Table { name: "trace_tags", always: PAIRS, sometimes: &[] },
    Table { name: "trace_request_metadata", always: PAIRS, sometimes: &[] },
    Table { name: "spans", always: SPANS, sometimes: &[SPAN_COLUMNS, DIMENSIONS] },
];

impl SchemaShape {
    /// The shape of an open database; inside a transaction, it stays true until the end of it.
    pub(super) fn read(connection: &Connection) -> Result<SchemaShape, SqliteError> {
        let mut tables = BTreeMap::new();
        for table in WRITTEN.iter().map(|table| table.name).chain(["trace_metrics", "span_metrics"]) {
            tables.insert(table, columns(connection, table)?);
        }
        Ok(SchemaShape::decide(&tables)?)
    }

    fn decide(tables: &BTreeMap<&'static str, Columns>) -> Result<SchemaShape, UnknownShape> {
        let none = Columns::new();
        let of = |table: &str| tables.get(table).unwrap_or(&none);
        let has = |table: &str, names: &[&str]| names.iter().all(|name| of(table).contains_key(*name));
        for Table { name: table, always, sometimes } in WRITTEN {
            if of(table).is_empty() {
                return Err(UnknownShape::NoTable(table));
            }
            if let Some(missing) = always.iter().find(|name| !of(table).contains_key(**name)) {
                return Err(UnknownShape::NoColumn(table, missing));
            }
            let known: BTreeSet<&str> = sometimes
                .iter()
                .filter(|group| has(table, group))
                .flat_map(|group| group.iter())
                .chain(always.iter())
                .copied()
                .collect();
            let new = of(table)
                .iter()
                .find(|(name, filling)| **filling == Filling::Must && !known.contains(name.as_str()));
            if let Some((name, _)) = new {
                return Err(UnknownShape::NewColumn(table, name.clone()));
            }
        }
        // These are the last that 3.17's migration removes.
        let dimensions = has("spans", DIMENSIONS) && has("span_metrics", SPAN_METRICS);
        Ok(SchemaShape {
            totals: match (has("trace_info", TRACE_TOTALS), has("trace_metrics", PAIRS)) {
                (true, true) if dimensions => Totals::Moving,
                (true, _) => Totals::Columns,
                (false, true) => Totals::Metrics,
                (false, false) => Totals::Metadata,
            },
            span_facts: match (has("spans", SPAN_COLUMNS), dimensions) {
                (true, true) => SpanFacts::Moving,
                (true, false) => SpanFacts::Columns,
                (false, true) => SpanFacts::Dimensions,
                (false, false) => SpanFacts::Content,
            },
            workspaces: match has("experiments", WORKSPACE) {
                true => Workspaces::Named,
                false => Workspaces::None,
            },
            generation: match has("trace_info", GENERATION) {
                true => Generation::Counted,
                false => Generation::None,
            },
        })
    }
}

/// The table's columns, without generated ones, which `table_info` omits.
fn columns(connection: &Connection, table: &str) -> Result<Columns, rusqlite::Error> {
    let mut statement =
        connection.prepare("SELECT name, \"notnull\" AND dflt_value IS NULL FROM pragma_table_info(?)")?;
    let rows = statement.query_map([table], |row| {
        let filling = if row.get(1)? { Filling::Must } else { Filling::MayBeLeftOut };
        Ok((row.get(0)?, filling))
    })?;
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(sql: &str) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(sql).unwrap();
        connection
    }

    const SHAPE_3_6: SchemaShape = SchemaShape {
        totals: Totals::Metadata,
        span_facts: SpanFacts::Content,
        workspaces: Workspaces::None,
        generation: Generation::None,
    };
    const SHAPE_3_10: SchemaShape = SchemaShape {
        totals: Totals::Metrics,
        span_facts: SpanFacts::Dimensions,
        workspaces: Workspaces::Named,
        generation: Generation::None,
    };
    const SHAPE_3_17: SchemaShape = SchemaShape {
        totals: Totals::Columns,
        span_facts: SpanFacts::Columns,
        workspaces: Workspaces::Named,
        generation: Generation::Counted,
    };

    #[test]
    fn the_schema_of_every_supported_mlflow_is_known() {
        let cases = [
            (super::super::create::SCHEMA, SHAPE_3_6),
            (include_str!("../../../../tests/fixtures/mlflow-3.6.0.sql"), SHAPE_3_6),
            (include_str!("../../../../tests/fixtures/mlflow-3.10.1.sql"), SHAPE_3_10),
            (
                include_str!("../../../../tests/fixtures/mlflow-3.14.0.sql"),
                SchemaShape { generation: Generation::Counted, ..SHAPE_3_10 },
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
            let connection = open(super::super::create::SCHEMA);
            connection.execute_batch(change).unwrap();
            let error = SchemaShape::read(&connection).unwrap_err();
            assert!(matches!(&error, SqliteError::Shape(found) if *found == expected), "{change} {error}");
        }
    }

    #[test]
    fn a_new_column_with_a_default_is_accepted() {
        let connection = open(super::super::create::SCHEMA);
        connection.execute_batch("ALTER TABLE spans ADD COLUMN colour TEXT NOT NULL DEFAULT 'red';").unwrap();
        assert_eq!(SchemaShape::read(&connection).unwrap(), SHAPE_3_6);
    }
}
