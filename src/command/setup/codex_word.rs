//! How the word `codex` comes to run codex-traced: a function of the user's shell, or the shim on PATH.

use super::block;
use super::change::{Change, mode, read};
use super::journal::Journal;
use super::user_shell::{Addition, UserShell};
use crate::base::world::World;
use crate::cli::CodexWord;
use crate::codex::locate::is_shim;
use common::disk;
use common::printable::clean;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

const SHIM: &str = include_str!("../../../shims/codex");

/// Where the shim goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ShimPlace {
    /// A folder on PATH before the real codex.
    OnPath(PathBuf),
    /// A folder that has to come onto PATH first.
    Own(PathBuf),
}

impl ShimPlace {
    /// None without a home folder, and where PATH cannot be changed because the shell is not known.
    pub(super) fn from_world(world: &World) -> Option<ShimPlace> {
        let path = world.variables.os("PATH").unwrap_or_default();
        let has_other_codex = |folder: &Path| {
            let file = folder.join("codex");
            fs::symlink_metadata(&file).is_ok() && !is_shim(&file)
        };
        let place = ShimPlace::choose(path, world.home.as_deref()?, has_other_codex);
        let can_be = matches!(place, ShimPlace::OnPath(_)) || UserShell::from_world(world).is_some();
        can_be.then_some(place)
    }

    /// The usual folders of a user's own programs, if one is on PATH before the real codex.
    fn choose(path: &OsStr, home: &Path, has_other_codex: impl Fn(&Path) -> bool) -> ShimPlace {
        let usual = [home.join(".local/bin"), home.join("bin")];
        let before_codex = std::env::split_paths(path).take_while(|folder| !has_other_codex(folder));
        match before_codex.into_iter().find(|folder| usual.contains(folder)) {
            Some(folder) => ShimPlace::OnPath(folder),
            None => ShimPlace::Own(home.join(".local/share/codex-traced/shims")),
        }
    }

    pub(super) fn folder(&self) -> &Path {
        let (ShimPlace::OnPath(folder) | ShimPlace::Own(folder)) = self;
        folder
    }
}

/// The ways that this user has, the usual one first, each with what it means.
pub(super) fn ways(world: &World) -> Vec<(CodexWord, String)> {
    let mut ways = Vec::new();
    if let Some(shell) = UserShell::from_world(world) {
        let file = clean(shell.function_file().display());
        ways.push((CodexWord::Function, format!("codex-traced, in your shell: a function in {file}")));
    }
    if let Some(place) = ShimPlace::from_world(world) {
        let file = clean(place.folder().join("codex").display());
        ways.push((CodexWord::Shim, format!("codex-traced, in scripts too: the program {file}")));
    }
    ways.push((CodexWord::Nothing, "Codex, as before: you type codex-traced".to_owned()));
    ways
}

/// The changes that make `codex` run codex-traced. `earlier` is the setup that they replace.
pub(super) fn changes(
    word: CodexWord,
    world: &World,
    earlier: Option<&Journal>,
) -> Result<Vec<Change>, String> {
    let no_shell = || "a function needs bash, zsh or fish, and SHELL names none of them".to_owned();
    let shell = UserShell::from_world(world);
    match word {
        CodexWord::Nothing => Ok(Vec::new()),
        CodexWord::Function => added(shell.ok_or_else(no_shell)?.function(), earlier),
        CodexWord::Shim => {
            let place = ShimPlace::from_world(world);
            let place = place
                .ok_or("no folder for the shim is on PATH, and SHELL names no shell that setup knows")?;
            let mut changes = new_file(place.folder().join("codex"), SHIM, 0o755, earlier)?;
            if let (ShimPlace::Own(folder), Some(shell)) = (&place, shell) {
                let entry = shell.path_entry(folder);
                let entry =
                    entry.ok_or_else(|| format!("{} cannot be put on PATH", clean(folder.display())))?;
                changes.extend(added(entry, earlier)?);
            }
            Ok(changes)
        }
    }
}

fn added(addition: Addition, earlier: Option<&Journal>) -> Result<Vec<Change>, String> {
    match addition {
        Addition::Lines(path, code) => lines(path, &code, earlier),
        Addition::File(path, text) => new_file(path, &text, 0o644, earlier),
    }
}

fn lines(path: PathBuf, code: &str, earlier: Option<&Journal>) -> Result<Vec<Change>, String> {
    // What is written is the end of a chain of links.
    let path = disk::followed(&path);
    let content = read(&path).map_err(|error| unreadable(&path, &error))?;
    if content.as_deref().is_some_and(block::is_torn) {
        return Err(format!(
            "{} holds a part of the lines that an earlier setup wrote: remove them first",
            clean(path.display())
        ));
    }
    let (is_new, had_no_newline) = match earlier.and_then(|journal| journal.change_of(&path)) {
        Some(Change::Lines { is_new, had_no_newline, .. }) => (*is_new, *had_no_newline),
        _ => {
            let own = content.as_deref().map(|content| block::removed(content, false));
            (content.is_none(), own.is_some_and(|own| !own.is_empty() && !own.ends_with(b"\n")))
        }
    };
    let mut changes = Change::missing_folders(&path);
    changes.push(Change::Lines { path, is_new, had_no_newline, block: block::of(code) });
    Ok(changes)
}

/// A file that another program or the user wrote is never replaced. One that is the same already is the user's, and stays.
fn new_file(
    path: PathBuf,
    text: &str,
    file_mode: u32,
    earlier: Option<&Journal>,
) -> Result<Vec<Change>, String> {
    let path = disk::followed(&path);
    let now = read(&path).map_err(|error| unreadable(&path, &error))?;
    let replaces = match earlier.and_then(|journal| journal.change_of(&path)) {
        Some(Change::File { text, .. }) => Some(text.clone()),
        _ => None,
    };
    let is_same = now.as_deref() == Some(text.as_bytes()) && mode(&path) == Some(file_mode);
    if is_same && replaces.is_none() {
        return Ok(Vec::new());
    }
    let is_ours =
        |now: &[u8]| replaces.as_ref().is_some_and(|text| now == text.as_bytes()) || now == text.as_bytes();
    if now.as_deref().is_some_and(|now| !is_ours(now)) {
        return Err(format!("{} is there already, and setup did not write it", clean(path.display())));
    }
    let mut changes = Change::missing_folders(&path);
    changes.push(Change::File { path, mode: file_mode, text: text.to_owned(), replaces });
    Ok(changes)
}

fn unreadable(path: &Path, error: &std::io::Error) -> String {
    format!("cannot read {}: {}", clean(path.display()), disk::reason(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shim_goes_where_it_comes_before_the_real_codex() {
        let home = Path::new("/home/ada");
        let codex_in = |folder: &'static str| move |other: &Path| other == Path::new(folder);
        let own = ShimPlace::Own("/home/ada/.local/share/codex-traced/shims".into());
        let on_path = |folder: &str| ShimPlace::OnPath(folder.into());
        let table = [
            ("/home/ada/.local/bin:/usr/bin", "/usr/bin", on_path("/home/ada/.local/bin")),
            ("/opt/bin:/home/ada/bin:/usr/bin", "/usr/bin", on_path("/home/ada/bin")),
            ("/usr/bin:/home/ada/.local/bin", "/usr/bin", own.clone()),
            ("/home/ada/.local/bin:/usr/bin", "/home/ada/.local/bin", own.clone()),
            ("/home/ada/.local/bin", "/nowhere", on_path("/home/ada/.local/bin")),
            ("", "/nowhere", own),
        ];
        for (path, codex, expected) in table {
            assert_eq!(ShimPlace::choose(OsStr::new(path), home, codex_in(codex)), expected, "{path}");
        }
    }

    #[test]
    fn a_file_that_is_there_is_the_users_unless_an_earlier_setup_wrote_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("codex");
        let written = |text: &str| Change::File {
            path: path.clone(),
            mode: 0o644,
            text: text.to_owned(),
            replaces: None,
        };
        let earlier = Journal::new(vec![written("old")], None);
        let wanted = |earlier| new_file(path.clone(), "new", 0o644, earlier);
        assert_eq!(wanted(None).unwrap(), [written("new")]);
        std::fs::write(&path, "old").unwrap();
        assert!(wanted(None).is_err());
        assert!(
            matches!(&wanted(Some(&earlier)).unwrap()[..], [Change::File { replaces: Some(old), .. }] if old == "old")
        );
        std::fs::write(&path, "users").unwrap();
        assert!(wanted(Some(&earlier)).is_err());
        std::fs::write(&path, "new").unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        assert_eq!(wanted(None).unwrap(), []);
    }
}
