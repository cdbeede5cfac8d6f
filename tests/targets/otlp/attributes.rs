//! Every attribute that a collector gets, held against the published conventions, and the table in docs/otlp.md.

use super::collector::Received;
use super::{Sender, a_small_job};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use support::{Codex, End, codex, run};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The names that a file of `tests/fixtures/conventions` lists.
fn published(files: &[&str]) -> BTreeSet<String> {
    let text = |file: &&str| {
        let path = root().join("tests/fixtures/conventions").join(file);
        fs::read_to_string(path).expect("read a list of names")
    };
    let lines = files.iter().map(text).collect::<String>();
    lines.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// The places in a name, as `*`.
fn general(name: &str) -> String {
    let is_place = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    name.split('.').map(|part| if is_place(part) { "*" } else { part }).collect::<Vec<_>>().join(".")
}

/// What a session with every kind of span sends in a dialect.
fn sent(codex: &Codex, dialect: &str) -> Vec<Received> {
    let sender = Sender::new(codex.clone(), a_small_job());
    let mut command = sender.command();
    // A turn that a tracer sends before Codex has ended has no exit code.
    command.env("CODEX_TRACED_OTLP_DIALECT", dialect).env("CODEX_TRACED_LIVE", "off");
    run(command.args(["exec", "do it"])).ended(End::Code(0));
    sender.collector.spans()
}

/// Each name of an attribute, by kind of span or as the resource's.
fn names(spans: &[Received]) -> BTreeMap<String, BTreeSet<&'static str>> {
    let mut names = BTreeMap::<String, BTreeSet<&'static str>>::new();
    for received in spans {
        let span = match received.span.name.split(' ').next() {
            Some("invoke_agent") => "agent",
            Some("chat") => "model",
            Some("execute_tool") => "tool",
            _ => "step",
        };
        for key in received.attributes.keys() {
            names.entry(general(key)).or_default().insert(span);
        }
        for key in received.resource.keys() {
            names.entry(general(key)).or_default().insert("resource");
        }
    }
    names
}

fn is_ours(name: &str) -> bool {
    name.starts_with("codex.")
}

#[test]
fn every_attribute_is_in_the_published_conventions_or_ours() {
    let Some(codex) = codex() else { return };
    let open_telemetry = published(&["opentelemetry.txt", "gen_ai.txt"]);
    let both = published(&["opentelemetry.txt", "openinference.txt"]);
    for (dialect, known) in [("gen_ai", open_telemetry), ("openinference", both)] {
        let spans = sent(&codex, dialect);
        assert_eq!(spans.len(), 8, "{dialect}");
        let names = names(&spans);
        let unknown: Vec<&String> =
            names.keys().filter(|name| !known.contains(*name) && !is_ours(name)).collect();
        assert_eq!(unknown, [""; 0], "{dialect}");
        for received in &spans {
            for (key, value) in &received.attributes {
                assert!(!matches!(value, Value::Null | Value::Object(_)), "{dialect} {key} {value}");
            }
        }
        let kinds: BTreeSet<&str> = spans
            .iter()
            .filter_map(|span| span.attributes.get("openinference.span.kind")?.as_str())
            .collect();
        match dialect {
            "gen_ai" => assert!(kinds.is_empty()),
            _ => assert_eq!(kinds, BTreeSet::from(["AGENT", "LLM", "TOOL"])),
        }
    }
}

fn table(names: &BTreeMap<String, BTreeSet<&'static str>>) -> String {
    let rows = names.iter().map(|(name, spans)| {
        format!("| `{name}` | {} |\n", spans.iter().copied().collect::<Vec<_>>().join(", "))
    });
    std::iter::once("| attribute | spans |\n|---|---|\n".to_owned()).chain(rows).collect()
}

fn document() -> PathBuf {
    root().join("docs/otlp.md")
}

/// `UPDATE_DOCS=1` writes the tables.
#[test]
fn the_document_has_each_attribute_by_span_and_dialect() {
    let Some(codex) = codex() else { return };
    let mut text = fs::read_to_string(document()).expect("read docs/otlp.md");
    for dialect in ["gen_ai", "openinference"] {
        let table = table(&names(&sent(&codex, dialect)));
        let heading = format!("### `{dialect}`\n\n");
        let begin = text.find(&heading).expect("a heading for the dialect") + heading.len();
        let length = text[begin..].find("\n\n").map_or(text.len() - begin, |end| end + 1);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            text.replace_range(begin..begin + length, &table);
        }
        assert!(text[begin..].starts_with(&table), "run it with UPDATE_DOCS=1; {dialect} should be\n{table}");
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(document(), text).expect("write docs/otlp.md");
    }
}
