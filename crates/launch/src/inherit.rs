//! Runs a command on the launcher's own streams, terminal and process group; the launcher waits.

use super::child::{ChildState, poll_child};
use super::companion::{Attended, Companion};
use super::ended::Ended;
use super::entry_state::Alarm;
use super::exit::ChildExit;
use super::orphan::Orphan;
use super::program::{Program, StartError};
use super::signal_probe::{Reach, SignalProbe};
use super::signals::{SignalPipe, Stops, send, stop_by};
use super::spawn::spawn;
use super::streams;
use super::timeout::timeout;
use nix::libc;
use nix::poll::{PollFd, PollFlags, poll};
use nix::unistd::Pid;
use std::ffi::CStr;
use std::os::fd::AsFd;
use std::time::Instant;

/// Runs the command to its end. An error means that it never ran.
pub(super) fn run(
    program: &Program,
    probe: &CStr,
    companion: &mut dyn Companion,
) -> Result<Ended, StartError> {
    let failed = |error| StartError { file: program.file.clone(), error };
    let image = program.image().map_err(failed)?;
    let (signals, inherited) = SignalPipe::with_forwarded_signals().map_err(failed)?;
    let child =
        spawn(|| inherited.restore().map_or_else(|error| error, |()| image.exec())).map_err(failed)?;
    let id = child.as_raw().cast_unsigned();
    Alarm::stop();
    streams::give_up();
    let ward = (program.orphan == Orphan::IsKilled).then_some(id);
    let mut probe = SignalProbe::start(probe, ward);
    let mut attended = Attended::began(companion, id);
    let exit = wait(child, &signals, &mut probe, &mut attended);
    let at = Instant::now();
    attended.ended();
    Ok(Ended { exit, at, signals })
}

fn wait(child: Pid, signals: &SignalPipe, probe: &mut SignalProbe, attended: &mut Attended) -> ChildExit {
    loop {
        match poll_child(child) {
            ChildState::Ended(exit) => return exit,
            ChildState::Stopped(signal) => {
                // The shell must see a stopped job. The signal that stopped the command may have stopped the
                // launcher too, right here; after SIGCONT it must not stop again.
                if pass_on(child, signals, probe) != Some(libc::SIGCONT) {
                    stop_by(signal, Stops::Us);
                }
            }
            ChildState::None => {}
        }
        let companion_calls = sleep(signals, attended);
        pass_on(child, signals, probe);
        attended.attend_if(companion_calls);
    }
}

/// Forwards signals that reached only the launcher. Returns the last signal that stops or continues, if one came.
fn pass_on(child: Pid, signals: &SignalPipe, probe: &mut SignalProbe) -> Option<i32> {
    // Two equal signals that came at once count as one for the signal probe, as for the command.
    let (mut to_group, mut last) = (Vec::new(), None);
    while let Some(arrived) = signals.next() {
        if matches!(arrived.signal, libc::SIGCONT | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU) {
            last = Some(arrived.signal);
        }
        match probe.reach_of(arrived) {
            Reach::Group if !may_be_by_name(arrived.signal, PROBE_HAS_OUR_NAME) => {
                to_group.push(arrived.signal)
            }
            Reach::UsAlone if to_group.contains(&arrived.signal) => {}
            // Only the launcher received it, or launcher and probe.
            Reach::UsAlone | Reach::Group => _ = send(child.as_raw(), arrived.signal),
        }
    }
    last
}

/// Only Linux lets a process change the name by which `killall` and `pkill` find it.
const PROBE_HAS_OUR_NAME: bool = !cfg!(target_os = "linux");

/// Whether the signal may be one by name, which reaches launcher and probe, and not the command. To pass on one too many
/// does no harm; one that is lost leaves Codex running.
fn may_be_by_name(signal: i32, has_our_name: bool) -> bool {
    has_our_name && matches!(signal, libc::SIGTERM | libc::SIGHUP)
}

/// Waits until a signal arrives or the companion is due; true when the companion's descriptor is ready.
fn sleep(signals: &SignalPipe, attended: &Attended) -> bool {
    let mut watched = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    watched.extend(attended.wakes().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
    let _ = poll(&mut watched, timeout(attended.patience()));
    watched.get(1).is_some_and(|fd| fd.any() == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_by_name_is_passed_on_where_the_probe_has_our_name() {
        for (signal, expected) in [(libc::SIGTERM, true), (libc::SIGHUP, true), (libc::SIGINT, false)] {
            assert_eq!(
                [true, false].map(|named| may_be_by_name(signal, named)),
                [expected, false],
                "{signal}"
            );
        }
    }
}
