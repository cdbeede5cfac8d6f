//! Starts a program in a child process. On Linux the child uses this process's memory until its exec, as with `vfork`:
//! a copy of a launcher's memory takes 0.1 to 0.2 ms, for its page tables and for each page that is written to.

use super::fork::{self, fork};
use common::portable;
use nix::errno::Errno;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use std::io::{self, Read, Write};

/// `exec` runs in the child with all signals blocked, and returns only when the program cannot start. It may
/// call what a copy of this process may, but must not panic. Call it while the process has one thread.
pub(super) fn spawn(exec: impl FnMut() -> io::Error) -> io::Result<Pid> {
    #[cfg(target_os = "linux")]
    if !portable::is_wanted() {
        return in_own_memory::spawn(exec);
    }
    in_a_copy(exec)
}

fn in_a_copy(mut exec: impl FnMut() -> io::Error) -> io::Result<Pid> {
    let (mut read, mut write) = io::pipe()?;
    let Some(child) = fork()? else {
        let _ = write.write_all(&number_of(&exec()).to_ne_bytes());
        fork::end(127)
    };
    drop(write);
    // Its exec closes the pipe.
    let mut number = [0; size_of::<i32>()];
    match read.read_exact(&mut number) {
        Ok(()) => Err(failed(child, i32::from_ne_bytes(number))),
        Err(_) => Ok(child),
    }
}

fn number_of(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(Errno::EINVAL as i32)
}

fn failed(child: Pid, number: i32) -> io::Error {
    while waitpid(child, None) == Err(Errno::EINTR) {}
    io::Error::from_raw_os_error(number)
}

#[cfg(target_os = "linux")]
mod in_own_memory {
    use super::*;
    use nix::libc;
    use nix::sys::signal::{SigSet, SigmaskHow};

    /// The child's. Only pages that it uses cost memory.
    const STACK: usize = 128 << 10;

    struct Start<F> {
        exec: F,
        /// What the child writes when the program cannot start.
        error: Option<i32>,
    }

    /// The kernel continues this process when the child has exec'd or ended.
    pub(super) fn spawn<F: FnMut() -> io::Error>(exec: F) -> io::Result<Pid> {
        let mut stack = Box::<[u8]>::new_uninit_slice(STACK);
        let mut start = Start { exec, error: None };
        // A handler of this process must not run in the child: it would write to this process's memory.
        let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        #[expect(unsafe_code, reason = "clone; nix has it behind a feature and is as unsafe")]
        // SAFETY: this process has one thread, which waits until the child leaves its memory, so only the child uses `start`.
        // Its stack is its own, aligned as every processor wants it.
        let child = unsafe {
            let end = stack.as_mut_ptr_range().end.map_addr(|address| address & !63);
            let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
            libc::clone(run::<F>, end.cast(), flags, (&raw mut start).cast())
        };
        let child = Errno::result(child).map(Pid::from_raw);
        mask.thread_set_mask()?;
        let child = child?;
        start.error.map_or(Ok(child), |error| Err(failed(child, error)))
    }

    extern "C" fn run<F: FnMut() -> io::Error>(start: *mut libc::c_void) -> libc::c_int {
        #[expect(unsafe_code, reason = "the argument of a C function")]
        // SAFETY: it is the `start` of `spawn`, which waits for this process.
        let start = unsafe { &mut *start.cast::<Start<F>>() };
        start.error = Some(number_of(&(start.exec)()));
        127
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::ChildExit;

    type Spawn = fn(&mut dyn FnMut() -> io::Error) -> io::Result<Pid>;

    #[cfg(target_os = "linux")]
    const BOTH: [Spawn; 2] = [|exec| in_own_memory::spawn(exec), |exec| in_a_copy(exec)];
    #[cfg(not(target_os = "linux"))]
    const BOTH: [Spawn; 1] = [|exec| in_a_copy(exec)];

    fn end_of(child: Pid) -> ChildExit {
        use crate::child::{ChildState, poll_child};
        loop {
            if let ChildState::Ended(exit) = poll_child(child) {
                return exit;
            }
            std::thread::yield_now();
        }
    }

    fn exec(program: &std::ffi::CStr) -> io::Error {
        let Err(error) = nix::unistd::execve(program, &[c"sh", c"-c", c"exit 7"], &[c"A=B"]);
        error.into()
    }

    #[test]
    fn the_program_replaces_the_child() {
        for spawn in BOTH {
            let child = spawn(&mut || exec(c"/bin/sh")).unwrap();
            assert_eq!(end_of(child), ChildExit::Code(7));
        }
    }

    #[test]
    fn a_program_that_cannot_start_is_an_error_and_leaves_no_child() {
        for spawn in BOTH {
            let mut child = None;
            let error = spawn(&mut || {
                child = Some(nix::unistd::getpid());
                exec(c"/nowhere")
            });
            assert_eq!(error.unwrap_err().raw_os_error(), Some(Errno::ENOENT as i32));
            if let Some(child) = child {
                assert_eq!(waitpid(child, None), Err(Errno::ECHILD));
            }
        }
    }
}
