//! Quarantine (`set_aside/`): entries that a target refuses for good or that cannot be read, each with its
//! reason.
//!
//! The reason is written before the entry is moved, and removed after it. So a crash in between leaves a
//! reason without an entry, never an entry without a reason.

use super::retry::{Backoff, TRIES};
use super::{Spool, SpoolError, entries_in, sweep_besides};
use common::disk;
use std::fs;
use std::path::{Path, PathBuf};

/// Extension of a file that holds a reason.
const REASON: &str = "reason";

impl Spool {
    pub(super) fn quarantine_folder(&self) -> PathBuf {
        self.folder.join("set_aside")
    }

    /// Entries in quarantine, oldest first.
    pub fn quarantined(&self) -> Vec<PathBuf> {
        entries_in(&self.quarantine_folder())
    }

    /// Moves an entry into quarantine and returns its new path. The caller holds the lane's lock.
    pub fn quarantine(&self, path: &Path, reason: &str) -> Result<PathBuf, SpoolError> {
        let to = self.quarantine_folder().join(path.file_name().unwrap_or_default());
        disk::write_private(&to.with_extension(REASON), reason.as_bytes())?;
        self.move_durably(path, &to)?;
        disk::remove(&path.with_extension(TRIES))?;
        Ok(to)
    }

    /// The reason of an entry in quarantine.
    pub fn reason(path: &Path) -> Option<String> {
        fs::read_to_string(path.with_extension(REASON)).ok()
    }

    /// Moves an entry from quarantine back to those that wait, and returns its new path.
    pub fn bring_back(&self, path: &Path) -> Result<PathBuf, SpoolError> {
        let to = self.folder.join(path.file_name().unwrap_or_default());
        self.move_durably(path, &to)?;
        disk::remove(&path.with_extension(REASON))?;
        Ok(to)
    }

    /// Returns the quarantine to the entries that wait, and ends every pause of a target. The number of entries that
    /// came back.
    pub fn retry_quarantined(&self) -> Result<usize, SpoolError> {
        let _locks = self.lock_all()?.ok_or(SpoolError::Busy)?;
        self.all_pauses().iter_mut().try_for_each(Backoff::clear)?;
        let quarantined = self.quarantined();
        quarantined.iter().try_for_each(|path| self.bring_back(path).map(drop))?;
        Ok(quarantined.len())
    }

    /// Deletes an entry in quarantine with its reason.
    pub fn drop_quarantined(path: &Path) -> Result<(), SpoolError> {
        disk::remove(path)?;
        Ok(disk::remove(&path.with_extension(REASON))?)
    }

    /// Entry names are unique across the spool and its quarantine, so the rename replaces nothing.
    fn move_durably(&self, from: &Path, to: &Path) -> Result<(), SpoolError> {
        fs::rename(from, to)?;
        // Sync the new folder first: after a power cut two names are better than none.
        disk::sync_folder(to.parent().unwrap_or(&self.folder))?;
        Ok(disk::sync_folder(from.parent().unwrap_or(&self.folder))?)
    }

    pub(super) fn sweep_quarantine(&self) {
        disk::sweep(&self.quarantine_folder());
        // A young reason stays: another process may be about to move its entry.
        sweep_besides(&self.quarantine_folder(), REASON, disk::is_abandoned);
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::Entry;
    use super::super::tests::entry;
    use super::*;
    use jiff::Timestamp;

    #[test]
    fn a_quarantined_entry_keeps_its_reason_and_comes_back_whole() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path().join("spool"));
        let path = spool.put(&entry("n"), Timestamp::UNIX_EPOCH).unwrap();
        let aside = spool.quarantine(&path, "too large").unwrap();
        spool.sweep();
        assert_eq!((spool.paths(), spool.quarantined()), (vec![], vec![aside.clone()]));
        assert_eq!(Spool::reason(&aside).as_deref(), Some("too large"));
        assert_eq!(spool.bring_back(&aside).unwrap(), path);
        assert_eq!((Entry::load(&path).unwrap(), Spool::reason(&aside)), (entry("n"), None));
    }

    #[test]
    fn a_crash_before_the_move_leaves_the_entry_waiting_and_no_reason() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path().join("spool"));
        let path = spool.put(&entry("n"), Timestamp::UNIX_EPOCH).unwrap();
        let reason = spool.quarantine_folder().join(path.file_name().unwrap()).with_extension(REASON);
        disk::write_private(&reason, b"too large").unwrap();
        spool.sweep();
        assert_eq!((spool.paths(), spool.quarantined(), reason.exists()), (vec![path.clone()], vec![], true));
        fs::File::open(&reason).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        spool.sweep();
        assert_eq!((spool.paths(), spool.quarantined(), reason.exists()), (vec![path], vec![], false));
    }

    #[test]
    fn a_dropped_entry_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path().join("spool"));
        let path = spool.put(&entry("n"), Timestamp::UNIX_EPOCH).unwrap();
        let aside = spool.quarantine(&path, "too large").unwrap();
        Spool::drop_quarantined(&aside).unwrap();
        assert_eq!(fs::read_dir(spool.quarantine_folder()).unwrap().count(), 0);
    }
}
