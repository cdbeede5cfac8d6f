//! A patch of one file in the form of git.

use super::patched_file::{PatchedFile, Presence};
use common::printable::is_unsafe;
use std::fmt::Write;

/// Git's mode of a plain file. Codex records none.
const MODE: &str = "100644";

/// The paths have no `a/` or `b/`. Empty where the patches change nothing.
pub(super) fn patch_text(old_path: &str, path: &str, file: &PatchedFile) -> String {
    let hunks = file.hunks();
    let (old, new) = (quoted("a/", old_path), quoted("b/", path));
    let is_renamed = old_path != path;
    let mut text = String::new();
    let (old_name, new_name) = match (file.before(), file.now()) {
        (Presence::Absent, Presence::Absent) => return text,
        (Presence::Present, Presence::Present) if hunks.is_empty() && !is_renamed => return text,
        // A new file has one name only.
        (Presence::Absent, Presence::Present) => {
            let _ = writeln!(text, "diff --git {} {new}\nnew file mode {MODE}", quoted("a/", path));
            ("/dev/null".to_owned(), new)
        }
        (Presence::Present, Presence::Absent) => {
            let _ = writeln!(text, "diff --git {old} {}\ndeleted file mode {MODE}", quoted("b/", old_path));
            (old, "/dev/null".to_owned())
        }
        (Presence::Present, Presence::Present) => {
            let _ = writeln!(text, "diff --git {old} {new}");
            if is_renamed {
                let _ =
                    writeln!(text, "rename from {}\nrename to {}", quoted("", old_path), quoted("", path));
            }
            (old, new)
        }
    };
    if !hunks.is_empty() {
        let _ = writeln!(text, "--- {}\n+++ {}", ended(&old_name), ended(&new_name));
    }
    hunks.iter().for_each(|hunk| hunk.print(&mut text));
    text
}

/// In quotes and with escapes where git has them.
pub(super) fn quoted(prefix: &str, path: &str) -> String {
    let is_plain = |c: char| !is_unsafe(c) && c != '"' && c != '\\';
    if path.chars().all(is_plain) {
        return format!("{prefix}{path}");
    }
    let mut text = format!("\"{prefix}");
    for c in path.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            c if is_plain(c) => text.push(c),
            c => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(text, "\\{byte:03o}");
                }
            }
        }
    }
    text + "\""
}

/// A tab ends a name with a space, as in git: `patch` reads a time after the name.
fn ended(name: &str) -> String {
    if name.contains(' ') && !name.starts_with('"') { format!("{name}\t") } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_as_git_does_it() {
        let table = [
            ("src/a.rs", "a/src/a.rs"),
            ("with space/ä", "a/with space/ä"),
            ("a\"b\\c", "\"a/a\\\"b\\\\c\""),
            ("a\u{1b}[2J\n", "\"a/a\\033[2J\\012\""),
            ("\u{202e}x", "\"a/\\342\\200\\256x\""),
        ];
        for (path, expected) in table {
            assert_eq!(quoted("a/", path), expected);
        }
        assert_eq!([ended("a/b"), ended("a/b c")], ["a/b", "a/b c\t"]);
    }
}
