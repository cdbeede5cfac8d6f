//! What the rules make of a catalogue, and which files they refuse.

use super::*;

const TODAY: &str = "2026-12-01";

fn prices(text: &str) -> Result<CataloguePrices, CatalogueError> {
    let mut catalogue = Catalogue::default();
    catalogue.add(CatalogueFile::OpenAi, text.as_bytes())?;
    catalogue.into_prices("a test".into(), TODAY)
}

fn with_models(models: &str) -> String {
    format!(r#"{{"schema_version": "1.0", "models": {{{models}}}}}"#)
}

fn chat(name: &str, pricing: &str) -> String {
    format!(r#""{name}": {{"mode": "chat", "pricing": {{{pricing}}}, "last_updated_at": "2026-10-27"}}"#)
}

const USUAL: &str =
    r#""input_per_million_tokens": 4, "output_per_million_tokens": 20, "cache_read_per_million_tokens": 0.4"#;

#[test]
fn what_a_tier_leaves_out_follows_from_the_standard_tier() {
    let tiers = r#""service_tiers": {
        "flex": {"input_per_million_tokens": 2},
        "priority": {"input_per_million_tokens": 8, "output_per_million_tokens": 41},
        "free of it": {"output_per_million_tokens": 1}},
        "long_context": [{"threshold_tokens": 1000, "input_per_million_tokens": 8, "output_per_million_tokens": 30}]"#;
    let made = prices(&with_models(&[
        chat("gpt-6", &format!("{USUAL}, {tiers}")),
        chat("gpt-5.5-x", &format!("{USUAL}, {tiers}")),
        chat("eu/gpt-6", USUAL),
        chat("gpt-6-2026-01-02", "\"input_per_million_tokens\": 1"),
        r#""dall-e": {"mode": "image_generation", "pricing": {"input_per_million_tokens": "by picture"}}"#.into(),
    ].join(","))).unwrap();
    let rates = |of: &str, tier: &str| made.list.openai[of].tiers[tier].clone();
    assert_eq!(
        rates("gpt-6", STANDARD),
        [Rates(4.0, 20.0, Some(0.4), None), Rates(8.0, 30.0, Some(0.8), None)]
    );
    assert_eq!(
        rates("gpt-6", "flex"),
        [Rates(2.0, 10.0, Some(0.2), None), Rates(4.0, 15.0, Some(0.4), None)]
    );
    assert_eq!(
        rates("gpt-6", "priority"),
        [Rates(8.0, 41.0, Some(0.8), None), Rates(16.0, 61.5, Some(1.6), None)]
    );
    assert_eq!(rates("gpt-5.5-x", "priority")[1], rates("gpt-5.5-x", STANDARD)[1]);
    assert_eq!(made.list.openai.keys().collect::<Vec<_>>(), ["gpt-5.5-x", "gpt-6"]);
    assert_eq!((made.list.as_of.as_str(), made.left_out), ("2026-10-27", 0));
    assert!(made.list.openai.values().all(|price| price.is_complete() && price.tiers.len() == 3));
}

#[test]
fn a_file_that_is_no_catalogue_is_refused_with_its_reason() {
    let one = |pricing: &str| with_models(&chat("gpt-6", pricing));
    let many: Vec<String> = (0..=MOST_MODELS).map(|at| format!("\"m{at}\": {{}}")).collect();
    let table = [
        ("", "it is no model catalogue in JSON: EOF while parsing a value at line 1 column 0"),
        ("{\"models\": {", "it is no model catalogue in JSON: EOF while parsing an object"),
        ("[]", "it is no model catalogue in JSON: invalid length 0"),
        ("{}", "it is no model catalogue in JSON: missing field `models`"),
        (
            "{\"models\": 3}",
            "it is no model catalogue in JSON: invalid type: integer `3`, expected an object of models",
        ),
        (&with_models(""), "it has no text model with a price"),
        (&with_models(r#""dall-e": {"mode": "image_generation"}"#), "it has no text model with a price"),
        (
            &with_models("\"a\": {}, \"a\": {}"),
            "it is no model catalogue in JSON: it has the model \"a\" twice",
        ),
        (&with_models(&many.join(",")), "it is no model catalogue in JSON: it has more than 20000 models"),
        (&with_models("\"a\": 7"), "model \"a\": invalid type: integer `7`, expected struct Kind"),
        (
            &one(&USUAL.replace("20", "-1")),
            "model \"gpt-6\": a price of -1 dollars for a million tokens is not between 0 and 10000",
        ),
        (
            &one(&USUAL.replace("20", "1e308")),
            "model \"gpt-6\": a price of 1e308 dollars for a million tokens is not between 0 and 10000",
        ),
        (&one(&USUAL.replace("20", "1e999")), "model \"gpt-6\": number out of range"),
        (&one(&USUAL.replace("20", "NaN")), "it is no model catalogue in JSON: expected value"),
        (&one(&USUAL.replace("20", "\"20\"")), "model \"gpt-6\": invalid type: string \"20\", expected f64"),
        (
            &one(&USUAL.replace("cache_read", "input")),
            "model \"gpt-6\": duplicate field `input_per_million_tokens`",
        ),
        (
            &one(&format!("{USUAL}, \"long_context\": [{{}}]")),
            "model \"gpt-6\": missing field `threshold_tokens`",
        ),
        (&"[".repeat(100_000), "it is no model catalogue in JSON: "),
        (&format!("{{\"models\": {}", "{\"a\":".repeat(100_000)), "it is no model catalogue in JSON: "),
    ];
    for (text, expected) in table {
        let shown: String = text.chars().take(200).collect();
        let error = prices(text).expect_err(&shown).to_string();
        assert!(error.starts_with(expected), "{shown}\n{error}");
    }
}

#[test]
fn a_price_that_follows_from_listed_ones_is_checked_too() {
    let rates = |input: &str, output: &str| {
        format!(r#""input_per_million_tokens": {input}, "output_per_million_tokens": {output}"#)
    };
    let with_priority = |usual: &str, priority: &str| {
        format!(r#"{usual}, "service_tiers": {{"priority": {{"input_per_million_tokens": {priority}}}}}"#)
    };
    let with_step = |usual: &str, long: &str| {
        format!(r#"{usual}, "long_context": [{{"threshold_tokens": 1000, {long}}}]"#)
    };
    let (usual, tiny) = (rates("1", "2"), rates("1e-320", "2"));
    let table = [
        (with_priority(&usual, "5000"), None),
        (with_priority(&usual, "5001"), Some("10002")),
        (with_priority(&tiny, "1"), Some("inf")),
        (with_priority(&rates("1e-320", "0"), "1"), Some("NaN")),
        (with_step(&usual, r#""input_per_million_tokens": 5001"#), Some("10002")),
        (with_step(&with_priority(&usual, "100"), &rates("200", "2")), Some("20000")),
        (with_step(&with_priority(&usual, "100"), &rates("100", "2")), None),
    ];
    for (pricing, refused) in table {
        let error = prices(&with_models(&chat("gpt-6", &pricing))).err().map(|error| error.to_string());
        let expected = refused.map(|rate| {
            format!(
                "model \"gpt-6\": a price of {rate} dollars for a million tokens is not between 0 and 10000"
            )
        });
        assert_eq!(error, expected, "{pricing}");
    }
}

#[test]
fn a_tier_of_the_standards_name_replaces_no_listed_price() {
    let tiers = r#""service_tiers": {"standard": {"input_per_million_tokens": 400}}"#;
    let made = prices(&with_models(&chat("gpt-6", &format!("{USUAL}, {tiers}")))).unwrap();
    assert_eq!(made.list.openai["gpt-6"].tiers[STANDARD], [Rates(4.0, 20.0, Some(0.4), None)]);
}

#[test]
fn a_model_that_no_list_can_hold_is_left_out() {
    let long = "x".repeat(LONGEST_NAME + 1);
    let step =
        r#"{"threshold_tokens": 1000, "input_per_million_tokens": 8, "output_per_million_tokens": 30}"#;
    let made = prices(&with_models(
        &[
            chat("gpt-6", USUAL),
            chat("", USUAL),
            chat("\\u001b[2J", USUAL),
            chat("\\u202egpt", USUAL),
            chat(&long, USUAL),
            chat("two steps", &format!("{USUAL}, \"long_context\": [{step}, {step}]")),
        ]
        .join(","),
    ))
    .unwrap();
    assert_eq!((made.list.openai.len(), made.left_out), (1, 5));
}

#[test]
fn a_day_that_is_no_day_or_later_than_today_does_not_count() {
    for (day, expected) in
        [("2026-11-30", "2026-11-30"), ("9999-12-31", TODAY), ("\\u001b", TODAY), ("", TODAY)]
    {
        let text = with_models(&chat("gpt-6", USUAL)).replace("2026-10-27", day);
        assert_eq!(prices(&text).unwrap().list.as_of, expected, "{day:?}");
    }
}
