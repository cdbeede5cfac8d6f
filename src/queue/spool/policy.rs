//! Pure decisions: when a target is tried again, how much the spool may hold, which form of a trace is sent.

use super::entry::{Head, Rank};
use jiff::Timestamp;
use mlflow_store::ids::TraceId;
use mlflow_store::target::Target;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Limit of all entries together, in bytes: some hundred thousand turns of usual size, and little on today's
/// disks. A spool reaches it only after a server was away for so long that the user should know.
pub const MOST_BYTES: u64 = 2 << 30;

/// Entries that wait for longer are reported. Two weeks, so that a holiday is not reported.
pub const LONG: Duration = Duration::from_secs(14 * DAY);

/// A server that restarts usually needs less.
const FIRST_PAUSE: Duration = Duration::from_secs(30);

/// A server that was away overnight gets its traces at most this long after it is back.
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// Limit of a server's `Retry-After`: a typing error there must not cost a week.
const LONGEST_ASKED: Duration = Duration::from_secs(DAY);

const DAY: u64 = 24 * 60 * 60;

/// Local and remote deliveries, one lock each: a server that hangs delays no local trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    Local,
    Remote,
}

impl Lane {
    pub const ALL: [Lane; 2] = [Lane::Local, Lane::Remote];

    pub fn from_target(target: &Target) -> Lane {
        if target.is_remote() { Lane::Remote } else { Lane::Local }
    }
}

/// A target's pause after a failure: launches do not try it before `until`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Number of consecutive failures.
    pub failures: u32,
    pub since: Timestamp,
    pub until: Timestamp,
    pub reason: String,
}

/// A failed try, and what its pause depends on.
pub struct FailedTry {
    pub lane: Lane,
    pub reason: String,
    /// The pause that the target requested.
    pub asked: Option<Duration>,
    pub at: Timestamp,
    /// 0 to 1: spreads the retries of processes that failed at the same time.
    pub jitter: f64,
}

impl Pause {
    /// After one more failure.
    pub fn after(before: Option<&Pause>, failed: FailedTry) -> Pause {
        Pause::with_failures(before.map_or(0, |pause| pause.failures).saturating_add(1), failed)
    }

    /// After this number of failures.
    pub(super) fn with_failures(failures: u32, failed: FailedTry) -> Pause {
        let FailedTry { lane, reason, asked, at, jitter } = failed;
        let until = at.saturating_add(pause(lane, failures, asked, jitter)).unwrap_or(at);
        Pause { failures, since: at, until, reason }
    }

    /// Whether the pause lasts at `now`. It ends early if the clock went back, and after a day at most, so
    /// that a wrong clock or file cannot block a target forever.
    pub fn lasts(&self, now: Timestamp) -> bool {
        let at_most = self.since.saturating_add(LONGEST_ASKED).unwrap_or(self.since);
        self.since <= now && now < self.until.min(at_most)
    }
}

fn pause(lane: Lane, failures: u32, asked: Option<Duration>, jitter: f64) -> Duration {
    match lane {
        // Trying a file is cheap, and a user who repaired it expects the next launch to deliver.
        Lane::Local => Duration::ZERO,
        Lane::Remote => {
            let doubled = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16));
            let usual = doubled.min(LONGEST_PAUSE).mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
            usual.max(asked.unwrap_or_default().min(LONGEST_ASKED))
        }
    }
}

/// One delivery: the newest form of a trace for one target, and the older forms that it replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryJob {
    pub path: PathBuf,
    pub head: Head,
    /// Oldest first.
    pub older: Vec<PathBuf>,
}

/// Groups entries by trace and target, in the order in which the newest forms were put. Of equal forms the
/// one put last is sent.
pub fn jobs(entries: impl IntoIterator<Item = (PathBuf, Head)>) -> Vec<DeliveryJob> {
    let mut forms: BTreeMap<(TraceId, String), Vec<(PathBuf, Head)>> = BTreeMap::new();
    for (path, head) in entries {
        forms.entry((head.trace, head.target.to_string())).or_default().push((path, head));
    }
    let mut jobs: Vec<DeliveryJob> = forms
        .into_values()
        .filter_map(|mut forms| {
            forms.sort_by(|(a, one), (b, other)| (one.rank, a).cmp(&(other.rank, b)));
            let (path, head) = forms.pop()?;
            Some(DeliveryJob { path, head, older: forms.into_iter().map(|(path, _)| path).collect() })
        })
        .collect();
    jobs.sort_by(|a, b| a.path.file_name().cmp(&b.path.file_name()));
    jobs
}

/// Whether the target already has a newer form: a slow launch may put an older form late.
pub fn is_overtaken(rank: Rank, delivered: Option<Rank>) -> bool {
    delivered.is_some_and(|delivered| rank < delivered)
}

/// Whether another entry of this size fits; all in bytes.
pub fn has_room(held: u64, size: u64, most: u64) -> bool {
    held.saturating_add(size) <= most
}

#[cfg(test)]
mod tests {
    use super::super::tests::{entry, failed};
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_server_is_left_alone_for_longer_after_each_failure() {
        let seconds = |failures, asked: Option<u64>, jitter| {
            pause(Lane::Remote, failures, asked.map(Duration::from_secs), jitter).as_secs()
        };
        let table = [
            (1, None, 1.0, 30),
            (1, None, 0.0, 15),
            (2, None, 1.0, 60),
            (4, None, 0.5, 180),
            (8, None, 1.0, 3600),
            (u32::MAX, None, 1.0, 3600),
            (u32::MAX, None, 0.0, 1800),
            (1, Some(10), 1.0, 30),
            (1, Some(120), 1.0, 120),
            (1, Some(7200), 1.0, 7200),
            (1, Some(u64::MAX), 1.0, DAY),
            (1, None, 7.0, 30),
        ];
        for (failures, asked, jitter, expected) in table {
            assert_eq!(seconds(failures, asked, jitter), expected, "{failures} {asked:?} {jitter}");
        }
        assert_eq!(pause(Lane::Local, 9, Some(Duration::from_secs(9)), 1.0), Duration::ZERO);
    }

    #[test]
    fn failures_add_up_and_the_last_reason_is_kept() {
        let first = Pause::after(None, failed(Lane::Remote, "a", at(1000)));
        let second = Pause::after(Some(&first), failed(Lane::Remote, "b", at(2000)));
        let expected = Pause { failures: 2, since: at(2000), until: at(2060), reason: "b".into() };
        assert_eq!(second, expected);
    }

    #[test]
    fn a_wrong_clock_blocks_no_target_forever() {
        let pause = |until| Pause { failures: 1, since: at(1000), until: at(until), reason: String::new() };
        let day = DAY as i64;
        let table = [
            (pause(1030), 1000, true),
            (pause(1030), 1029, true),
            (pause(1030), 1030, false),
            (pause(1000), 1000, false),
            // The clock went back to before the failure.
            (pause(1030), 999, false),
            // The clock was far ahead when the end was written.
            (pause(1000 + 400 * day), 999 + day, true),
            (pause(1000 + 400 * day), 1000 + day, false),
        ];
        for (pause, now, expected) in table {
            assert_eq!(pause.lasts(at(now)), expected, "{pause:?} at {now}");
        }
        let end = Pause::after(None, failed(Lane::Remote, "", Timestamp::MAX));
        assert!(!end.lasts(Timestamp::MAX));
    }

    #[test]
    fn only_the_newest_form_for_a_target_is_sent() {
        let form = |path: &str, target: &str, ended: i64, spans: usize| {
            let mut head = entry("n").head();
            head.target = Target::Sqlite(target.into());
            head.rank = Rank { ended_at: at(ended), spans };
            (PathBuf::from(path), head)
        };
        let shown = |forms: Vec<(PathBuf, Head)>| -> Vec<(String, Vec<String>)> {
            let text = |path: &PathBuf| path.display().to_string();
            jobs(forms).iter().map(|job| (text(&job.path), job.older.iter().map(text).collect())).collect()
        };
        let job = |path: &str, older: &[&str]| {
            (path.to_owned(), older.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(shown(vec![]), []);
        // Put in another order than read; more spans with the same end; the same form twice.
        let later = vec![form("1", "/a", 20, 5), form("2", "/a", 10, 9), form("3", "/b", 5, 1)];
        assert_eq!(shown(later), [job("1", &["2"]), job("3", &[])]);
        assert_eq!(shown(vec![form("1", "/a", 9, 2), form("2", "/a", 9, 1)]), [job("1", &["2"])]);
        assert_eq!(shown(vec![form("1", "/a", 9, 2), form("2", "/a", 9, 2)]), [job("2", &["1"])]);
        let of_team = |path: &str, team: &str| {
            let (path, mut head) = form(path, "", 9, 2);
            head.target = Target::Http("http://a".into()).with_workspace(Some(team.to_owned()));
            (path, head)
        };
        assert_eq!(shown(vec![of_team("1", "a"), of_team("2", "b")]), [job("1", &[]), job("2", &[])]);
    }

    #[test]
    fn a_form_is_overtaken_if_the_target_has_a_newer_one() {
        let rank = |ended, spans| Rank { ended_at: at(ended), spans };
        let table = [
            (rank(5, 5), None, false),
            (rank(5, 5), Some(rank(5, 5)), false),
            (rank(5, 4), Some(rank(5, 5)), true),
            (rank(4, 9), Some(rank(5, 5)), true),
            (rank(6, 1), Some(rank(5, 5)), false),
        ];
        for (form, delivered, expected) in table {
            assert_eq!(is_overtaken(form, delivered), expected, "{form:?} {delivered:?}");
        }
    }

    #[test]
    fn the_spool_is_full_when_one_more_would_not_fit() {
        let table =
            [(0, 10, 10, true), (1, 10, 10, false), (u64::MAX, 1, u64::MAX, true), (9, u64::MAX, 10, false)];
        for (held, size, most, expected) in table {
            assert_eq!(has_room(held, size, most), expected, "{held} {size} {most}");
        }
    }
}
