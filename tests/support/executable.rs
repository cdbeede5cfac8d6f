//! Programs that a test writes and runs.
//!
//! Another process writes the file. If this one did, a child that another thread forks would inherit the descriptor, and
//! the kernel would refuse to run the file (ETXTBSY) until that child calls exec.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

#[track_caller]
pub fn write_program(path: &Path, text: impl AsRef<[u8]>) {
    let mut shell = shell(path).stdin(Stdio::piped()).spawn().expect("run a shell");
    shell.stdin.take().expect("a pipe").write_all(text.as_ref()).expect("write the program");
    assert!(shell.wait().expect("the shell ends").success(), "write {}", path.display());
}

#[track_caller]
pub fn copy_program(from: &Path, to: &Path) {
    let source = File::open(from).expect("open the program");
    assert!(shell(to).stdin(source).status().expect("run a shell").success(), "copy to {}", to.display());
}

/// Replaces the file by what comes on stdin: one that runs cannot be written to.
fn shell(path: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "rm -f \"$1\" && cat >\"$1\" && chmod 755 \"$1\"", "sh"]).arg(path);
    command
}
