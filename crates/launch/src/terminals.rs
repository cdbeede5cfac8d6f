//! The terminals on the standard streams.

use std::io::IsTerminal;
use std::os::fd::AsFd;

/// The terminals on stdin, stdout and stderr; None for a stream that is not a terminal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminals(pub [Option<Device>; 3]);

/// The kernel's number of a terminal device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device(pub nix::libc::dev_t);

impl Terminals {
    pub fn read() -> Terminals {
        Terminals([terminal(std::io::stdin()), terminal(std::io::stdout()), terminal(std::io::stderr())])
    }

    /// Whether a person may be there.
    pub fn are_any(&self) -> bool {
        self.0.iter().any(Option::is_some)
    }

    /// Whether all three are the same terminal.
    pub fn are_one(&self) -> bool {
        let Terminals([stdin, stdout, stderr]) = self;
        stdin.is_some() && stdin == stdout && stdin == stderr
    }
}

fn terminal(stream: impl AsFd + IsTerminal) -> Option<Device> {
    stream.is_terminal().then(|| nix::sys::stat::fstat(stream).ok())?.map(|found| Device(found.st_rdev))
}
