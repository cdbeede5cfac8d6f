//! Deliveries: the newest form of each trace for each target, alone or in batches.

use crate::queue::spool::SpoolError;
use crate::queue::spool::entry::Head;
use crate::queue::spool::retry::EntryTries;
use mlflow_store::ids::TraceId;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// Half of what an import puts before it delivers; a batch that fails is repeated trace by trace.
const MOST: usize = 32;

/// In bytes of entries: a whole batch is in memory at once.
const MOST_BYTES: u64 = 16 << 20;

/// One delivery: the newest form of a trace for one target, and the older forms that it replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DeliveryJob {
    pub(super) path: PathBuf,
    pub(super) head: Head,
    /// Oldest first.
    pub(super) older: Vec<PathBuf>,
}

impl DeliveryJob {
    /// Of all its entries, older forms first.
    pub(super) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.older.iter().chain([&self.path])
    }

    /// Size of the entry that is sent.
    pub(super) fn bytes(&self) -> u64 {
        fs::metadata(&self.path).map(|file| file.len()).unwrap_or_default()
    }

    /// The tries of the newest form that was tried.
    pub(super) fn tries(&self) -> Option<EntryTries> {
        std::iter::once(&self.path).chain(self.older.iter().rev()).find_map(|path| EntryTries::load(path))
    }
}

/// Why an entry was not delivered, and what the drain does with it.
#[derive(Clone)]
pub(super) enum NotDelivered {
    Waits(String),
    SetAside(String),
    /// The target has archived the earlier form: the session continues in another trace.
    Archived(String),
    /// Another process took or dropped it.
    Gone,
}

impl From<SpoolError> for NotDelivered {
    /// Entries appear complete, so a torn one is damaged rather than still being written.
    fn from(error: SpoolError) -> NotDelivered {
        match error {
            error if error.is_gone() => NotDelivered::Gone,
            SpoolError::Torn(_) => NotDelivered::SetAside(error.to_string()),
            error => NotDelivered::Waits(error.to_string()),
        }
    }
}

/// Groups entries by trace and target, in the order in which the newest forms were put. Of equal forms the
/// one put last is sent.
pub(super) fn jobs(entries: impl IntoIterator<Item = (PathBuf, Head)>) -> Vec<DeliveryJob> {
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

/// Groups adjacent jobs for the same local target and experiment. A server gets one trace at a time.
pub(super) fn batches(jobs: &[DeliveryJob]) -> Vec<&[DeliveryJob]> {
    let place = |job: &DeliveryJob| (job.head.target.clone(), job.head.experiment.clone());
    let mut batches = Vec::new();
    let (mut begins, mut bytes) = (0, 0);
    for (at, job) in jobs.iter().enumerate() {
        let goes_along = at > begins
            && at - begins < MOST
            && !job.head.target.is_remote()
            && bytes + job.bytes() <= MOST_BYTES
            && place(job) == place(&jobs[begins]);
        if at > begins && !goes_along {
            batches.push(&jobs[begins..at]);
            (begins, bytes) = (at, 0);
        }
        bytes += job.bytes();
    }
    if begins < jobs.len() {
        batches.push(&jobs[begins..]);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::spool::entry::Rank;
    use jiff::Timestamp;
    use mlflow_store::target::{Experiment, Target};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn only_the_newest_form_for_a_target_is_sent() {
        let form = |path: &str, target: &str, ended: i64, spans: usize| {
            let target = Target::Sqlite(target.into());
            let rank = Rank { ended_at: at(ended), spans };
            let (experiment, trace) = (Experiment::Name("e".into()), TraceId([7; 16]));
            (PathBuf::from(path), Head { target, experiment, trace, rank })
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
    fn a_form_is_newer_if_it_ends_later_or_has_more_spans() {
        let rank = |ended, spans| Rank { ended_at: at(ended), spans };
        let ascending = [rank(4, 9), rank(5, 4), rank(5, 5), rank(6, 1)];
        assert!(ascending.is_sorted_by(|a, b| a < b));
    }
}
