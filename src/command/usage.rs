//! `mlflow usage`: tokens and cost, by day, model, project and more.

mod report;

use super::{CommandError, context, history_index, pager, print, print_json};
use crate::base::notice;
use crate::base::world::World;
use crate::cli::{Usage, UsageKey};
use crate::command::units::{dollars, grouped};
use crate::history::time_range::TimeRange;
use crate::history::usage::UsageSums;
use jiff::tz::TimeZone;
use launch::exit::ChildExit;
use report::UsageReport;

/// Keys that a table can show with room for its figures.
const MOST_KEYS: usize = 2;

pub(super) fn run(usage: &Usage, world: &World) -> Result<ChildExit, CommandError> {
    check(usage)?;
    let range = TimeRange::from_options(usage.since.as_deref(), usage.until.as_deref())?;
    let context = context(world)?;
    let zone = TimeZone::system();
    let sums = history_index::ask(&context, |index| index.usage(&usage.by, range, &zone))?;
    let report = UsageReport { keys: &usage.by, range, sums: &sums, world };
    if usage.json {
        print_json(&report.to_json());
    } else if usage.csv {
        print(&report.to_csv());
    } else {
        pager::print(&report.to_text(), world);
    }
    Ok(usage.fail_over.map_or(ChildExit::Code(0), |limit| judge(limit, &sums)))
}

fn check(usage: &Usage) -> Result<(), CommandError> {
    if usage.by.len() > MOST_KEYS {
        return Err(format!(
            "--by has {} keys, and at most {MOST_KEYS} are shown\n  hint: leave some out",
            usage.by.len()
        ));
    }
    if let [first, second] = usage.by[..]
        && first == second
    {
        return Err("--by names one key twice\n  hint: name it once".into());
    }
    if usage.fail_over.is_some_and(|limit| !limit.is_finite() || limit < 0.0) {
        return Err("--fail-over needs an amount of dollars\n  hint: for example --fail-over 5.00".into());
    }
    Ok(())
}

/// For a step of a job after Codex's: 1 if more was spent.
fn judge(limit: f64, sums: &UsageSums) -> ChildExit {
    let total = &sums.total;
    if total.unpriced > 0 {
        notice::print(&format!("{} tokens have no price, and are not in the sum", grouped(total.unpriced)));
    }
    if total.cost() <= limit {
        return ChildExit::Code(0);
    }
    notice::print(&format!(
        "{} was spent, more than {}\n  hint: `codex-traced mlflow usage --by session` shows the sessions",
        dollars(total.cost()),
        dollars(limit)
    ));
    ChildExit::Code(1)
}

/// The name of a key in JSON and CSV.
fn name_of(key: UsageKey) -> &'static str {
    match key {
        UsageKey::Day => "day",
        UsageKey::Week => "week",
        UsageKey::Month => "month",
        UsageKey::Model => "model",
        UsageKey::Project => "project",
        UsageKey::Branch => "branch",
        UsageKey::Session => "session",
        UsageKey::Subagent => "subagent",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_fails_only_if_more_than_its_limit_was_spent() {
        let spent = |cost: f64| {
            let mut sums = UsageSums::default();
            sums.total.nanodollars = (cost * 1e9) as i128;
            sums
        };
        for (limit, cost, exit) in
            [(5.0, 4.99, 0), (5.0, 5.0, 0), (5.0, 5.01, 1), (0.0, 0.0, 0), (0.0, 0.01, 1)]
        {
            assert_eq!(judge(limit, &spent(cost)), ChildExit::Code(exit), "{limit} {cost}");
        }
    }
}
