//! Redacted traces hold no character that a store cannot keep.

use super::*;
use crate::redact::RedactionMemory;
use crate::redact::texts::rewrite_texts;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value as Json;
use std::sync::LazyLock;

/// Texts with NUL and halves of surrogate pairs in them, as they are and as JSON escapes them.
fn text() -> impl Strategy<Value = String> {
    let parts = select(vec![
        "\0",
        "a",
        "ä",
        "\u{2028}",
        "\\",
        "\\\\",
        "\"",
        "{",
        "[",
        "}",
        "\\u0000",
        "\\ud83d",
        "\\uDE00",
        "\\u00e4",
        "\\ud83",
        "{\"a\": \"",
        "\"}",
    ]);
    prop_oneof![
        vec(parts.clone(), 0..12).prop_map(|parts| parts.concat()),
        // Valid JSON, as a model writes a tool's arguments.
        vec(select(vec!["a", "\\u0000", "\\ud83d", "\\ude00", "\\n", "\\\\", "ä"]), 0..12)
            .prop_map(|parts| format!("{{\"cmd\": [\"{}\"]}}", parts.concat())),
    ]
}

/// Whether any string holds a NUL. Text about an escape, `\\u0000`, holds none.
fn has_nul(value: &Json) -> bool {
    match value {
        Json::String(text) => text.contains('\0'),
        Json::Array(values) => values.iter().any(has_nul),
        Json::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
}

#[test]
fn text_about_an_escape_is_no_nul() {
    assert!(!has_nul(&serde_json::json!({"cmd": ["see \\u0000 there"]})));
    assert!(has_nul(&serde_json::json!({"cmd": ["see \0 there"]})));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_store_gets_a_nul_or_half_a_surrogate_pair(planted in vec(text(), 18)) {
        static REDACTOR: LazyLock<Redactor> = LazyLock::new(redactor);
        let (trace, secrets) = trace();
        let mut json = serde_json::to_string(&trace).unwrap();
        for (secret, planted) in secrets.iter().zip(planted.iter().cycle()) {
            let quoted = serde_json::to_string(planted).unwrap();
            json = json.replace(secret, &quoted[1..quoted.len() - 1]);
        }
        for content in [Content::Full, Content::Metadata] {
            let trace = || serde_json::from_str::<Trace>(&json).unwrap();
            let whole = REDACTOR.redact(trace(), content);
            let part = REDACTOR.redact_part(trace(), content, &mut RedactionMemory::default());
            let mut texts = Vec::new();
            let mut collect = |text: &str| {
                texts.push(text.to_owned());
                None
            };
            rewrite_texts(&mut whole.into(), &mut collect);
            rewrite_texts(&mut part.into(), &mut collect);
            for text in &texts {
                prop_assert!(!text.contains('\0'), "{text:?}");
                // serde_json refuses half a pair where Python accepts it.
                let shape = text.replace("\\ud", "\\ue").replace("\\uD", "\\ue").replace("\\u0000", "\\u0020");
                if serde_json::from_str::<Json>(&shape).is_ok() {
                    let read = serde_json::from_str::<Json>(text);
                    prop_assert!(read.is_ok_and(|value| !has_nul(&value)), "{text:?}");
                }
            }
        }
    }
}
