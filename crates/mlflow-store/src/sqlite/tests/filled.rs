//! Columns that an upgrade of MLflow leaves empty, and how they are filled.

use super::*;
use common::json::value::Value;

/// A database after an upgrade of MLflow: every value outside the spans' content is empty.
fn upgraded(schema: &str) -> TestDatabase {
    let store = TestDatabase::with(schema);
    store.export(&trace()).unwrap();
    for (table, column) in [
        ("trace_info", "db_payload_generation = 0"),
        ("spans", "dimension_attributes = NULL"),
        (
            "spans",
            "model_name = NULL, model_provider = NULL, input_cost = NULL, output_cost = NULL, total_cost = NULL",
        ),
    ] {
        let _ = store.sql().execute(&format!("UPDATE {table} SET {column}"), []);
    }
    for table in ["span_metrics", "trace_metrics"] {
        let _ = store.sql().execute(&format!("DELETE FROM {table}"), []);
    }
    store
}

/// All values that a version keeps outside the spans' content.
fn outside_the_content(store: &TestDatabase) -> Vec<String> {
    [
        "SELECT name, model_name, model_provider, input_cost, output_cost, total_cost FROM spans ORDER BY span_id",
        "SELECT name, dimension_attributes FROM spans ORDER BY span_id",
        "SELECT * FROM span_metrics ORDER BY 1, 2, 3",
        "SELECT * FROM trace_metrics ORDER BY 1, 2",
        "SELECT * FROM trace_request_metadata ORDER BY 1, 2",
    ]
    .into_iter()
    .filter(|sql| store.sql().prepare(sql).is_ok())
    .flat_map(|sql| store.rows(sql))
    .collect()
}

fn filled(store: &TestDatabase) -> Filled {
    fill(&store.path(), BUSY).unwrap()
}

#[test]
fn columns_that_an_upgrade_left_empty_are_filled_once() {
    for (version, schema) in &SCHEMAS[2..] {
        let right = TestDatabase::with(schema);
        right.export(&trace()).unwrap();
        let store = upgraded(schema);
        assert_ne!(outside_the_content(&store), outside_the_content(&right), "{version}");
        assert_eq!(filled(&store), Filled { spans: 1, traces_left: 0 }, "{version}");
        assert_eq!(outside_the_content(&store), outside_the_content(&right), "{version}");
        // A second call touches no row.
        store.run("CREATE TRIGGER t BEFORE UPDATE ON spans BEGIN SELECT raise(ABORT, 'touched'); END");
        assert_eq!(filled(&store), Filled::default(), "{version}");
    }
}

#[test]
fn the_next_export_fills_earlier_traces() {
    for (version, schema) in &SCHEMAS[2..] {
        let store = upgraded(schema);
        let mut other = trace();
        other.id = TraceId([9; 16]);
        store.export(&other).unwrap();
        let lines: Vec<String> = outside_the_content(&store)
            .into_iter()
            .map(|line| line.replace(&other.id.to_string(), &trace().id.to_string()))
            .collect();
        let each_once: std::collections::BTreeSet<&String> = lines.iter().collect();
        assert_eq!(lines.len(), 2 * each_once.len(), "{version}: {lines:#?}");
    }
}

#[test]
fn a_database_without_such_columns_is_not_filled() {
    for (version, schema) in &SCHEMAS[..2] {
        let store = TestDatabase::with(schema);
        store.export(&trace()).unwrap();
        assert_eq!(filled(&store), Filled::default(), "{version}");
    }
    let store = TestDatabase::new();
    assert_eq!((filled(&store), store.path().exists()), (Filled::default(), false));
}

#[test]
fn only_empty_columns_of_our_own_rows_are_filled() {
    let store = upgraded(SCHEMAS[5].1);
    store.run(
        "UPDATE spans SET model_name = 'mine' WHERE name = 'llm_call_1';
         INSERT INTO trace_info (request_id, experiment_id, timestamp_ms, status) VALUES ('theirs', 1, 1, 'OK');
         INSERT INTO trace_request_metadata (request_id, key, value) VALUES ('theirs', 'source', 'another');
         INSERT INTO spans (trace_id, experiment_id, span_id, status, start_time_unix_nano, content)
           SELECT 'theirs', 1, span_id, status, 1, content FROM spans WHERE name = 'llm_call_1';",
    );
    assert_eq!(filled(&store), Filled { spans: 1, traces_left: 0 });
    assert_eq!(
        store.rows("SELECT trace_id = 'theirs', model_name, model_provider, total_cost FROM spans WHERE span_id = '0202020202020202' ORDER BY 1"),
        ["0|mine|openai|0.75", "1|-|-|-"]
    );
}

#[test]
fn archived_spans_are_not_filled() {
    let store = upgraded(SCHEMAS[5].1);
    store.run(
        "UPDATE trace_tags SET value = 'ARCHIVE_REPO' WHERE key = 'mlflow.trace.spansLocation';
         UPDATE spans SET content = ''",
    );
    assert_eq!(filled(&store), Filled::default());
}

#[test]
fn a_span_that_only_names_its_provider_by_opentelemetry_is_filled_too() {
    let store = TestDatabase::with(SCHEMAS[5].1);
    let mut trace = trace();
    trace.spans[0].attributes.insert("gen_ai.provider.name", Value::from("openai"));
    store.export(&trace).unwrap();
    let providers = || store.rows("SELECT name, model_provider FROM spans ORDER BY span_id");
    let expected = ["codex_cli_session|openai", "llm_call_1|openai", "tool_exec|-"];
    assert_eq!(providers(), expected);
    store.run("UPDATE spans SET model_provider = NULL; UPDATE trace_info SET db_payload_generation = 0");
    assert_eq!((filled(&store).spans, providers()), (2, expected.map(str::to_owned).to_vec()));
}

#[test]
fn one_call_fills_a_limited_number_of_traces() {
    let store = TestDatabase::with(SCHEMAS[5].1);
    for number in 1..=60 {
        let mut trace = trace();
        trace.id = TraceId([number; 16]);
        store.export(&trace).unwrap();
    }
    store.run("UPDATE spans SET total_cost = NULL; UPDATE trace_info SET db_payload_generation = 0");
    let first = fill(&store.path(), Duration::ZERO).unwrap();
    assert_eq!(first, Filled { spans: 50, traces_left: 10 });
    assert_eq!(filled(&store), Filled { spans: 10, traces_left: 0 });
    assert_eq!(store.rows("SELECT count(*) FROM spans WHERE total_cost = 0.75"), ["60"]);
}
