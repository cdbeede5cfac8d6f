//! A trace's cost where only the server knows it: servers have prices of models for which codex-traced has
//! none. Once a server has a trace, it does not add up the costs of its spans again.

use super::server::ServerApi;
use crate::exporter::ExportError;
use crate::ids::TraceId;
use crate::keys;
use crate::rest::api::ApiRequest;
use crate::wire::json;
use serde_json::{Map, Value};

/// The sum over the spans that the server has, as the value of the trace's own cost. None if no span has a
/// cost, if the spans are too many to read back, or if the first try fails: the trace must not wait for its
/// cost.
pub(super) fn stored_cost(server: &ServerApi, trace: TraceId) -> Result<Option<String>, ExportError> {
    let path = ["ajax-api", "2.0", "mlflow", "get-trace-artifact"];
    let query = [("request_id", &*trace.to_string())];
    let answer = server.get_once(&ApiRequest::get(&path, &query))?;
    Ok(answer.and_then(|answer| sum(&answer.json()["spans"])))
}

fn sum(spans: &Value) -> Option<String> {
    let costs: Vec<Value> = spans.as_array()?.iter().filter_map(cost_of).collect();
    let total = |key: &&str| costs.iter().filter_map(|cost| cost[*key].as_f64()).reduce(|a, b| a + b);
    let totals: Map<String, Value> =
        keys::COST_KEYS.iter().filter_map(|key| Some(((*key).to_owned(), total(key)?.into()))).collect();
    (!totals.is_empty()).then(|| json(&totals))
}

/// A span's attributes are JSON inside a string.
fn cost_of(span: &Value) -> Option<Value> {
    match &span["attributes"][keys::SPAN_COST] {
        Value::String(text) => serde_json::from_str(text).ok(),
        Value::Null => None,
        other => Some(other.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json as value;

    #[test]
    fn costs_are_added_up_and_no_cost_is_none() {
        let priced = |cost: &str| value!({"attributes": {"mlflow.llm.cost": cost}});
        let spans = value!([
            priced(r#"{"input_cost": 0.5, "output_cost": 0.25, "total_cost": 0.75}"#),
            value!({"attributes": {}}),
            priced("no json"),
            value!({"attributes": {"mlflow.llm.cost": {"total_cost": 1.0}}}),
        ]);
        let expected = r#"{"input_cost": 0.5, "output_cost": 0.25, "total_cost": 1.75}"#;
        assert_eq!(sum(&spans).as_deref(), Some(expected));
        for none in [value!([]), value!([{"attributes": {}}]), Value::Null, value!("x")] {
            assert_eq!(sum(&none), None, "{none}");
        }
    }
}
