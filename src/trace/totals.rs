//! Tokens and cost of several model responses.

use super::price::{Assumption, Cost, Priced};
use super::price_list;
use codex_session::rollout::usage::TokenUsage;
use codex_session::session::model::Inference;
use common::json::value::Value;
use std::collections::BTreeSet;

/// Tokens and cost of model responses, including those of sub-agents.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct UsageTotal {
    /// None when no response has a recorded usage.
    pub(super) tokens: Option<TokenUsage>,
    /// None when the price of any model is unknown.
    pub(super) cost: Option<Cost>,
    assumed: BTreeSet<Assumption>,
}

impl UsageTotal {
    pub(super) fn from_inferences<'a>(inferences: impl Iterator<Item = &'a Inference>) -> UsageTotal {
        let (mut total, mut all_priced) = (UsageTotal::default(), true);
        for inference in inferences {
            let Some(used) = inference.usage else { continue };
            total.tokens = Some(total.tokens.unwrap_or_default() + used);
            if inference.model.is_none() {
                continue;
            }
            match Priced::from_response(inference) {
                Some(Priced { cost, assumed }) => {
                    *total.cost.get_or_insert_default() += cost;
                    total.assumed.extend(assumed);
                }
                // A partial sum would look like the whole cost.
                None => all_priced = false,
            }
        }
        total.cost = total.cost.filter(|_| all_priced);
        total
    }

    /// Where the prices come from, and what they assume.
    pub(super) fn cost_basis(&self) -> Option<String> {
        self.cost?;
        let assumed = self.assumed.iter().map(|assumption| format!("; {assumption}"));
        Some(format!("list price of {}", price_list::as_of()) + &assumed.collect::<String>())
    }
}

/// The JSON of `mlflow.chat.tokenUsage` and `mlflow.trace.tokenUsage`.
pub(super) fn token_usage(usage: TokenUsage) -> Value {
    [
        ("input_tokens", usage.input.into()),
        ("output_tokens", usage.output.into()),
        ("total_tokens", usage.total().into()),
        ("cache_read_input_tokens", usage.cached_input.into()),
        ("cache_creation_input_tokens", usage.cache_write_input.into()),
    ]
    .into()
}
