//! Tokens and cost of all responses, summed up by one or two keys.

use super::index::{Index, IndexError};
use super::sessions::{time_from, tokens_in};
use super::time_range::TimeRange;
use crate::cli::UsageKey;
use codex_session::rollout::usage::TokenUsage;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rusqlite::types::ValueRef;
use rusqlite::{Row, params};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The agent of a session itself.
pub const MAIN: &str = "main";

/// A sum over responses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sum {
    pub tokens: TokenUsage,
    pub responses: u64,
    /// Of the responses with a price. Whole numbers: their sum is the same in any order.
    pub nanodollars: i128,
    /// Tokens of responses without a price.
    pub unpriced: u64,
    /// The sessions that the responses are of, by the index's numbers.
    sessions: BTreeSet<i64>,
}

impl Sum {
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// In US dollars.
    pub fn cost(&self) -> f64 {
        self.nanodollars as f64 / 1e9
    }

    fn add(&mut self, tokens: TokenUsage, cost: Option<f64>, session: i64) {
        self.tokens = self.tokens + tokens;
        self.responses += 1;
        self.sessions.insert(session);
        match cost {
            Some(cost) => self.nanodollars += (cost * 1e9).round() as i128,
            None => self.unpriced += tokens.total(),
        }
    }
}

/// The sums of a time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UsageSums {
    /// By the values of the keys; None where a session has no such value. Times in their order, other rows by their cost.
    pub rows: Vec<(Vec<Option<String>>, Sum)>,
    pub total: Sum,
    /// By provider and model, the tokens that have no price.
    pub unpriced: Vec<(Option<String>, Option<String>, Sum)>,
    /// The prompts of sessions that are rows, by id.
    pub prompts: HashMap<String, String>,
}

const QUERY: &str = "SELECT p.at, v.provider, v.model, p.input, p.cached, p.cache_write, p.output, p.reasoning, p.cost, \
    w.agent, r.id, r.thread, j.project, r.branch, r.prompt \
    FROM response p JOIN thread w ON w.id = p.thread JOIN thread r ON r.thread = w.root \
    LEFT JOIN project j ON j.folder = r.folder \
    JOIN service v ON v.id = p.service WHERE p.at >= ?1 AND p.at < ?2";

impl Index {
    /// Each response once, also of forked and resumed sessions.
    pub fn usage(
        &self,
        keys: &[UsageKey],
        range: TimeRange,
        zone: &TimeZone,
    ) -> Result<UsageSums, IndexError> {
        let mut statement = self.connection.prepare(QUERY)?;
        let bound = |at: Option<Timestamp>, open| at.map_or(open, Timestamp::as_millisecond);
        let mut rows =
            statement.query(params![bound(range.since, i64::MIN), bound(range.until, i64::MAX)])?;
        let mut sums = UsageSums::default();
        let mut by_key: BTreeMap<Vec<Option<String>>, Sum> = BTreeMap::new();
        let mut unpriced: BTreeMap<(Option<String>, Option<String>), Sum> = BTreeMap::new();
        let mut days = Days { zone, known: HashMap::new() };
        while let Some(row) = rows.next()? {
            let tokens = tokens_in(row, 3)?;
            let (cost, session): (Option<f64>, i64) = (row.get(8)?, row.get(10)?);
            let values =
                keys.iter().map(|key| value_of(*key, row, &mut days)).collect::<Result<Vec<_>, _>>()?;
            if keys.contains(&UsageKey::Session)
                && let Some(prompt) = row.get::<_, Option<String>>(14)?
            {
                sums.prompts.entry(row.get(11)?).or_insert(prompt);
            }
            by_key.entry(values).or_default().add(tokens, cost, session);
            sums.total.add(tokens, cost, session);
            if cost.is_none() {
                unpriced.entry((row.get(1)?, row.get(2)?)).or_default().add(tokens, cost, session);
            }
        }
        sums.rows = by_key.into_iter().collect();
        order(&mut sums.rows, keys);
        sums.unpriced = unpriced.into_iter().map(|((provider, model), sum)| (provider, model, sum)).collect();
        Ok(sums)
    }
}

fn is_time(key: UsageKey) -> bool {
    matches!(key, UsageKey::Day | UsageKey::Week | UsageKey::Month)
}

/// By the first key, then by the second: times in their order, all else by what it cost, then by its tokens.
fn order(rows: &mut [(Vec<Option<String>>, Sum)], keys: &[UsageKey]) {
    let size = |sum: &Sum| (sum.nanodollars, sum.tokens.total());
    let mut groups: HashMap<Option<String>, (i128, u64)> = HashMap::new();
    for (values, sum) in rows.iter() {
        let (all, own) = (groups.entry(values.first().cloned().flatten()).or_default(), size(sum));
        *all = (all.0.saturating_add(own.0), all.1.saturating_add(own.1));
    }
    rows.sort_by(|(a, of_a), (b, of_b)| {
        let group = |values: &[Option<String>]| groups[&values.first().cloned().flatten()];
        let mut order = Ordering::Equal;
        for (at, key) in keys.iter().enumerate() {
            let by_size = || if at == 0 { group(b).cmp(&group(a)) } else { size(of_b).cmp(&size(of_a)) };
            let of_key =
                if is_time(*key) { a[at].cmp(&b[at]) } else { by_size().then_with(|| a[at].cmp(&b[at])) };
            order = order.then(of_key);
        }
        order
    });
}

fn value_of(key: UsageKey, row: &Row, days: &mut Days) -> Result<Option<String>, IndexError> {
    let text = |column: usize| -> Result<Option<String>, IndexError> { Ok(row.get(column)?) };
    Ok(match key {
        UsageKey::Day | UsageKey::Week | UsageKey::Month => {
            let ValueRef::Integer(at) = row.get_ref(0)? else { return Ok(None) };
            Some(days.name(key, at))
        }
        UsageKey::Model => text(2)?,
        UsageKey::Project => text(12)?,
        UsageKey::Branch => text(13)?,
        UsageKey::Session => text(11)?,
        UsageKey::Subagent => Some(text(9)?.unwrap_or_else(|| MAIN.to_owned())),
    })
}

/// The names of days, weeks and months, each computed once for each quarter of an hour: no zone changes within one.
struct Days<'z> {
    zone: &'z TimeZone,
    known: HashMap<(i64, u8), String>,
}

impl Days<'_> {
    fn name(&mut self, key: UsageKey, millis: i64) -> String {
        let quarter = millis.div_euclid(15 * 60 * 1000);
        let zone = self.zone;
        let name = || {
            let day = time_from(millis).to_zoned(zone.clone()).date();
            match key {
                UsageKey::Week => {
                    let week = day.iso_week_date();
                    format!("{:04}-W{:02}", week.year(), week.week())
                }
                UsageKey::Month => day.strftime("%Y-%m").to_string(),
                _ => day.to_string(),
            }
        };
        self.known.entry((quarter, key as u8)).or_insert_with(name).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_weeks_and_months_are_those_of_the_users_zone() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let mut days = Days { zone: &zone, known: HashMap::new() };
        let table = [
            ("2026-12-31T22:59:59Z", ["2026-12-31", "2026-W53", "2026-12"]),
            ("2026-12-31T23:00:00Z", ["2027-01-01", "2026-W53", "2027-01"]),
            ("2027-01-03T23:00:00Z", ["2027-01-04", "2027-W01", "2027-01"]),
            ("2026-06-30T21:59:59Z", ["2026-06-30", "2026-W27", "2026-06"]),
            ("2026-06-30T22:00:00Z", ["2026-07-01", "2026-W27", "2026-07"]),
        ];
        for (at, expected) in table {
            let millis = at.parse::<Timestamp>().unwrap().as_millisecond();
            let names = [UsageKey::Day, UsageKey::Week, UsageKey::Month].map(|key| days.name(key, millis));
            assert_eq!(names, expected, "{at}");
        }
    }

    #[test]
    fn rows_are_in_the_order_of_their_keys() {
        let row = |model: &str, day: &str, nanodollars: i128| {
            (vec![Some(model.to_owned()), Some(day.to_owned())], Sum { nanodollars, ..Sum::default() })
        };
        let mut rows = vec![row("a", "2", 1), row("b", "1", 5), row("a", "1", 3), row("b", "2", 0)];
        let names = |rows: &[(Vec<Option<String>>, Sum)]| -> Vec<String> {
            rows.iter().map(|(values, _)| values.iter().flatten().cloned().collect()).collect()
        };
        order(&mut rows, &[UsageKey::Model, UsageKey::Day]);
        assert_eq!(names(&rows), ["b1", "b2", "a1", "a2"]);
        rows.iter_mut().for_each(|(values, _)| values.reverse());
        order(&mut rows, &[UsageKey::Day, UsageKey::Model]);
        assert_eq!(names(&rows), ["1b", "1a", "2a", "2b"]);
    }
}
