//! What tokens cost at list price. Most people are on a plan, so it is called list price wherever it shows.

use crate::rollout::value::Value;
use crate::session::model::TokenUsage;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::LazyLock;

static TABLE: LazyLock<PriceTable> = LazyLock::new(|| {
    serde_json::from_str(include_str!("prices.json")).expect("the price table is checked by a test")
});

#[derive(Deserialize)]
struct PriceTable {
    as_of: String,
    models: BTreeMap<String, Price>,
}

/// US dollars per million tokens.
#[derive(Clone, Copy, Deserialize)]
struct Price {
    input: f64,
    output: f64,
    /// Where there is none, cached input costs what input costs.
    cached_input: Option<f64>,
    cache_write: Option<f64>,
}

/// US dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    pub input: f64,
    pub output: f64,
}

impl Cost {
    /// None for a model that the table does not know.
    pub fn of(model: &str, usage: TokenUsage) -> Option<Cost> {
        let price = TABLE.models.get(model)?;
        let fresh = usage.input.saturating_sub(usage.cached_input).saturating_sub(usage.cache_write_input);
        let dollars = |tokens: u64, per_million: f64| tokens as f64 * per_million / 1e6;
        Some(Cost {
            input: dollars(fresh, price.input)
                + dollars(usage.cached_input, price.cached_input.unwrap_or(price.input))
                + dollars(usage.cache_write_input, price.cache_write.unwrap_or(price.input)),
            output: dollars(usage.output, price.output),
        })
    }

    /// As MLflow's `mlflow.llm.cost` and `mlflow.trace.cost`.
    pub fn to_json(self) -> Value {
        [
            ("input_cost", self.input.into()),
            ("output_cost", self.output.into()),
            ("total_cost", (self.input + self.output).into()),
        ]
        .into()
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Cost) {
        self.input += other.input;
        self.output += other.output;
    }
}

/// The day of the price table.
pub fn as_of() -> &'static str {
    &TABLE.as_of
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cached_input_is_cheaper_and_never_counted_twice() {
        let usage =
            TokenUsage { input: 1_000_000, cached_input: 400_000, output: 100_000, ..TokenUsage::default() };
        let cost = Cost::of("gpt-5.5", usage).unwrap();
        assert!((cost.input - (0.6 * 5.0 + 0.4 * 0.5)).abs() < 1e-9, "{cost:?}");
        assert!((cost.output - 3.0).abs() < 1e-9, "{cost:?}");
        assert_eq!(Cost::of("a model nobody knows", usage), None);
        assert_eq!(as_of(), "2026-10-05");
    }
}
