//! Our processes of a home, by what they are, and what the kernel knows of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use support::Home;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Launcher, monitor: they have one name.
    Launcher,
    Probe,
    Tracer,
}

#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) role: Role,
    folder: PathBuf,
}

/// Launcher, monitor, signal probe and tracer of all launches of a home.
pub(crate) fn ours(home: &Home) -> Vec<Process> {
    let launcher = fs::canonicalize(crate::stage::launcher()).expect("the launcher is there");
    let process = |id: nix::unistd::Pid| {
        let folder = PathBuf::from(format!("/proc/{id}"));
        fs::read_link(folder.join("exe")).ok().filter(|file| *file == launcher)?;
        let words = fs::read(folder.join("cmdline")).ok()?;
        let role = match fs::read_to_string(folder.join("comm")).ok()?.trim_end() {
            "codex-witness" => Role::Probe,
            _ if words.starts_with(b"codex-traced\0mlflow\0finish\0") => Role::Tracer,
            _ => Role::Launcher,
        };
        Some(Process { role, folder })
    };
    home.processes().into_iter().filter_map(process).collect()
}

pub(crate) fn tracer(home: &Home) -> Option<Process> {
    ours(home).into_iter().find(|process| process.role == Role::Tracer)
}

/// CPU time so far by role, in seconds.
pub(crate) fn cpu(home: &Home) -> BTreeMap<Role, f64> {
    let mut by_role = BTreeMap::new();
    for process in ours(home) {
        *by_role.entry(process.role).or_default() += process.cpu();
    }
    by_role
}

impl Process {
    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.folder.join(file)).unwrap_or_default()
    }

    fn figure(&self, file: &str, name: &str) -> u64 {
        let text = self.text(file);
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let word = line.and_then(|line| line.split_whitespace().next());
        word.and_then(|word| word.parse().ok()).unwrap_or(0)
    }

    /// User and system time in seconds; the kernel counts in hundredths.
    pub(crate) fn cpu(&self) -> f64 {
        let stat = self.text("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks: u64 = [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<u64>().ok()).sum();
        ticks as f64 / 100.0
    }

    /// Resident memory, in KiB.
    pub(crate) fn rss(&self) -> u64 {
        self.figure("status", "VmRSS")
    }

    pub(crate) fn peak(&self) -> u64 {
        self.figure("status", "VmHWM")
    }

    /// Of the resident memory what no file backs, in KiB.
    pub(crate) fn anonymous(&self) -> u64 {
        self.figure("status", "RssAnon")
    }

    /// Resident memory with shared pages divided among their processes, in KiB.
    pub(crate) fn pss(&self) -> u64 {
        self.figure("smaps_rollup", "Pss")
    }

    pub(crate) fn written(&self) -> u64 {
        self.figure("io", "write_bytes")
    }

    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(self.folder.join("fd")).map_or(0, Iterator::count)
    }
}
