//! How far a long import is: a bar for a person, a line now and then for a log.

use crate::env::World;
use crate::notice;
use indicatif::{ProgressBar, ProgressStyle};
use std::cell::Cell;
use std::time::Duration;

/// Fewer are done before anybody could read how far they are.
const FEW: usize = 20;

/// A log gets so many lines of any import.
const LINES: usize = 10;

/// How often the bar moves by itself, so that a long delivery does not look like the end.
const TICK: Duration = Duration::from_millis(100);

pub(super) enum Progress {
    Silent,
    Bar(ProgressBar),
    Lines { done: Cell<usize>, of: usize },
}

impl Progress {
    pub(super) fn choose(world: &World, sessions: usize) -> Progress {
        if sessions <= FEW {
            return Progress::Silent;
        }
        if !world.stderr_is_terminal {
            return Progress::Lines { done: Cell::new(0), of: sessions };
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
            Progress::Lines { done, of } => {
                let before = done.replace(done.get() + 1);
                if is_told(before, *of) {
                    notice::print(&format!("{} of {of} sessions", done.get()));
                }
            }
        }
    }

    /// What comes next is the summary.
    pub(super) fn end(&self) {
        if let Progress::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// Whether the one after `before` is a tenth of them all.
fn is_told(before: usize, of: usize) -> bool {
    before * LINES / of < (before + 1) * LINES / of
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_gets_ten_lines_the_last_of_them_at_the_end() {
        for of in [21, 100, 1_000, 1_003] {
            let told: Vec<usize> = (0..of).filter(|before| is_told(*before, of)).collect();
            assert_eq!((told.len(), told.last()), (LINES, Some(&(of - 1))), "{of}");
        }
    }
}
