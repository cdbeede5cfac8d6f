//! What a catalogue changes in a price book: the list to add, and what a user reads about it.

use super::price_book::{DatedList, PriceBook, of_first};
use super::price_catalogue::CataloguePrices;
use super::price_list::{ModelPrice, PriceList, Rates, STANDARD, Section, undated};
use jiff::Timestamp;
use std::sync::Arc;

/// A change by more than this factor is marked: it may be a mistake of the file.
const LARGE: f64 = 10.0;

/// The difference between the newest prices of a book and a catalogue.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PriceChanges {
    /// The models whose price differs.
    pub(crate) list: PriceList,
    pub(crate) models: Vec<ModelChange>,
    /// Models that the catalogue lacks. They keep their price.
    pub(crate) kept: Vec<(Section, String)>,
    pub(crate) unchanged: usize,
}

/// A model with a new price. `old` is None for a model that had none.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModelChange {
    pub(crate) section: Section,
    pub(crate) name: String,
    pub(crate) old: Option<ModelPrice>,
    pub(crate) new: ModelPrice,
}

/// The rates of one tier, for usual or long requests, before and after a change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RateChange {
    pub(crate) tier: String,
    /// Input tokens above which these rates apply.
    pub(crate) above: Option<u64>,
    /// The same before the change.
    pub(crate) old_above: Option<u64>,
    pub(crate) old: Option<Rates>,
    pub(crate) new: Option<Rates>,
}

impl PriceChanges {
    pub(crate) fn new(book: &PriceBook, catalogue: &CataloguePrices) -> PriceChanges {
        let lists = book.shared_lists();
        let CataloguePrices { list: new, sections, .. } = catalogue;
        let list = PriceList { source: new.source.clone(), as_of: new.as_of.clone(), ..PriceList::default() };
        let mut changes = PriceChanges { list, ..PriceChanges::default() };
        for section in sections {
            let is_dated = |name: &str| undated(name) != name;
            // A dated name falls back to its model, so the model comes first.
            let mut models: Vec<(&String, &ModelPrice)> = new.models(*section).iter().collect();
            models.sort_by_key(|(name, _)| is_dated(name));
            for (name, price) in models {
                let old = of_first(lists, *section, name).map(|(price, _)| price);
                if after(&changes.list, lists, *section, name) != Some(price) {
                    changes.list.models_mut(*section).insert(name.clone(), price.clone());
                }
                match old {
                    Some(old) if old == price => changes.unchanged += 1,
                    _ => changes.models.push(ModelChange {
                        section: *section,
                        name: name.clone(),
                        old: old.cloned(),
                        new: price.clone(),
                    }),
                }
            }
            let mut known: Vec<&String> =
                lists.iter().flat_map(|it| it.list.models(*section).keys()).collect();
            known.sort();
            known.dedup();
            let lacking = known.into_iter().filter(|name| !new.models(*section).contains_key(*name));
            changes.kept.extend(lacking.map(|name| (*section, name.clone())));
        }
        changes.models.sort_by(|a, b| (a.section, &a.name).cmp(&(b.section, &b.name)));
        changes
    }

    pub(crate) fn is_empty(&self) -> bool {
        Section::ALL.iter().all(|section| self.list.models(*section).is_empty())
    }

    /// The list to add to the book.
    pub(crate) fn dated(&self, valid_from: Timestamp) -> DatedList {
        DatedList { valid_from, list: self.list.clone() }
    }
}

/// The price of a model once the list of changes is added.
fn after<'a>(
    added: &'a PriceList,
    lists: &'a [Arc<DatedList>],
    section: Section,
    name: &str,
) -> Option<&'a ModelPrice> {
    let newest = |name: &str| {
        let known = lists.iter().rev().find_map(|list| list.list.models(section).get(name));
        added.models(section).get(name).or(known)
    };
    newest(name).or_else(|| newest(undated(name)))
}

impl ModelChange {
    /// The rates that differ: the standard tier first, usual requests before long ones.
    pub(crate) fn rates(&self) -> Vec<RateChange> {
        let old_tiers = self.old.iter().flat_map(|old| old.tiers.keys());
        let mut tiers: Vec<&String> = self.new.tiers.keys().chain(old_tiers).collect();
        tiers.sort_by_key(|name| (*name != STANDARD, *name));
        tiers.dedup();
        let mut rates = Vec::new();
        for (tier, is_long) in tiers.into_iter().flat_map(|tier| [(tier, false), (tier, true)]) {
            let of = |price: &ModelPrice| price.tiers.get(tier)?.get(usize::from(is_long)).copied();
            let (old, new) = (self.old.as_ref().and_then(of), of(&self.new));
            let threshold =
                |price: Option<&ModelPrice>| price.and_then(|price| price.above).filter(|_| is_long);
            let (old_above, above) = (threshold(self.old.as_ref()), threshold(Some(&self.new)));
            if old != new || ((old.is_some() || new.is_some()) && old_above != above) {
                rates.push(RateChange { tier: tier.clone(), above, old_above, old, new });
            }
        }
        rates
    }

    /// Whether it has a price of 0 where it had none.
    pub(crate) fn is_free(&self) -> bool {
        let added = self.rates().into_iter().filter(|rates| rates.old.is_none());
        added.filter_map(|rates| rates.new).any(|new| new.each().contains(&0.0))
    }

    /// Whether any rate rose or fell by more than a factor of 10, or fell to 0.
    pub(crate) fn is_large(&self) -> bool {
        self.rates().iter().any(RateChange::is_large)
    }
}

impl RateChange {
    fn is_large(&self) -> bool {
        let (Some(old), Some(new)) = (self.old, self.new) else { return false };
        old.each().into_iter().zip(new.each()).any(|(old, new)| {
            let (low, high) = (old.min(new), old.max(new));
            high > low * LARGE
        })
    }
}

impl Rates {
    /// Input, output, cached input and cache write, as they are applied.
    pub(crate) fn each(self) -> [f64; 4] {
        let Rates(input, output, cached, written) = self;
        [input, output, cached.unwrap_or(input), written.unwrap_or(input)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::price_catalogue::{Catalogue, CatalogueFile};

    fn catalogue(models: &[(&str, f64)]) -> CataloguePrices {
        let entry = |(name, rate): &(&str, f64)| {
            format!(
                r#""{name}": {{"mode": "chat", "pricing": {{"input_per_million_tokens": {rate}, "output_per_million_tokens": {rate}}}}}"#
            )
        };
        let entries: Vec<String> = models.iter().map(entry).collect();
        let mut catalogue = Catalogue::default();
        let text = format!(r#"{{"models": {{{}}}}}"#, entries.join(","));
        catalogue.add(CatalogueFile::OpenAi, text.as_bytes()).unwrap();
        catalogue.into_prices("a test".into(), "2027-01-01").unwrap()
    }

    fn with(book: &PriceBook, models: &[(&str, f64)], second: i64) -> PriceBook {
        let now = Timestamp::from_second(second).unwrap();
        let added = PriceChanges::new(book, &catalogue(models)).dated(now);
        let updates = book.lists().skip(1).cloned().chain([added]).collect();
        PriceBook::new(updates, None)
    }

    #[test]
    fn only_what_differs_becomes_a_list_and_models_that_are_missing_stay() {
        let book = with(PriceBook::built_in(), &[("m", 1.0), ("n", 1.0)], 100);
        let changes = PriceChanges::new(&book, &catalogue(&[("m", 1.0), ("m-2027-01-01", 1.0), ("o", 2.0)]));
        assert_eq!(changes.list.openai.keys().collect::<Vec<_>>(), ["o"]);
        assert_eq!(changes.unchanged, 2);
        assert!(changes.kept.contains(&(Section::OpenAi, "n".into())));
        assert!(changes.kept.iter().all(|(section, _)| *section == Section::OpenAi), "only its own section");
        assert!(PriceChanges::new(&book, &catalogue(&[("m", 1.0)])).is_empty());
    }

    #[test]
    fn a_dated_name_keeps_its_price_when_only_its_model_changes() {
        let book = with(PriceBook::built_in(), &[("m", 1.0), ("m-2027-01-01", 1.0)], 100);
        let dated = "m-2027-01-01";
        let table = [
            // The model changes alone, with the dated name, or the dated name alone.
            (vec![("m", 2.0), (dated, 1.0)], vec!["m", dated], vec!["m"]),
            (vec![("m", 2.0), (dated, 2.0)], vec!["m"], vec!["m", dated]),
            (vec![("m", 1.0), (dated, 2.0)], vec![dated], vec![dated]),
        ];
        for (models, added, shown) in table {
            let changes = PriceChanges::new(&book, &catalogue(&models));
            assert_eq!(changes.list.openai.keys().collect::<Vec<_>>(), added, "{models:?}");
            let names: Vec<&str> = changes.models.iter().map(|change| &*change.name).collect();
            assert_eq!(names, shown, "{models:?}");
            assert!(PriceChanges::new(&with(&book, &models, 200), &catalogue(&models)).is_empty());
        }
    }

    #[test]
    fn a_change_by_more_than_a_factor_of_ten_is_large() {
        let table = [(10.0, false), (10.1, true), (0.1, false), (0.09, true), (0.0, true), (1.5, false)];
        let book = with(PriceBook::built_in(), &[("m", 1.0)], 100);
        for (rate, is_large) in table {
            let changes = PriceChanges::new(&book, &catalogue(&[("m", rate)]));
            assert_eq!(changes.models[0].is_large(), is_large, "{rate}");
        }
        let new = PriceChanges::new(&book, &catalogue(&[("n", 0.0)]));
        assert_eq!((new.models[0].is_large(), new.models[0].rates().len()), (false, 1));
    }

    #[test]
    fn a_threshold_that_moves_and_a_tier_that_becomes_free_are_shown() {
        let rates = |rate: f64| Rates(rate, rate, None, None);
        let price = |above: Option<u64>, tiers: &[(&str, &[f64])]| {
            let tier = |(name, each): &(&str, &[f64])| {
                (name.to_string(), each.iter().map(|rate| rates(*rate)).collect::<Vec<_>>())
            };
            ModelPrice { above, tiers: tiers.iter().map(tier).collect() }
        };
        let change = |old: ModelPrice, new: ModelPrice| ModelChange {
            section: Section::OpenAi,
            name: "m".into(),
            old: Some(old),
            new,
        };
        let long = |above| price(Some(above), &[(STANDARD, &[1.0, 2.0])]);
        let moved = change(long(100), long(900));
        let expected = RateChange {
            tier: STANDARD.into(),
            above: Some(900),
            old_above: Some(100),
            old: Some(rates(2.0)),
            new: Some(rates(2.0)),
        };
        assert_eq!(moved.rates(), [expected]);
        let gone = change(long(100), price(None, &[(STANDARD, &[1.0])])).rates();
        assert_eq!((gone.len(), gone[0].old_above, gone[0].above, gone[0].new), (1, Some(100), None, None));
        let usual = || price(None, &[(STANDARD, &[1.0])]);
        let free = change(usual(), price(None, &[(STANDARD, &[1.0]), ("flex", &[0.0])]));
        assert_eq!((free.is_free(), free.is_large(), free.rates().len()), (true, false, 1));
        assert!(change(usual(), usual()).rates().is_empty());
    }
}
