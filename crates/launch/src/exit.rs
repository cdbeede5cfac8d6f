//! How a child ended, and how this process ends the same way.

use nix::libc;
use nix::sys::resource::{Resource, setrlimit};
use serde::{Deserialize, Serialize};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChildExit {
    Code(i32),
    Signal(i32),
}

impl From<ExitStatus> for ChildExit {
    fn from(status: ExitStatus) -> ChildExit {
        match (status.code(), status.signal()) {
            (Some(code), _) => ChildExit::Code(code),
            (None, Some(signal)) => ChildExit::Signal(signal),
            // wait() without WUNTRACED reports an exit or a signal and nothing else.
            (None, None) => ChildExit::Code(1),
        }
    }
}

impl ChildExit {
    /// Ends this process as the child ended: same code, or death by the same signal.
    pub fn end(self) -> ! {
        match self {
            ChildExit::Code(code) => std::process::exit(code),
            ChildExit::Signal(number) => {
                die_by(number);
                // Reached only as process 1, which its own signals do not kill.
                std::process::exit(128 + number)
            }
        }
    }
}

fn die_by(number: i32) {
    // The child has written its core file; the launcher's would overwrite it.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    #[expect(unsafe_code, reason = "nix has no names for real-time signals")]
    // SAFETY: the default disposition runs no code of this process, and `sigemptyset` initialises the set.
    unsafe {
        let mut only = std::mem::zeroed();
        libc::sigemptyset(&raw mut only);
        libc::sigaddset(&raw mut only, number);
        // SIGKILL cannot be reset, and need not be.
        libc::signal(number, libc::SIG_DFL);
        libc::sigprocmask(libc::SIG_UNBLOCK, &raw const only, std::ptr::null_mut());
        libc::raise(number);
    }
}
