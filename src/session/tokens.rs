//! Codex's own count of a thread's tokens, and what each time it is told is new in it.
//!
//! Up to 0.15x the same count is written again with the next request, and up to 0.7x a resumed session counts
//! from zero. A fork's count begins with its parent's.

use super::model::TokenUsage;

#[derive(Clone, Debug, Default)]
pub(super) struct Counter {
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

impl Counter {
    /// What a count adds to the one before; None when it adds nothing. `told` is the usage that Codex tells
    /// beside it, of the response just over.
    pub(super) fn advance(
        &mut self,
        total: TokenUsage,
        told: Option<TokenUsage>,
        first: First,
    ) -> Option<TokenUsage> {
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

    /// A response whose usage was told without a count.
    pub(super) fn add(&mut self, told: TokenUsage) {
        let mut now = self.now.unwrap_or_default();
        now += told;
        self.now = Some(now);
    }

    /// A count in history that was copied from another thread: none of it is this thread's.
    pub(super) fn copy(&mut self, total: TokenUsage) {
        *self = Counter { now: Some(total), before: TokenUsage::default(), inherited: total };
    }

    /// The whole count, also over counters that were started anew.
    pub(super) fn total(&self) -> TokenUsage {
        let mut total = self.before;
        total += self.now.unwrap_or_default();
        total
    }

    pub(super) fn inherited(&self) -> TokenUsage {
        self.inherited
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
        let table: [Row; 8] = [
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
            assert_eq!(counter.total().minus(counter.inherited()), Some(tokens(own)), "{name}");
        }
    }

    #[test]
    fn copied_counts_are_nobodys_here_whether_the_counter_goes_on_or_begins_anew() {
        for (total, told) in [(110, 10), (10, 10)] {
            let mut counter = Counter::default();
            counter.copy(tokens(40));
            counter.copy(tokens(100));
            assert_eq!(counter.advance(tokens(total), Some(tokens(told)), First::IsOwn), Some(tokens(10)));
            assert_eq!(counter.total().minus(counter.inherited()), Some(tokens(10)));
        }
    }
}
