//! The built-in price lists, and the provider whose list applies to a model request.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Written by `scripts/prices`, which documents the source of the figures.
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
    /// Input tokens above which a request is long: other rates apply to all its tokens.
    above: Option<u64>,
    /// By MLflow's name of the tier: the rates of a usual request, then those of a long one.
    tiers: BTreeMap<String, Vec<Rates>>,
}

/// By the provider's id in Codex's configuration, which Codex writes into the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Provider {
    OpenAi,
    /// Defined by the user: `azure`, `azure-openai`, `my_azure`.
    Azure,
    /// Codex itself defines `amazon-bedrock`.
    Bedrock,
    /// `codex --oss`: the model runs on the user's machine and costs nothing.
    Local,
    /// Defined by the user. GPT models run at OpenAI, Azure or Bedrock only, so another provider is a gateway.
    /// MLflow prices such requests by the model's name too.
    Other,
}

impl Provider {
    pub(super) fn from_id(id: Option<&str>) -> Provider {
        let Some(id) = id.filter(|id| !id.is_empty()) else { return Provider::OpenAi };
        let id = id.to_ascii_lowercase();
        match &*id {
            "openai" => Provider::OpenAi,
            "oss" | "ollama" | "ollama-chat" | "lmstudio" => Provider::Local,
            _ if id.contains("azure") => Provider::Azure,
            _ if id.contains("bedrock") => Provider::Bedrock,
            _ => Provider::Other,
        }
    }
}

/// US dollars per million tokens: input, output, cached input, cache write.
/// Where one of the last two is missing, the input rate applies.
#[derive(Clone, Copy, Deserialize)]
pub(super) struct Rates(pub(super) f64, pub(super) f64, pub(super) Option<f64>, pub(super) Option<f64>);

/// Rates of a request with `input` tokens. False: the list lacks the tier, so these are the standard rates.
pub(super) fn rates(who: Provider, model: &str, tier: Option<&str>, input: u64) -> Option<(Rates, bool)> {
    let PriceTable { openai, azure, bedrock, .. } = &*TABLE;
    let lists: &[&Prices] = match who {
        Provider::OpenAi => &[openai],
        Provider::Azure => &[azure, openai],
        Provider::Bedrock => &[bedrock, openai],
        // Bedrock has its own model names.
        Provider::Other => &[openai, bedrock],
        Provider::Local => &[],
    };
    // MLflow also drops the prefix that gateways add: `openai/gpt-5.5`.
    let name = model.rsplit('/').next().unwrap_or(model);
    let model = lists.iter().find_map(|list| list.get(name).or_else(|| list.get(undated(name))))?;
    model.rates(tier.map_or(STANDARD, listed_tier), input)
}

/// The name without a date: `gpt-5` for `gpt-5-2025-08-07`.
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

/// The price list's name for one of Codex's tiers.
fn listed_tier(tier: &str) -> &str {
    match tier {
        "default" | "auto" => STANDARD,
        // Codex's configuration has `fast`; its request has `priority`.
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

/// Date of the price list.
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

    #[test]
    fn a_provider_id_selects_its_price_list() {
        let table = [
            (None, Provider::OpenAi),
            (Some(""), Provider::OpenAi),
            (Some("openai"), Provider::OpenAi),
            (Some("azure"), Provider::Azure),
            (Some("My-Azure_OpenAI"), Provider::Azure),
            (Some("amazon-bedrock"), Provider::Bedrock),
            (Some("bedrock"), Provider::Bedrock),
            (Some("oss"), Provider::Local),
            (Some("ollama"), Provider::Local),
            (Some("lmstudio"), Provider::Local),
            (Some("corp-gateway"), Provider::Other),
        ];
        for (id, expected) in table {
            assert_eq!(Provider::from_id(id), expected, "{id:?}");
        }
    }
}
