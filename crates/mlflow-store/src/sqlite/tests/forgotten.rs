//! A forgotten trace leaves nothing in any row or free page.

use super::*;

#[test]
fn a_forgotten_trace_leaves_no_row_in_any_schema_and_others_stay() {
    for (name, schema) in SCHEMAS {
        let store = TestDatabase::with(schema);
        let mut other = trace();
        other.id = TraceId([8; 16]);
        let (id, kept) = (trace().id, other.id);
        let mut long = trace();
        long.spans[0].inputs = serde_json::json!({ "prompt": "forget-me ".repeat(5_000) }).into();
        store.export(&long).unwrap();
        store.export(&other).unwrap();
        // The earlier form is in free pages, unless they are wiped.
        store.export(&trace()).unwrap();
        store.run(&format!("INSERT INTO trace_tags (request_id, key, value) VALUES ('{id}', 'mine', 'x')"));
        if !store.rows("SELECT 1 FROM sqlite_schema WHERE name = 'entity_associations'").is_empty() {
            store.run(&format!(
                "INSERT INTO entity_associations
                 (association_id, source_type, source_id, destination_type, destination_id)
                 VALUES ('a', 'trace', '{id}', 'run', 'r')"
            ));
        }
        let forgotten = || forget(&store.path(), id, BUSY).unwrap();
        assert_eq!((forgotten(), forgotten()), (true, false), "{name}");
        for table in store.rows("SELECT name FROM sqlite_schema WHERE type = 'table'") {
            let rows = store.rows(&format!("SELECT * FROM \"{table}\""));
            assert!(!rows.iter().any(|row| row.contains(&id.to_string())), "{name}: {table}");
        }
        let bytes = std::fs::read(store.path()).unwrap();
        let holds = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(!holds("forget-me") && !holds(&id.to_string()) && holds(&kept.to_string()), "{name}");
        assert!(read(&store.path(), kept).unwrap().is_some(), "{name}");
    }
}

#[test]
fn forgetting_creates_no_database() {
    let store = TestDatabase::new();
    assert!(!forget(&store.path(), trace().id, BUSY).unwrap());
    assert!(!store.path().exists());
}
