//! Checks of files: the configuration, permissions, writability, and free disk space.

use super::Finding;
use crate::base::notice::HINT;
use crate::base::paths::CodexHome;
use crate::command::survey::Survey;
use crate::command::text_layout::counted;
use crate::finish::context::Context;
use crate::settings::file::FileState;
use crate::settings::{Settings, Source, Tracing};
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access, geteuid};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bytes; below this, the trace of a one-hour session may not fit.
const LITTLE: u128 = 500 << 20;

/// Bytes; below this, even a small trace may not fit.
const NOTHING: u128 = 20 << 20;

pub(super) fn check(survey: &Survey, context: &Context) -> Vec<Finding> {
    let home = context.home();
    let mut findings = Vec::new();
    if let Some(problem) = &survey.home_problem {
        findings.push(Finding::error("home", problem, "make it, or unset CODEX_HOME to use ~/.codex"));
    }
    findings.extend(configuration(context.settings(), context.price_problems(), &home.config()));
    findings.extend([writable(home), private(home), disk(home)]);
    findings
}

fn configuration(settings: &Settings, price_problems: &[String], path: &Path) -> Vec<Finding> {
    let file = match &settings.file_state {
        FileState::Valid => Finding::ok("configuration", path.display().to_string()),
        FileState::Missing => {
            Finding::ok("configuration", format!("{} is not there: the defaults count", path.display()))
        }
        FileState::Broken(error) => Finding::error(
            "configuration",
            format!("{error}; the defaults count"),
            "mend it, or run `codex-traced mlflow enable`: it keeps this file aside and writes a new one",
        ),
        FileState::Unreadable(_) => Finding::error(
            "configuration",
            format!("{} cannot be read; the defaults count", path.display()),
            "look at its permissions (`ls -l`)",
        ),
    };
    let mut findings = vec![file];
    let is_broken = findings[0].todo.is_some();
    // The finding above already reports a broken file.
    let problems =
        settings.problems.iter().filter(|problem| !(is_broken && problem.contains("mlflow_config.json")));
    for problem in problems.chain(price_problems) {
        let usual = "see `codex-traced mlflow status` for what is set, and by what";
        let (found, todo) = problem.split_once(HINT).unwrap_or((problem, usual));
        findings.push(Finding::warning("settings", found, todo));
    }
    findings.push(match (settings.tracing.value, settings.tracing.source) {
        (Tracing::On, _) => Finding::ok("tracing", "on"),
        (Tracing::Off, Source::Environment(name)) => Finding::warning(
            "tracing",
            format!("off, by {name} in the environment"),
            format!("unset {name} to have traces"),
        ),
        (Tracing::Off, _) => Finding::warning(
            "tracing",
            "off, by the configuration file",
            "`codex-traced mlflow enable` switches it on",
        ),
    });
    findings
}

/// Every trace passes the spool, so without a writable folder there is none.
fn writable(home: &CodexHome) -> Finding {
    let state = home.state();
    let there = existing(&state);
    match access(there, AccessFlags::W_OK | AccessFlags::X_OK) {
        Ok(()) if there == state => Finding::ok("folder", format!("{} can be written", state.display())),
        Ok(()) => Finding::ok("folder", format!("{} can be made", state.display())),
        Err(error) => Finding::error(
            "folder",
            format!("{} cannot be written ({}), so nothing can be traced", there.display(), error.desc()),
            "make it writable, or set CODEX_HOME to a folder that is",
        ),
    }
}

/// The folder itself, or the first above it that exists.
fn existing(folder: &Path) -> &Path {
    folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"))
}

/// Other users must not read traces: either the folder excludes them, or each file does.
fn private(home: &CodexHome) -> Finding {
    let mut files = Vec::new();
    let state = home.state();
    if state.exists() {
        files.push(state.clone());
        collect(&state, 2, &mut files);
    }
    files.extend(Some(home.config()).filter(|path| path.exists()));
    let existing = files.iter().filter_map(|path| Some((path, fs::metadata(path).ok()?)));
    let (mut open, mut foreign): (Vec<&PathBuf>, Vec<&PathBuf>) = Default::default();
    let shut = fs::metadata(&state).is_ok_and(|folder| folder.mode() & 0o077 == 0);
    for (path, metadata) in existing {
        let is_within = path.starts_with(&state) && *path != state;
        if metadata.mode() & 0o077 != 0 && !(shut && is_within) {
            open.push(path);
        }
        if metadata.uid() != geteuid().as_raw() {
            foreign.push(path);
        }
    }
    if let Some(first) = foreign.first() {
        return Finding::warning(
            "permissions",
            format!(
                "{} of ours another user's, such as {}",
                counted(foreign.len(), "file is", "files are"),
                first.display()
            ),
            "was codex-traced run with sudo? `sudo chown -R \"$USER\"` gives them back",
        );
    }
    match open.first() {
        None => Finding::ok("permissions", "only you can read our files"),
        Some(first) => Finding::warning(
            "permissions",
            format!(
                "others may read {} of ours, such as {}",
                counted(open.len(), "file", "files"),
                first.display()
            ),
            format!("chmod -R go-rwx {}", if open.contains(&&state) { &state } else { *first }.display()),
        ),
    }
}

fn collect(folder: &Path, depth: usize, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        into.push(entry.path());
        if depth > 1 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), depth - 1, into);
        }
    }
}

fn disk(home: &CodexHome) -> Finding {
    let state = home.state();
    let there = existing(&state);
    match statvfs(there) {
        Ok(disk) => {
            // The types differ between systems; u128 holds any product.
            let free = u128::from(disk.blocks_available()) * u128::from(disk.fragment_size());
            room(free, there)
        }
        Err(error) => {
            Finding::warning("disk", format!("its room is not known: {}", error.desc()), "see `df -h`")
        }
    }
}

fn room(free: u128, at: &Path) -> Finding {
    let text = match free {
        0..0x4000_0000 => format!("{} MB free at {}", free >> 20, at.display()),
        _ => format!("{} GB free at {}", free >> 30, at.display()),
    };
    match free {
        ..NOTHING => Finding::error("disk", text, "make room: a trace that cannot be written is lost"),
        NOTHING..LITTLE => Finding::warning("disk", text, "make room before it is full"),
        LITTLE.. => Finding::ok("disk", text),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn free_space_is_judged_by_the_size_of_a_session() {
        let of = |free: u128| (room(free, Path::new("/d")).level, room(free, Path::new("/d")).found);
        assert_eq!(of(3 << 20), (Level::Error, "3 MB free at /d".into()));
        assert_eq!(of(100 << 20), (Level::Warning, "100 MB free at /d".into()));
        assert_eq!(of(5 << 30), (Level::Ok, "5 GB free at /d".into()));
    }
}
