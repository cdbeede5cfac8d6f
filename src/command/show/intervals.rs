//! Sets of times: when the model works, when tools run, when a turn goes on.

use jiff::{SignedDuration, Timestamp};

type Interval = (Timestamp, Timestamp);

/// Times in order; none is empty, and no two touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Intervals {
    times: Vec<Interval>,
    /// For each of the times, the total of those before it. A search finds what is over at a time.
    before: Vec<SignedDuration>,
}

impl Intervals {
    /// The union of any intervals. One that ends before it begins is empty.
    pub(super) fn from_any(any: impl IntoIterator<Item = Interval>) -> Intervals {
        let mut any: Vec<Interval> = any.into_iter().filter(|(from, to)| from < to).collect();
        any.sort_unstable();
        let mut united: Vec<Interval> = Vec::with_capacity(any.len());
        for (from, to) in any {
            match united.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => united.push((from, to)),
            }
        }
        Intervals::in_order(united)
    }

    fn in_order(times: Vec<Interval>) -> Intervals {
        let mut total = SignedDuration::ZERO;
        let lengths = times.iter().map(|(from, to)| to.duration_since(*from));
        let before = lengths.map(|length| {
            total += length;
            total - length
        });
        let before = before.collect();
        Intervals { times, before }
    }

    pub(super) fn or(&self, others: &Intervals) -> Intervals {
        Intervals::from_any(self.times.iter().chain(&others.times).copied())
    }

    /// The times in both.
    pub(super) fn within(&self, others: &Intervals) -> Intervals {
        let (mut own, mut other) = (self.times.iter().peekable(), others.times.iter().peekable());
        let mut both = Vec::new();
        while let (Some(a), Some(b)) = (own.peek(), other.peek()) {
            let (from, to) = (a.0.max(b.0), a.1.min(b.1));
            if from < to {
                both.push((from, to));
            }
            if a.1 <= b.1 {
                own.next()
            } else {
                other.next()
            };
        }
        Intervals::in_order(both)
    }

    pub(super) fn without(&self, others: &Intervals) -> Intervals {
        let ends = std::iter::once(Timestamp::MIN).chain(others.times.iter().map(|(_, to)| *to));
        let starts = others.times.iter().map(|(from, _)| *from).chain([Timestamp::MAX]);
        self.within(&Intervals::from_any(ends.zip(starts)))
    }

    pub(super) fn total(&self) -> SignedDuration {
        self.passed(Timestamp::MAX)
    }

    pub(super) fn ends(&self) -> Option<Interval> {
        Some((self.times.first()?.0, self.times.last()?.1))
    }

    /// How much of these times is over at `at`.
    pub(super) fn passed(&self, at: Timestamp) -> SignedDuration {
        let Some(last) = self.begun(at).checked_sub(1) else { return SignedDuration::ZERO };
        let (from, to) = self.times[last];
        self.before[last] + at.min(to).duration_since(from)
    }

    /// When the last of these times before `at` ended: `at` within one of them, None before the first.
    pub(super) fn last_end(&self, at: Timestamp) -> Option<Timestamp> {
        let last = self.begun(at).checked_sub(1)?;
        Some(self.times[last].1.min(at))
    }

    /// How many of the times began before `at`.
    fn begun(&self, at: Timestamp) -> usize {
        self.times.partition_point(|(from, _)| *from < at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intervals(pairs: &[(i64, i64)]) -> Intervals {
        let at = |second| Timestamp::from_second(second).unwrap();
        Intervals::from_any(pairs.iter().map(|(from, to)| (at(*from), at(*to))))
    }

    #[test]
    fn sets_of_times_are_united_and_subtracted() {
        type Pairs<'a> = &'a [(i64, i64)];
        let table: [(Pairs, Pairs, Pairs, Pairs, Pairs); 6] = [
            (&[(0, 10)], &[(3, 5)], &[(0, 10)], &[(3, 5)], &[(0, 3), (5, 10)]),
            (&[(0, 4), (4, 6)], &[(5, 9)], &[(0, 9)], &[(5, 6)], &[(0, 5)]),
            (&[(0, 1), (5, 6)], &[(0, 9)], &[(0, 9)], &[(0, 1), (5, 6)], &[]),
            (&[(8, 9), (1, 2)], &[(3, 4)], &[(1, 2), (3, 4), (8, 9)], &[], &[(1, 2), (8, 9)]),
            (&[(5, 3)], &[], &[], &[], &[]),
            (&[], &[(1, 2)], &[(1, 2)], &[], &[]),
        ];
        for (a, b, or, within, without) in table {
            let [first, second] = [a, b].map(intervals);
            assert_eq!(first.or(&second), intervals(or), "{a:?} or {b:?}");
            assert_eq!(first.within(&second), intervals(within), "{a:?} within {b:?}");
            assert_eq!(first.without(&second), intervals(without), "{a:?} without {b:?}");
        }
    }

    #[test]
    fn the_axis_leaves_out_what_is_between() {
        let times = intervals(&[(10, 20), (100, 105)]);
        let passed = |second| times.passed(Timestamp::from_second(second).unwrap()).as_secs();
        assert_eq!([0, 10, 15, 20, 60, 100, 103, 999].map(passed), [0, 0, 5, 10, 10, 10, 13, 15]);
        assert_eq!(times.total().as_secs(), 15);
        let last_end = |second| Some(times.last_end(Timestamp::from_second(second).unwrap())?.as_second());
        let expected = [None, None, Some(15), Some(20), Some(20), Some(20), Some(103), Some(105)];
        assert_eq!([0, 10, 15, 20, 60, 100, 103, 999].map(last_end), expected);
    }
}
