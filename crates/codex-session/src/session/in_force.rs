//! The settings in force: those of the next model request, each from the last line that names it.

use crate::rollout::fields::ThreadSettings;
use crate::rollout::rollout_item::TurnContext;
use common::json::text::Text;

/// A line without a model or provider does not change it: every request has both.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct InForce {
    pub(super) model: Option<Text>,
    pub(super) effort: Option<Text>,
    pub(super) provider: Option<Text>,
    /// None where no line names one: the account's default is in force.
    pub(super) service_tier: Option<Text>,
}

impl InForce {
    /// Codex writes one per turn or per request; few versions name the tier in it.
    pub(super) fn turn_context(&mut self, context: TurnContext) {
        let mode = context.collaboration_mode.unwrap_or_default();
        self.model = context.model.or(mode.model).or(self.model.take());
        self.effort = context.effort.or(mode.effort);
        self.service_tier = context.service_tier.or(self.service_tier.take());
    }

    /// Codex writes all settings of the thread when one of them changes.
    pub(super) fn thread_settings(&mut self, settings: ThreadSettings) {
        self.model = settings.model.or(self.model.take());
        self.effort = settings.effort;
        self.provider = settings.provider.or(self.provider.take());
        self.service_tier = settings.service_tier;
    }
}

#[cfg(test)]
mod tests {
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
}
