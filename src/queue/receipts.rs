//! The receipts on disk, `receipts/<trace>.json`: for each target what it took of the trace, and when.

use crate::base::later_version::LaterVersion;
use crate::queue::spool::entry::{Rank, version_of};
use crate::settings::further_targets::TargetRoles;
use common::disk;
use jiff::Timestamp;
use mlflow_store::ids::TraceId;
use mlflow_store::receipt::Receipt;
use mlflow_store::target::Target;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

/// The newest version. A file of a later version is not overwritten: that version needs what it wrote.
const NEWEST: u32 = 2;

/// Longest wait for the lock. A write takes milliseconds; a stopped process must not block the others.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub struct Receipts {
    folder: PathBuf,
}

/// What a target has of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredReceipt {
    pub receipt: Receipt,
    /// The form that the target has; older forms are not sent.
    pub rank: Rank,
    /// Size of the entry that was sent; 0 without one.
    pub bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct ReceiptFile<K> {
    version: u32,
    kept: K,
}

/// Whether a receipt must survive a crash of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Durability {
    Always,
    WhereItMatters,
}

/// The names, without `.json`, of the files that were written last, the last one first.
pub(super) fn newest<T: Ord>(folder: &Path, at_most: usize, parse: impl Fn(&str) -> Option<T>) -> Vec<T> {
    let dated = disk::entries(folder).filter_map(|file| {
        let name = parse(file.file_name().to_str()?.strip_suffix(".json")?)?;
        Some((file.metadata().ok()?.modified().ok()?, name))
    });
    let mut dated: Vec<_> = dated.collect();
    dated.sort();
    dated.into_iter().rev().take(at_most).map(|(_, name)| name).collect()
}

impl Receipts {
    pub fn new(folder: PathBuf) -> Receipts {
        Receipts { folder }
    }

    pub fn file_of(&self, trace: TraceId) -> PathBuf {
        self.folder.join(format!("{trace}.json"))
    }

    /// None also if the file cannot be read: then the whole trace is sent again, which changes nothing.
    pub fn get(&self, trace: TraceId, target: &Target) -> Option<StoredReceipt> {
        self.read(trace).into_iter().find(|kept| kept.receipt.target == *target)
    }

    /// Receipts of every target that took the trace.
    pub fn all(&self, trace: TraceId) -> Vec<Receipt> {
        self.read(trace).into_iter().map(|kept| kept.receipt).collect()
    }

    /// The receipt of a target that has archived the trace.
    pub fn archived(&self, trace: TraceId) -> Option<StoredReceipt> {
        self.read(trace).into_iter().find(|kept| kept.receipt.archived)
    }

    /// The receipt of the first target: that of `roles`, else the oldest of a target that is no further one. A receipt's
    /// time is that of the last delivery.
    pub fn first(&self, trace: TraceId, roles: TargetRoles) -> Option<Receipt> {
        let mut all = self.all(trace);
        all.retain(|receipt| !roles.is_further(&receipt.target));
        let now = all.iter().position(|receipt| receipt.target == *roles.first);
        now.map(|now| all.swap_remove(now)).or_else(|| all.into_iter().min_by_key(|it| it.delivered_at))
    }

    /// The latest receipts of all traces, newest first.
    pub fn recent(&self, at_most: usize) -> Vec<(TraceId, Receipt)> {
        // Every file holds at least one receipt, so this many files are enough.
        let newest = newest(&self.folder, at_most, |name| name.parse::<TraceId>().ok()).into_iter();
        let mut all: Vec<(TraceId, Receipt)> = newest
            .flat_map(|trace| self.read(trace).into_iter().map(move |kept| (trace, kept.receipt)))
            .collect();
        all.sort_by_key(|(_, receipt)| std::cmp::Reverse(receipt.delivered_at));
        all.truncate(at_most);
        all
    }

    fn read(&self, trace: TraceId) -> Vec<StoredReceipt> {
        let Ok(bytes) = fs::read(self.file_of(trace)) else { return Vec::new() };
        serde_json::from_slice(&bytes).map(|on_disk: ReceiptFile<_>| on_disk.kept).unwrap_or_default()
    }

    /// Writes a receipt durably and replaces the earlier one of its target.
    pub fn keep(&self, trace: TraceId, kept: StoredReceipt) -> io::Result<()> {
        self.keep_by([(trace, kept)], Durability::Always)
    }

    /// Notes that the target has archived the trace.
    pub fn mark_archived(&self, trace: TraceId, target: &Target) -> io::Result<()> {
        self.change(trace, target, |kept| kept.receipt.archived = true)
    }

    /// Notes that the target has nothing of the trace any more: the next delivery sends all of it, in any
    /// form. The experiment stays recorded.
    pub fn empty(&self, trace: TraceId, target: &Target) -> io::Result<()> {
        self.change(trace, target, |StoredReceipt { receipt, rank, bytes }| {
            (receipt.spans, receipt.info, receipt.archived) = (BTreeMap::new(), None, false);
            (*rank, *bytes) = (Rank { ended_at: Timestamp::UNIX_EPOCH, spans: 0 }, 0);
        })
    }

    /// Does nothing without a receipt.
    fn change(&self, trace: TraceId, target: &Target, change: fn(&mut StoredReceipt)) -> io::Result<()> {
        let Some(mut kept) = self.get(trace, target) else { return Ok(()) };
        change(&mut kept);
        self.keep(trace, kept)
    }

    /// As `keep` for several receipts, with one sync of the folder. A crash of the machine may take files that hold the
    /// receipt of one local store alone: then that gets the traces again, which changes nothing.
    pub fn keep_all(&self, all: impl IntoIterator<Item = (TraceId, StoredReceipt)>) -> io::Result<()> {
        self.keep_by(all, Durability::WhereItMatters)
    }

    fn keep_by(
        &self,
        all: impl IntoIterator<Item = (TraceId, StoredReceipt)>,
        durability: Durability,
    ) -> io::Result<()> {
        // Another process may write the receipt of another target of this trace at the same time. Without
        // locks, as on some network file systems, a lost receipt means that the trace is sent again in whole.
        let _lock = disk::lock_within(&self.folder.join(".lock"), PATIENCE).ok().flatten();
        all.into_iter().try_for_each(|(trace, kept)| self.write(trace, kept, durability))?;
        disk::sync_folder(&self.folder)
    }

    fn write(&self, trace: TraceId, kept: StoredReceipt, durability: Durability) -> io::Result<()> {
        let path = self.file_of(trace);
        if let Some(later) = self.later_version(trace) {
            tracing::warn!("cannot keep a receipt: {later}");
            return Ok(());
        }
        let mut all = self.read(trace);
        all.retain(|other| other.receipt.target != kept.receipt.target);
        all.push(kept);
        // Versions of codex-traced that know no collector leave such a file alone.
        let version = if all.iter().any(|kept| kept.receipt.target.is_append_only()) { NEWEST } else { 1 };
        let is_one_local = matches!(&all[..], [only] if !only.receipt.target.is_remote());
        let write = match durability {
            Durability::WhereItMatters if is_one_local => disk::write_soon,
            Durability::WhereItMatters | Durability::Always => disk::write_whole,
        };
        write(&path, &serde_json::to_vec(&ReceiptFile { version, kept: all })?)
    }

    /// The version of the trace's file, where a later codex-traced wrote it.
    pub fn later_version(&self, trace: TraceId) -> Option<LaterVersion> {
        let path = self.file_of(trace);
        let version = version_of(&fs::read(&path).ok()?).ok()?;
        LaterVersion::check(&path, version, NEWEST)
    }

    /// Those of all traces.
    pub fn later_versions(&self) -> Vec<LaterVersion> {
        let traces = disk::entries(&self.folder)
            .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".json")?.parse().ok());
        traces.filter_map(|trace| self.later_version(trace)).collect()
    }

    /// Removes what a crash left half written.
    pub fn sweep(&self) {
        disk::sweep(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::further_targets::FurtherTarget;
    use crate::settings::modes::Content;
    use mlflow_store::target::Experiment;

    const TRACE: TraceId = TraceId([7; 16]);

    fn kept(target: &str, bytes: u64) -> StoredReceipt {
        let target = Target::Http(target.into());
        StoredReceipt {
            receipt: Receipt::from_spans(target, "1".into(), Timestamp::UNIX_EPOCH, &[]),
            rank: Rank { ended_at: Timestamp::UNIX_EPOCH, spans: 0 },
            bytes,
        }
    }

    #[test]
    fn each_target_has_one_receipt_of_a_trace() {
        let folder = tempfile::tempdir().unwrap();
        let receipts = Receipts::new(folder.path().join("receipts"));
        let team = |name: &str, bytes| {
            let mut kept = kept("http://a", bytes);
            kept.receipt.target = kept.receipt.target.with_workspace(Some(name.to_owned()));
            kept
        };
        let all = [kept("http://a", 1), kept("http://b", 2), kept("http://a", 3), team("a", 4), team("b", 5)];
        for kept in all {
            receipts.keep(TRACE, kept).unwrap();
        }
        for kept in [team("a", 4), team("b", 5)] {
            assert_eq!(receipts.get(TRACE, &kept.receipt.target), Some(kept));
        }
        let of = |target: &str| receipts.get(TRACE, &Target::Http(target.into()));
        assert_eq!(of("http://a"), Some(kept("http://a", 3)));
        assert_eq!(of("http://b"), Some(kept("http://b", 2)));
        assert_eq!(
            (of("http://c"), receipts.get(TraceId([8; 16]), &kept("http://a", 1).receipt.target)),
            (None, None)
        );
    }

    #[test]
    fn an_emptied_receipt_blocks_no_form_and_keeps_its_experiment() {
        let folder = tempfile::tempdir().unwrap();
        let receipts = Receipts::new(folder.path().into());
        let mut whole = kept("http://a", 9);
        let target = whole.receipt.target.clone();
        whole.receipt.spans = [(mlflow_store::ids::SpanId([1; 8]), "digest".to_owned())].into();
        whole.receipt.archived = true;
        whole.rank = Rank { ended_at: Timestamp::from_second(9).unwrap(), spans: 9 };
        receipts.empty(TRACE, &target).unwrap();
        assert_eq!(receipts.get(TRACE, &target), None, "there was none");
        receipts.keep(TRACE, whole.clone()).unwrap();
        receipts.empty(TRACE, &target).unwrap();
        let left = receipts.get(TRACE, &target).unwrap();
        assert_eq!(
            (left.receipt.spans.len(), &left.receipt.experiment_id),
            (0, &whole.receipt.experiment_id)
        );
        assert!(!left.receipt.archived, "what is gone is in no archive");
        let older = Rank { ended_at: Timestamp::from_second(1).unwrap(), spans: 1 };
        assert!(older < whole.rank && left.rank < older);
    }

    #[test]
    fn a_further_targets_receipt_is_never_the_first_ones() {
        let folder = tempfile::tempdir().unwrap();
        let receipts = Receipts::new(folder.path().into());
        for (url, second) in [("http://further", 1), ("http://before", 2), ("http://now", 3)] {
            let mut kept = kept(url, 1);
            kept.receipt.delivered_at = Timestamp::from_second(second).unwrap();
            receipts.keep(TRACE, kept).unwrap();
        }
        let of = |url: &str| Target::Http(url.into());
        let further = [FurtherTarget {
            target: of("http://further"),
            experiment: Experiment::Name("e".into()),
            content: Content::Full,
            live: None,
        }];
        let first = |now: &str| {
            let roles = TargetRoles { first: &of(now), further: &further };
            receipts.first(TRACE, roles).unwrap().target
        };
        assert_eq!(first("http://now"), of("http://now"));
        assert_eq!(first("http://elsewhere"), of("http://before"));
        assert_eq!(first("http://further"), of("http://further"), "it became the first one");
    }

    #[test]
    fn recent_receipts_come_newest_first() {
        let folder = tempfile::tempdir().unwrap();
        let receipts = Receipts::new(folder.path().into());
        assert_eq!(receipts.recent(5), []);
        for second in 1..=4 {
            let mut kept = kept("http://a", 1);
            kept.receipt.delivered_at = Timestamp::from_second(second).unwrap();
            receipts.keep(TraceId([second as u8; 16]), kept).unwrap();
        }
        let recent: Vec<_> = receipts.recent(2).iter().map(|(trace, _)| trace.0[0]).collect();
        assert_eq!(recent, [4, 3]);
    }

    #[test]
    fn a_torn_receipt_is_replaced_and_one_of_a_later_version_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let receipts = Receipts::new(folder.path().into());
        let path = receipts.file_of(TRACE);
        fs::write(&path, "{\"version\":1,\"ke").unwrap();
        assert_eq!(receipts.get(TRACE, &kept("http://a", 1).receipt.target), None);
        receipts.keep(TRACE, kept("http://a", 1)).unwrap();
        assert_eq!(receipts.read(TRACE), [kept("http://a", 1)]);
        let later = "{\"version\":3,\"kept\":{}}";
        fs::write(&path, later).unwrap();
        receipts.keep(TRACE, kept("http://a", 1)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), later);
    }
}
