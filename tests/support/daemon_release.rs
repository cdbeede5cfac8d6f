//! Codex's copy of itself for its daemon.
//!
//! Codex 0.171 copies its package, 425 MB, into every CODEX_HOME before it starts a daemon there. Hard links to the
//! package are the same files and cost nothing.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::real::{CODEX_VERSION, fetched_codex_program};

/// Links the package of the Codex that tests run by default into this CODEX_HOME, for its full-screen interface. Without
/// links (another file system) or without a package, Codex makes its copy.
pub(crate) fn link_daemon_release(codex_home: &Path) {
    let Some(program) = fetched_codex_program() else { return };
    // `…/x86_64-unknown-linux-musl/bin/codex`
    let Some(package) = program.ancestors().nth(2) else { return };
    let Some(platform) = package.file_name().and_then(OsStr::to_str) else { return };
    let packages = codex_home.join("packages");
    let release = packages.join("app-server-daemon/releases").join(format!("{CODEX_VERSION}-{platform}"));
    if packages.exists() || !codex_home.is_dir() {
        return;
    }
    let linked = link_folder(package, &release).and_then(|()| symlink("bin/codex", release.join("codex")));
    if linked.is_err() {
        // Codex takes half a release for a whole one.
        let _ = fs::remove_dir_all(packages);
    }
}

/// Makes `to` with the folders of `from` and hard links to its files.
fn link_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            link_folder(&entry.path(), &target)?;
        } else {
            fs::hard_link(entry.path(), target)?;
        }
    }
    Ok(())
}
