//! The probe does what it is asked, step by step. It has no runtime and no second thread.

use super::pattern::pattern;
use super::{end, see};
use crate::run::{LIMIT, wait_for};
use nix::libc;
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

/// Where `tell` writes.
static CAUGHT: AtomicI32 = AtomicI32::new(-1);

/// A probe that lives so long has lost its test: each wait of a test is shorter.
const ABANDONED: Duration = LIMIT.saturating_mul(5);

pub(super) fn run(script: &str) -> i32 {
    for step in script.split(';') {
        if let Some(code) = take(step.trim()) {
            return code;
        }
    }
    0
}

/// The code to end with, if it is the last step.
fn take(step: &str) -> Option<i32> {
    let (verb, rest) = step.split_once(' ').unwrap_or((step, ""));
    let number = || -> usize { rest.parse().unwrap_or_else(|_| panic!("no number in the step {step:?}")) };
    let small = || i32::try_from(number()).expect("a small number");
    match verb {
        "" => {}
        "see" => leave("seen", see::written(&see::see()).as_bytes()),
        "say" => put(1, format!("{rest}\n").as_bytes()),
        "clock" => put(1, format!("{}\n", super::clock()).as_bytes()),
        "cry" => put(2, format!("{rest}\n").as_bytes()),
        "lines" => (0..number()).for_each(|at| {
            put(1, format!("out {at}\n").as_bytes());
            put(2, format!("err {at}\n").as_bytes());
        }),
        "bytes" => put(1, &(0..=255).collect::<Vec<u8>>()),
        "read" => {
            let mut all = Vec::new();
            let result = stream(0).read_to_end(&mut all);
            leave("read", &result.map_or_else(|error| error.to_string().into_bytes(), |_| all));
        }
        "line" => put(1, format!("line {}\n", line()).as_bytes()),
        "send" => pattern().write(&mut *stream(1), number()),
        "take" => {
            leave("taken", take_pattern(number()).as_bytes());
        }
        "echo" => {
            let mut key = [0];
            while stream(0).read(&mut key).is_ok_and(|count| count == 1) && key != *b"q" {
                put(1, &key);
            }
        }
        "catch" => {
            let file =
                File::options().create(true).append(true).open("caught").expect("open the file caught");
            CAUGHT.store(ManuallyDrop::new(file).as_raw_fd(), Ordering::Relaxed);
            rest.split(' ').for_each(|number| catch(number.parse().expect("a signal's number")));
        }
        "ready" => leave(rest, b""),
        "until" => wait_for(rest, ABANDONED, || Path::new(rest).exists()),
        "raw" => {
            let mut modes = tcgetattr(&*stream(0)).expect("a terminal on stdin");
            cfmakeraw(&mut modes);
            tcsetattr(&*stream(0), SetArg::TCSANOW, &modes).expect("set a terminal's modes");
        }
        "leave" => left_behind(),
        "exit" => return Some(small()),
        "die" => send(std::process::id().cast_signed(), small()),
        "stop" => send(std::process::id().cast_signed(), small()),
        "stop-job" => send(0, small()),
        _ => panic!("the probe knows no step {step:?}"),
    }
    None
}

fn take_pattern(size: usize) -> &'static str {
    let pattern = pattern();
    let (mut chunk, mut taken) = (vec![0; 1 << 16], 0);
    while taken < size {
        let count = stream(0).read(&mut chunk).expect("read");
        assert!(count > 0, "ended after {taken} bytes");
        pattern.check(taken, &chunk[..count]);
        taken += count;
    }
    "every byte right"
}

/// Atomic: a test that waits for the file reads it at once.
fn leave(name: &str, text: &[u8]) {
    let half = format!("{name}.half");
    fs::write(&half, text).expect("write a file of the probe");
    fs::rename(half, name).expect("rename a file of the probe");
}

fn stream(fd: i32) -> ManuallyDrop<File> {
    #[expect(unsafe_code, reason = "std's own streams hide what fails")]
    // SAFETY: it is never closed by us.
    ManuallyDrop::new(unsafe { File::from_raw_fd(fd) })
}

/// Failures are ignored: a closed pipe shows in the exit code of SIGPIPE.
fn put(fd: i32, bytes: &[u8]) {
    let _ = stream(fd).write_all(bytes);
}

/// Byte by byte: what follows is the next reader's.
fn line() -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    loop {
        match stream(0).read(&mut byte) {
            Ok(1) if byte[0] != b'\n' => text.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => return String::from_utf8_lossy(&text).into_owned(),
        }
    }
}

fn catch(number: i32) {
    #[expect(unsafe_code, reason = "a handler, for signals that have no names too")]
    // SAFETY: the handler does nothing that is not safe in one; the action is all zeros but for what is set here.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = tell as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        assert_eq!(libc::sigaction(number, &raw const action, std::ptr::null_mut()), 0, "catch {number}");
    }
}

extern "C" fn tell(number: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let [tens, ones] = [number / 10, number % 10].map(|digit| b'0' + digit.unsigned_abs() as u8);
    let told = [tens, ones, b'\n'];
    #[expect(unsafe_code, reason = "write is safe in a handler")]
    // SAFETY: the bytes live until it returns.
    unsafe {
        libc::write(CAUGHT.load(Ordering::Relaxed), told.as_ptr().cast(), told.len());
    }
}

fn send(to: i32, number: i32) {
    #[expect(unsafe_code, reason = "signals that have no names")]
    // SAFETY: it touches no memory of this process.
    unsafe {
        libc::kill(to, number);
    }
}

/// Ignores hang-ups, and inherits no stream.
fn left_behind() {
    #[expect(unsafe_code, reason = "fork")]
    // SAFETY: there is one thread.
    match unsafe { nix::unistd::fork() }.expect("fork") {
        nix::unistd::ForkResult::Parent { child } => leave("left", child.to_string().as_bytes()),
        nix::unistd::ForkResult::Child => {
            for fd in 0..=2 {
                let _ = nix::unistd::close(fd);
            }
            std::thread::sleep(ABANDONED);
            end(0);
        }
    }
}
