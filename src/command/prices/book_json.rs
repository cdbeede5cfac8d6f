//! `prices --json`: the price lists, and each model's price now.

use super::{RatesReport, provider_of};
use crate::trace::price_book::{CurrentPrice, PriceBook};
use crate::trace::price_list::{PriceList, Section};
use jiff::Timestamp;
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct BookReport<'b> {
    version: u32,
    fingerprint: &'b str,
    lists: Vec<ListReport<'b>>,
    #[serde(rename = "override")]
    overriding: OverrideReport<'b>,
    models: Vec<ModelReport<'b>>,
    problems: &'b [String],
}

#[derive(Serialize)]
struct ListReport<'b> {
    source: &'b str,
    as_of: &'b str,
    /// None for the built-in list, which is valid from the beginning.
    valid_from: Option<Timestamp>,
    models: usize,
}

#[derive(Serialize)]
struct OverrideReport<'b> {
    source: Option<&'b str>,
    models: usize,
}

#[derive(Serialize)]
struct ModelReport<'b> {
    provider: &'static str,
    name: &'b str,
    is_override: bool,
    valid_from: Option<Timestamp>,
    rates: Vec<RateReport<'b>>,
}

#[derive(Serialize)]
struct RateReport<'b> {
    tier: &'b str,
    above: Option<u64>,
    #[serde(flatten)]
    rates: RatesReport,
}

impl<'b> BookReport<'b> {
    pub(super) fn new(book: &'b PriceBook, problems: &'b [String], now: Timestamp) -> BookReport<'b> {
        let lists = book.lists().map(|list| ListReport {
            source: &list.list.source,
            as_of: &list.list.as_of,
            valid_from: later_than_the_beginning(list.valid_from),
            models: count(&list.list),
        });
        BookReport {
            version: 1,
            fingerprint: book.fingerprint(),
            lists: lists.collect(),
            overriding: OverrideReport {
                source: book.overriding().map(|list| &*list.source),
                models: book.overriding().map_or(0, count),
            },
            models: book.current(now).into_iter().map(model).collect(),
            problems,
        }
    }
}

fn later_than_the_beginning(at: Timestamp) -> Option<Timestamp> {
    Some(at).filter(|at| *at > Timestamp::MIN)
}

pub(super) fn count(list: &PriceList) -> usize {
    Section::ALL.iter().map(|section| list.models(*section).len()).sum()
}

fn model(current: CurrentPrice<'_>) -> ModelReport<'_> {
    let CurrentPrice { section, name, price, valid_from } = current;
    let rates = price.tiers.iter().flat_map(|(tier, rates)| {
        rates.iter().zip([None, price.above]).map(|(rates, above)| RateReport {
            tier,
            above,
            rates: RatesReport::new(Some(*rates)),
        })
    });
    ModelReport {
        provider: provider_of(section),
        name,
        is_override: valid_from.is_none(),
        valid_from: valid_from.and_then(later_than_the_beginning),
        rates: rates.collect(),
    }
}
