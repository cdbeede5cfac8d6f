//! A program in Codex's place that reports what it can see of itself, and runs a test's script.
//!
//! The test program is the probe: started by the name of `codex`, it never comes to its tests. So there is nothing
//! to build besides; and it looks around before Rust's runtime does, which opens closed streams and ignores SIGPIPE.
//!
//! Its last argument is a script of steps: `see; catch USR1 TERM; ready a; until b; exit 3`.
//!
//! | step | what it does |
//! |---|---|
//! | `see` | leaves what it can see in the file `seen` |
//! | `say WORDS`, `cry WORDS` | a line on stdout, on stderr |
//! | `lines N`, `bytes` | N lines on each of them in turn; every byte there is, on stdout |
//! | `clock` | the time of the machine's own clock, as `clock` returns it |
//! | `read`, `line` | reads stdin to its end into the file `read`; one line, and prints it |
//! | `send N`, `take N` | N bytes of the pattern, out and in; leaves the file `taken` when all of them were right |
//! | `echo` | shows each key, until `q` |
//! | `catch NUMBERS` | from now on notes these signals in the file `caught`, and lives |
//! | `ready NAME`, `until NAME` | makes the file NAME; waits for it |
//! | `raw` | the terminal's keys come one by one, and unseen |
//! | `leave` | leaves a process behind, and its id in the file `left` |
//! | `exit N`, `die N` | ends by a code, by a signal |
//! | `stop N`, `stop-job N` | sends the signal to itself, to its whole group |

mod pattern;
mod see;
mod steps;

use nix::libc::{self, c_char, c_int};
use nix::time::{ClockId, clock_gettime};
use std::ffi::CStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use pattern::{Pattern, pattern};
pub use see::{Sight, parse};

/// The name by which the test program is the probe.
pub const NAME: &str = "codex";

/// Nanoseconds on a clock that is the same for all processes.
pub fn clock() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("a clock");
    u64::try_from(Duration::from(time).as_nanos()).expect("some centuries")
}

/// The program to put in Codex's place.
pub fn probe() -> PathBuf {
    std::env::current_exe().expect("a running program has a path")
}

#[expect(unsafe_code, reason = "the loader's list of what runs before main")]
// SAFETY: the GNU loader calls the entries of this section as functions of these arguments.
#[used]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array"))]
static BEFORE_MAIN: extern "C" fn(c_int, *const *const c_char) = before_main;

extern "C" fn before_main(count: c_int, words: *const *const c_char) {
    let count = usize::try_from(count).unwrap_or(0);
    #[expect(unsafe_code, reason = "the words as the kernel gave them")]
    // SAFETY: the loader passes `count` pointers to texts, and they live as long as the process.
    let words: Vec<&CStr> = (0..count).map(|at| unsafe { CStr::from_ptr(*words.add(at)) }).collect();
    let name = words.first().map(|word| Path::new(std::ffi::OsStr::from_bytes(word.to_bytes())));
    if name.and_then(Path::file_name).is_some_and(|name| name == NAME) {
        let script = words.last().map_or("", |word| word.to_str().unwrap_or(""));
        end(steps::run(script));
    }
}

fn end(code: c_int) -> ! {
    #[expect(unsafe_code, reason = "_exit: nothing of the tests was begun")]
    // SAFETY: it only ends this process.
    unsafe {
        libc::_exit(code)
    }
}
