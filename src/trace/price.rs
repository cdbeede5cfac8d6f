//! Cost of tokens at list price, and the total of several model responses. Most users have a plan, so every place that shows the cost calls it list price.

use super::price_book::{PriceBasis, PriceBook};
use super::price_list::{Provider, Rates};
use codex_session::rollout::usage::TokenUsage;
use codex_session::session::model::Inference;
use common::json::value::Value;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::AddAssign;

/// US dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    pub input: f64,
    pub output: f64,
}

/// A cost and the assumptions behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct Priced {
    pub cost: Cost,
    pub assumed: Vec<Assumption>,
    pub(crate) basis: PriceBasis,
}

/// A fact that the price assumes, because Codex recorded none or no list has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assumption {
    TierUnknown,
    /// The list has no price for this tier of the model.
    TierUnlisted(String),
    /// A provider that the user defined, often a gateway. The price is that of the model's name.
    ProviderUnlisted(String),
    /// The model runs on the user's own machine.
    Local(String),
}

impl Priced {
    /// The price of a response at this time. None for a model that no list has.
    pub fn from_usage(
        book: &PriceBook,
        at: Option<Timestamp>,
        provider: Option<&str>,
        model: &str,
        tier: Option<&str>,
        usage: TokenUsage,
    ) -> Option<Priced> {
        let who = Provider::from_id(provider);
        let name = || provider.unwrap_or_default().into();
        if who == Provider::Local {
            let (cost, basis) = (Cost::default(), book.basis_at(at));
            return Some(Priced { cost, assumed: vec![Assumption::Local(name())], basis });
        }
        let (price, basis) = book.find(at, who, model)?;
        let (rates, is_listed) = price.rates(tier, usage.input)?;
        let tier = match tier {
            None => Some(Assumption::TierUnknown),
            Some(tier) => (!is_listed).then(|| Assumption::TierUnlisted(tier.into())),
        };
        let provider = (who == Provider::Other).then(|| Assumption::ProviderUnlisted(name()));
        Some(Priced {
            cost: Cost::from_rates(rates, usage),
            assumed: tier.into_iter().chain(provider).collect(),
            basis,
        })
    }

    /// None also where Codex did not record the model or the tokens.
    pub fn from_response(book: &PriceBook, response: &Inference) -> Option<Priced> {
        let (provider, tier) = (response.provider.as_deref(), response.service_tier.as_deref());
        let at = response.ended_at.or(response.started_at);
        Priced::from_usage(book, at, provider, response.model.as_deref()?, tier, response.usage?)
    }
}

impl fmt::Display for Assumption {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Assumption::TierUnknown => out.write_str("no service tier is recorded: the default tier's price"),
            Assumption::TierUnlisted(tier) => {
                write!(out, "service tier {tier} has no listed price: the default tier's price")
            }
            Assumption::ProviderUnlisted(name) => {
                write!(out, "provider {name} has no price list: the price of the model's name")
            }
            Assumption::Local(name) => write!(out, "{name} runs models on this machine: no price"),
        }
    }
}

impl Cost {
    fn from_rates(rates: Rates, usage: TokenUsage) -> Cost {
        let Rates(input, output, cached_input, cache_write) = rates;
        let fresh = usage.input.saturating_sub(usage.cached_input).saturating_sub(usage.cache_write_input);
        let dollars = |tokens: u64, per_million: f64| tokens as f64 * per_million / 1e6;
        Cost {
            input: dollars(fresh, input)
                + dollars(usage.cached_input, cached_input.unwrap_or(input))
                + dollars(usage.cache_write_input, cache_write.unwrap_or(input)),
            output: dollars(usage.output, output),
        }
    }

    /// The JSON of `mlflow.llm.cost` and `mlflow.trace.cost`.
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

/// Tokens and cost of model responses, including those of sub-agents.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct UsageTotal {
    /// None when no response has a recorded usage.
    pub(super) tokens: Option<TokenUsage>,
    /// None when the price of any model is unknown.
    pub(super) cost: Option<Cost>,
    assumed: BTreeSet<Assumption>,
    bases: BTreeSet<PriceBasis>,
}

impl UsageTotal {
    pub(super) fn from_inferences<'a>(
        inferences: impl Iterator<Item = &'a Inference>,
        prices: &PriceBook,
    ) -> UsageTotal {
        let (mut total, mut all_priced) = (UsageTotal::default(), true);
        for inference in inferences {
            let Some(used) = inference.usage else { continue };
            total.tokens = Some(total.tokens.unwrap_or_default() + used);
            if inference.model.is_none() {
                continue;
            }
            match Priced::from_response(prices, inference) {
                Some(Priced { cost, assumed, basis }) => {
                    *total.cost.get_or_insert_default() += cost;
                    total.assumed.extend(assumed);
                    total.bases.insert(basis);
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
        Some(named(&self.bases) + &assumed.collect::<String>())
    }
}

/// `list price of 2026-11-02 and 2027-01-10; the user's own price`.
fn named(bases: &BTreeSet<PriceBasis>) -> String {
    let days = bases.iter().filter_map(|basis| match basis {
        PriceBasis::List(as_of) => Some(as_of.as_str()),
        PriceBasis::Override => None,
    });
    let days = days.collect::<Vec<_>>().join(" and ");
    let listed = (!days.is_empty()).then(|| format!("list price of {days}"));
    let own = bases.contains(&PriceBasis::Override).then(|| "the user's own price".to_owned());
    listed.into_iter().chain(own).collect::<Vec<_>>().join("; ")
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

#[cfg(test)]
mod tests {
    use super::*;

    const USAGE: TokenUsage = TokenUsage {
        input: 1_000_000,
        cached_input: 400_000,
        cache_write_input: 0,
        output: 100_000,
        reasoning_output: 0,
    };

    fn priced(provider: Option<&str>, model: &str, tier: Option<&str>, usage: TokenUsage) -> Option<Priced> {
        Priced::from_usage(PriceBook::built_in(), None, provider, model, tier, usage)
    }

    fn dollars(provider: Option<&str>, model: &str, tier: Option<&str>, usage: TokenUsage) -> Option<f64> {
        let Priced { cost, .. } = priced(provider, model, tier, usage)?;
        Some(((cost.input + cost.output) * 1e6).round() / 1e6)
    }

    #[test]
    fn cached_input_is_cheaper_and_never_counted_twice() {
        let usage = TokenUsage { input: 100_000, cached_input: 40_000, output: 10_000, ..USAGE };
        let Priced { cost, basis, .. } = priced(None, "gpt-5.5", None, usage).unwrap();
        assert!((cost.input - (0.06 * 5.0 + 0.04 * 0.5)).abs() < 1e-9, "{cost:?}");
        assert!((cost.output - 0.3).abs() < 1e-9, "{cost:?}");
        assert_eq!(basis, PriceBasis::List("2026-11-02".into()));
    }

    #[test]
    fn a_response_costs_what_its_tier_and_its_context_cost() {
        let short = TokenUsage { input: 272_000, cached_input: 0, output: 1_000, ..USAGE };
        let long = TokenUsage { input: 272_001, ..short };
        let table = [
            ("gpt-5.5", None, short, 1.36 + 0.03),
            ("gpt-5.5", Some("default"), short, 1.36 + 0.03),
            ("gpt-5.5", Some("auto"), short, 1.36 + 0.03),
            ("gpt-5.5", Some("priority"), short, 3.4 + 0.075),
            ("gpt-5.5", Some("fast"), short, 3.4 + 0.075),
            ("gpt-5.5", Some("flex"), short, 0.68 + 0.015),
            ("gpt-5.5", Some("default"), long, 2.72001 + 0.045),
            ("gpt-5.5", Some("flex"), long, 1.360005 + 0.0225),
            // OpenAI serves long priority requests at standard rates.
            ("gpt-5.5", Some("priority"), long, 2.72001 + 0.045),
            ("gpt-6.1-sol", Some("priority"), long, 2.176008 + 0.03),
            // No threshold.
            ("gpt-5", Some("priority"), long, 0.680003 + 0.02),
        ];
        for (model, tier, usage, expected) in table {
            let cost = dollars(Some("openai"), model, tier, usage).unwrap();
            assert!(
                (cost - expected).abs() < 2e-6,
                "{model} {tier:?} {}: {cost}, not {expected}",
                usage.input
            );
        }
    }

    #[test]
    fn a_model_is_found_under_each_of_its_names_in_its_providers_list() {
        let of = |provider, model| dollars(provider, model, Some("default"), USAGE);
        let table = [
            (None, "gpt-5-2025-08-07", of(None, "gpt-5")),
            (None, "gpt-5-codex-2025-09-23", of(None, "gpt-5-codex")),
            (None, "openai/gpt-5.5", of(None, "gpt-5.5")),
            (Some("openai"), "gpt-5", Some(0.8 + 1.0)),
            (Some("azure"), "gpt-5.4-pro", Some(0.6 * 60.0 + 0.4 * 6.0 + 27.0)),
            (None, "gpt-5.4-pro", Some(60.0 + 27.0)),
            (Some("azure"), "gpt-5.6-luna-2026-07-09", of(None, "gpt-5.6-luna")),
            // Only OpenAI's list has this model.
            (Some("azure"), "gpt-5.5-cyber", of(None, "gpt-5.5-cyber")),
            (Some("amazon-bedrock"), "openai.gpt-5.5", Some(0.6 * 11.0 + 0.4 * 1.1 + 4.95)),
            (Some("gateway"), "openai.gpt-5.5", of(Some("amazon-bedrock"), "openai.gpt-5.5")),
            (Some("gateway"), "gpt-5.5", of(None, "gpt-5.5")),
            (Some("ollama"), "gpt-5.5", Some(0.0)),
            (None, "gpt-5-2025-8-7", None),
            (None, "a model that no list has", None),
            (None, "", None),
        ];
        for (provider, model, expected) in table {
            assert_eq!(of(provider, model), expected, "{provider:?} {model}");
        }
    }

    #[test]
    fn a_price_lists_its_assumptions() {
        let assumed = |provider, tier| {
            let priced = priced(provider, "gpt-5-codex", tier, USAGE).unwrap();
            priced.assumed.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        assert_eq!(assumed(Some("openai"), Some("default")), "");
        assert_eq!(assumed(Some("openai"), None), "no service tier is recorded: the default tier's price");
        assert_eq!(
            assumed(Some("corp"), Some("priority")),
            "service tier priority has no listed price: the default tier's price; \
             provider corp has no price list: the price of the model's name"
        );
        assert_eq!(assumed(Some("ollama"), None), "ollama runs models on this machine: no price");
    }

    #[test]
    fn the_basis_names_each_list_that_was_used() {
        let list = |as_of: &str| PriceBasis::List(as_of.into());
        let table = [
            (vec![list("2026-11-02")], "list price of 2026-11-02"),
            (vec![list("2027-01-10"), list("2026-11-02")], "list price of 2026-11-02 and 2027-01-10"),
            (vec![PriceBasis::Override], "the user's own price"),
            (
                vec![PriceBasis::Override, list("2026-11-02")],
                "list price of 2026-11-02; the user's own price",
            ),
        ];
        for (bases, expected) in table {
            assert_eq!(named(&bases.into_iter().collect()), expected);
        }
    }
}
