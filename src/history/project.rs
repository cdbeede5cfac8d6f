//! The project of a session: the repository that its folder is in, else the folder itself.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// The folder of the main work tree, for a folder of any work tree of the repository. Reads the disk: a folder that is
/// gone is its own project.
pub fn project_of(folder: &Path) -> PathBuf {
    let found = folder.ancestors().find_map(|above| {
        let git = above.join(".git");
        let kind = fs::metadata(&git).ok()?;
        Some(if kind.is_dir() { above.to_path_buf() } else { main_tree(&git, above) })
    });
    found.unwrap_or_else(|| folder.to_path_buf())
}

/// In a further work tree `.git` is a file: `gitdir: /main/.git/worktrees/name`.
fn main_tree(git: &Path, tree: &Path) -> PathBuf {
    let main = || {
        let text = fs::read_to_string(git).ok()?;
        let named = tree.join(text.strip_prefix("gitdir:")?.trim());
        let worktrees = named.parent()?;
        let inner = worktrees.file_name()? == "worktrees";
        let folder =
            worktrees.parent().filter(|git| inner && git.file_name().is_some_and(|it| it == ".git"))?;
        Some(folder.parent()?.to_path_buf())
    };
    main().unwrap_or_else(|| tree.to_path_buf())
}

/// A path as users read it: `~/work` for a folder of their home.
pub fn shortened(path: &str, home: Option<&Path>) -> String {
    let below = home.filter(|home| home.components().any(|part| matches!(part, Component::Normal(_))));
    match below.and_then(|home| Path::new(path).strip_prefix(home).ok()) {
        Some(rest) if rest.as_os_str().is_empty() => "~".to_owned(),
        Some(rest) => format!("~/{}", rest.display()),
        None => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_work_trees_of_a_repository_are_one_project() {
        let root = tempfile::tempdir().unwrap();
        let (main, other, plain) =
            (root.path().join("main"), root.path().join("other"), root.path().join("plain/deep"));
        for folder in [&main.join(".git/worktrees/other"), &main.join("src"), &other.join("src"), &plain] {
            fs::create_dir_all(folder).unwrap();
        }
        let pointer = format!("gitdir: {}\n", main.join(".git/worktrees/other").display());
        fs::write(other.join(".git"), pointer).unwrap();
        let module = root.path().join("main/module");
        fs::create_dir_all(&module).unwrap();
        fs::write(module.join(".git"), "gitdir: ../.git/modules/module\n").unwrap();
        let table = [
            (main.join("src"), &main),
            (main.clone(), &main),
            (other.join("src"), &main),
            (plain.clone(), &plain),
            (module.clone(), &module),
        ];
        for (folder, expected) in table {
            assert_eq!(project_of(&folder), *expected, "{}", folder.display());
        }
        let gone = Path::new("/no/such/folder");
        assert_eq!(project_of(gone), gone);
    }

    #[test]
    fn folders_of_the_users_home_are_short() {
        let home = Some(Path::new("/home/me"));
        let table = [
            ("/home/me/work/a", home, "~/work/a"),
            ("/home/me", home, "~"),
            ("/home/meeting", home, "/home/meeting"),
            ("/srv", Some(Path::new("/")), "/srv"),
            ("/srv", None, "/srv"),
        ];
        for (path, home, expected) in table {
            assert_eq!(shortened(path, home), expected);
        }
    }
}
