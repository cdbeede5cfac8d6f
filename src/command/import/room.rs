//! How much of an import is in memory: readers wait before their traces would be too much.

use codex_session::rollout::files::SessionFile;
use std::sync::{Condvar, Mutex, PoisonError};

/// In bytes of session files; their traces take about as much. A session that is larger is alone.
pub(super) const MOST: u64 = 32 << 20;

/// How much larger a compressed file's content is.
const COMPRESSION: u64 = 8;

#[derive(Debug, Default)]
pub(super) struct Room {
    taken: Mutex<u64>,
    freed: Condvar,
}

impl Room {
    /// Waits until there is room.
    pub(super) fn take(&self, bytes: u64) {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |taken: &mut u64| *taken > 0 && *taken + bytes > MOST;
        *self.freed.wait_while(taken, is_full).unwrap_or_else(PoisonError::into_inner) += bytes;
    }

    pub(super) fn give_back(&self, bytes: u64) {
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) -= bytes;
        self.freed.notify_all();
    }
}

/// The size of a thread's files, as if none was compressed.
pub(super) fn size_of(files: &[SessionFile]) -> u64 {
    let size = |file: &SessionFile| {
        let is_compressed = file.path.extension().is_some_and(|extension| extension == "zst");
        file.bytes * if is_compressed { COMPRESSION } else { 1 }
    };
    files.iter().map(size).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    #[test]
    fn a_large_session_waits_until_it_is_alone() {
        let room = Room::default();
        room.take(1);
        room.take(MOST - 1);
        let (sender, entered) = channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                room.take(2 * MOST);
                sender.send(()).unwrap();
            });
            room.give_back(MOST - 1);
            assert!(entered.recv_timeout(Duration::from_millis(50)).is_err(), "one byte is still there");
            room.give_back(1);
            entered.recv_timeout(Duration::from_secs(60)).unwrap();
        });
        room.give_back(2 * MOST);
        room.take(1);
    }
}
