//! How much of an import is in memory: readers wait before their traces would be too much.

use codex_session::rollout::files::SessionFile;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// In bytes of session files; their traces take about as much. A session that is larger is read alone.
pub(super) const MOST: u64 = 64 << 20;

/// How much larger a compressed file's content is.
const COMPRESSION: u64 = 8;

#[derive(Debug, Default)]
pub(super) struct Room {
    state: Mutex<RoomState>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct RoomState {
    taken: u64,
    is_closed: bool,
}

/// Closes the room when it is dropped, also by a panic: no reader waits for a delivery that does not come.
pub(super) struct Closing<'a>(pub(super) &'a Room);

impl Room {
    /// Waits until there is room.
    pub(super) fn take(&self, bytes: u64) {
        let is_full = |room: &mut RoomState| !room.is_closed && room.taken > 0 && room.taken + bytes > MOST;
        self.freed.wait_while(self.state(), is_full).unwrap_or_else(PoisonError::into_inner).taken += bytes;
    }

    pub(super) fn give_back(&self, bytes: u64) {
        self.state().taken -= bytes;
        self.freed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, RoomState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.state().is_closed = true;
        self.0.freed.notify_all();
    }
}

/// The size of a thread's own files, as if none was compressed.
pub(super) fn size_of(files: &[SessionFile]) -> u64 {
    let size = |file: &SessionFile| {
        let is_compressed = file.path.extension().is_some_and(|extension| extension == "zst");
        file.state.bytes * if is_compressed { COMPRESSION } else { 1 }
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

    #[test]
    fn a_closed_room_holds_up_no_reader() {
        let room = Room::default();
        room.take(MOST);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| room.take(1));
            drop(Closing(&room));
            waiting.join().unwrap();
        });
        room.take(1);
    }
}
