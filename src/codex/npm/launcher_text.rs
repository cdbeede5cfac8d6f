//! The texts of npm's launcher `bin/codex.js`, by their hashes: what each does before it starts the native program.

use common::printable::hex;
use sha2::{Digest, Sha256};

/// Of all versions that npm has from 0.100 on: SHA-256, generation, versions. `scripts/npm-launchers` writes it.
const TEXTS: &str = include_str!("launcher_texts.tsv");

/// Launchers that treat the native program alike, the oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Generation {
    /// 0.100: puts a folder before PATH, and names npm or bun.
    Path,
    /// 0.131: names the package's folder too.
    PathAndRoot,
    /// 0.133: the native program is in one of two folders.
    PathOfEither,
    /// 0.138: PATH stays.
    Root,
    /// 0.144: knows pnpm, and removes what another launcher said of the package manager.
    Pnpm,
    /// 0.153: knows Vite+.
    VitePlus,
}

impl Generation {
    /// None for a text that is not known.
    pub(super) fn of_text(text: &[u8]) -> Option<Generation> {
        let hash = hex(&Sha256::digest(text));
        let row = TEXTS.lines().find(|row| row.starts_with(&hash))?;
        Generation::from_name(row.split('\t').nth(1)?)
    }

    fn from_name(name: &str) -> Option<Generation> {
        Some(match name {
            "path" => Generation::Path,
            "path-and-root" => Generation::PathAndRoot,
            "path-of-either" => Generation::PathOfEither,
            "root" => Generation::Root,
            "pnpm" => Generation::Pnpm,
            "vite-plus" => Generation::VitePlus,
            _ => return None,
        })
    }

    /// Where the native program may be below the folder of its target, and the folder that then goes before PATH.
    pub(super) fn layouts(self) -> &'static [(&'static str, Option<&'static str>)] {
        match self {
            Generation::Path | Generation::PathAndRoot => &[("codex/codex", Some("path"))],
            Generation::PathOfEither => &[("bin/codex", Some("codex-path")), ("codex/codex", Some("path"))],
            Generation::Root | Generation::Pnpm | Generation::VitePlus => &[("bin/codex", None)],
        }
    }

    pub(super) fn names_root(self) -> bool {
        self >= Generation::PathAndRoot
    }

    pub(super) fn knows_pnpm(self) -> bool {
        self >= Generation::Pnpm
    }

    pub(super) fn knows_vite_plus(self) -> bool {
        self >= Generation::VitePlus
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_has_a_hash_a_generation_and_versions_that_no_other_row_has() {
        let mut versions = Vec::new();
        let mut before = Generation::Path;
        for row in TEXTS.lines() {
            let [hash, name, of_row] = row.split('\t').collect::<Vec<_>>()[..] else { panic!("{row}") };
            assert!(hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{row}");
            let generation = Generation::from_name(name).expect(row);
            assert!(generation >= before, "{row}");
            before = generation;
            versions.extend(of_row.split(' '));
        }
        let count = versions.len();
        assert!(versions.contains(&"0.100.0") && versions.contains(&"0.171.0"));
        versions.sort_unstable();
        versions.dedup();
        assert_eq!(versions.len(), count);
        assert_eq!(Generation::of_text(b"another text"), None);
    }
}
