//! Codex's own count of a thread's tokens, and what each time it is told is new in it.
//!
//! Up to 0.15x the same count is written again with the next request, and up to 0.7x a resumed session counts
//! from zero. A fork's count begins with its parent's. Since 0.155 a record tells each response's usage, and the
//! count follows; where an older file is resumed, the records' own total begins at zero and the count goes on.

use super::model::TokenUsage;

#[derive(Clone, Debug, Default)]
pub(super) struct Tokens {
    counts: Counter,
    records: Counter,
    /// Of the last record; the next count tells it again.
    recorded: Option<TokenUsage>,
}

#[derive(Clone, Debug, Default)]
struct Counter {
    now: Option<TokenUsage>,
    /// What counters held that were started anew since.
    before: TokenUsage,
    /// What the first count held before this thread's first response.
    inherited: TokenUsage,
}

/// Whether a first count may hold tokens that are not of this file's responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// It is told with the thread's first response, or a parent is known: the rest is inherited.
    MayInherit,
    /// There were responses before, and nothing tells what they cost.
    IsOwn,
}

impl Tokens {
    /// A record has a response's usage, and perhaps the thread's. Returns the former; where it cannot be read, what
    /// the thread's total adds to the one before.
    pub(super) fn record(
        &mut self,
        usage: Option<TokenUsage>,
        total: Option<TokenUsage>,
        first: First,
    ) -> Option<TokenUsage> {
        let is_first = self.records.now.is_none();
        let added = total.and_then(|total| self.records.advance(total, usage, first));
        self.recorded = usage.or(added.filter(|_| !is_first));
        self.recorded
    }

    /// The usage that a count tells and no earlier line did. `last` is what Codex tells beside it.
    pub(super) fn count(
        &mut self,
        total: TokenUsage,
        last: Option<TokenUsage>,
        first: First,
    ) -> Option<TokenUsage> {
        let news = self.counts.advance(total, last, first)?;
        Some(news).filter(|news| self.recorded.take() != Some(*news))
    }

    /// A count in history that was copied from another thread: none of it is this thread's.
    pub(super) fn copy(&mut self, total: TokenUsage) {
        self.counts.copy(total);
    }

    /// Codex's total for the thread, also over counters that were started anew; None when it told none.
    pub(super) fn total(&self) -> Option<TokenUsage> {
        let total = match (self.counts.now, self.records.now) {
            (Some(_), _) => {
                let mut total = self.counts.total();
                total += self.recorded.unwrap_or_default();
                total
            }
            (None, Some(_)) => self.records.total(),
            (None, None) => return None,
        };
        // An overflowing context is counted as no token at all.
        some(total)
    }

    pub(super) fn inherited(&self) -> TokenUsage {
        if self.counts.now.is_some() { self.counts.inherited } else { self.records.inherited }
    }
}

impl Counter {
    /// What a count adds to the one before; None when it adds nothing. `told` is the usage that Codex tells
    /// beside it, of the response just over.
    fn advance(&mut self, total: TokenUsage, told: Option<TokenUsage>, first: First) -> Option<TokenUsage> {
        // Beside the count of a response that was cut off stand zeros (0.169).
        let told = told.and_then(some);
        let Some(now) = self.now.replace(total) else {
            let before = told.and_then(|told| total.minus(told)).unwrap_or_default();
            if first == First::MayInherit {
                self.inherited = before;
            }
            return some(told.unwrap_or(total));
        };
        if now == total {
            return None;
        }
        let began_anew = told == Some(total) && now != TokenUsage::default();
        match total.minus(now).filter(|_| !began_anew) {
            Some(added) => some(told.unwrap_or(added)),
            None => {
                self.before += now;
                some(told.unwrap_or(total))
            }
        }
    }

    fn copy(&mut self, total: TokenUsage) {
        *self = Counter { now: Some(total), before: TokenUsage::default(), inherited: total };
    }

    fn total(&self) -> TokenUsage {
        let mut total = self.before;
        total += self.now.unwrap_or_default();
        total
    }
}

/// Where a context overflows, Codex sets its count to figures that are no response's (0.58 to 0.14x).
fn some(usage: TokenUsage) -> Option<TokenUsage> {
    Some(usage).filter(|usage| usage.total() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(input: u64) -> TokenUsage {
        TokenUsage { input, ..TokenUsage::default() }
    }

    /// Counts as (total, told beside it), the first of which may be inherited from; what each adds, and what is
    /// the thread's own in the end.
    type Row<'a> = (&'a str, &'a [(u64, Option<u64>)], &'a [Option<u64>], u64);

    #[test]
    fn a_count_tells_what_is_new_in_it_and_nothing_twice() {
        let table: [Row; 9] = [
            ("cut off", &[(10, Some(0)), (15, Some(0))], &[Some(10), Some(5)], 15),
            ("plain", &[(10, Some(10)), (15, Some(5))], &[Some(10), Some(5)], 15),
            ("told again", &[(10, Some(10)), (10, Some(10)), (15, Some(5))], &[Some(10), None, Some(5)], 15),
            ("without a usage", &[(10, None), (15, None)], &[Some(10), Some(5)], 15),
            ("from zero", &[(10, Some(10)), (15, Some(5)), (7, Some(7))], &[Some(10), Some(5), Some(7)], 22),
            ("from zero and beyond", &[(10, Some(10)), (30, Some(30))], &[Some(10), Some(30)], 40),
            ("a fork", &[(110, Some(10)), (115, Some(5))], &[Some(10), Some(5)], 15),
            ("more than was told", &[(10, Some(10)), (25, Some(5))], &[Some(10), Some(5)], 25),
            ("an overflow", &[(10, Some(10)), (0, Some(0)), (7, Some(7))], &[Some(10), None, Some(7)], 17),
        ];
        for (name, counts, added, own) in table {
            let mut counter = Counter::default();
            let news: Vec<Option<u64>> = counts
                .iter()
                .map(|(total, told)| counter.advance(tokens(*total), told.map(tokens), First::MayInherit))
                .map(|news| news.map(|usage| usage.input))
                .collect();
            assert_eq!(news, added, "{name}");
            assert_eq!(counter.total().minus(counter.inherited), Some(tokens(own)), "{name}");
        }
    }

    #[test]
    fn copied_counts_are_nobodys_here_whether_the_counter_goes_on_or_begins_anew() {
        for (total, told) in [(110, 10), (10, 10)] {
            let mut counter = Counter::default();
            counter.copy(tokens(40));
            counter.copy(tokens(100));
            assert_eq!(counter.advance(tokens(total), Some(tokens(told)), First::IsOwn), Some(tokens(10)));
            assert_eq!(counter.total().minus(counter.inherited), Some(tokens(10)));
        }
    }

    #[test]
    fn a_record_and_the_count_after_it_tell_one_usage_wherever_their_totals_began() {
        for (counted, recorded) in [(0, 0), (25, 0), (25, 25)] {
            let mut thread = Tokens::default();
            if counted > 0 {
                assert_eq!(
                    thread.count(tokens(counted), Some(tokens(counted)), First::MayInherit),
                    Some(tokens(counted))
                );
            }
            for usage in [10, 10] {
                let so_far = thread.total().map_or(0, |total| total.input) - counted;
                let total = |from: u64| tokens(from + so_far + usage);
                thread.record(Some(tokens(usage)), Some(total(recorded)), First::MayInherit);
                assert_eq!(thread.total(), Some(total(counted)));
                assert_eq!(thread.count(total(counted), Some(tokens(usage)), First::MayInherit), None);
                assert_eq!(thread.total(), Some(total(counted)));
            }
            assert_eq!(thread.inherited(), TokenUsage::default());
        }
    }
}
