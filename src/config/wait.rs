//! Who waits for a trace's delivery when Codex has ended, and how long.

use crate::env::{Terminals, Variables};
use std::time::Duration;

pub const WAIT: &str = "CODEX_TRACED_WAIT";

/// Names the file that a launch's summary is to be written to.
pub const SUMMARY: &str = "CODEX_TRACED_SUMMARY";

/// The prompt is to be back 50 ms after Codex's end. The rest of them is for our own end and the shell.
const PROMPT: Duration = Duration::from_millis(35);

/// Nobody means more, and clocks count only so far.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Longer than a slow server takes, shorter than a job's patience.
const USUAL: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// A process of its own does the work, and we wait for its word no longer than this.
    Detached(Duration),
    /// We do the work ourselves for so long: a process that we left behind would be killed, and what is not
    /// delivered may be lost with the machine.
    InPlace(Duration),
}

/// Where we stand among the processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// The first, or what the first was started for: a container ends with it, and takes all others along.
    First,
    Other,
}

impl Rank {
    /// `first` is the name of process 1, as far as it can be read.
    pub fn of(process: u32, parent: u32, first: Option<&str>) -> Rank {
        // A machine's own first process outlives whatever it has started.
        let is_machines = first.is_none_or(|name| ["systemd", "init", "launchd"].contains(&name));
        if process == 1 || (parent == 1 && !is_machines) { Rank::First } else { Rank::Other }
    }

    /// `parent` is that of our start.
    pub fn ours(parent: u32) -> Rank {
        let first = std::fs::read_to_string("/proc/1/comm").ok();
        Rank::of(std::process::id(), parent, first.as_deref().map(str::trim_end))
    }
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{WAIT} is \"{0}\", which is no number of seconds, so it counts as not set")]
pub struct BadWait(pub String);

impl Wait {
    /// `told` is what `CODEX_TRACED_WAIT` says.
    pub fn choose(told: Option<Duration>, terminals: &Terminals, variables: &Variables, rank: Rank) -> Wait {
        let is_ci = variables.text("CI").is_some_and(|value| !["false", "0"].contains(&value));
        match told {
            Some(Duration::ZERO) => Wait::Detached(Duration::ZERO),
            Some(time) => Wait::InPlace(time),
            // Whoever asked for a summary reads it next.
            None if variables.os(SUMMARY).is_some() => Wait::InPlace(USUAL),
            None if rank == Rank::First || is_ci || !terminals.are_any() => Wait::InPlace(USUAL),
            None => Wait::Detached(PROMPT),
        }
    }

    /// Seconds; None when nothing is said.
    pub fn told(variables: &Variables) -> Result<Option<Duration>, BadWait> {
        let Some(text) = variables.text(WAIT) else { return Ok(None) };
        let seconds = text.trim().parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        seconds.map(|time| Some(time.min(LONGEST))).ok_or_else(|| BadWait(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Device;

    #[test]
    fn a_person_is_never_waited_for_and_a_job_waits() {
        let (prompt, usual) = (Wait::Detached(PROMPT), Wait::InPlace(USUAL));
        let (none, tty) = ([None; 3], Some(Device(1)));
        let table = [
            ([tty, tty, tty], "", "", Rank::Other, prompt),
            ([tty, None, None], "", "", Rank::Other, prompt),
            ([None, tty, None], "", "", Rank::Other, prompt),
            ([None, None, tty], "", "", Rank::Other, prompt),
            (none, "", "", Rank::Other, usual),
            ([tty, tty, tty], "", "true", Rank::Other, usual),
            ([tty, tty, tty], "", "woodpecker", Rank::Other, usual),
            ([tty, tty, tty], "", "false", Rank::Other, prompt),
            ([tty, tty, tty], "", "", Rank::First, usual),
            ([tty, tty, tty], "5", "", Rank::Other, Wait::InPlace(Duration::from_secs(5))),
            (none, "0.5", "true", Rank::Other, Wait::InPlace(Duration::from_millis(500))),
            (none, "0", "true", Rank::First, Wait::Detached(Duration::ZERO)),
        ];
        for (streams, wait, ci, rank, chosen) in table {
            let variables = Variables::from([(WAIT, wait), ("CI", ci)]);
            let told = Wait::told(&variables).unwrap();
            let choice = Wait::choose(told, &Terminals(streams), &variables, rank);
            assert_eq!(choice, chosen, "{streams:?} {WAIT}={wait} CI={ci} {rank:?}");
        }
    }

    #[test]
    fn whoever_a_container_was_started_for_ends_with_it() {
        let table = [
            (1, 0, Some("codex-traced"), Rank::First),
            (7, 1, Some("tini"), Rank::First),
            (7, 1, Some("sh"), Rank::First),
            (7, 3, Some("tini"), Rank::Other),
            // Orphans on an ordinary machine.
            (700, 1, Some("systemd"), Rank::Other),
            (700, 1, None, Rank::Other),
        ];
        for (process, parent, first, rank) in table {
            assert_eq!(Rank::of(process, parent, first), rank, "{process} {parent} {first:?}");
        }
    }

    #[test]
    fn a_summary_is_waited_for_at_a_terminal_too() {
        let terminals = Terminals([Some(Device(1)); 3]);
        let choose =
            |told| Wait::choose(told, &terminals, &Variables::from([(SUMMARY, "file")]), Rank::Other);
        assert_eq!(choose(None), Wait::InPlace(USUAL));
        assert_eq!(choose(Some(Duration::ZERO)), Wait::Detached(Duration::ZERO));
    }

    #[test]
    fn only_a_number_of_seconds_is_one() {
        for text in ["soon", "-1", "1 h", "inf", "nan", "1e300"] {
            assert_eq!(Wait::told(&Variables::from([(WAIT, text)])), Err(BadWait(text.into())));
        }
        assert_eq!(Wait::told(&Variables::from([(WAIT, "")])), Ok(None));
        assert_eq!(Wait::told(&Variables::from([(WAIT, "1e19")])), Ok(Some(LONGEST)));
    }
}
