//! Rules and allowed values that users add in the configuration.

use super::*;

fn with(redaction: serde_json::Value) -> (Redactor, Vec<String>) {
    let (rules, problems) = Rules::built_in().with_user_rules(&redaction);
    (Redactor::new(rules, Salt::new(SALT)), problems)
}

#[test]
fn users_add_rules_and_allow_values() {
    let (redactor, problems) = with(json!({
        "rules": [
            {"name": "acme", "pattern": r"acme-[0-9]{6}"},
            {"name": "customer", "pattern": "[Cc]ustomer number [0-9]+", "keywords": ["number"]},
        ],
        "allow": ["ghp_a+b.*"],
    }));
    assert_eq!(problems, [""; 0]);
    let text = redactor.text("an acme-123456 of Customer number 77").unwrap();
    assert!(text.starts_with("an [redacted:acme:") && text.contains(" of [redacted:customer:"), "{text}");
    let fixture = format!("ghp_aaab{}", &token(1)[8..]);
    assert_eq!(redactor.text(&fixture), None);
    assert!(redactor.text(&token(1)).is_some());
}

#[test]
fn an_invalid_rule_is_refused_by_name_and_built_in_rules_still_apply() {
    let table = [
        (json!("x"), "\"redaction\" is no object"),
        (json!({"rules": {}}), "\"rules\" is no list"),
        (json!({"rule": []}), "\"rule\" is neither \"rules\" nor \"allow\""),
        (json!({"rules": [{"pattern": "x"}]}), "rule 1 is not used: it needs a name"),
        (json!({"rules": [{"name": "A b", "pattern": "x"}]}), "rule 1 is not used: it needs a name"),
        (json!({"rules": [{"name": "a"}]}), "rule \"a\" is not used: missing field `pattern`"),
        (
            json!({"rules": [{"name": "a", "pattern": "("}]}),
            "rule \"a\" is not used: its pattern is no regular expression",
        ),
        (
            json!({"rules": [{"name": "a", "pattern": "x*"}]}),
            "rule \"a\" is not used: its pattern matches where nothing is",
        ),
        (
            json!({"rules": [{"name": "a", "pattern": "((x{1000}){1000}){9}"}]}),
            "rule \"a\" is not used: its pattern is too large",
        ),
        (
            json!({"rules": [{"name": "a", "pattern": "(".repeat(60) + &")".repeat(60)}]}),
            "rule \"a\" is not used: its pattern is no",
        ),
        (
            json!({"rules": [{"name": "a", "pattern": "x".repeat(2001)}]}),
            "rule \"a\" is not used: its pattern is longer than",
        ),
        (
            json!({"rules": [{"name": "jwt", "pattern": "x"}]}),
            "rule \"jwt\" is not used: there is a rule of that name",
        ),
        (
            json!({"rules": [{"name": "a", "pattern": "x", "keywords": [""]}]}),
            "rule \"a\" is not used: its keywords are not",
        ),
        (
            json!({"rules": [{"name": "a", "pattern": "x", "keyword": []}]}),
            "rule \"a\" is not used: unknown field `keyword`",
        ),
        (json!({"allow": ["["]}), "entry 1 of \"allow\" is not used"),
        (json!({"allow": [7]}), "entry 1 of \"allow\" is not used: it is no text"),
    ];
    for (redaction, expected) in table {
        let (redactor, problems) = with(redaction.clone());
        assert!(problems.len() == 1 && problems[0].contains(expected), "{redaction}: {problems:?}");
        assert!(redactor.text(&token(1)).is_some());
    }
}

#[test]
fn a_match_never_cuts_a_character() {
    let (redactor, problems) = with(json!({"rules": [{"name": "any", "pattern": r"key=[^ ]{3}"}]}));
    assert_eq!(problems, [""; 0]);
    let text = redactor.text("key=äöü key=€€€").unwrap();
    assert!(text.starts_with("[redacted:any:") && text.ends_with('€'), "{text}");
}

#[test]
fn a_trace_that_was_redacted_before_changes_by_added_rules_only() {
    let redacted: Trace = redactor().redact(trace().0, Content::Full).into();
    let again = redactor().redact_again(redacted.clone(), Content::Full);
    assert_eq!(json_of(&again), serde_json::to_string(&redacted).unwrap());

    let (added, _) = with(json!({"rules": [{"name": "end", "pattern": "there$"}]}));
    let again = added.redact_again(redacted, Content::Full);
    assert_eq!(json_of(&again).matches("[redacted:github-token:").count(), 18);
    assert!(!json_of(&again).contains("there\""), "{}", json_of(&again));
    let counts: serde_json::Value = serde_json::from_str(&again.metadata[REDACTIONS]).unwrap();
    assert_eq!(counts["github-token"], 18);
    assert!(counts["end"].as_u64() > Some(10), "{counts}");
}
