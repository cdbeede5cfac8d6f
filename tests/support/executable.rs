//! Programs that a test writes and runs.
//!
//! A descriptor for writing in this process would be inherited by what other threads start meanwhile; until those
//! call exec, the kernel refuses to run the file (ETXTBSY). So `install` writes it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

#[track_caller]
pub fn write_program(path: &Path, text: impl AsRef<[u8]>) {
    let mut install =
        installer(Path::new("/dev/stdin"), path).stdin(Stdio::piped()).spawn().expect("run install");
    install.stdin.take().expect("a pipe").write_all(text.as_ref()).expect("write the program");
    assert!(install.wait().expect("install ends").success(), "write {}", path.display());
}

#[track_caller]
pub fn copy_program(from: &Path, to: &Path) {
    assert!(installer(from, to).status().expect("run install").success(), "copy to {}", to.display());
}

fn installer(from: &Path, to: &Path) -> Command {
    let mut command = Command::new("install");
    command.args(["-m", "755"]).args([from, to]);
    command
}
