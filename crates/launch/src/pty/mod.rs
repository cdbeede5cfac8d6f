//! Runs a command on a terminal of its own, which the launcher relays to the user's byte for byte.
//!
//! There are three processes, as with sudo's `use_pty`: the launcher, on the user's terminal; a monitor, the
//! leader of a session on the new terminal; and the command, in its own foreground group. Without the monitor
//! the command's group would be orphaned, and the kernel would discard its Ctrl-Z.

mod backchannel;
mod monitor;
mod pair;
mod ready;
mod relay;
mod relay_loop;
mod terminal;
mod typeahead;

use super::companion::{Attended, Companion};
use super::ended::Ended;
use super::entry_state::Alarm;
use super::fork::fork;
use super::mode::Interface;
use super::program::{Program, StartError};
use super::signal_probe::SignalProbe;
use super::signals::SignalPipe;
use super::streams;
use backchannel::ToLauncher;
use monitor::Monitor;
use pair::Pair;
use relay_loop::RelayLoop;
use std::ffi::CStr;
use std::io;
use std::os::unix::net::UnixStream;
use terminal::UserTerminal;

/// Runs the command to its end. The outer error means that nothing was started and the terminal is unchanged;
/// the inner one that the command could not start.
pub(super) fn run(
    program: &Program,
    interface: Interface,
    probe: &CStr,
    companion: &mut dyn Companion,
) -> io::Result<Result<Ended, StartError>> {
    let image = program.image()?;
    let mut terminal = UserTerminal::open()?;
    let pair = Pair::open(&terminal)?;
    let (ours, monitors) = UnixStream::pair()?;
    let (signals, inherited) = SignalPipe::with_forwarded_signals()?;
    terminal.raw()?;
    // Until the monitor has its own pipe, its handlers would write into the launcher's.
    let Some(monitor) = fork()? else {
        let slave = pair.into_slave();
        drop((ours, terminal.forget()));
        Monitor::new(monitors, inherited).run(slave, image);
    };
    drop(monitors);
    let link = (ours, monitor);
    let mut relay = RelayLoop::new(terminal, pair.into_master(), signals, link, interface);
    match relay.first_message()? {
        ToLauncher::Began(child) => {
            Alarm::stop();
            streams::give_up();
            let probe = SignalProbe::start(probe, None);
            let mut attended = Attended::began(companion, child);
            let ended = relay.run(probe, &mut attended);
            attended.ended();
            Ok(Ok(ended))
        }
        ToLauncher::Failed(error) => {
            relay.finish();
            let error = io::Error::from_raw_os_error(error);
            Ok(Err(StartError { file: program.file.clone(), error }))
        }
        _ => {
            relay.finish();
            Err(io::Error::other("the monitor could not take the new terminal"))
        }
    }
}
