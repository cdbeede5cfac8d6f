//! Which package manager installed Codex, as npm's launcher finds out. Codex names it in its hint to update.

use super::launcher_text::Generation;
use common::variables::Variables;
use std::fs;
use std::path::Path;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PackageManager {
    Npm,
    Bun,
    Pnpm,
}

/// Vite+ may have installed Codex: its own records would have to be read for an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct VitePlus;

/// All variables with which a launcher names a package manager.
pub(super) const ALL_VARIABLES: [&str; 4] =
    ["CODEX_MANAGED_BY_NPM", "CODEX_MANAGED_BY_BUN", "CODEX_MANAGED_BY_PNPM", "CODEX_MANAGED_BY_VITE_PLUS"];

impl PackageManager {
    pub(super) fn variable(self) -> &'static str {
        match self {
            PackageManager::Npm => "CODEX_MANAGED_BY_NPM",
            PackageManager::Bun => "CODEX_MANAGED_BY_BUN",
            PackageManager::Pnpm => "CODEX_MANAGED_BY_PNPM",
        }
    }

    /// `root`: the package's folder, without links; `script`: the launcher, as it was called.
    pub(super) fn detect(
        generation: Generation,
        root: &Path,
        script: &Path,
        variables: &Variables,
    ) -> Result<PackageManager, VitePlus> {
        let folders = [Some(root), script.parent()].into_iter().flatten().flat_map(Path::ancestors);
        for folder in folders {
            if generation.knows_vite_plus() && may_be_of_vite_plus(folder) {
                return Err(VitePlus);
            }
            if generation.knows_pnpm() && is_of_pnpm(&folder.join("node_modules"), root) {
                return Ok(PackageManager::Pnpm);
            }
        }
        let text = |name| variables.text(name).unwrap_or_default();
        let is_bun = names_bun(text("npm_config_user_agent"))
            || text("npm_execpath").contains("bun")
            || root.join("bin").to_string_lossy().contains(".bun/install/global");
        Ok(if is_bun { PackageManager::Bun } else { PackageManager::Npm })
    }
}

fn may_be_of_vite_plus(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| name == "packages") && folder.join("@openai/codex.json").exists()
}

fn is_of_pnpm(modules: &Path, root: &Path) -> bool {
    modules.join(".modules.yaml").exists()
        && fs::canonicalize(modules.join("@openai/codex")).is_ok_and(|package| package == root)
}

/// `bun/` where a word begins.
fn names_bun(user_agent: &str) -> bool {
    user_agent.match_indices("bun/").any(|(at, _)| {
        let before = user_agent[..at].chars().next_back();
        !before.is_some_and(|before| before.is_ascii_alphanumeric() || before == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_is_known_by_its_files_and_variables() {
        let folder = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(folder.path()).unwrap();
        let modules = base.join("global/node_modules");
        let root = modules.join("@openai/codex");
        fs::create_dir_all(root.join("bin")).unwrap();
        let detect = |generation, pairs: &[(&str, &str)]| {
            let variables = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            PackageManager::detect(generation, &root, &base.join("bin/codex"), &variables)
        };
        use Generation::{Path as Oldest, Pnpm, VitePlus as Newest};
        let table = [
            ("", Ok(PackageManager::Npm)),
            ("npm/10.2 node/v20", Ok(PackageManager::Npm)),
            ("bun/1.4 npm/?", Ok(PackageManager::Bun)),
            ("x bun/1.4", Ok(PackageManager::Bun)),
            ("notbun/1.4", Ok(PackageManager::Npm)),
        ];
        for (agent, manager) in table {
            assert_eq!(detect(Oldest, &[("npm_config_user_agent", agent)]), manager, "{agent}");
        }
        assert_eq!(detect(Oldest, &[("npm_execpath", "/opt/bun")]), Ok(PackageManager::Bun));
        fs::write(modules.join(".modules.yaml"), "").unwrap();
        assert_eq!(detect(Oldest, &[]), Ok(PackageManager::Npm), "it does not know pnpm");
        assert_eq!(detect(Pnpm, &[("npm_execpath", "/opt/bun")]), Ok(PackageManager::Pnpm));
        fs::create_dir_all(base.join("packages/@openai")).unwrap();
        fs::write(base.join("packages/@openai/codex.json"), "{}").unwrap();
        let script = base.join("packages/bin/codex");
        let of_vite_plus =
            |generation| PackageManager::detect(generation, &root, &script, &Variables::default());
        assert_eq!(of_vite_plus(Newest), Ok(PackageManager::Pnpm), "the package's own folders come first");
        fs::remove_file(modules.join(".modules.yaml")).unwrap();
        assert_eq!(of_vite_plus(Newest), Err(VitePlus));
        assert_eq!(of_vite_plus(Pnpm), Ok(PackageManager::Npm));
    }
}
