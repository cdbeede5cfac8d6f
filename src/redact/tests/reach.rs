//! Search range of a rule: to the end of its secret, and to the argument after an option.

use super::*;

#[test]
fn a_secret_is_found_at_any_length_and_after_many_false_prefixes() {
    let redacted = |text: &str| redactor().text(text).expect("a secret");
    let long = written_out("authorization: Bearer <200000:A-Za-z0-9>");
    assert_eq!(redacted(&long).len(), redacted("authorization: Bearer a1b2c3d4e5f6a7b8c9d0e1f2").len());
    let token = token(1);
    // Each has only the prefix of a secret.
    let text = format!("{} {} {token} end", "eyJ".repeat(9000), "authorization=".repeat(9000));
    let kept = redacted(&text);
    assert!(!kept.contains(&token) && kept.ends_with(" end"), "{}", &kept[kept.len() - 100..]);
}

#[test]
fn a_users_rule_searches_the_whole_text_and_replaces_its_whole_match() {
    for (pattern, secret) in [("CU-[A-Za-z0-9]+", "CU-<2000:A-Za-z0-9>"), ("[a-z]{600}-CU-", "<600:a-z>-CU-")]
    {
        let own = json!({"rules": [{"name": "own", "pattern": pattern, "keywords": ["CU-"]}]});
        let (rules, problems) = Rules::built_in().with_user_rules(&own);
        assert!(problems.is_empty(), "{problems:?}");
        let secret = written_out(secret);
        let kept =
            Redactor::new(rules, Salt::new(SALT)).text(&format!("see {secret} there")).expect("a secret");
        assert!(
            kept.starts_with("see [redacted:own:") && kept.ends_with("] there") && kept.len() < 60,
            "{kept}"
        );
    }
}

#[test]
fn an_argument_is_checked_with_the_option_before_it() {
    for option in ["-u", "--user", "--proxy-user"] {
        let (mut trace, _) = trace();
        trace.spans[0].inputs =
            json!({"command": ["curl", option, "ada:S3cret99!x", "https://example.org"]}).into();
        let kept = redactor().redact(trace, Content::Full);
        let words = kept.spans[0].inputs["command"].as_array().unwrap();
        assert!(words[2].as_str().unwrap().starts_with("ada:[redacted:"), "{words:?}");
        assert_eq!((words[1].as_str(), words[3].as_str()), (Some(option), Some("https://example.org")));
    }
}
