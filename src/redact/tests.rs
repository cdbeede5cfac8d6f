//! Every rule finds its secrets and nothing else, and redaction covers every text of a trace.

mod reach;
mod storable;
mod user_rules;

use super::{Finder, Redacted, Redactor, Rule, Rules, Salt};
use crate::claim::thread_record::ThreadRecord;
use crate::settings::modes::Content;
use crate::trace::build::{TraceSource, build_family};
use crate::trace::price_book::PriceBook;
use codex_session::session::{Writer, read};
use common::json::value::{Map, Value};
use jiff::Timestamp;
use mlflow_store::ids::{SpanId, TraceId};
use mlflow_store::mlflow_keys::{PERSONAL, REDACTIONS};
use mlflow_store::trace::{Span, SpanEvent, SpanStatus, SpanType, Trace, TraceState};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::path::Path;

const SALT: [u8; 32] = [7; 32];

fn redactor() -> Redactor {
    Redactor::new(Rules::built_in(), Salt::new(SALT))
}

/// Expands `<36:a-z0-9>` to 36 of these characters, the same in every run.
fn written_out(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    let mut state = Sha256::digest(text.as_bytes())
        .iter()
        .fold(1_u64, |sum, byte| sum * 31 % 1_000_003 + u64::from(*byte));
    while let Some(at) = rest.find('<') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let inner = rest[1..].split('>').next().unwrap_or_default();
        let Some((count, class)) =
            inner.split_once(':').and_then(|(n, class)| Some((n.parse::<usize>().ok()?, class)))
        else {
            out.push('<');
            rest = &rest[1..];
            continue;
        };
        let characters = class_of(class);
        for _ in 0..count {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            out.push(characters[(state >> 33) as usize % characters.len()]);
        }
        rest = &rest[inner.len() + 2..];
    }
    out + rest
}

fn class_of(class: &str) -> Vec<char> {
    let letters: Vec<char> = class.chars().collect();
    let mut all = Vec::new();
    let mut at = 0;
    while at < letters.len() {
        if at + 2 < letters.len() && letters[at + 1] == '-' {
            all.extend(letters[at]..=letters[at + 2]);
            at += 3;
        } else {
            all.push(letters[at]);
            at += 1;
        }
    }
    all
}

#[test]
fn every_rule_passes_its_test_strings() {
    let finder = Finder::new(Rules::built_in());
    let rules = Rules::built_in().rules;
    let mut wrong = Vec::new();
    for rule in &rules {
        let Rule { finds, ignores, .. } = rule;
        assert!(!finds.is_empty() && !ignores.is_empty(), "{} has no test strings", rule.name);
        for example in finds {
            let marked = written_out(example);
            let text = marked.replace(['⟦', '⟧'], "");
            let start = marked.find('⟦').expect("a mark");
            let end = marked.find('⟧').expect("a mark") - '⟦'.len_utf8();
            let found = finder.find(&text);
            let is_found = matches!(&found[..], [one] if one.range == (start..end));
            let by = found.first().map(|one| finder.rule(one.rule).name.as_str());
            if !is_found || by != Some(&rule.name) {
                let ranges: Vec<&str> = found.iter().map(|one| &text[one.range.clone()]).collect();
                wrong.push(format!("{}: {text:?} gave {by:?} {ranges:?}", rule.name));
            }
        }
        for example in ignores {
            let text = written_out(example);
            for one in finder.find(&text) {
                let by = &finder.rule(one.rule).name;
                wrong.push(format!("{}: {text:?} gave {by} {:?}", rule.name, &text[one.range]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rules_have_unique_names_and_valid_patterns() {
    let rules = Rules::built_in().rules;
    for (at, rule) in rules.iter().enumerate() {
        assert!(rule.regex().is_some(), "{}", rule.name);
        assert!(!rule.keywords.is_empty(), "{} would be searched for everywhere", rule.name);
        assert!(rules[..at].iter().all(|other| other.name != rule.name), "{} twice", rule.name);
    }
    assert!(rules.len() > 90, "only {} rules", rules.len());
}

fn token(n: u8) -> String {
    format!("{}{}", written_out("ghp_<35:A-Za-z0-9>"), char::from(b'a' + n))
}

pub(super) fn span(inputs: serde_json::Value, outputs: serde_json::Value) -> Span {
    Span {
        id: SpanId([1; 8]),
        parent: None,
        name: String::new(),
        span_type: SpanType::Agent,
        status: SpanStatus::Ok,
        started_at: Timestamp::UNIX_EPOCH,
        ended_at: Timestamp::UNIX_EPOCH,
        inputs: inputs.into(),
        outputs: outputs.into(),
        attributes: Map::new(),
        events: Vec::new(),
    }
}

/// A trace with another secret in each of its texts.
fn trace() -> (Trace, Vec<String>) {
    let secrets: Vec<String> = (0..20).map(token).collect();
    let mut next = secrets.iter();
    let mut text = || format!("see {} there", next.next().unwrap());
    let at = Timestamp::UNIX_EPOCH;
    let mut attributes = Map::new();
    attributes.insert(text(), json!({ "deep": [[text()]], text(): 7 }).into());
    let name = text();
    let status = SpanStatus::Error { message: text() };
    let inputs = json!([{ "arguments": format!("{{\"cmd\":\"{}\"}}", text()) }, text()]);
    let outputs = json!(text());
    let event = SpanEvent { name: text(), at, attributes: Map::from_iter([(text().into(), text().into())]) };
    let span = Span { name, status, attributes, events: vec![event], ..span(inputs, outputs) };
    let trace = Trace {
        id: TraceId([7; 16]),
        name: text(),
        state: TraceState::Ok,
        started_at: at,
        ended_at: at,
        request_preview: Some(text()),
        response_preview: Some(text()),
        context: Default::default(),
        metadata: [(text(), text())].into(),
        tags: [(text(), text())].into(),
        spans: vec![span],
    };
    (trace, secrets)
}

fn json_of(trace: &Redacted) -> String {
    serde_json::to_string(trace).unwrap()
}

#[test]
fn no_text_of_a_trace_is_left_out() {
    let (trace, secrets) = trace();
    let whole = serde_json::to_string(&trace).unwrap();
    let planted: Vec<&String> = secrets.iter().filter(|secret| whole.contains(*secret)).collect();
    assert_eq!(planted.len(), 18);
    let redacted = redactor().redact(trace, Content::Full);
    let text = json_of(&redacted);
    assert_eq!(planted.iter().filter(|secret| text.contains(**secret)).count(), 0, "{text}");
    assert_eq!(text.matches("[redacted:github-token:").count(), 18);
    assert_eq!(redacted.metadata[REDACTIONS], r#"{"github-token":18}"#);
    assert_eq!(redacted.spans[0].attributes.get(REDACTIONS).unwrap(), &json!({ "github-token": 18 }));
}

#[test]
fn the_same_secret_has_the_same_placeholder_and_another_salt_another_one() {
    let secret = token(1);
    let of =
        |salt: u8, text: &str| Redactor::new(Rules::built_in(), Salt::new([salt; 32])).text(text).unwrap();
    let first = of(1, &secret);
    assert_eq!(of(1, &format!("a {secret} b {secret}")), format!("a {first} b {first}"));
    assert_ne!(of(2, &secret), first);
    assert_ne!(of(1, &token(2)), first);
    assert_eq!((first.len(), redactor().text(&first)), ("[redacted:github-token:00000000]".len(), None));
}

#[test]
fn a_key_of_many_lines_has_one_hash_however_its_lines_end() {
    let key = written_out(
        "-----BEGIN PRIVATE KEY-----\n<64:A-Za-z0-9+/>\n<60:A-Za-z0-9+/>=\n-----END PRIVATE KEY-----",
    );
    let redacted = |text: &str| redactor().text(text).unwrap();
    let hash = |text: &str| text.split(':').nth(2).unwrap()[..8].to_owned();
    let plain = redacted(&key);
    for other in [key.replace('\n', "\\n"), key.replace('\n', "\r\n"), key.replace('\n', "\\\\n")] {
        assert_eq!(hash(&redacted(&other)), hash(&plain), "{other}");
    }
    assert!(plain.starts_with("-----BEGIN PRIVATE KEY-----[redacted:private-key:"), "{plain}");
}

#[test]
fn a_value_next_to_its_name_is_found_everywhere() {
    let value = written_out("<18:a-z0-9>");
    let inputs = json!({
        "password": value, "headers": {"X-Api-Key": value}, "command": ["mysql", "--password", value],
        "env": [{"name": "DB_PASSWORD", "value": value}], "text": format!("it is {value}."),
    });
    let (mut trace, _) = trace();
    trace.spans[0].inputs = inputs.into();
    let redacted = redactor().redact(trace, Content::Full);
    let text = json_of(&redacted);
    assert!(!text.contains(&value), "{text}");
    let inputs = &redacted.spans[0].inputs;
    assert_eq!(inputs["text"], json!(format!("it is {}.", inputs["password"].as_str().unwrap())));
}

#[test]
fn a_secret_at_the_edge_of_a_cut_leaves_no_half_of_itself() {
    let secret = token(3);
    let (mut trace, _) = trace();
    for before in (940..1001).step_by(3) {
        let text = format!("{}{secret} and on", ".".repeat(before));
        trace.request_preview = Some(text.clone());
        trace.metadata = [("mlflow.traceInputs".to_owned(), text[before - 230..].to_owned())].into();
        let end = format!("exit code 1\n{}{secret}{}", "-".repeat(500), "=".repeat(before));
        trace.spans[0].events[0].attributes = Map::from([("exception.message", end.into())]);
        let text = json_of(&redactor().redact(trace.clone(), Content::Full));
        let half = |part: &str| text.contains(part);
        assert!(!half(&secret[4..16]) && !half(&secret[16..28]) && !half(&secret[28..40]), "{text}");
    }
    let redacted = redactor().redact(trace, Content::Full);
    assert_eq!(redacted.request_preview.as_ref().unwrap().chars().count(), 1000);
    assert_eq!(redacted.metadata["mlflow.traceInputs"].chars().count(), 250);
}

#[test]
fn a_text_that_placeholders_make_too_long_is_cut() {
    let (mut trace, _) = trace();
    let secret = "Zx81-qk72-Lm4v-90";
    let repeats = format!("{secret} ").repeat((8 << 10) / (secret.len() + 1));
    let nothing = || span(json!({"a": 1}), json!(null));
    let status = SpanStatus::Error { message: repeats };
    // The secret is known only after the span that repeats it.
    trace.spans = vec![Span { status, ..nothing() }, span(json!({"password": secret}), json!(null))];
    let redacted = redactor().redact(trace, Content::Full);
    let SpanStatus::Error { message } = &redacted.spans[0].status else { panic!("no error") };
    assert!(!message.contains(secret) && message.contains(" bytes cut …]"), "{} bytes", message.len());
}

#[test]
fn content_mode_metadata_leaves_no_text() {
    let (mut trace, secrets) = trace();
    trace.name = "codex_cli_session".into();
    trace.spans[0].inputs = json!({"prompt": "write a parser", "model": "gpt-5.5"}).into();
    trace.spans[0].outputs = json!({"response": "done", "status": "completed", "exit_code": 3}).into();
    trace.spans[0].attributes.insert("codex.cwd", "/home/ada".into());
    trace.spans[0].attributes.insert("codex.turns", 1_u64.into());
    trace.metadata.insert("session".into(), "01a202b6".into());
    let redacted = redactor().redact(trace, Content::Metadata);
    let text = json_of(&redacted);
    assert!(secrets.iter().all(|secret| !text.contains(secret)), "{text}");
    let root = &redacted.spans[0];
    assert_eq!(root.inputs, json!({"model": "gpt-5.5"}));
    assert_eq!(root.outputs, json!({"status": "completed", "exit_code": 3}));
    assert_eq!(
        Value::Object(root.attributes.clone()),
        json!({"codex.turns": 1, "codex.content": "metadata"})
    );
    assert_eq!(redacted.metadata, [("session".to_owned(), "01a202b6".to_owned())].into());
    assert_eq!((&redacted.request_preview, &redacted.tags, root.name.as_str()), (&None, &[].into(), "agent"));
}

#[test]
fn metadata_about_users_is_what_the_content_mode_metadata_removes() {
    let rollout = Path::new("tests/corpus/0.169.0/exec-basic.jsonl");
    let mut session = read(rollout, Writer::Gone).unwrap();
    session.meta.git.get_or_insert_default().repository_url = Some("https://host/a.git".into());
    let surroundings = TraceSource { rollout, user: Some("ada"), prices: PriceBook::built_in() };
    let trace = build_family(&session.into(), &ThreadRecord::default(), surroundings).unwrap();
    let all: BTreeSet<String> = trace.metadata.keys().cloned().collect();
    let figures = redactor().redact(trace, Content::Metadata);
    let gone = all.iter().map(String::as_str).filter(|key| !figures.metadata.contains_key(*key));
    assert_eq!(gone.collect::<BTreeSet<_>>(), BTreeSet::from(PERSONAL));
}
