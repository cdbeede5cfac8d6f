//! Who holds Codex's writer locks, by the kernel's list.

use crate::claim::ancestry::{Child, is_ours};
use crate::claim::processes::{LocalProcesses, Processes};
use codex_session::thread::ThreadId;
use common::disk::kernel_list;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

pub(super) const LOCKS: &str = "/proc/locks";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// The Codex that the launcher started.
    Ours,
    /// Another Codex.
    Another,
    None,
}

/// The holders at one moment. It looks at a process once, however many locks that holds: a server holds hundreds.
#[derive(Debug, Default)]
pub(super) struct Holders {
    by_inode: BTreeMap<u64, Vec<u32>>,
    /// Those that hold the lock of the whole folder.
    tidying: Vec<u32>,
    ours: BTreeMap<u32, bool>,
    /// The threads whose locks a process has open; None where the system does not show it.
    open: BTreeMap<u32, Option<BTreeSet<ThreadId>>>,
}

impl Holders {
    /// `coordination` is the inode of the lock of the whole folder. An error where the kernel shows no locks.
    pub(super) fn read(coordination: Option<u64>) -> io::Result<Holders> {
        Ok(Holders::from_list(&kernel_list::read(Path::new(LOCKS))?, coordination))
    }

    fn from_list(list: &str, coordination: Option<u64>) -> Holders {
        let by_inode = by_inode(list);
        let tidying = coordination.and_then(|inode| by_inode.get(&inode)).cloned().unwrap_or_default();
        Holders { by_inode, tidying, ours: BTreeMap::new(), open: BTreeMap::new() }
    }

    /// The processes that keep a lock. A Codex that starts takes each lock for a moment, to remove those without a
    /// holder; and only while it holds the lock of the whole folder (0.169).
    pub(super) fn of(&self, lock: u64) -> impl Iterator<Item = u32> + use<> {
        let tidying = self.tidying.clone();
        let holders = self.by_inode.get(&lock).cloned().unwrap_or_default();
        holders.into_iter().filter(move |holder| !tidying.contains(holder))
    }

    /// Who holds the thread, whose lock has this inode.
    pub(super) fn holder(&mut self, lock: u64, thread: &ThreadId, child: Child) -> Holder {
        let mut found = Holder::None;
        for holder in self.of(lock) {
            if !self.has_open(holder, thread) {
                continue;
            }
            let look = || is_ours(holder, child, |id| LocalProcesses.known(id));
            if *self.ours.entry(holder).or_insert_with(look) {
                return Holder::Ours;
            }
            found = Holder::Another;
        }
        found
    }

    /// A file of another file system may have the same inode. Where the open files cannot be seen, the match counts.
    pub(super) fn has_open(&mut self, holder: u32, thread: &ThreadId) -> bool {
        let of_lock = |file: &Path| ThreadId::from_lock_name(file.file_name()?);
        let look = || Some(LocalProcesses.written(holder, of_lock).ok()?.into_iter().collect());
        self.open.entry(holder).or_insert_with(look).as_ref().is_none_or(|threads| threads.contains(thread))
    }
}

/// Processes by inode, of all exclusive flocks. The device is ignored: an overlay's differs between `stat` and
/// `/proc/locks`. So a file of another file system may have the same number, and one number several holders.
fn by_inode(list: &str) -> BTreeMap<u64, Vec<u32>> {
    let line = |line: &str| -> Option<(u64, u32)> {
        // 1: FLOCK  ADVISORY  WRITE 4711 08:01:123456 0 EOF
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", holder, place, ..] = fields[..] else { return None };
        Some((place.rsplit(':').next()?.parse().ok()?, holder.parse().ok()?))
    };
    let mut holders: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for (inode, holder) in list.lines().filter_map(line) {
        holders.entry(inode).or_default().push(holder);
    }
    holders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exclusive_flocks_have_a_holder() {
        let locks = "1: FLOCK  ADVISORY  WRITE 4711 08:01:123456 0 EOF\n\
                     2: POSIX  ADVISORY  WRITE 4712 08:01:123457 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 4713 08:01:123456 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 4715 08:02:123456 0 EOF\n\
                     4: FLOCK  ADVISORY  READ  4714 08:01:123458 0 EOF\n\nnonsense";
        assert_eq!(by_inode(locks), BTreeMap::from([(123_456, vec![4711, 4715])]));
    }

    #[test]
    fn a_codex_that_removes_old_locks_holds_no_thread() {
        let list: String = [(1, 7), (2, 7), (2, 8), (3, 7)]
            .map(|(inode, holder)| format!("1: FLOCK ADVISORY WRITE {holder} 08:01:{inode} 0 EOF\n"))
            .concat();
        let of = |lock, coordination| Holders::from_list(&list, coordination).of(lock).collect::<Vec<_>>();
        assert_eq!(of(2, None), [7, 8]);
        assert_eq!(of(2, Some(9)), [7, 8], "the folder's lock has no holder");
        assert_eq!(of(2, Some(1)), [8]);
        assert_eq!(of(3, Some(1)), [0; 0]);
        assert_eq!(of(4, None), [0; 0]);
    }
}
