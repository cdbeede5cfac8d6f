//! The shell script that pnpm puts on PATH for npm's launcher. Known by its text without the paths in it.

use crate::base::world::World;
use common::printable::hex;
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// SHA-256 of the text with placeholders for its paths; from which folder it names the launcher.
const TEXTS: [(&str, Base); 3] = [
    // pnpm 8.15 and 9.15.
    ("301985d57e4d43051a900961bb5ce61f13c6195ae0e5ebc5322b674a26ee919e", Base::AsCalled),
    // pnpm 10.34.
    ("a152c74a05d0b84595cb819fecd6eece9cabec3940c3129d392b299f639b4841", Base::AsCalled),
    // pnpm 12.21.
    ("0bb0d44fd999ae1542f452de8ae4999fbb33347a3553582bd6b21af42edbc232", Base::WithoutLinks),
];

/// The largest script is 6 KB long, with paths.
const LARGEST: u64 = 64 << 10;

const BEFORE_NODE_PATH: &str = "\n  export NODE_PATH=";

/// Before the path of the launcher; what follows the folder is quoted, or already within quotes.
const BEFORE_TARGET: [&str; 2] = ["  \"$basedir/", "  \"$basedir_abs\"/'"];

const BEFORE_COMMENT: &str = "\n# cmd-shim-target=";

/// The folder from which a script names the launcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Base {
    /// The script's own, as it was called.
    AsCalled,
    /// The script's own, all links followed.
    WithoutLinks,
}

/// Variables that the scripts or their shell set, beside PWD: where one is in the environment, Codex finds it changed.
#[rustfmt::skip]
const SET: [&str; 22] = [
    "basedir", "basedir_abs", "basedir_win", "caller_path", "caller_path_set", "converted", "dir", "exe", "helper_path",
    "hops", "link", "msys", "os", "rest", "target",
    "IFS", "OPTIND", "PPID", "SHELLOPTS", "BASHOPTS", "POSIXLY_CORRECT", "LINENO",
];

/// What a script starts with Node.js.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PnpmShim {
    /// Where the script looks for `node` first.
    pub(super) folder: PathBuf,
    pub(super) script: PathBuf,
    /// What the script puts before NODE_PATH.
    pub(super) node_path: String,
}

impl PnpmShim {
    /// None for any other file. `file`: an absolute path.
    pub(super) fn read(file: &Path) -> Option<PnpmShim> {
        if fs::metadata(file).ok()?.len() > LARGEST {
            return None;
        }
        let (node_path, target, base) = parse(&fs::read_to_string(file).ok()?)?;
        let folder = match base {
            Base::AsCalled => file.parent()?.to_path_buf(),
            Base::WithoutLinks => fs::canonicalize(file).ok()?.parent()?.to_path_buf(),
        };
        Some(PnpmShim { script: folder.join(target), folder, node_path })
    }

    /// The value of NODE_PATH that the script exports.
    pub(super) fn with_earlier(&self, earlier: &str) -> OsString {
        match earlier {
            "" => self.node_path.clone().into(),
            earlier => format!("{}:{earlier}", self.node_path).into(),
        }
    }
}

/// Whether a script and its shell pass on the environment unchanged, but for `_`. Shells drop names that are no
/// identifiers; some add PWD and SHLVL. Within Windows the script may start Windows' Node.js.
pub(super) fn keeps_environment(world: &World) -> bool {
    let variables = &world.variables;
    let is_identifier = |name: &str| {
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
    };
    variables.names().all(|name| name.to_str().is_some_and(is_identifier))
        && !variables.names().any(|name| SET.iter().any(|set| name == *set))
        && variables.os("PWD") == world.cwd.as_deref().map(Path::as_os_str)
        && variables.os("SHLVL").is_some()
        && variables.os("OLDPWD").is_none_or(|folder| Path::new(folder).is_dir())
        && !world.is_wsl()
}

/// The script's addition to NODE_PATH, the launcher's path, and from where.
fn parse(text: &str) -> Option<(String, String, Base)> {
    let quoted = after(text, BEFORE_NODE_PATH)?;
    let quote = quoted.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let node_path = plain(quoted[1..].split(quote).next()?)?;
    let target = BEFORE_TARGET.iter().find_map(|before| after(text, before))?;
    let target = plain(target.split(['"', '\'']).next()?)?;
    let mut general = text.replace(node_path, "{NODE_PATH}").replace(target, "{TARGET}");
    if let Some(at) = general.find(BEFORE_COMMENT) {
        general.truncate(at + BEFORE_COMMENT.len());
        general.push_str("{ABSOLUTE}\n");
    }
    let hash = hex(&Sha256::digest(general));
    let (_, base) = TEXTS.iter().find(|(known, _)| *known == hash)?;
    Some((node_path.to_owned(), target.to_owned(), *base))
}

fn after<'t>(text: &'t str, before: &str) -> Option<&'t str> {
    text.split_once(before).map(|(_, after)| after)
}

/// A path that a shell leaves as it is between quotes of either kind.
fn plain(path: &str) -> Option<&str> {
    let is_plain = !path.is_empty() && !path.contains(['$', '`', '\\', '"', '\'', '\n', '{']);
    is_plain.then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As pnpm 9, 10 and 12 wrote them.
    const SCRIPTS: [(&str, &str, Base); 3] = [
        (include_str!("../../../tests/fixtures/pnpm/codex-9"), "global/5/", Base::AsCalled),
        (include_str!("../../../tests/fixtures/pnpm/codex-10"), "global/5/.pnpm/", Base::AsCalled),
        (include_str!("../../../tests/fixtures/pnpm/codex-12"), "../global/v11/", Base::WithoutLinks),
    ];

    #[test]
    fn a_script_is_known_whatever_its_paths_are() {
        for (script, folder, base) in SCRIPTS {
            let (node_path, target, found) = parse(script).expect(script);
            assert!(
                target.starts_with(folder) && target.ends_with("/@openai/codex/bin/codex.js"),
                "{target}"
            );
            assert!(node_path.starts_with("/home/me/.pnpm/home/"), "{node_path}");
            assert_eq!(found, base);
            for (to, other) in [("/b c/ü", "x/codex.js"), ("/a:/b", "../y z/codex.js")] {
                let moved = script.replace(&node_path, to).replace(&target, other);
                assert_eq!(parse(&moved), Some((to.to_owned(), other.to_owned(), base)));
            }
            let others = [
                script.replace(&node_path, "/a/$HOME"),
                script.replace(&target, "$(reboot)/codex.js"),
                script.replace("exec node", "exec nodejs"),
                script.replacen("exec", "echo; exec", 1),
            ];
            for other in others {
                assert_eq!(parse(&other), None, "{other}");
            }
        }
        assert_eq!(parse(""), None);
    }

    #[test]
    fn an_environment_that_a_shell_would_change_is_not_kept() {
        let keeps = |more: &[(&str, &str)]| {
            let usual = [("PWD", "/tmp"), ("SHLVL", "1"), ("PATH", "/bin")];
            let pairs = usual.iter().chain(more).map(|(name, value)| (name.to_string(), value.to_string()));
            keeps_environment(&World {
                variables: pairs.collect(),
                cwd: Some("/tmp".into()),
                ..World::default()
            })
        };
        assert!(keeps(&[]) && keeps(&[("OLDPWD", "/")]));
        let changed = [
            ("PWD", "/var"),
            ("SHLVL", ""),
            ("a.b", "1"),
            ("1a", "1"),
            ("link", "1"),
            ("OLDPWD", "/nowhere"),
        ];
        for pair in changed {
            assert!(!keeps(&[pair]), "{pair:?}");
        }
    }

    #[test]
    fn it_goes_before_an_earlier_node_path() {
        let shim = PnpmShim { folder: PathBuf::new(), script: PathBuf::new(), node_path: "/a:/b".into() };
        assert_eq!(["", "/c"].map(|earlier| shim.with_earlier(earlier)), ["/a:/b", "/a:/b:/c"]);
    }
}
