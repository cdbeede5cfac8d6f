//! Any rule that is taken, and all of ours, find whole characters in any text, in order, and none twice.
#![no_main]

use codex_traced::redact::{Finder, Redactor, Rules, Salt};
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use std::sync::LazyLock;

static OURS: LazyLock<(Finder, Redactor)> =
    LazyLock::new(|| (Finder::new(Rules::built_in()), Redactor::new(Rules::built_in(), Salt::new([7; 32]))));

fn check(finder: &Finder, text: &str) {
    let mut past = 0;
    for one in finder.find(text) {
        assert!(one.range.start >= past && one.range.start < one.range.end);
        // Panics within a character.
        let _ = &text[one.range.clone()];
        past = one.range.end;
    }
}

fuzz_target!(|input: (&str, &str, &str)| {
    let (pattern, keyword, text) = input;
    let (finder, redactor) = &*OURS;
    check(finder, text);
    if let Some(without) = redactor.text(text) {
        assert!(without.contains("[redacted:"));
    }
    let keywords = if keyword.is_empty() { json!([]) } else { json!([keyword]) };
    let redaction =
        json!({"rules": [{"name": "a", "pattern": pattern, "keywords": keywords}], "allow": [keyword]});
    check(&Finder::new(Rules::default().with_user_rules(&redaction).0), text);
});
