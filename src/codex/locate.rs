//! Finds the real Codex on PATH: skips this program under any name, and its shim.

use crate::base::world::World;
use common::disk::{file_system, read_head};
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// In the first lines of every shim, so that a shim is never taken for Codex.
pub const SHIM_MARK: &str = "codex-traced shim";

/// Variable with the number of launches within launches.
pub const DEPTH: &str = "CODEX_TRACED_DEPTH";

/// Legitimate nesting (a tool of Codex runs codex-traced) is a few levels deep; a loop has no end.
const DEEPEST: u32 = 16;

#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    #[error(
        "the real codex was not found on PATH (searched {searched} directories)\n  \
         hint: install it with `npm install -g @openai/codex`, or set CODEX_TRACED_CODEX_BIN to its path"
    )]
    NotFound { searched: usize },
    #[error(
        "CODEX_TRACED_CODEX_BIN names {0}, which does not exist\n  hint: set it to the real codex, or unset it"
    )]
    NoSuchFile(PathBuf),
    #[error(
        "{0} is Windows' codex, whose sessions are not here\n  \
         hint: install Codex within WSL (`npm install -g @openai/codex`), or set CODEX_TRACED_CODEX_BIN to its path"
    )]
    OfWindows(PathBuf),
    #[error("{0} is not executable\n  hint: `chmod +x` it, or set CODEX_TRACED_CODEX_BIN to the real codex")]
    NotExecutable(PathBuf),
    #[error(
        "CODEX_TRACED_CODEX_BIN names {0}, which is codex-traced itself\n  hint: set it to the real codex, or unset it"
    )]
    Ourselves(PathBuf),
    #[error(
        "started {depth} times within itself: the `codex` it finds starts codex-traced again\n  \
         hint: set CODEX_TRACED_CODEX_BIN to the path of the real codex"
    )]
    Recursion { depth: u32 },
}

impl LocateError {
    /// The code with which a shell ends when it cannot run a command.
    pub fn exit_code(&self) -> i32 {
        if matches!(
            self,
            LocateError::NotFound { .. } | LocateError::NoSuchFile(_) | LocateError::OfWindows(_)
        ) {
            127
        } else {
            126
        }
    }
}

/// The depth for the next program's environment; an error when this looks like a loop.
pub fn next_depth(world: &World) -> Result<u32, LocateError> {
    let depth = world.variables.text(DEPTH).and_then(|text| text.parse().ok()).unwrap_or(0);
    if depth >= DEEPEST { Err(LocateError::Recursion { depth }) } else { Ok(depth + 1) }
}

/// `CODEX_TRACED_CODEX_BIN`, else the first `codex` on PATH that is neither this program nor its shim.
pub fn locate(world: &World) -> Result<PathBuf, LocateError> {
    let us = std::env::current_exe().and_then(fs::metadata).ok();
    if let Some(bin) = world.variables.os("CODEX_TRACED_CODEX_BIN") {
        let bin = world.cwd.as_deref().unwrap_or(Path::new("/")).join(bin);
        let metadata = fs::metadata(&bin).map_err(|_| LocateError::NoSuchFile(bin.clone()))?;
        return match () {
            () if is_same_file(&metadata, us.as_ref()) => Err(LocateError::Ourselves(bin)),
            () if !is_program(&metadata) => Err(LocateError::NotExecutable(bin)),
            () => Ok(bin),
        };
    }
    let path = world.variables.os("PATH").unwrap_or(OsStr::new(""));
    let here = world.cwd.clone().unwrap_or_else(|| "/".into());
    let candidates = which::which_in_all("codex", Some(path), here).into_iter().flatten();
    let others = candidates.into_iter().filter(|file| {
        fs::metadata(file).is_ok_and(|metadata| !is_same_file(&metadata, us.as_ref())) && !is_shim(file)
    });
    let is_of_windows = |file: &Path| world.is_wsl() && file_system::is_of_host(file);
    first_of_this_system(others, is_of_windows)
        .map_err(|of_windows| of_windows.map_or_else(|| not_found(path), LocateError::OfWindows))
}

/// An error names the first that is Windows', if one is.
fn first_of_this_system(
    files: impl Iterator<Item = PathBuf>,
    is_of_windows: impl Fn(&Path) -> bool,
) -> Result<PathBuf, Option<PathBuf>> {
    let mut of_windows = None;
    for file in files {
        if !is_of_windows(&file) {
            return Ok(file);
        }
        of_windows.get_or_insert(file);
    }
    Err(of_windows)
}

/// What a script runs with `codex`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnPath {
    Ourselves(PathBuf),
    Shim(PathBuf),
    Other(PathBuf),
}

/// The first `codex` on PATH, of any kind.
pub fn first_on_path(world: &World) -> Option<OnPath> {
    let us = std::env::current_exe().and_then(fs::metadata).ok();
    let here = world.cwd.clone().unwrap_or_else(|| "/".into());
    let path = which::which_in("codex", world.variables.os("PATH"), here).ok()?;
    let metadata = fs::metadata(&path).ok()?;
    Some(match () {
        () if is_same_file(&metadata, us.as_ref()) => OnPath::Ourselves(path),
        () if is_shim(&path) => OnPath::Shim(path),
        () => OnPath::Other(path),
    })
}

/// A file that is not executable is another mistake than a missing one.
fn not_found(path: &OsStr) -> LocateError {
    let folders: Vec<PathBuf> = std::env::split_paths(path).collect();
    let there = folders
        .iter()
        .map(|folder| folder.join("codex"))
        .find(|file| fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && !is_program(&metadata)));
    match there {
        Some(file) => LocateError::NotExecutable(file),
        None => LocateError::NotFound { searched: folders.len() },
    }
}

fn is_same_file(metadata: &Metadata, us: Option<&Metadata>) -> bool {
    us.is_some_and(|us| (metadata.dev(), metadata.ino()) == (us.dev(), us.ino()))
}

fn is_program(metadata: &Metadata) -> bool {
    metadata.is_file() && metadata.mode() & 0o111 != 0
}

/// How every script begins that the kernel starts.
pub fn is_script(head: &[u8]) -> bool {
    head.starts_with(b"#!")
}

pub fn is_shim(file: &Path) -> bool {
    let head = read_head(file, 512).unwrap_or_default();
    let has_mark = || head.windows(SHIM_MARK.len()).any(|window| window == SHIM_MARK.as_bytes());
    is_script(&head) && has_mark()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_codex_is_passed_by_and_named_when_there_is_no_other() {
        let is_of_windows = |file: &Path| file.starts_with("/mnt/c");
        let [windows, other, linux] =
            ["/mnt/c/npm/codex", "/mnt/c/codex", "/usr/bin/codex"].map(PathBuf::from);
        let choose = |files: &[&PathBuf]| first_of_this_system(files.iter().copied().cloned(), is_of_windows);
        assert_eq!(choose(&[&windows, &linux]), Ok(linux.clone()));
        assert_eq!(choose(&[&linux, &windows]), Ok(linux));
        assert_eq!(choose(&[&windows, &other]), Err(Some(windows)));
        assert_eq!(choose(&[]), Err(None));
    }
}
