//! Other processes as tests see them: by `/proc` on Linux, elsewhere by `ps`, which has never run.

use nix::unistd::Pid;
use std::ffi::OsStr;
use std::path::PathBuf;

pub use system::{children, parent, program, runs, with_variable, words};

/// Whether the id is taken: also by a process that has ended and that its parent has not waited for.
pub fn is_there(id: Pid) -> bool {
    nix::sys::signal::kill(id, None) != Err(nix::errno::Errno::ESRCH)
}

/// A finisher or a tracer: one program serves for both.
pub fn is_finisher(id: Pid) -> bool {
    words(id).starts_with("codex-traced mlflow finish")
}

#[cfg(target_os = "linux")]
mod system {
    use super::{OsStr, PathBuf, Pid};
    use std::fs;
    use std::os::unix::ffi::OsStrExt;

    fn ids_in(folder: &str) -> impl Iterator<Item = Pid> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).map(Pid::from_raw)
    }

    /// The state of a process or thread, by its file `stat`.
    fn state(file: &str) -> Option<char> {
        fs::read_to_string(file).ok()?.rsplit(") ").next()?.chars().next()
    }

    /// Processes that were started with this variable.
    pub fn with_variable(name: &str, value: &OsStr) -> Vec<Pid> {
        let wanted = [name.as_bytes(), b"=", value.as_bytes()].concat();
        let has_it = |id: &Pid| {
            let variables = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
            variables.split(|byte| *byte == 0).any(|variable| variable == wanted)
        };
        ids_in("/proc").filter(has_it).collect()
    }

    /// Program and arguments with spaces between them. Empty for a process that has ended.
    pub fn words(id: Pid) -> String {
        let words = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&words).replace('\0', " ").trim_end().to_owned()
    }

    /// The file that the process runs.
    pub fn program(id: Pid) -> Option<PathBuf> {
        fs::read_link(format!("/proc/{id}/exe")).ok()
    }

    pub fn parent(id: Pid) -> Option<Pid> {
        let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
        Some(Pid::from_raw(parent.trim().parse().ok()?))
    }

    /// Children of a process that has one thread.
    pub fn children(id: Pid) -> Vec<Pid> {
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        children.split_whitespace().filter_map(|id| id.parse().ok()).map(Pid::from_raw).collect()
    }

    /// Whether a thread of the process has not ended.
    pub fn runs(id: Pid) -> bool {
        let threads = format!("/proc/{id}/task");
        ids_in(&threads)
            .filter_map(|thread| state(&format!("{threads}/{thread}/stat")))
            .any(|state| !matches!(state, 'Z' | 'X'))
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::{OsStr, PathBuf, Pid};
    use std::process::Command;

    fn ps(arguments: &[&str]) -> String {
        let output = Command::new("ps").args(arguments).output().expect("ps runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn column(id: Pid, name: &str) -> String {
        ps(&["-ww", "-o", &format!("{name}="), "-p", &id.to_string()]).trim().to_owned()
    }

    /// `ps -E` shows the environment of the user's own processes.
    pub fn with_variable(name: &str, value: &OsStr) -> Vec<Pid> {
        let wanted = format!("{name}={} ", value.display());
        let line = |line: &str| {
            let (id, words) = line.trim_start().split_once(' ')?;
            format!("{words} ").contains(&wanted).then(|| id.parse().ok())?
        };
        let list = ps(&["-A", "-E", "-ww", "-o", "pid=,command="]);
        list.lines().filter_map(line).map(Pid::from_raw).collect()
    }

    pub fn words(id: Pid) -> String {
        column(id, "command")
    }

    pub fn program(id: Pid) -> Option<PathBuf> {
        Some(column(id, "comm")).filter(|name| !name.is_empty()).map(PathBuf::from)
    }

    pub fn parent(id: Pid) -> Option<Pid> {
        column(id, "ppid").parse().ok().map(Pid::from_raw)
    }

    pub fn children(id: Pid) -> Vec<Pid> {
        let list = ps(&["-A", "-o", "pid=,ppid="]);
        let line = |line: &str| {
            let (child, parent) = line.trim().split_once(char::is_whitespace)?;
            (parent.trim() == id.to_string()).then(|| child.parse().ok())?
        };
        list.lines().filter_map(line).map(Pid::from_raw).collect()
    }

    pub fn runs(id: Pid) -> bool {
        let state = column(id, "state");
        !state.is_empty() && !state.starts_with('Z')
    }
}
