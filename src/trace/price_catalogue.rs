//! MLflow's model catalogue, `mlflow/utils/model_catalog/<provider>.json`: from its text to a price list.
//!
//! The catalogue lists each tier, and the standard tier beyond a threshold. What it leaves out follows from the rest, by the
//! rules that `scripts/prices` documents. A file is not trusted: one bad price refuses all of it.

use super::price_list::{ModelPrice, PriceList, Rates, STANDARD, Section, impossible, is_date};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The largest file that is read, in bytes. The largest one of MLflow 3.18 has 0.4 MB.
pub(crate) const LARGEST_FILE: usize = 16 << 20;

/// MLflow 3.18 has 550 at most.
const MOST_MODELS: usize = 20_000;

/// Of a model's or a tier's name, in bytes.
const LONGEST_NAME: usize = 128;

/// A file of the catalogue; its name selects the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CatalogueFile {
    OpenAi,
    Azure,
    Bedrock,
    /// Bedrock's Responses API.
    BedrockMantle,
}

/// Why a file gives no prices.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CatalogueError {
    #[error("it is no model catalogue in JSON: {0}")]
    Json(String),
    #[error("model \"{model}\": {reason}")]
    Entry { model: String, reason: String },
    #[error("it has no text model with a price")]
    Empty,
}

/// The files of one catalogue.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    files: BTreeMap<CatalogueFile, Entries>,
}

/// The prices of a catalogue.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CataloguePrices {
    pub(crate) list: PriceList,
    /// The sections that the catalogue has a file for.
    pub(crate) sections: BTreeSet<Section>,
    /// Text models whose name or price has a form that no list can have.
    pub(crate) left_out: usize,
}

#[derive(Deserialize)]
struct Document {
    models: Entries,
}

/// The models in the order of the file, each with its JSON.
#[derive(Debug, Default)]
struct Entries(Vec<(String, Box<RawValue>)>);

#[derive(Deserialize)]
struct Kind {
    mode: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    pricing: Option<Pricing>,
    last_updated_at: Option<String>,
}

#[derive(Deserialize)]
struct Pricing {
    #[serde(flatten)]
    rates: Listed,
    #[serde(default)]
    service_tiers: BTreeMap<String, Listed>,
    #[serde(default)]
    long_context: Vec<Step>,
}

#[derive(Clone, Copy, Deserialize)]
struct Listed {
    input_per_million_tokens: Option<f64>,
    output_per_million_tokens: Option<f64>,
    cache_read_per_million_tokens: Option<f64>,
    cache_write_per_million_tokens: Option<f64>,
}

#[derive(Deserialize)]
struct Step {
    threshold_tokens: u64,
    #[serde(flatten)]
    rates: Listed,
}

impl CatalogueFile {
    pub(crate) const MANTLE: &str = "bedrock_mantle.json";

    pub(crate) const ALL: [(CatalogueFile, &str); 4] = [
        (CatalogueFile::OpenAi, "openai.json"),
        (CatalogueFile::Azure, "azure.json"),
        (CatalogueFile::Bedrock, "bedrock.json"),
        (CatalogueFile::BedrockMantle, CatalogueFile::MANTLE),
    ];

    /// A file of another name counts as OpenAI's: the entries name no provider.
    pub(crate) fn from_name(name: &str) -> CatalogueFile {
        let known = CatalogueFile::ALL.into_iter().find(|(_, known)| *known == name);
        known.map_or(CatalogueFile::OpenAi, |(file, _)| file)
    }

    fn section(self) -> Section {
        match self {
            CatalogueFile::OpenAi => Section::OpenAi,
            CatalogueFile::Azure => Section::Azure,
            CatalogueFile::Bedrock | CatalogueFile::BedrockMantle => Section::Bedrock,
        }
    }

    /// Of Bedrock's models Codex uses those of OpenAI, and those with the Responses API.
    fn has(self, model: &str) -> bool {
        self != CatalogueFile::Bedrock || model.contains("openai.")
    }
}

impl Catalogue {
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    pub(crate) fn add(&mut self, file: CatalogueFile, text: &[u8]) -> Result<(), CatalogueError> {
        let document: Document = serde_json::from_slice(text).map_err(json_error)?;
        self.files.insert(file, document.models);
        Ok(())
    }

    /// `today` replaces a day that is missing or later.
    pub(crate) fn into_prices(self, source: String, today: &str) -> Result<CataloguePrices, CatalogueError> {
        let mut list = PriceList { source, as_of: String::new(), ..PriceList::default() };
        let (mut sections, mut left_out) = (BTreeSet::new(), 0);
        for (file, Entries(entries)) in self.files {
            sections.insert(file.section());
            for (name, json) in entries {
                let refused = |reason| CatalogueError::Entry { model: name.clone(), reason };
                let entry = text_model(&name, &json).map_err(refused)?;
                let Some(entry) = entry.filter(|_| file.has(&name)) else { continue };
                let day = entry.last_updated_at.filter(|day| is_date(day) && day.as_str() <= today);
                list.as_of = day.unwrap_or_default().max(std::mem::take(&mut list.as_of));
                let Some(pricing) = entry.pricing.filter(|pricing| pricing.rates.is_priced()) else {
                    continue;
                };
                let price = pricing.price(file == CatalogueFile::OpenAi && has_no_long_priority(&name));
                match price.map_err(refused)?.filter(|_| is_plain(&name)) {
                    // The second file of a section replaces the first: Codex uses the Responses API.
                    Some(price) => _ = list.models_mut(file.section()).insert(name, price),
                    None => left_out += 1,
                }
            }
        }
        if Section::ALL.iter().all(|section| list.models(*section).is_empty()) {
            return Err(CatalogueError::Empty);
        }
        if list.as_of.is_empty() {
            today.clone_into(&mut list.as_of);
        }
        Ok(CataloguePrices { list, sections, left_out })
    }
}

/// None for a model of pictures, sounds or vectors, and for one of a region: no request names its region.
fn text_model(name: &str, json: &RawValue) -> Result<Option<Entry>, String> {
    let reason = |error: serde_json::Error| error.to_string();
    let Kind { mode } = serde_json::from_str(json.get()).map_err(reason)?;
    if !matches!(mode.as_deref(), Some("chat" | "responses")) || name.contains('/') {
        return Ok(None);
    }
    serde_json::from_str(json.get()).map(Some).map_err(reason)
}

/// OpenAI's page on priority processing: "excludes long context". It serves and prices such requests as standard.
fn has_no_long_priority(name: &str) -> bool {
    let rest = ["gpt-5.4", "gpt-5.5"].iter().find_map(|model| name.strip_prefix(model));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

fn is_plain(name: &str) -> bool {
    !name.trim().is_empty() && name.len() <= LONGEST_NAME && !name.chars().any(common::printable::is_unsafe)
}

impl Listed {
    fn is_priced(&self) -> bool {
        self.input_per_million_tokens.is_some() && self.output_per_million_tokens.is_some()
    }

    fn all(&self) -> [Option<f64>; 4] {
        [
            self.input_per_million_tokens,
            self.output_per_million_tokens,
            self.cache_read_per_million_tokens,
            self.cache_write_per_million_tokens,
        ]
    }

    fn check(&self) -> Result<(), String> {
        self.all().into_iter().flatten().find_map(impossible).map_or(Ok(()), Err)
    }

    /// The rates of a tier. One that it leaves out has the ratio to the standard rate that the tier's input has:
    /// OpenAI prices a tier as a whole. None without an input rate.
    fn following(&self, standard: Rates) -> Option<Rates> {
        let [input, output, cached, written] = self.all();
        let input = input?;
        let factor = if standard.0 == 0.0 { 1.0 } else { input / standard.0 };
        let other = |listed: Option<f64>, usual: Option<f64>| {
            listed.or_else(|| usual.map(|usual| exact(usual * factor)))
        };
        let output = other(output, Some(standard.1))?;
        Some(Rates(input, output, other(cached, standard.2), other(written, standard.3)))
    }
}

impl Pricing {
    /// None for a price that a list cannot hold, such as one with two thresholds.
    fn price(&self, is_priority_short_only: bool) -> Result<Option<ModelPrice>, String> {
        let tiers = self.service_tiers.values();
        let steps = self.long_context.iter().map(|step| &step.rates);
        std::iter::once(&self.rates).chain(tiers).chain(steps).try_for_each(Listed::check)?;
        let price = self.completed(is_priority_short_only);
        // A rate that follows from possible ones may be too high, infinite or no number.
        price.as_ref().and_then(ModelPrice::impossible).map_or(Ok(price), Err)
    }

    fn completed(&self, is_priority_short_only: bool) -> Option<ModelPrice> {
        let [Some(input), Some(output), cached, written] = self.rates.all() else { return None };
        let standard = Rates(input, output, cached, written);
        let mut tiers: BTreeMap<String, Vec<Rates>> = [(STANDARD.to_owned(), vec![standard])].into();
        // The model's own rates are the standard ones.
        let is_other = |name: &str| is_plain(name) && name != STANDARD;
        for (name, listed) in self.service_tiers.iter().filter(|(name, _)| is_other(name)) {
            // A tier without a price has the standard one.
            if let Some(rates) = listed.following(standard) {
                tiers.insert(name.clone(), vec![rates]);
            }
        }
        let step = match &self.long_context[..] {
            [] => return Some(ModelPrice { above: None, tiers }),
            [step] => step,
            _ => return None,
        };
        let long = step.rates.following(standard)?;
        for (name, rates) in &mut tiers {
            let as_standard = name == STANDARD || (name == "priority" && is_priority_short_only);
            rates.push(if as_standard { long } else { risen(rates[0], long, standard) });
        }
        Some(ModelPrice { above: Some(step.threshold_tokens), tiers })
    }
}

/// Beyond the threshold a tier rises as the standard tier does: OpenAI has one factor for all tiers.
fn risen(tier: Rates, long: Rates, standard: Rates) -> Rates {
    let one =
        |rate: f64, above: f64, usual: f64| if usual == 0.0 { above } else { exact(rate * above / usual) };
    let maybe = |rate: Option<f64>, above: Option<f64>, usual: Option<f64>| Some(one(rate?, above?, usual?));
    Rates(
        one(tier.0, long.0, standard.0),
        one(tier.1, long.1, standard.1),
        maybe(tier.2, long.2, standard.2),
        maybe(tier.3, long.3, standard.3),
    )
}

/// Without what binary fractions add.
fn exact(dollars: f64) -> f64 {
    format!("{dollars:.9}").parse().unwrap_or(dollars)
}

fn json_error(error: serde_json::Error) -> CatalogueError {
    CatalogueError::Json(error.to_string())
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Entries, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("an object of models")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
        let (mut entries, mut names) = (Vec::new(), BTreeSet::new());
        while let Some((name, json)) = map.next_entry::<String, Box<RawValue>>()? {
            if entries.len() == MOST_MODELS {
                return Err(A::Error::custom(format_args!("it has more than {MOST_MODELS} models")));
            }
            // Readers differ in which of the two they take.
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format_args!("it has the model {name:?} twice")));
            }
            entries.push((name, json));
        }
        Ok(Entries(entries))
    }
}

#[cfg(test)]
mod tests;
