//! The settings of each response.

use crate::session::reducer::SessionReducer;
use serde_json::{Value, json};

/// Model, effort, provider and tier of each response.
fn in_force(lines: &[(&str, Value)]) -> Vec<String> {
    let mut reducer = SessionReducer::default();
    for (kind, payload) in lines {
        reducer.observe(json!({"type": kind, "payload": payload}).to_string().as_bytes());
    }
    let session = reducer.finish();
    let all = session.inferences().map(|it| {
        [&it.model, &it.effort, &it.provider, &it.service_tier]
            .map(|text| text.as_deref().unwrap_or("-"))
            .join(" ")
    });
    all.collect()
}

#[test]
fn every_line_that_names_a_setting_counts_and_the_last_one_decides() {
    let meta = || ("session_meta", json!({"id": "t", "model_provider": "p"}));
    let begin = || ("event_msg", json!({"type": "task_started", "turn_id": "a"}));
    let shown = || ("response_item", json!({"type": "message", "role": "user", "content": "go"}));
    let say = || ("response_item", json!({"type": "message", "role": "assistant", "content": "one"}));
    let context = |context: Value| ("turn_context", context);
    let settings = |settings: Value| {
        ("event_msg", json!({"type": "thread_settings_applied", "thread_settings": settings}))
    };
    let of_another = (
        "event_msg",
        json!({"type": "thread_settings_applied", "thread_id": "u", "thread_settings": {"model": "n"}}),
    );
    let all = json!({"model": "n", "reasoning_effort": "low", "model_provider_id": "q", "service_tier": "priority"});
    let table = [
        (vec![meta(), begin(), say()], vec!["- - p -"]),
        (vec![meta(), begin(), settings(all.clone()), say()], vec!["n low q priority"]),
        (
            vec![
                meta(),
                begin(),
                context(json!({"turn_id": "a", "model": "m"})),
                settings(all.clone()),
                say(),
            ],
            vec!["n low q priority"],
        ),
        (
            vec![
                meta(),
                settings(all.clone()),
                begin(),
                context(json!({"turn_id": "a", "model": "m", "effort": "high"})),
                say(),
            ],
            vec!["m high q priority"],
        ),
        // Changed while the turn runs: what was asked before keeps what it was asked with.
        (
            vec![
                meta(),
                begin(),
                context(json!({"turn_id": "a", "model": "m", "service_tier": "flex"})),
                say(),
                settings(json!({"model": "n"})),
                shown(),
                say(),
            ],
            vec!["m - p flex", "n - p -"],
        ),
        (
            vec![meta(), begin(), context(json!({"turn_id": "a", "model": "m"})), of_another, say()],
            vec!["m - p -"],
        ),
        (
            vec![
                meta(),
                begin(),
                context(json!({"turn_id": "a",
            "collaboration_mode": {"settings": {"model": "m", "reasoning_effort": "high"}}})),
                say(),
            ],
            vec!["m high p -"],
        ),
    ];
    for (lines, expected) in table {
        assert_eq!(in_force(&lines), expected, "{lines:?}");
    }
}
