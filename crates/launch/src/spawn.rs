//! Starts a program in a child process. On Linux the child uses this process's memory until its exec, as with `vfork`:
//! a copy of a launcher's memory takes 0.1 to 0.2 ms, for its page tables and for each page that is written to.

use super::fork::{self, fork};
use nix::errno::Errno;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use std::io::{self, PipeWriter, Read, Write};

/// `exec` runs in the child with all signals blocked, and returns only when the program cannot start. It may call what a
/// copy of this process may, but must not panic. Call it while the process has one thread.
pub(super) fn spawn(exec: impl FnMut() -> io::Error) -> io::Result<Pid> {
    #[cfg(target_os = "linux")]
    if !common::portable::is_wanted() {
        return start(exec, |child| in_own_memory::run(child).or_else(|_| in_a_copy(child)));
    }
    start(exec, in_a_copy)
}

/// `run` runs what it is given in a child. The child reports by a pipe, which exec closes: where programs are emulated
/// (QEMU 7.2), a child never has its parent's memory.
fn start(
    mut exec: impl FnMut() -> io::Error,
    run: impl FnOnce(&mut dyn FnMut()) -> io::Result<Pid>,
) -> io::Result<Pid> {
    let (mut read, mut write) = io::pipe()?;
    let child = run(&mut || report(&mut write, &exec()))?;
    drop(write);
    let mut number = [0; size_of::<i32>()];
    if read.read_exact(&mut number).is_err() {
        return Ok(child);
    }
    while waitpid(child, None) == Err(Errno::EINTR) {}
    Err(io::Error::from_raw_os_error(i32::from_ne_bytes(number)))
}

fn report(write: &mut PipeWriter, error: &io::Error) {
    let number = error.raw_os_error().unwrap_or(Errno::EINVAL as i32);
    let _ = write.write_all(&number.to_ne_bytes());
}

fn in_a_copy(child: &mut dyn FnMut()) -> io::Result<Pid> {
    match fork()? {
        Some(id) => Ok(id),
        None => {
            child();
            fork::end(127)
        }
    }
}

#[cfg(target_os = "linux")]
mod in_own_memory {
    use super::*;
    use nix::libc;
    use nix::sys::signal::{SigSet, SigmaskHow};

    /// The child's. Only pages that it uses cost memory.
    const STACK: usize = 64 << 10;

    /// The kernel continues this process when the child has exec'd or ended.
    pub(super) fn run(mut child: &mut dyn FnMut()) -> io::Result<Pid> {
        let mut stack = Box::<[u8]>::new_uninit_slice(STACK);
        // A handler of this process must not run in the child: it would write to this process's memory.
        let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        #[expect(unsafe_code, reason = "clone; nix has it behind a feature and is as unsafe")]
        // SAFETY: this process has one thread, which waits until the child leaves its memory, so only the child uses
        // `child`. The stack is the child's own, aligned as every processor wants it.
        let id = unsafe {
            let end = stack.as_mut_ptr_range().end.map_addr(|address| address & !63);
            let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
            libc::clone(begin, end.cast(), flags, (&raw mut child).cast())
        };
        let id = Errno::result(id);
        mask.thread_set_mask()?;
        Ok(Pid::from_raw(id?))
    }

    extern "C" fn begin(child: *mut libc::c_void) -> libc::c_int {
        #[expect(unsafe_code, reason = "the argument of a C function")]
        // SAFETY: it is the `child` of `run`, which waits for this process.
        let child = unsafe { &mut *child.cast::<&mut dyn FnMut()>() };
        child();
        127
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child::{ChildState, poll_child};
    use crate::exit::ChildExit;

    type Run = fn(&mut dyn FnMut()) -> io::Result<Pid>;

    #[cfg(target_os = "linux")]
    const BOTH: [Run; 2] = [|child| in_own_memory::run(child), |child| in_a_copy(child)];
    #[cfg(not(target_os = "linux"))]
    const BOTH: [Run; 1] = [|child| in_a_copy(child)];

    fn end_of(child: Pid) -> ChildExit {
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
        for run in BOTH {
            let child = start(|| exec(c"/bin/sh"), run).unwrap();
            assert_eq!(end_of(child), ChildExit::Code(7));
        }
    }

    #[test]
    fn a_program_that_cannot_start_is_an_error_and_leaves_no_child() {
        for run in BOTH {
            let (mut read, write) = io::pipe().unwrap();
            let child = || {
                let id = std::process::id().to_ne_bytes();
                (&write).write_all(&id).map_or_else(|error| error, |()| exec(c"/nowhere"))
            };
            let error = start(child, run).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(Errno::ENOENT as i32));
            let mut id = [0; 4];
            read.read_exact(&mut id).unwrap();
            let id = Pid::from_raw(i32::from_ne_bytes(id));
            assert_ne!(id, nix::unistd::getpid());
            assert_eq!(waitpid(id, None), Err(Errno::ECHILD));
        }
    }
}
