//! The same sessions sent to a server and written to SQLite, compared row by row in every table of the databases.

use codex_session::session::family::Family;
use codex_session::session::model::Session;
use codex_session::session::{self, Writer};
use codex_traced::claim::thread_record::ThreadRecord;
use codex_traced::redact::Redacted;
use codex_traced::trace::build::{TraceSource, build_family, rebuild_turns};
use codex_traced::trace::price_book::PriceBook;
use mlflow_store::exporter::{Exporter, Patience};
use mlflow_store::sqlite::SqliteExporter;
use mlflow_store::target::access::Access;
use mlflow_store::target::{Experiment, Target};
use mlflow_store::trace::{SpanType, Trace};
use mlflow_store::{self, sqlite};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::time::Duration;
use support::{MlflowServer, Oracle, Verb};

const BUSY: Duration = Duration::from_secs(60);

/// Turns, sub-agents, failed tools, a patch, MCP calls, a compaction, an interruption, errors, an image.
const SESSIONS: [&str; 9] = [
    "exec-json-resume-1",
    "nested-agents",
    "mcp-failure",
    "exec-basic",
    "autocompact-55",
    "sig-INT",
    "err-500-always",
    "image-input",
    "legacy-0.147.0",
];

/// One trace per session, or per turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    Session,
    Turn,
}

/// How the rows came into the local database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// Written before MLflow upgraded the database.
    Upgraded,
    /// Written to a database that this MLflow had made.
    Made,
}

const WAYS: [Way; 2] = [Way::Upgraded, Way::Made];
const ALL: &[&str] = &["3.6.0", "3.10.1", "3.14.0", "3.17.2", "3.18.0"];

/// A difference that may be, in each way: where, in which versions, and why.
struct Allowed {
    place: &'static str,
    versions: &'static [&'static str],
    reason: &'static str,
}

const ALLOWED: &[Allowed] = &[
    Allowed {
        place: "experiments.artifact_location",
        versions: ALL,
        reason: "a server keeps artifacts for its clients, a file keeps them beside itself",
    },
    Allowed {
        place: "trace_tags[mlflow.artifactLocation].value",
        versions: ALL,
        reason: "the same; there is nothing in it, for the spans are rows",
    },
    Allowed { place: "experiments.creation_time", versions: ALL, reason: "each made its own experiment" },
    Allowed { place: "experiments.last_update_time", versions: ALL, reason: "each made its own experiment" },
    Allowed {
        place: "trace_info.db_payload_generation",
        versions: &["3.14.0", "3.17.2", "3.18.0"],
        reason: "counts the writes: a server is sent spans and then the trace, a file is written once",
    },
    Allowed {
        place: "trace_request_metadata[mlflow.trace.infoFinalized] row",
        versions: &["3.6.0", "3.10.1"],
        reason: "a note that MLflow makes and reads since 3.14; a file that it upgrades needs it",
    },
    Allowed {
        place: "spans.content.kind",
        versions: &["3.6.0", "3.10.1", "3.14.0", "3.17.2"],
        reason: "kept since 3.18; those before read past it, and a file that 3.18 upgrades needs it",
    },
    Allowed {
        place: "spans.content.links",
        versions: &["3.6.0", "3.10.1"],
        reason: "kept since 3.14, and empty",
    },
    Allowed {
        place: "spans.content.attributes.mlflow.spanOutputs",
        versions: &["3.6.0", "3.10.1"],
        reason: "text that is a JSON list is taken for the list since 3.14",
    },
    Allowed {
        place: "spans.content.attributes.codex.note",
        versions: &["3.6.0"],
        reason: "text that is a JSON object is taken for the object since 3.8",
    },
    Allowed {
        place: "spans.content.attributes.codex.quoted",
        versions: &["3.6.0"],
        reason: "text that is a JSON text is taken for that since 3.8",
    },
];

/// The traces of all sessions; those of turns without what only a whole session has.
fn traces(of: Of) -> Vec<Trace> {
    let surroundings =
        TraceSource { rollout: Path::new("rollout.jsonl"), user: Some("ada"), prices: PriceBook::built_in() };
    let record = ThreadRecord::default();
    let mut all = Vec::new();
    for name in SESSIONS {
        let mut members = members(name);
        let root = members.remove(0);
        let family = Family::gather(root, |_| members.clone());
        match of {
            Of::Session => all.extend(build_family(&family, &record, surroundings)),
            Of::Turn => {
                let built = rebuild_turns(&family, None, &record, surroundings);
                all.extend(built.into_iter().map(|built| built.trace));
            }
        }
    }
    let mut all: Vec<Trace> =
        all.into_iter().map(|trace| Redacted::with_built_in_rules(trace).into()).collect();
    make_odd(&mut all[0]);
    all
}

/// A file, or all files of a family.
fn members(name: &str) -> Vec<Session> {
    let path = |end: &str| format!("tests/corpus/0.169.0/{name}{end}.jsonl");
    let alone = path("");
    let paths = match Path::new(&alone).exists() {
        true => vec![alone],
        false => (1..)
            .map(|number| path(&format!("-{number}")))
            .take_while(|path| Path::new(path).exists())
            .collect(),
    };
    paths.iter().map(|path| session::read(Path::new(path), Writer::Gone).expect("a session")).collect()
}

/// What a server takes apart: a tool with a model in its arguments, and text that is JSON.
fn make_odd(trace: &mut Trace) {
    let tool = trace.spans.iter_mut().find(|span| span.span_type == SpanType::Tool).expect("a tool");
    tool.inputs = json!({"task": "„ls“ 🙂", "model": "gpt-5.5", "fork": null, "share": 0.25}).into();
    tool.outputs = json!("[\"a\", 1]").into();
    tool.attributes.insert("codex.note", json!("{\"a\": {\"b\": 1.5}}").into());
    tool.attributes.insert("codex.quoted", json!("\"quoted\"").into());
}

/// What was compared, for people to read.
pub(crate) struct Report {
    pub(crate) tables: usize,
    pub(crate) rows: usize,
    pub(crate) traces: usize,
    pub(crate) filled: usize,
    /// Those that have a name.
    pub(crate) differences: Vec<String>,
    /// Those that have none, and names whose difference has gone.
    pub(crate) wrong: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { tables, rows, traces, filled, differences, .. } = self;
        write!(
            f,
            "{traces} traces, {tables} tables and {rows} rows compared, {filled} spans filled after the upgrade"
        )?;
        write!(f, ", {} named differences", differences.len())?;
        differences.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// Sends all traces to the server, and writes them to two local databases.
#[track_caller]
pub(crate) fn compare_rows(version: &str, server: &MlflowServer, oracle: &Oracle, of: Of) -> Report {
    let folder = tempfile::tempdir().expect("make a folder");
    let experiment = Experiment::Name(format!("rows of a {of:?}"));
    let traces = traces(of);

    let access = Access::default();
    let patience = Patience { until: None, is_asked_to_end: &|| false, retrying: &|_, _| {} };
    let target = Target::parse(&server.uri(), Path::new("/")).expect("an address");
    let mut sent = mlflow_store::exporter(&target, &experiment, &access, patience).expect("a server");
    for trace in &traces {
        sent.export(trace, None).expect("the server takes the trace");
    }

    let [upgraded, made] = ["upgraded.db", "made.db"].map(|name| folder.path().join(name));
    write(&upgraded, &experiment, &traces);
    open_with_mlflow(oracle, &[&upgraded, &made]);
    let filled = sqlite::fill(&upgraded, BUSY).expect("fill");
    assert_eq!(filled.traces_left, 0);

    write(&made, &experiment, &traces);

    let Experiment::Name(name) = &experiment else { unreachable!("made above") };
    let ids: BTreeSet<String> = traces.iter().map(|trace| trace.id.to_string()).collect();
    let expected = Tables::of(&server.database(), name, &ids);
    let mut found = BTreeMap::new();
    for (way, database) in [(Way::Upgraded, &upgraded), (Way::Made, &made)] {
        for (place, example) in expected.differences(&Tables::of(database, name, &ids)) {
            found.insert((place, way), example);
        }
    }
    let (differences, wrong) = judged(version, &found);
    Report {
        tables: expected.0.len(),
        rows: expected.0.values().map(BTreeMap::len).sum(),
        traces: traces.len(),
        filled: filled.spans,
        differences,
        wrong,
    }
}

fn write(database: &Path, experiment: &Experiment, traces: &[Trace]) {
    let mut exporter = SqliteExporter::open(database, experiment.clone(), BUSY).expect("a database");
    for trace in traces {
        exporter.export(trace, None).expect("the database takes the trace");
    }
}

/// MLflow makes a database that is not there, and upgrades one that is older.
fn open_with_mlflow(oracle: &Oracle, databases: &[&Path]) {
    for database in databases {
        oracle.ask(*database, &[Verb::Open]);
    }
}

/// The differences with a name, and what is wrong: one without a name, or a name without its difference.
fn judged(version: &str, found: &BTreeMap<(String, Way), String>) -> (Vec<String>, Vec<String>) {
    let here = || ALLOWED.iter().filter(|allowed| allowed.versions.contains(&version));
    let unnamed = found
        .iter()
        .filter(|((place, _), _)| !here().any(|allowed| allowed.place == place))
        .map(|((place, way), example)| format!("{way:?} {place}: {example}"));
    let gone = here()
        .flat_map(|allowed| WAYS.map(|way| (allowed.place.to_owned(), way)))
        .filter(|at| !found.contains_key(at))
        .map(|(place, way)| format!("{way:?} {place}: is the same now, so take it out"));
    let named = here().map(|Allowed { place, reason, .. }| format!("{place}: {reason}")).collect();
    (named, unnamed.chain(gone).collect())
}

/// Table to row to column to value, as far as they are of these traces and of their experiment.
pub(crate) struct Tables(BTreeMap<String, BTreeMap<String, Map<String, Value>>>);

impl Tables {
    pub(crate) fn of(database: &Path, experiment: &str, ids: &BTreeSet<String>) -> Tables {
        let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)
            .expect("open the database");
        connection.busy_timeout(BUSY).expect("wait for a lock");
        let sql = "SELECT experiment_id FROM experiments WHERE name = ?";
        let experiment: i64 =
            connection.query_row(sql, [experiment], |row| row.get(0)).expect("the experiment");
        let mut names = connection
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
            .expect("a schema");
        let names: Vec<String> = names
            .query_map([], |row| row.get(0))
            .expect("tables")
            .map(|name| name.expect("a name"))
            .collect();
        Tables(
            names.into_iter().map(|name| (name.clone(), rows(&connection, &name, experiment, ids))).collect(),
        )
    }

    /// Each place that differs, with an example.
    pub(crate) fn differences(&self, other: &Tables) -> BTreeMap<String, String> {
        let mut places = BTreeMap::new();
        for table in self.0.keys().chain(other.0.keys()).collect::<BTreeSet<_>>() {
            let (Some(expected), Some(found)) = (self.0.get(table), other.0.get(table)) else {
                places.insert(table.clone(), "a table that only one has".to_owned());
                continue;
            };
            for row in expected.keys().chain(found.keys()).collect::<BTreeSet<_>>() {
                match (expected.get(row), found.get(row)) {
                    (Some(expected), Some(found)) => {
                        let at = place_of(table, expected);
                        compare(&at, &json!(expected), &json!(found), &mut places);
                    }
                    (expected, found) => {
                        let who = if expected.is_some() { "the server" } else { "SQLite" };
                        let only = expected.or(found).expect("one of both has it");
                        let example = format!("only {who} has {row} {}", json!(only));
                        places.entry(format!("{} row", place_of(table, only))).or_insert(example);
                    }
                }
            }
        }
        places
    }
}

/// The table, and the key of a row that is a key and a value.
fn place_of(table: &str, row: &Map<String, Value>) -> String {
    match row.get("key").and_then(Value::as_str) {
        Some(key) => format!("{table}[{key}]"),
        None => table.to_owned(),
    }
}

fn compare(at: &str, expected: &Value, found: &Value, places: &mut BTreeMap<String, String>) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            for key in expected.keys().chain(found.keys()).collect::<BTreeSet<_>>() {
                let of = |object: &Map<String, Value>| object.get(key).cloned().unwrap_or(json!("(absent)"));
                compare(&format!("{at}.{key}"), &of(expected), &of(found), places);
            }
        }
        (expected, found) if expected == found => {}
        (expected, found) => {
            places
                .entry(at.to_owned())
                .or_insert_with(|| format!("{expected} on the server, {found} in SQLite"));
        }
    }
}

/// The rows of a table by its primary key. A table that knows neither traces nor experiments is taken whole.
fn rows(
    connection: &Connection,
    table: &str,
    experiment: i64,
    ids: &BTreeSet<String>,
) -> BTreeMap<String, Map<String, Value>> {
    let mut columns = connection.prepare("SELECT name, pk FROM pragma_table_xinfo(?)").expect("columns");
    let columns: Vec<(String, i64)> = columns
        .query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))
        .expect("columns")
        .map(|column| column.expect("a column"))
        .collect();
    let has = |name: &str| columns.iter().any(|(column, _)| column == name);
    let mut statement = connection.prepare(&format!("SELECT * FROM \"{table}\"")).expect("a table");
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut all = BTreeMap::new();
    let mut cursor = statement.query([]).expect("rows");
    while let Some(row) = cursor.next().expect("a row") {
        let mut cells: Map<String, Value> = names
            .iter()
            .enumerate()
            .map(|(at, name)| (name.clone(), cell(row.get_ref(at).expect("a cell"))))
            .collect();
        let is_ours = |name: &str| cells[name].as_str().is_some_and(|id| ids.contains(id));
        let is_one = match table {
            "entity_associations" => is_ours("source_id") || is_ours("destination_id"),
            _ if has("request_id") => is_ours("request_id"),
            _ if has("trace_id") => is_ours("trace_id"),
            _ if has("experiment_id") => cells["experiment_id"] == json!(experiment),
            _ => true,
        };
        if !is_one {
            continue;
        }
        // Each database counts its experiments.
        if has("experiment_id") {
            cells.insert("experiment_id".to_owned(), json!("the experiment"));
        }
        if let Some(content) = cells.get("content").and_then(Value::as_str) {
            let content = without_spacing(content);
            cells.insert("content".to_owned(), content);
        }
        let key: Vec<String> =
            columns.iter().filter(|(_, part)| *part > 0).map(|(name, _)| cells[name].to_string()).collect();
        all.insert(key.join(" "), cells);
    }
    all
}

fn cell(value: ValueRef) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Blob(bytes) => format!("{bytes:?}").into(),
    }
}

/// A span as its JSON means it: order, spaces and escapes differ from one MLflow to another.
fn without_spacing(content: &str) -> Value {
    let mut span: Value = serde_json::from_str(content).expect("a span in JSON");
    for value in span["attributes"].as_object_mut().expect("attributes").values_mut() {
        let parsed = value.as_str().and_then(|text| serde_json::from_str(text).ok());
        *value = parsed.unwrap_or_else(|| value.clone());
    }
    span
}
