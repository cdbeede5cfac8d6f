//! What installs a release's packages: pnpm, and the smallest Debian with its dpkg.

use std::path::PathBuf;
use std::process::Command;

use crate::real::{fetch, fetched, npm_install, tool, wanted};

/// One that Node.js 20 runs.
const PNPM_VERSION: &str = "10.17.0";

/// The program `pnpm`; None, with a line on stderr, when tests are to stay offline.
pub fn pnpm() -> Option<PathBuf> {
    wanted(&format!("pnpm {PNPM_VERSION}")).then(|| {
        let folder = fetched(&format!("pnpm-{PNPM_VERSION}"), |folder| {
            npm_install(folder, &format!("pnpm@{PNPM_VERSION}"));
        });
        folder.join("node_modules/.bin/pnpm")
    })
}

/// A folder with the smallest Debian 12; None as for `pnpm`, and where there is no debootstrap. Needs root.
pub fn debian() -> Option<PathBuf> {
    let debootstrap = tool("debootstrap")?;
    wanted("Debian 12").then(|| {
        let folder = fetched("debian-12", |folder| {
            let mut command = Command::new(debootstrap);
            command.args(["--variant=minbase", "bookworm"]).arg(folder.join("root"));
            fetch(&mut command, "debootstrap", "run this test as root");
        });
        folder.join("root")
    })
}
