//! Which process delivers after Codex's end, and how long the launcher waits for it.

use crate::env::{Terminals, Variables};
use std::time::Duration;

pub const WAIT: &str = "CODEX_TRACED_WAIT";

/// Names the file for a launch's summary.
pub const SUMMARY: &str = "CODEX_TRACED_SUMMARY";

/// The shell's prompt must return within 50 ms of Codex's end. The launcher's own exit and the shell need the rest.
const PROMPT: Duration = Duration::from_millis(35);

/// An upper bound, so that `Instant` arithmetic cannot overflow.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Longer than a slow server needs, shorter than the timeouts of CI jobs.
const USUAL: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// A finisher process does the work. The launcher waits at most this long for its result.
    Detached(Duration),
    /// The launcher itself does the work, for at most this long. In a container or a CI job, a process left behind
    /// is killed, and undelivered traces may be lost with the machine.
    InPlace(Duration),
}

/// Whether other processes outlive this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// Process 1 of a container, or the command that it runs. The container ends with it and kills all others.
    First,
    Other,
}

impl Rank {
    /// `first` is the name of process 1; None where it is unreadable.
    pub fn of(process: u32, parent: u32, first: Option<&str>) -> Rank {
        // The init process of a machine outlives the processes that it starts.
        let is_machines = first.is_none_or(|name| ["systemd", "init", "launchd"].contains(&name));
        if process == 1 || (parent == 1 && !is_machines) { Rank::First } else { Rank::Other }
    }

    /// `parent` is the parent process at the launcher's start.
    pub fn ours(parent: u32) -> Rank {
        let first = std::fs::read_to_string("/proc/1/comm").ok();
        Rank::of(std::process::id(), parent, first.as_deref().map(str::trim_end))
    }
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{WAIT} is \"{0}\", which is no number of seconds, so it counts as not set")]
pub struct BadWait(pub String);

impl Wait {
    /// `requested` is the value of `CODEX_TRACED_WAIT`.
    pub fn choose(
        requested: Option<Duration>,
        terminals: &Terminals,
        variables: &Variables,
        rank: Rank,
    ) -> Wait {
        let is_ci = variables.text("CI").is_some_and(|value| !["false", "0"].contains(&value));
        match requested {
            Some(Duration::ZERO) => Wait::Detached(Duration::ZERO),
            Some(time) => Wait::InPlace(time),
            // The program that asked for a summary reads it after the launch.
            None if variables.os(SUMMARY).is_some() => Wait::InPlace(USUAL),
            None if rank == Rank::First || is_ci || !terminals.are_any() => Wait::InPlace(USUAL),
            None => Wait::Detached(PROMPT),
        }
    }

    /// The value of `CODEX_TRACED_WAIT`, in seconds; None when it is not set.
    pub fn requested(variables: &Variables) -> Result<Option<Duration>, BadWait> {
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
    fn a_launch_at_a_terminal_detaches_and_a_job_waits() {
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
            let requested = Wait::requested(&variables).unwrap();
            let choice = Wait::choose(requested, &Terminals(streams), &variables, rank);
            assert_eq!(choice, chosen, "{streams:?} {WAIT}={wait} CI={ci} {rank:?}");
        }
    }

    #[test]
    fn the_main_command_of_a_container_is_recognized() {
        let table = [
            (1, 0, Some("codex-traced"), Rank::First),
            (7, 1, Some("tini"), Rank::First),
            (7, 1, Some("sh"), Rank::First),
            (7, 3, Some("tini"), Rank::Other),
            // Orphans on a machine with an init process.
            (700, 1, Some("systemd"), Rank::Other),
            (700, 1, None, Rank::Other),
        ];
        for (process, parent, first, rank) in table {
            assert_eq!(Rank::of(process, parent, first), rank, "{process} {parent} {first:?}");
        }
    }

    #[test]
    fn a_launch_at_a_terminal_waits_for_its_summary() {
        let terminals = Terminals([Some(Device(1)); 3]);
        let choose = |requested| {
            Wait::choose(requested, &terminals, &Variables::from([(SUMMARY, "file")]), Rank::Other)
        };
        assert_eq!(choose(None), Wait::InPlace(USUAL));
        assert_eq!(choose(Some(Duration::ZERO)), Wait::Detached(Duration::ZERO));
    }

    #[test]
    fn only_a_finite_number_of_seconds_is_accepted() {
        for text in ["soon", "-1", "1 h", "inf", "nan", "1e300"] {
            assert_eq!(Wait::requested(&Variables::from([(WAIT, text)])), Err(BadWait(text.into())));
        }
        assert_eq!(Wait::requested(&Variables::from([(WAIT, "")])), Ok(None));
        assert_eq!(Wait::requested(&Variables::from([(WAIT, "1e19")])), Ok(Some(LONGEST)));
    }
}
