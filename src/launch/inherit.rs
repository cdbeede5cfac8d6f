//! Running a command on our own streams: it has the terminal, the pipes, the group; we wait.

use super::Ended;
use super::child::{News, news_of};
use super::companion::{Attended, Companion};
use super::dispositions::Alarm;
use super::exit::ChildExit;
use super::program::{Program, StartError};
use super::signals::{SignalPipe, Stops, send, stop_as_by};
use super::witness::{Reach, Witness};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

/// Runs the command to its end. An error means that it never ran.
pub(super) fn run(program: &Program, companion: &mut dyn Companion) -> Result<Ended, StartError> {
    let failed = |error| StartError { file: program.file.clone(), error };
    let image = program.image().map_err(failed)?;
    let (signals, inherited) = SignalPipe::of_launcher().map_err(failed)?;
    let mut command = image.command();
    #[expect(unsafe_code, reason = "std empties the child's signal mask and sorts its environment")]
    // SAFETY: we have no threads, so the child may call anything; it execs, or returns the error.
    unsafe {
        command.pre_exec(move || {
            inherited.restore()?;
            Err(image.exec())
        });
    }
    let child = command.spawn().map_err(failed)?;
    Alarm::stop();
    let mut witness = Witness::call();
    let mut attended = Attended::began(companion, child.id());
    let exit = wait(Pid::from_raw(child.id().cast_signed()), &signals, &mut witness, &mut attended);
    let at = Instant::now();
    attended.ended();
    Ok(Ended { exit, at, signals })
}

fn wait(child: Pid, signals: &SignalPipe, witness: &mut Witness, attended: &mut Attended) -> ChildExit {
    loop {
        match news_of(child) {
            News::Ended(exit) => return exit,
            News::Stopped(signal) => {
                // The shell is to see a stopped job. What stopped the command may have stopped us too, right here;
                // woken with it, we are not to stop once more.
                if pass_on(child, signals, witness) != Some(libc::SIGCONT) {
                    stop_as_by(signal, Stops::Us);
                }
            }
            News::None => {}
        }
        let companion_calls = sleep(signals, attended);
        pass_on(child, signals, witness);
        attended.attend_if(companion_calls);
    }
}

/// Tells the command what it was not told. The last signal of those that stop or wake, if one came.
fn pass_on(child: Pid, signals: &SignalPipe, witness: &mut Witness) -> Option<i32> {
    // Two of one kind that came at once are one to the witness, as to the command.
    let (mut told_to_all, mut last) = (Vec::new(), None);
    while let Some(arrived) = signals.next() {
        if matches!(arrived.signal, libc::SIGCONT | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU) {
            last = Some(arrived.signal);
        }
        match witness.reach_of(arrived) {
            Reach::Group => told_to_all.push(arrived.signal),
            Reach::UsAlone if told_to_all.contains(&arrived.signal) => {}
            // Nobody but us would tell the command of it.
            Reach::UsAlone => _ = send(child.as_raw(), arrived.signal),
        }
    }
    last
}

/// Until a signal arrives, or the companion wants to be called; true when its descriptor says so.
fn sleep(signals: &SignalPipe, attended: &Attended) -> bool {
    let mut watched = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    watched.extend(attended.wakes().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
    let _ = poll(&mut watched, timeout(attended.patience()));
    watched.get(1).is_some_and(|fd| fd.any() == Some(true))
}

/// Never less than the time given: rounded down, the last millisecond would be spent awake.
pub(super) fn timeout(patience: Option<Duration>) -> PollTimeout {
    patience.map_or(PollTimeout::NONE, |time| {
        let time = Duration::from_millis(time.as_nanos().div_ceil(1_000_000).try_into().unwrap_or(u64::MAX));
        PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX)
    })
}
