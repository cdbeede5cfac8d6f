//! The content of rows in every schema, and what an update does not change.

use super::*;
use crate::tests::resumed;
use rusqlite::params;

#[test]
fn a_trace_reads_back_unchanged_from_every_schema() {
    for (version, schema) in SCHEMAS {
        let store = TestDatabase::with(schema);
        assert_eq!(store.export(&trace()).unwrap().experiment_id, "1", "{version}");
        assert_eq!(store.read(), trace(), "{version}");
        assert_eq!(store.rows("PRAGMA foreign_key_check"), [""; 0], "{version}");
    }
}

#[test]
fn an_update_is_in_place_and_leaves_no_old_rows() {
    for (version, schema) in SCHEMAS {
        let store = TestDatabase::with(schema);
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
fn changes_by_users_in_mlflow_survive_an_update() {
    for (version, schema) in SCHEMAS {
        let store = TestDatabase::with(schema);
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
            "3.17.2" | "3.18.0" => store.run("UPDATE trace_info SET trace_name = 'The parser'"),
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
fn totals_and_dimensions_are_in_the_tables_of_mlflow_3_10_to_3_14() {
    for (version, schema) in &SCHEMAS[2..4] {
        let store = TestDatabase::with(schema);
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
                    "codex_cli_session|null",
                    r#"llm_call_1|{"mlflow.llm.model": "gpt-5-codex", "mlflow.llm.provider": "openai"}"#,
                    "tool_exec|null",
                ],
                "{version}"
            );
        }
    }
}

#[test]
fn totals_and_dimensions_are_in_the_columns_of_mlflow_3_17_and_later() {
    let store = TestDatabase::with(SCHEMAS[5].1);
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
            "codex.tokens_reconciled",
            "mlflow.codex.tagsWritten",
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
fn totals_are_in_tables_and_columns_during_the_migration_to_3_17() {
    let store = TestDatabase::with(SCHEMAS[6].1);
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
fn an_upgrade_between_two_writes_loses_no_value() {
    let store = TestDatabase::with(SCHEMA);
    store.export(&trace()).unwrap();
    // The effect of 3.17's migration on a trace: name, session, tokens and cost move into columns.
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

#[test]
fn metadata_too_wide_for_mlflow_is_cut() {
    let store = TestDatabase::new();
    let mut wide = trace();
    wide.metadata.insert("session_file".to_owned(), "ö".repeat(251));
    wide.metadata.insert("fits".to_owned(), "ö".repeat(250));
    store.export(&wide).unwrap();
    let read = store.read();
    assert_eq!(read.metadata["session_file"], "ö".repeat(247) + "...");
    assert_eq!(read.metadata["fits"], "ö".repeat(250));
}
