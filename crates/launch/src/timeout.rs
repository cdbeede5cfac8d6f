//! The time limit of a `poll` call.

use nix::poll::PollTimeout;
use std::time::Duration;

/// Rounds up: rounded down, the last millisecond would be spent in a busy loop.
pub(super) fn timeout(patience: Option<Duration>) -> PollTimeout {
    patience.map_or(PollTimeout::NONE, |time| {
        let time = Duration::from_millis(time.as_nanos().div_ceil(1_000_000).try_into().unwrap_or(u64::MAX));
        PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX)
    })
}
