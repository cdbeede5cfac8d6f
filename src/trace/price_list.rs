//! The price list that the program carries.

use super::billing::Provider;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// `scripts/prices` writes it, and says where its figures come from.
static TABLE: LazyLock<PriceTable> = LazyLock::new(|| {
    serde_json::from_str(include_str!("prices.json")).expect("the price table is checked by a test")
});

/// The tier of a request that asks for none.
const STANDARD: &str = "standard";

#[derive(Deserialize)]
struct PriceTable {
    as_of: String,
    openai: Prices,
    azure: Prices,
    bedrock: Prices,
}

type Prices = BTreeMap<String, Model>;

#[derive(Deserialize)]
struct Model {
    /// A request with more input than this is a long one: all of it has other rates.
    above: Option<u64>,
    /// By MLflow's word for the tier: the rates of a usual request, then those of a long one.
    tiers: BTreeMap<String, Vec<Rates>>,
}

/// US dollars per million tokens: input, output, cached input, cache write.
/// Where one of the last two is not listed, it costs what input costs.
#[derive(Clone, Copy, Deserialize)]
pub(super) struct Rates(pub(super) f64, pub(super) f64, pub(super) Option<f64>, pub(super) Option<f64>);

/// Of a request with so much input. With false where the list has no such tier: then they are the standard ones.
pub(super) fn rates(who: Provider, model: &str, tier: Option<&str>, input: u64) -> Option<(Rates, bool)> {
    let PriceTable { openai, azure, bedrock, .. } = &*TABLE;
    let lists: &[&Prices] = match who {
        Provider::OpenAi => &[openai],
        Provider::Azure => &[azure, openai],
        Provider::Bedrock => &[bedrock, openai],
        // The names of Bedrock's models are its own.
        Provider::Other => &[openai, bedrock],
        Provider::Local => &[],
    };
    // MLflow drops what gateways put before the name: `openai/gpt-5.5`.
    let name = model.rsplit('/').next().unwrap_or(model);
    let model = lists.iter().find_map(|list| list.get(name).or_else(|| list.get(undated(name))))?;
    model.rates(tier.map_or(STANDARD, listed_tier), input)
}

/// `gpt-5` of `gpt-5-2025-08-07`.
fn undated(model: &str) -> &str {
    let is_date = |text: &str| {
        text.len() == 11
            && text.bytes().enumerate().all(|(at, byte)| match at {
                0 | 5 | 8 => byte == b'-',
                _ => byte.is_ascii_digit(),
            })
    };
    match model.len().checked_sub(11).and_then(|at| model.split_at_checked(at)) {
        Some((undated, date)) if is_date(date) => undated,
        _ => model,
    }
}

/// The catalogue's word for one of Codex's.
fn listed_tier(tier: &str) -> &str {
    match tier {
        "default" | "auto" => STANDARD,
        // In Codex's configuration; the request says `priority`.
        "fast" => "priority",
        other => other,
    }
}

impl Model {
    fn rates(&self, tier: &str, input: u64) -> Option<(Rates, bool)> {
        let is_long = self.above.is_some_and(|threshold| input > threshold);
        let of = |tier: &str| self.tiers.get(tier)?.get(usize::from(is_long)).copied();
        of(tier).map(|rates| (rates, true)).or_else(|| Some((of(STANDARD)?, false)))
    }
}

/// The day of the price table.
pub(super) fn as_of() -> &'static str {
    &TABLE.as_of
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tier_of_a_model_with_a_threshold_has_both_rates() {
        for list in [&TABLE.openai, &TABLE.azure, &TABLE.bedrock] {
            for (name, model) in list {
                let contexts = if model.above.is_some() { 2 } else { 1 };
                assert!(model.tiers.contains_key(STANDARD), "{name}");
                assert!(model.tiers.values().all(|rates| rates.len() == contexts), "{name}");
            }
        }
    }
}
