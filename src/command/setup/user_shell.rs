//! The user's shell: the files that it reads, and what setup writes into them.

use crate::base::world::World;
use crate::cli::Shell;
use std::path::{Path, PathBuf};

const BASH: &str = include_str!("../../../shims/codex.bash");
const ZSH: &str = include_str!("../../../shims/codex.zsh");
const FISH: &str = include_str!("../../../shims/codex.fish");

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UserShell {
    shell: Shell,
    /// Where lines go; of fish a file of setup's own.
    startup_file: PathBuf,
    /// Where fish keeps a function.
    functions: PathBuf,
}

/// What a shell reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Addition {
    /// Lines in a file of the user.
    Lines(PathBuf, String),
    /// A file of setup's own.
    File(PathBuf, String),
}

impl UserShell {
    /// By `SHELL`. None for another shell, and without a home folder.
    pub(super) fn from_world(world: &World) -> Option<UserShell> {
        let home = world.home.as_deref()?;
        let folder =
            |name: &str| world.variables.os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let name = Path::new(world.variables.os("SHELL")?).file_name()?.to_str()?;
        UserShell::from_name(name, home, folder, cfg!(target_os = "macos"), |file| file.exists())
    }

    fn from_name(
        name: &str,
        home: &Path,
        folder: impl Fn(&str) -> Option<PathBuf>,
        is_macos: bool,
        exists: impl Fn(&Path) -> bool,
    ) -> Option<UserShell> {
        let fish = folder("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config")).join("fish");
        let (shell, startup_file) = match name {
            "bash" if is_macos => (Shell::Bash, login_file(home, exists)),
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
    pub(super) fn function(&self) -> Addition {
        let file = self.function_file();
        match self.shell {
            Shell::Bash => Addition::Lines(file, code(BASH)),
            Shell::Zsh => Addition::Lines(file, code(ZSH)),
            Shell::Fish => Addition::File(file, FISH.to_owned()),
        }
    }

    /// Puts a folder before all others on PATH, once. None for a name that no shell takes.
    pub(super) fn path_entry(&self, folder: &Path) -> Option<Addition> {
        let name = folder.to_str().filter(|name| !name.contains(['\'', '\\', '\n', ':']))?;
        let file = self.startup_file.clone();
        Some(match self.shell {
            Shell::Bash | Shell::Zsh => Addition::Lines(
                file,
                format!(
                    "case \":$PATH:\" in\n    *:'{name}':*) ;;\n    *) export PATH='{name}':\"$PATH\" ;;\nesac\n"
                ),
            ),
            Shell::Fish => {
                Addition::File(file, format!("contains '{name}' $PATH; or set -gx PATH '{name}' $PATH\n"))
            }
        })
    }
}

/// A terminal of macOS starts login shells. bash reads the first of these that is there, and no other.
fn login_file(home: &Path, exists: impl Fn(&Path) -> bool) -> PathBuf {
    let files = [".bash_profile", ".bash_login", ".profile"].map(|name| home.join(name));
    files.iter().find(|file| exists(file)).unwrap_or(&files[0]).clone()
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
        let files = |shell: Option<UserShell>| shell.map(|shell| (shell.function_file(), shell.startup_file));
        let at = |function: &str, startup: &str| Some((home.join(function), home.join(startup)));
        let both = |name: &str| at(name, name);
        let is_there = |name: &'static str| move |file: &Path| file.ends_with(name);
        let usual = |name| UserShell::from_name(name, home, |_| None, false, |_| false);
        let table = [
            (usual("bash"), both(".bashrc")),
            (usual("zsh"), both(".zshrc")),
            (usual("fish"), at(".config/fish/functions/codex.fish", ".config/fish/conf.d/codex-traced.fish")),
            (usual("nu"), None),
            (UserShell::from_name("bash", home, |_| None, true, |_| false), both(".bash_profile")),
            (UserShell::from_name("bash", home, |_| None, true, is_there(".profile")), both(".profile")),
            (UserShell::from_name("zsh", home, moved, false, |_| false), both(".zsh/.zshrc")),
            (
                UserShell::from_name("fish", home, moved, false, |_| false),
                at("config/fish/functions/codex.fish", "config/fish/conf.d/codex-traced.fish"),
            ),
        ];
        for (shell, expected) in table {
            assert_eq!(files(shell), expected);
        }
    }

    #[test]
    fn the_lines_are_the_shims_without_their_comments() {
        for shim in [BASH, ZSH] {
            let code = code(shim);
            assert!(code.starts_with("function codex {\n") && code.ends_with("}\n"), "{code}");
        }
    }
}
