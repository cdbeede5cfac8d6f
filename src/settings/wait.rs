//! Which process delivers after Codex's end, and how long the launcher waits for it.

use crate::base::world::Terminals;
use common::variables::Variables;
use std::time::Duration;

pub const WAIT: &str = "CODEX_TRACED_WAIT";

/// Names the file for a launch's summary.
pub const SUMMARY: &str = "CODEX_TRACED_SUMMARY";

/// An upper bound, so that `Instant` arithmetic cannot overflow.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Longer than a slow server needs, shorter than the timeouts of CI jobs.
const USUAL: Duration = Duration::from_secs(30);

/// A client that closes its Codex kills the launcher two seconds after SIGTERM (`openai-codex` 0.163). Codex ends
/// within 0.2 s of SIGTERM (0.171), and an interrupted delivery within 0.25 s.
const CLIENT: Duration = Duration::from_secs(1);

/// Who waits for the launcher's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// A user at a terminal, or a job.
    User,
    /// The program that started a server, and ends it.
    Client,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The tracer or a finisher does the work, and the user has the prompt back at once. The next launch says what the
    /// user has to know of it.
    Detached,
    /// The launcher stays for at most this long: it waits for its tracer, or does the work itself. In a container or a
    /// CI job, a process left behind is killed, and undelivered traces may be lost with the machine.
    InPlace(Duration),
}

/// Whether other processes outlive this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessRole {
    /// Process 1 of a container, or the command that it runs. The container ends with it and kills all others.
    ContainerMain,
    Other,
}

impl ProcessRole {
    /// `first` is the name of process 1; None where it is unreadable.
    pub fn from_ids(process: u32, parent: u32, first: Option<&str>) -> ProcessRole {
        // The init process of a machine outlives the processes that it starts.
        let is_machines = first.is_none_or(|name| ["systemd", "init", "launchd"].contains(&name));
        if process == 1 || (parent == 1 && !is_machines) {
            ProcessRole::ContainerMain
        } else {
            ProcessRole::Other
        }
    }

    /// `parent` is the parent process at the launcher's start.
    pub fn current(parent: u32) -> ProcessRole {
        let first = std::fs::read_to_string("/proc/1/comm").ok();
        ProcessRole::from_ids(std::process::id(), parent, first.as_deref().map(str::trim_end))
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
        role: ProcessRole,
        waiting: Waiting,
    ) -> Wait {
        let is_ci = variables.text("CI").is_some_and(|value| !["false", "0"].contains(&value));
        match requested {
            Some(Duration::ZERO) => Wait::Detached,
            Some(time) => Wait::InPlace(time),
            // The program that asked for a summary reads it after the launch.
            None if variables.os(SUMMARY).is_some() => Wait::InPlace(USUAL),
            None => {
                let ends_all = role == ProcessRole::ContainerMain || is_ci;
                match waiting {
                    Waiting::Client if ends_all => Wait::InPlace(CLIENT),
                    Waiting::User if ends_all => Wait::InPlace(USUAL),
                    _ if terminals.are_any() => Wait::Detached,
                    Waiting::User => Wait::InPlace(USUAL),
                    // The client's program goes on, and the machine with it.
                    Waiting::Client => Wait::Detached,
                }
            }
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
    use crate::base::world::Device;

    #[test]
    fn a_launch_at_a_terminal_detaches_and_a_job_waits() {
        let (prompt, usual) = (Wait::Detached, Wait::InPlace(USUAL));
        let (none, tty) = ([None; 3], Some(Device(1)));
        let table = [
            ([tty, tty, tty], "", "", ProcessRole::Other, prompt),
            ([tty, None, None], "", "", ProcessRole::Other, prompt),
            ([None, tty, None], "", "", ProcessRole::Other, prompt),
            ([None, None, tty], "", "", ProcessRole::Other, prompt),
            (none, "", "", ProcessRole::Other, usual),
            ([tty, tty, tty], "", "true", ProcessRole::Other, usual),
            ([tty, tty, tty], "", "woodpecker", ProcessRole::Other, usual),
            ([tty, tty, tty], "", "false", ProcessRole::Other, prompt),
            ([tty, tty, tty], "", "", ProcessRole::ContainerMain, usual),
            ([tty, tty, tty], "5", "", ProcessRole::Other, Wait::InPlace(Duration::from_secs(5))),
            (none, "0.5", "true", ProcessRole::Other, Wait::InPlace(Duration::from_millis(500))),
            (none, "0", "true", ProcessRole::ContainerMain, Wait::Detached),
        ];
        for (streams, wait, ci, role, chosen) in table {
            let variables = Variables::from([(WAIT, wait), ("CI", ci)]);
            let requested = Wait::requested(&variables).unwrap();
            let choice = Wait::choose(requested, &Terminals(streams), &variables, role, Waiting::User);
            assert_eq!(choice, chosen, "{streams:?} {WAIT}={wait} CI={ci} {role:?}");
        }
    }

    #[test]
    fn the_client_of_a_server_does_not_wait_where_a_process_may_be_left_behind() {
        let (now, soon) = (Wait::Detached, Wait::InPlace(CLIENT));
        let (none, tty) = ([None; 3], Some(Device(1)));
        let table = [
            (none, "", "", "", ProcessRole::Other, now),
            ([None, None, tty], "", "", "", ProcessRole::Other, Wait::Detached),
            (none, "", "true", "", ProcessRole::Other, soon),
            (none, "", "", "", ProcessRole::ContainerMain, soon),
            (none, "5", "true", "", ProcessRole::Other, Wait::InPlace(Duration::from_secs(5))),
            (none, "0", "true", "", ProcessRole::ContainerMain, now),
            (none, "", "", "file", ProcessRole::Other, Wait::InPlace(USUAL)),
        ];
        for (streams, wait, ci, summary, role, chosen) in table {
            let variables = Variables::from([(WAIT, wait), ("CI", ci), (SUMMARY, summary)]);
            let requested = Wait::requested(&variables).unwrap();
            let choice = Wait::choose(requested, &Terminals(streams), &variables, role, Waiting::Client);
            assert_eq!(choice, chosen, "{streams:?} {WAIT}={wait} CI={ci} {SUMMARY}={summary} {role:?}");
        }
    }

    #[test]
    fn the_main_command_of_a_container_is_recognized() {
        let table = [
            (1, 0, Some("codex-traced"), ProcessRole::ContainerMain),
            (7, 1, Some("tini"), ProcessRole::ContainerMain),
            (7, 1, Some("sh"), ProcessRole::ContainerMain),
            (7, 3, Some("tini"), ProcessRole::Other),
            // Orphans on a machine with an init process.
            (700, 1, Some("systemd"), ProcessRole::Other),
            (700, 1, None, ProcessRole::Other),
        ];
        for (process, parent, first, role) in table {
            assert_eq!(ProcessRole::from_ids(process, parent, first), role, "{process} {parent} {first:?}");
        }
    }

    #[test]
    fn a_launch_at_a_terminal_waits_for_its_summary() {
        let terminals = Terminals([Some(Device(1)); 3]);
        let choose = |requested| {
            let variables = Variables::from([(SUMMARY, "file")]);
            Wait::choose(requested, &terminals, &variables, ProcessRole::Other, Waiting::User)
        };
        assert_eq!(choose(None), Wait::InPlace(USUAL));
        assert_eq!(choose(Some(Duration::ZERO)), Wait::Detached);
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
