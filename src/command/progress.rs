//! The progress of work over many sessions: a bar on a terminal, ten lines in a log.

use crate::base::notice;
use crate::base::world::World;
use indicatif::{ProgressBar, ProgressStyle};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// Work on at most this many sessions shows no progress.
pub(super) const FEW: usize = 20;

/// Lines of progress in a log.
const LINES: usize = 10;

/// The bar moves at this interval also while one session takes long.
const TICK: Duration = Duration::from_millis(100);

/// A bar on a terminal, or ten lines for a log.
pub(super) enum Progress {
    Silent,
    Bar(ProgressBar),
    Lines { done: Cell<usize>, of: usize, quiet_until: Instant },
}

impl Progress {
    /// `quiet`: for how long a log gets no line.
    pub(super) fn choose(world: &World, sessions: usize, quiet: Duration) -> Progress {
        if sessions <= FEW {
            return Progress::Silent;
        }
        if !world.stderr_is_terminal {
            return Progress::Lines { done: Cell::new(0), of: sessions, quiet_until: Instant::now() + quiet };
        }
        let bar = ProgressBar::new(sessions as u64);
        let style =
            ProgressStyle::with_template("{bar:30} {pos} of {len} sessions, {elapsed} so far, {eta} to go");
        bar.set_style(style.expect("the template is one of ours"));
        bar.enable_steady_tick(TICK);
        Progress::Bar(bar)
    }

    pub(super) fn one_more(&self) {
        match self {
            Progress::Silent => {}
            Progress::Bar(bar) => bar.inc(1),
            Progress::Lines { done, of, quiet_until } => {
                let before = done.replace(done.get() + 1);
                if is_logged(before, *of) && Instant::now() >= *quiet_until {
                    notice::print(&format!("{} of {of} sessions", done.get()));
                }
            }
        }
    }
}

/// Clears the bar before the result is printed.
impl Drop for Progress {
    fn drop(&mut self) {
        if let Progress::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// Whether the session after `before` completes a tenth of all.
fn is_logged(before: usize, of: usize) -> bool {
    before * LINES / of < (before + 1) * LINES / of
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_gets_ten_lines_the_last_of_them_at_the_end() {
        for of in [21, 100, 1_000, 1_003] {
            let logged: Vec<usize> = (0..of).filter(|before| is_logged(*before, of)).collect();
            assert_eq!((logged.len(), logged.last()), (LINES, Some(&(of - 1))), "{of}");
        }
    }
}
