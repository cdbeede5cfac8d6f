//! The price book: the built-in price list, the lists of later updates, and the user's override. It selects the price
//! of a model at a time.

use super::price_list::{ModelPrice, PriceList, Provider, Section, undated};
use common::printable::hex;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// Written by `scripts/prices`, which documents the source of the figures.
const BUILT_IN: &str = include_str!("prices.json");

static BOOK: LazyLock<PriceBook> = LazyLock::new(|| PriceBook::new(Vec::new(), None));

static FIRST: LazyLock<Arc<DatedList>> = LazyLock::new(|| {
    let list = serde_json::from_str(BUILT_IN).expect("the price table is checked by a test");
    Arc::new(DatedList { valid_from: Timestamp::MIN, list })
});

/// Price lists by time. A clone shares them.
#[derive(Clone, Debug)]
pub struct PriceBook {
    /// The oldest first; the built-in one is the first, and valid from the beginning of time.
    lists: Vec<Arc<DatedList>>,
    /// The user's own prices, for all times.
    overriding: Option<Arc<PriceList>>,
    fingerprint: String,
}

/// The prices that an update changed, and when they became valid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DatedList {
    pub(crate) valid_from: Timestamp,
    #[serde(flatten)]
    pub(crate) list: PriceList,
}

/// The price of a model now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CurrentPrice<'b> {
    pub(crate) section: Section,
    pub(crate) name: &'b str,
    pub(crate) price: &'b ModelPrice,
    /// Of its list; None for the user's override.
    pub(crate) valid_from: Option<Timestamp>,
}

/// Which list has a price.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PriceBasis {
    /// The day of the list.
    List(String),
    /// The file of the user's own prices.
    Override,
}

impl PriceBook {
    pub fn built_in() -> &'static PriceBook {
        &BOOK
    }

    pub(crate) fn built_in_list() -> &'static PriceList {
        &FIRST.list
    }

    /// `updates`: the oldest first.
    pub(crate) fn new(updates: Vec<DatedList>, overriding: Option<PriceList>) -> PriceBook {
        let mut digest = Sha256::new();
        digest.update(BUILT_IN);
        let variable = serde_json::to_vec(&(&updates, &overriding));
        digest.update(variable.expect("lists with text keys always serialize"));
        PriceBook {
            lists: std::iter::once(FIRST.clone()).chain(updates.into_iter().map(Arc::new)).collect(),
            overriding: overriding.map(Arc::new),
            fingerprint: hex(&digest.finalize()[..8]),
        }
    }

    /// Differs as soon as any price differs; the same in each process.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub(crate) fn lists(&self) -> impl DoubleEndedIterator<Item = &DatedList> {
        self.lists.iter().map(|list| &**list)
    }

    pub(super) fn shared_lists(&self) -> &[Arc<DatedList>] {
        &self.lists
    }

    pub(crate) fn overriding(&self) -> Option<&PriceList> {
        self.overriding.as_deref()
    }

    /// The models of the lists that are valid now, and of the override, by section and name.
    pub(crate) fn current(&self, now: Timestamp) -> Vec<CurrentPrice<'_>> {
        let dated =
            self.lists().take(self.valid_at(Some(now))).map(|list| (Some(list.valid_from), &list.list));
        let own = self.overriding().map(|list| (None, list));
        let mut current = BTreeMap::new();
        for (valid_from, list) in dated.chain(own) {
            for section in Section::ALL {
                let prices = list.models(section).iter();
                current.extend(prices.map(|(name, price)| ((section, &**name), (price, valid_from))));
            }
        }
        let price =
            |((section, name), (price, valid_from))| CurrentPrice { section, name, price, valid_from };
        current.into_iter().map(price).collect()
    }

    /// The price at this time; without one, that of the beginning. A model that no list had then has the price of the
    /// first later list with it, so no later update changes a price that was known.
    pub(super) fn find(
        &self,
        at: Option<Timestamp>,
        who: Provider,
        model: &str,
    ) -> Option<(&ModelPrice, PriceBasis)> {
        // MLflow also drops the prefix that gateways add: `openai/gpt-5.5`.
        let name = model.rsplit('/').next().unwrap_or(model);
        let own = |section: &Section| {
            let models = self.overriding.as_deref()?.models(*section);
            models.get(name).or_else(|| models.get(undated(name)))
        };
        if let Some(price) = who.sections().iter().find_map(own) {
            return Some((price, PriceBasis::Override));
        }
        (self.valid_at(at)..=self.lists.len()).find_map(|count| {
            let (price, list) =
                who.sections().iter().find_map(|section| of_first(&self.lists[..count], *section, name))?;
            Some((price, PriceBasis::List(list.as_of.clone())))
        })
    }

    /// The basis of a price that no list has, such as that of a local model.
    pub(super) fn basis_at(&self, at: Option<Timestamp>) -> PriceBasis {
        PriceBasis::List(self.lists[self.valid_at(at) - 1].list.as_of.clone())
    }

    /// How many lists were valid at this time; at least one.
    fn valid_at(&self, at: Option<Timestamp>) -> usize {
        let at = at.unwrap_or(Timestamp::MIN);
        self.lists.partition_point(|list| list.valid_from <= at).max(1)
    }
}

/// The newest price of a model in these lists, by its name or else by its name without a date.
pub(super) fn of_first<'b>(
    lists: &'b [Arc<DatedList>],
    section: Section,
    name: &str,
) -> Option<(&'b ModelPrice, &'b PriceList)> {
    let newest = |name: &str| {
        lists.iter().rev().find_map(|list| Some((list.list.models(section).get(name)?, &list.list)))
    };
    newest(name).or_else(|| newest(undated(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::price_list::{Rates, STANDARD};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// OpenAI's models with one input rate each.
    fn list(as_of: &str, models: &[(&str, f64)]) -> PriceList {
        let price = |rate: f64| ModelPrice {
            above: None,
            tiers: [(STANDARD.to_owned(), vec![Rates(rate, rate, None, None)])].into(),
        };
        let openai = models.iter().map(|(name, rate)| (name.to_string(), price(*rate))).collect();
        PriceList { source: "a test".into(), as_of: as_of.into(), openai, ..PriceList::default() }
    }

    fn dated(second: i64, list: PriceList) -> DatedList {
        DatedList { valid_from: at(second), list }
    }

    #[test]
    fn every_built_in_price_can_be_used() {
        assert_eq!(FIRST.list.problem(), None);
    }

    #[test]
    fn a_price_is_that_of_its_time_and_an_unknown_model_has_its_first_price() {
        let updates = || {
            let first = list("2027-01-01", &[("gpt-5", 9.0), ("gpt-7", 1.0)]);
            vec![dated(100, first), dated(200, list("2027-02-01", &[("gpt-5", 8.0), ("gpt-7", 2.0)]))]
        };
        let own = || list("2027-03-01", &[("gpt-5", 0.5)]);
        let (plain, overridden) = (PriceBook::new(updates(), None), PriceBook::new(updates(), Some(own())));
        let table = [
            (&plain, None, "gpt-5", Some((1.25, "2026-11-02"))),
            (&plain, Some(at(99)), "gpt-5", Some((1.25, "2026-11-02"))),
            (&plain, Some(at(100)), "gpt-5", Some((9.0, "2027-01-01"))),
            (&plain, Some(at(199)), "gpt-5-2025-08-07", Some((9.0, "2027-01-01"))),
            (&plain, Some(at(200)), "gpt-5", Some((8.0, "2027-02-01"))),
            // Not in an update: the built-in price stays.
            (&plain, Some(at(200)), "gpt-5.5", Some((5.0, "2026-11-02"))),
            (&plain, Some(at(50)), "gpt-7", Some((1.0, "2027-01-01"))),
            (&plain, Some(at(150)), "gpt-7", Some((1.0, "2027-01-01"))),
            (&plain, Some(at(250)), "gpt-7", Some((2.0, "2027-02-01"))),
            (&plain, Some(at(250)), "gpt-8", None),
            (&overridden, None, "gpt-5", Some((0.5, "own"))),
            (&overridden, Some(at(250)), "gateway/gpt-5-2025-08-07", Some((0.5, "own"))),
            (&overridden, Some(at(250)), "gpt-7", Some((2.0, "2027-02-01"))),
        ];
        for (book, at, model, expected) in table {
            let found = book.find(at, Provider::OpenAi, model).map(|(price, basis)| {
                let basis = match basis {
                    PriceBasis::List(as_of) => as_of,
                    PriceBasis::Override => "own".into(),
                };
                (price.tiers[STANDARD][0].0, basis)
            });
            assert_eq!(found, expected.map(|(rate, basis)| (rate, basis.to_owned())), "{at:?} {model}");
        }
    }

    #[test]
    fn a_list_that_is_not_valid_yet_is_no_current_price() {
        let updates = vec![
            dated(100, list("2027-01-01", &[("m", 1.0)])),
            dated(200, list("2027-02-01", &[("m", 2.0), ("n", 2.0)])),
        ];
        let book = PriceBook::new(updates, Some(list("2027-03-01", &[("o", 3.0)])));
        let rates = |now| {
            let current = book.current(at(now)).into_iter();
            let shown = current.filter(|it| ["m", "n", "o"].contains(&it.name));
            shown.map(|it| (it.name, it.price.tiers[STANDARD][0].0)).collect::<Vec<_>>()
        };
        assert_eq!(rates(99), [("o", 3.0)]);
        assert_eq!(rates(199), [("m", 1.0), ("o", 3.0)]);
        assert_eq!(rates(200), [("m", 2.0), ("n", 2.0), ("o", 3.0)]);
    }

    #[test]
    fn the_fingerprint_differs_with_each_price_and_each_date() {
        let book = |second, rate, own: Option<f64>| {
            let own = own.map(|rate| list("2027-03-01", &[("gpt-5", rate)]));
            PriceBook::new(vec![dated(second, list("2027-01-01", &[("gpt-5", rate)]))], own)
        };
        let books = [
            PriceBook::built_in().clone(),
            PriceBook::new(Vec::new(), Some(list("2027-03-01", &[("gpt-5", 1.0)]))),
            book(1, 1.0, None),
            book(2, 1.0, None),
            book(1, 2.0, None),
            book(1, 1.0, Some(1.0)),
            book(1, 1.0, Some(2.0)),
        ];
        let all: std::collections::BTreeSet<&str> = books.iter().map(PriceBook::fingerprint).collect();
        assert_eq!(all.len(), books.len());
        assert_eq!(book(1, 1.0, Some(2.0)).fingerprint(), books[6].fingerprint());
    }
}
