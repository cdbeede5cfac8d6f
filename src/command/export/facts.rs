//! Figures and facts of an exported session: tokens, cost, times, origin.

use super::plain;
use crate::command::tree::{duration, grouped};
use common::json::value::Value;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use mlflow_store::mlflow_keys::ACTIVE_MS;
use mlflow_store::trace::{Span, SpanType, Trace};

/// Characters of a fact.
const WIDTH: usize = 300;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) name: &'static str,
    pub(super) value: String,
}

/// Tokens and cost of one or several model responses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Figures {
    tokens: Option<[u64; 3]>,
    /// US dollars at list price.
    cost: Option<f64>,
}

impl Figures {
    pub(super) fn from_span(span: &Span) -> Figures {
        let of = |key| span.attributes.get(key).unwrap_or(&Value::Null);
        Figures::from_values(of("mlflow.chat.tokenUsage"), of("mlflow.llm.cost"))
    }

    fn from_trace(trace: &Trace) -> Figures {
        let of = |key: &str| {
            let text = trace.metadata.get(key);
            text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null)
        };
        Figures::from_values(&of("mlflow.trace.tokenUsage"), &of("mlflow.trace.cost"))
    }

    fn from_values(usage: &Value, cost: &Value) -> Figures {
        let count = |key: &str| usage.get(key).and_then(Value::as_u64);
        let cached = count("cache_read_input_tokens").unwrap_or(0);
        let tokens = count("input_tokens").zip(count("output_tokens"));
        Figures {
            tokens: tokens.map(|(input, output)| [input, cached, output]),
            cost: cost.get("total_cost").and_then(Value::as_f64),
        }
    }

    pub(super) fn add(&mut self, other: Figures) {
        if let Some(more) = other.tokens {
            let sum = self.tokens.get_or_insert([0; 3]);
            sum.iter_mut().zip(more).for_each(|(sum, more)| *sum = sum.saturating_add(more));
        }
        if let Some(more) = other.cost {
            *self.cost.get_or_insert(0.0) += more;
        }
    }

    pub(super) fn tokens(self) -> Option<String> {
        let [input, cached, output] = self.tokens?;
        let cached = if cached > 0 { format!(" ({} cached)", grouped(cached)) } else { String::new() };
        Some(format!("{} in{cached}, {} out", grouped(input), grouped(output)))
    }

    pub(super) fn cost(self) -> Option<String> {
        self.cost.map(|cost| format!("${cost:.4}"))
    }
}

/// What the head of the export lists.
pub(super) fn of_trace(trace: &Trace, root: &Span) -> Vec<Fact> {
    let meta = |key: &str| trace.metadata.get(key).cloned();
    let attribute = |key: &str| root.attributes.get(key);
    let text = |key: &str| attribute(key).and_then(Value::as_str).map(str::to_owned);
    let count = |key: &str| attribute(key).and_then(Value::as_u64);
    let figures = Figures::from_trace(trace);
    let worked =
        count(ACTIVE_MS).and_then(|millis| Timestamp::from_millisecond(millis.try_into().ok()?).ok());
    let git = [meta("mlflow.source.git.branch"), meta("mlflow.source.git.commit").map(|id| short(&id))];
    let git: Vec<String> = git.into_iter().flatten().collect();
    let removed: u64 = trace.redactions().values().sum();
    let rows = [
        ("Started", Some(minute(root.started_at))),
        (
            "Worked for",
            worked
                .map(|end| duration(Timestamp::UNIX_EPOCH, end))
                .or_else(|| Some(duration(root.started_at, root.ended_at))),
        ),
        ("Model", Some(models(trace).join(", ")).filter(|names| !names.is_empty())),
        ("Turns", count("codex.turns").map(grouped)),
        ("Sub-agents", count("codex.sub_agents").map(grouped)),
        ("Tokens", figures.tokens()),
        ("Cost", figures.cost().map(|cost| format!("{cost} at list price"))),
        ("Folder", meta("mlflow.trace.working_directory")),
        ("Git", Some(git.join(" @ ")).filter(|git| !git.is_empty())),
        ("Codex", text("codex.cli_version").or_else(|| trace.tags.get("codex.cli_version").cloned())),
        ("Session", meta("mlflow.trace.session")),
        ("Continues", text("codex.continues")),
        ("Removed secrets", Some(removed).filter(|count| *count > 0).map(grouped)),
    ];
    let fact = |(name, value): (_, Option<String>)| Some(Fact { name, value: plain::line(&value?, WIDTH) });
    rows.into_iter().filter_map(fact).collect()
}

/// Each model once, in the order of their first responses.
fn models(trace: &Trace) -> Vec<String> {
    let mut models: Vec<String> = Vec::new();
    for span in trace.spans.iter().filter(|span| span.span_type == SpanType::Llm) {
        let name = span.attributes.get("mlflow.llm.model").and_then(Value::as_str);
        if let Some(name) = name.filter(|name| models.iter().all(|known| known != name)) {
            models.push(name.to_owned());
        }
    }
    models
}

/// In UTC: an export is read elsewhere.
fn minute(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// As Git abbreviates a commit.
fn short(commit: &str) -> String {
    commit.chars().take(10).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn figures_are_summed_where_they_are_known() {
        let usage = |input, output| json!({"input_tokens": input, "output_tokens": output, "cache_read_input_tokens": 5});
        let figures = |usage: serde_json::Value, cost: serde_json::Value| {
            Figures::from_values(&usage.into(), &json!({ "total_cost": cost }).into())
        };
        let table = [
            (vec![], None, None),
            (vec![figures(json!({}), json!(null))], None, None),
            (
                vec![figures(usage(1000, 20), json!(0.25)), figures(usage(500, 2), json!(null))],
                Some("1,500 in (10 cached), 22 out"),
                Some("$0.2500"),
            ),
        ];
        for (parts, tokens, cost) in table {
            let mut sum = Figures::default();
            parts.iter().for_each(|part| sum.add(*part));
            assert_eq!((sum.tokens().as_deref(), sum.cost().as_deref()), (tokens, cost), "{parts:?}");
        }
    }

    #[test]
    fn a_time_is_shown_to_the_minute() {
        assert_eq!(minute(Timestamp::UNIX_EPOCH), "1970-01-01 00:00 UTC");
    }
}
