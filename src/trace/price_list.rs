//! A price list: what the tokens of each model cost, for each tier and context. And the provider whose models a request asks for.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// US dollars per million tokens. The highest price of MLflow 3.18 is 600.
pub(crate) const HIGHEST_PRICE: f64 = 10_000.0;

/// The tier of a request that asks for none.
pub(crate) const STANDARD: &str = "standard";

/// The prices of one source. `scripts/prices` writes the built-in one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct PriceList {
    pub(crate) source: String,
    /// The day on which the newest price was looked up: `2026-11-02`.
    pub(crate) as_of: String,
    #[serde(default)]
    pub(crate) openai: Models,
    #[serde(default)]
    pub(crate) azure: Models,
    #[serde(default)]
    pub(crate) bedrock: Models,
}

pub(crate) type Models = BTreeMap<String, ModelPrice>;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ModelPrice {
    /// Input tokens above which a request is long: other rates apply to all its tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) above: Option<u64>,
    /// By MLflow's name of the tier: the rates of a usual request, then those of a long one.
    pub(crate) tiers: BTreeMap<String, Vec<Rates>>,
}

/// US dollars per million tokens: input, output, cached input, cache write.
/// Where one of the last two is missing, the input rate applies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rates(pub(crate) f64, pub(crate) f64, pub(crate) Option<f64>, pub(crate) Option<f64>);

/// The sections of a price list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Section {
    OpenAi,
    Azure,
    Bedrock,
}

impl Section {
    pub(crate) const ALL: [Section; 3] = [Section::OpenAi, Section::Azure, Section::Bedrock];
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

    /// The sections that may have its models, in this order.
    pub(super) fn sections(self) -> &'static [Section] {
        match self {
            Provider::OpenAi => &[Section::OpenAi],
            Provider::Azure => &[Section::Azure, Section::OpenAi],
            Provider::Bedrock => &[Section::Bedrock, Section::OpenAi],
            // Bedrock has its own model names.
            Provider::Other => &[Section::OpenAi, Section::Bedrock],
            Provider::Local => &[],
        }
    }
}

/// The name without a date: `gpt-5` for `gpt-5-2025-08-07`.
pub(super) fn undated(model: &str) -> &str {
    match model.len().checked_sub(11).and_then(|at| model.split_at_checked(at)) {
        Some((undated, date)) if date.strip_prefix('-').is_some_and(is_date) => undated,
        _ => model,
    }
}

/// `2025-08-07`; any digits count.
pub(super) fn is_date(text: &str) -> bool {
    text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
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

impl PriceList {
    pub(crate) fn models(&self, section: Section) -> &Models {
        match section {
            Section::OpenAi => &self.openai,
            Section::Azure => &self.azure,
            Section::Bedrock => &self.bedrock,
        }
    }

    /// Why it cannot be used: a model that lacks a price, or has one that is impossible.
    pub(crate) fn problem(&self) -> Option<String> {
        let models = Section::ALL.into_iter().flat_map(|section| self.models(section));
        models.into_iter().find_map(|(name, price)| match price.impossible() {
            _ if !price.is_complete() => Some(format!("model {name:?} lacks a price")),
            impossible => Some(format!("model {name:?}: {}", impossible?)),
        })
    }

    pub(crate) fn models_mut(&mut self, section: Section) -> &mut Models {
        match section {
            Section::OpenAi => &mut self.openai,
            Section::Azure => &mut self.azure,
            Section::Bedrock => &mut self.bedrock,
        }
    }
}

impl ModelPrice {
    /// Rates of a request with `input` tokens. False: the list lacks the tier, so these are the standard rates.
    pub(super) fn rates(&self, tier: Option<&str>, input: u64) -> Option<(Rates, bool)> {
        let is_long = self.above.is_some_and(|threshold| input > threshold);
        let of = |tier: &str| self.tiers.get(tier)?.get(usize::from(is_long)).copied();
        let listed = of(tier.map_or(STANDARD, listed_tier)).map(|rates| (rates, true));
        listed.or_else(|| Some((of(STANDARD)?, false)))
    }

    /// Whether each tier has rates for each context, the standard one among them.
    pub(crate) fn is_complete(&self) -> bool {
        let contexts = if self.above.is_some() { 2 } else { 1 };
        self.tiers.contains_key(STANDARD) && self.tiers.values().all(|rates| rates.len() == contexts)
    }

    /// The first rate that cannot be meant, as a clause.
    pub(crate) fn impossible(&self) -> Option<String> {
        let listed = |Rates(input, output, cached, written): &Rates| {
            [Some(*input), Some(*output), *cached, *written].into_iter().flatten()
        };
        self.tiers.values().flatten().flat_map(listed).find_map(impossible)
    }
}

/// Why a rate cannot be meant. JSON has no form for an infinite one, or for one that is no number.
pub(super) fn impossible(rate: f64) -> Option<String> {
    let shown = match () {
        () if (0.0..=HIGHEST_PRICE).contains(&rate) => return None,
        () if rate.abs() > 1e9 => format!("{rate:e}"),
        () => rate.to_string(),
    };
    Some(format!("a price of {shown} dollars for a million tokens is not between 0 and {HIGHEST_PRICE}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_that_cannot_be_used_is_a_problem_of_its_list() {
        let usual = Rates(1.0, 2.0, Some(0.1), None);
        let table = [
            (vec![usual], None),
            (vec![Rates(0.0, HIGHEST_PRICE, None, Some(0.0))], None),
            (vec![], Some("lacks a price")),
            (vec![usual, usual], Some("lacks a price")),
            (vec![Rates(-5.0, 2.0, None, None)], Some("a price of -5 dollars")),
            (vec![Rates(1.0, 1e300, None, None)], Some("a price of 1e300 dollars")),
            (vec![Rates(1.0, 2.0, Some(f64::NAN), None)], Some("a price of NaN dollars")),
            (vec![Rates(1.0, 2.0, None, Some(f64::INFINITY))], Some("a price of inf dollars")),
        ];
        for (rates, expected) in table {
            let price = ModelPrice { above: None, tiers: [(STANDARD.to_owned(), rates)].into() };
            let list = PriceList { bedrock: [("m".to_owned(), price)].into(), ..PriceList::default() };
            let problem = list.problem();
            assert_eq!(problem.is_some(), expected.is_some(), "{problem:?}");
            let is_named =
                |it: &String| it.starts_with("model \"m\"") && it.contains(expected.unwrap_or_default());
            assert!(problem.iter().all(is_named), "{problem:?}");
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
