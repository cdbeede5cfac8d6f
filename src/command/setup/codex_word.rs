//! How the word `codex` comes to run codex-traced: a function of the user's shell, or the shim on PATH.

use super::change::{Change, read};
use crate::base::world::World;
use crate::cli::{CodexWord, Shell};
use crate::codex::locate::is_shim;
use common::printable::clean;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const SHIM: &str = include_str!("../../../shims/codex");
const BASH: &str = include_str!("../../../shims/codex.bash");
const ZSH: &str = include_str!("../../../shims/codex.zsh");
const FISH: &str = include_str!("../../../shims/codex.fish");

/// Around the lines of a startup file.
const BEGIN: &str = "# >>> codex-traced, written by `codex-traced mlflow setup`; its --undo removes it >>>";
const END: &str = "# <<< codex-traced <<<";

/// The user's shell and the files that it reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UserShell {
    shell: Shell,
    /// Where lines go.
    startup_file: PathBuf,
    /// Where fish keeps a function.
    functions: PathBuf,
}

/// Where the shim goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ShimPlace {
    /// A folder on PATH before the real codex.
    OnPath(PathBuf),
    /// A folder that has to come onto PATH first.
    Own(PathBuf),
}

impl UserShell {
    /// By `SHELL`. None for another shell, and without a home folder.
    pub(super) fn from_world(world: &World) -> Option<UserShell> {
        let home = world.home.as_deref()?;
        let folder =
            |name: &str| world.variables.os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let name = Path::new(world.variables.os("SHELL")?).file_name()?.to_str()?;
        UserShell::from_name(name, home, folder, cfg!(target_os = "macos"))
    }

    fn from_name(
        name: &str,
        home: &Path,
        folder: impl Fn(&str) -> Option<PathBuf>,
        is_macos: bool,
    ) -> Option<UserShell> {
        let fish = folder("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config")).join("fish");
        let (shell, startup_file) = match name {
            // A terminal of macOS starts login shells, which do not read .bashrc.
            "bash" if is_macos => (Shell::Bash, home.join(".bash_profile")),
            "bash" => (Shell::Bash, home.join(".bashrc")),
            "zsh" => (Shell::Zsh, folder("ZDOTDIR").unwrap_or_else(|| home.to_owned()).join(".zshrc")),
            "fish" => (Shell::Fish, fish.join("conf.d/codex-traced.fish")),
            _ => return None,
        };
        Some(UserShell { shell, startup_file, functions: fish.join("functions") })
    }

    /// The file that gets the function.
    pub(super) fn function_file(&self) -> PathBuf {
        match self.shell {
            Shell::Bash | Shell::Zsh => self.startup_file.clone(),
            Shell::Fish => self.functions.join("codex.fish"),
        }
    }

    /// Defines `codex` in new shells.
    fn function(&self) -> Result<Vec<Change>, String> {
        let path = self.function_file();
        match self.shell {
            Shell::Bash => lines(path, &code(BASH)),
            Shell::Zsh => lines(path, &code(ZSH)),
            Shell::Fish => new_file(path, FISH, 0o644),
        }
    }

    /// Puts a folder before all others on PATH.
    fn path_entry(&self, folder: &Path) -> Result<Vec<Change>, String> {
        let name = folder.to_str().filter(|name| !name.contains(['\'', '\\', '\n', ':']));
        let name = name.ok_or_else(|| format!("{} cannot be put on PATH", clean(folder.display())))?;
        let path = self.startup_file.clone();
        match self.shell {
            Shell::Bash | Shell::Zsh => lines(path, &format!("export PATH='{name}':\"$PATH\"\n")),
            Shell::Fish => new_file(path, &format!("set -gx PATH '{name}' $PATH\n"), 0o644),
        }
    }
}

impl ShimPlace {
    pub(super) fn from_world(world: &World) -> Option<ShimPlace> {
        let path = world.variables.os("PATH").unwrap_or_default();
        let has_other_codex = |folder: &Path| {
            let file = folder.join("codex");
            fs::symlink_metadata(&file).is_ok() && !is_shim(&file)
        };
        Some(ShimPlace::choose(path, world.home.as_deref()?, has_other_codex))
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

    pub(super) fn file(&self) -> PathBuf {
        let (ShimPlace::OnPath(folder) | ShimPlace::Own(folder)) = self;
        folder.join("codex")
    }
}

/// The changes that make `codex` run codex-traced.
pub(super) fn changes(word: CodexWord, world: &World) -> Result<Vec<Change>, String> {
    let shell = UserShell::from_world(world);
    let unknown = "it is for bash, zsh and fish, and SHELL names another shell";
    match word {
        CodexWord::Nothing => Ok(Vec::new()),
        CodexWord::Function => shell.ok_or_else(|| unknown.to_owned())?.function(),
        CodexWord::Shim => {
            let place = ShimPlace::from_world(world).ok_or("there is no home folder")?;
            let mut changes = new_file(place.file(), SHIM, 0o755)?;
            if let ShimPlace::Own(folder) = &place {
                changes.extend(shell.ok_or_else(|| unknown.to_owned())?.path_entry(folder)?);
            }
            Ok(changes)
        }
    }
}

fn lines(path: PathBuf, code: &str) -> Result<Vec<Change>, String> {
    let mut changes = Change::missing_folders(&path);
    let failed = |error: io::Error| format!("cannot read {}: {error}", clean(path.display()));
    let text = format!("{BEGIN}\n{code}{END}\n");
    changes.push(Change::with_lines(path.clone(), &text).map_err(failed)?);
    Ok(changes)
}

/// A file that another program or the user wrote is never replaced.
fn new_file(path: PathBuf, text: &str, mode: u32) -> Result<Vec<Change>, String> {
    let failed = |error: io::Error| format!("cannot read {}: {error}", clean(path.display()));
    let before = read(&path).map_err(failed)?;
    if before.is_some_and(|before| before != text.as_bytes()) {
        return Err(format!("{} is there already, and is not setup's", clean(path.display())));
    }
    let mut changes = Change::missing_folders(&path);
    changes.push(Change::File { path, mode, before: None, text: text.to_owned() });
    Ok(changes)
}

/// A file of `shims/` without the comments that tell how to install it.
fn code(shim: &str) -> String {
    let lines = shim.lines().skip_while(|line| line.starts_with('#') || line.is_empty());
    lines.map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_has_its_files() {
        let home = Path::new("/home/ada");
        let moved = |name: &str| match name {
            "ZDOTDIR" => Some(PathBuf::from("/home/ada/.zsh")),
            "XDG_CONFIG_HOME" => Some("/home/ada/config".into()),
            _ => None,
        };
        let usual = |_: &str| None;
        let files = |shell: Option<UserShell>| shell.map(|shell| (shell.function_file(), shell.startup_file));
        let at = |function: &str, startup: &str| Some((home.join(function), home.join(startup)));
        let table = [
            (UserShell::from_name("bash", home, usual, false), at(".bashrc", ".bashrc")),
            (UserShell::from_name("bash", home, usual, true), at(".bash_profile", ".bash_profile")),
            (UserShell::from_name("zsh", home, usual, false), at(".zshrc", ".zshrc")),
            (UserShell::from_name("zsh", home, moved, false), at(".zsh/.zshrc", ".zsh/.zshrc")),
            (
                UserShell::from_name("fish", home, usual, false),
                at(".config/fish/functions/codex.fish", ".config/fish/conf.d/codex-traced.fish"),
            ),
            (
                UserShell::from_name("fish", home, moved, false),
                at("config/fish/functions/codex.fish", "config/fish/conf.d/codex-traced.fish"),
            ),
            (UserShell::from_name("nu", home, usual, false), None),
        ];
        for (shell, expected) in table {
            assert_eq!(files(shell), expected);
        }
    }

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
    fn the_lines_are_the_shims_without_their_comments() {
        for shim in [BASH, ZSH] {
            assert!(code(shim).starts_with("codex() {\n") && code(shim).ends_with("}\n"), "{}", code(shim));
        }
    }
}
