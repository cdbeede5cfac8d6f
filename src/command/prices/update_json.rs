//! `prices --update --json`.

use super::update::Update;
use super::{RatesReport, provider_of};
use crate::trace::price_change::ModelChange;
use jiff::Timestamp;
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct UpdateReport<'u> {
    version: u32,
    source: &'u str,
    as_of: &'u str,
    valid_from: Option<Timestamp>,
    models: Vec<ModelReport<'u>>,
    kept: Vec<NameReport<'u>>,
    unchanged: usize,
    left_out: usize,
    problems: &'u [String],
}

#[derive(Serialize)]
struct ModelReport<'u> {
    provider: &'static str,
    name: &'u str,
    is_new: bool,
    is_large: bool,
    rates: Vec<RateReport>,
}

#[derive(Serialize)]
struct RateReport {
    tier: String,
    above: Option<u64>,
    old_above: Option<u64>,
    old: RatesReport,
    new: RatesReport,
}

#[derive(Serialize)]
struct NameReport<'u> {
    provider: &'static str,
    name: &'u str,
}

impl UpdateReport<'_> {
    pub(super) fn new(update: &Update) -> UpdateReport<'_> {
        let kept = update.changes.kept.iter();
        UpdateReport {
            version: 1,
            source: &update.source,
            as_of: &update.as_of,
            valid_from: update.valid_from,
            models: update.changes.models.iter().map(model).collect(),
            kept: kept.map(|(section, name)| NameReport { provider: provider_of(*section), name }).collect(),
            unchanged: update.changes.unchanged,
            left_out: update.left_out,
            problems: &update.problems,
        }
    }
}

fn model(change: &ModelChange) -> ModelReport<'_> {
    let rates = change.rates().into_iter().map(|rates| RateReport {
        tier: rates.tier,
        above: rates.above,
        old_above: rates.old_above,
        old: RatesReport::new(rates.old),
        new: RatesReport::new(rates.new),
    });
    ModelReport {
        provider: provider_of(change.section),
        name: &change.name,
        is_new: change.old.is_none(),
        is_large: change.is_large(),
        rates: rates.collect(),
    }
}
