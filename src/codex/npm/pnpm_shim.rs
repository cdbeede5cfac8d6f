//! The shell script that pnpm puts on PATH for npm's launcher. Known by its text without the paths in it.

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

/// What a script starts with Node.js.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PnpmShim {
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
        Some(PnpmShim { script: folder.join(target), node_path })
    }

    /// The value of NODE_PATH that the script exports.
    pub(super) fn with_earlier(&self, earlier: &str) -> OsString {
        match earlier {
            "" => self.node_path.clone().into(),
            earlier => format!("{}:{earlier}", self.node_path).into(),
        }
    }
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

    /// As pnpm 10.34 writes it.
    fn script(node_path: &str, target: &str) -> String {
        let head = r#"#!/bin/sh
basedir=$(dirname "$(echo "$0" | sed -e 's,\\,/,g')")

case `uname` in
    *CYGWIN*|*MINGW*|*MSYS*)
        if command -v cygpath > /dev/null 2>&1; then
            basedir=`cygpath -w "$basedir"`
        fi
    ;;
esac
"#;
        format!(
            "{head}
if [ -z \"$NODE_PATH\" ]; then
  export NODE_PATH=\"{node_path}\"
else
  export NODE_PATH=\"{node_path}:$NODE_PATH\"
fi
if [ -x \"$basedir/node\" ]; then
  exec \"$basedir/node\"  \"$basedir/{target}\" \"$@\"
else
  exec node  \"$basedir/{target}\" \"$@\"
fi
"
        )
    }

    #[test]
    fn a_script_is_known_whatever_its_paths_are() {
        let target = "global/5/node_modules/@openai/codex/bin/codex.js";
        for node_path in ["/a/node_modules:/b c/node_modules", "/ü"] {
            let known = parse(&script(node_path, target));
            assert_eq!(known, Some((node_path.to_owned(), target.to_owned(), Base::AsCalled)));
        }
        let others = [
            script("/a/$HOME", target),
            script("/a", "$(reboot)/codex.js"),
            script("/a", target).replace("exec node", "exec nodejs"),
            format!("{}echo\n", script("/a", target)),
            String::new(),
        ];
        for other in others {
            assert_eq!(parse(&other), None, "{other}");
        }
    }

    #[test]
    fn it_goes_before_an_earlier_node_path() {
        let shim = PnpmShim { script: PathBuf::new(), node_path: "/a:/b".into() };
        assert_eq!(["", "/c"].map(|earlier| shim.with_earlier(earlier)), ["/a:/b", "/a:/b:/c"]);
    }
}
