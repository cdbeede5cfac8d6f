//! The model and the cost of a span, which MLflow stores in addition to the span's content.

use crate::derived::attribute;
use crate::keys;
use crate::trace::Span;
use crate::wire::json;
use std::collections::BTreeMap;

/// The width of `spans.model_name` and `spans.model_provider`, in characters. MLflow cuts longer values.
const WIDTH: usize = 500;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Facts {
    pub(super) model: Option<String>,
    pub(super) provider: Option<String>,
    /// In the order of `COST_KEYS`, in US dollars.
    pub(super) costs: [Option<f64>; 3],
}

impl Facts {
    pub(super) fn from_span(span: &Span) -> Facts {
        let text = |key| {
            let value = attribute(span, key)?;
            Some(value.as_str()?.chars().take(WIDTH).collect())
        };
        let cost = span.attributes.get(keys::SPAN_COST);
        Facts {
            model: text(keys::SPAN_MODEL),
            provider: text(keys::SPAN_PROVIDER),
            costs: keys::COST_KEYS.map(|key| cost?.get(key)?.as_f64()),
        }
    }

    /// The JSON of `spans.dimension_attributes` (3.10 to 3.14). `null` without facts, as a server writes it.
    pub(super) fn dimensions(&self) -> String {
        let all = [(keys::SPAN_MODEL, &self.model), (keys::SPAN_PROVIDER, &self.provider)];
        let known: BTreeMap<&str, &String> =
            all.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?))).collect();
        json(&Some(known).filter(|known| !known.is_empty()))
    }

    /// The rows of `span_metrics` (3.10 to 3.14).
    pub(super) fn metrics(&self) -> impl Iterator<Item = (&'static str, f64)> {
        keys::COST_KEYS.into_iter().zip(self.costs).filter_map(|(key, value)| Some((key, value?)))
    }
}
