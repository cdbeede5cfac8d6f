//! npm's packages around a small program: the command keeps its pid, and says what is wrong where its package is missing.

use super::registry::Registry;
use super::{project, trial};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use support::run::LIMIT;
use support::{End, copy_program, run, start, write_program};
use tempfile::TempDir;

/// Prints its pid and its arguments.
const PROGRAM: &str = "#!/bin/sh\nprintf '%s' $$\nfor word; do printf '<%s>' \"$word\"; done\n";

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The main package, and the package of this machine where there is one.
struct Packages {
    root: TempDir,
}

impl Packages {
    fn new(has_platform: bool) -> Packages {
        let packages = Packages { root: tempfile::tempdir().expect("make a temporary folder") };
        fs::create_dir(packages.at("files")).expect("make a folder for the packages");
        let processor = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
        let system = if cfg!(target_os = "macos") { "darwin" } else { "linux" };
        copy_program(
            &project().join("packaging/npm/codex-traced"),
            &packages.folder("main").join("codex-traced"),
        );
        packages.pack("main", &["main", VERSION]);
        if has_platform {
            write_program(&packages.folder("platform").join("codex-traced"), PROGRAM);
            packages.pack("platform", &["platform", VERSION, system, processor]);
        }
        packages
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn folder(&self, name: &str) -> PathBuf {
        let folder = self.at(name);
        fs::create_dir(&folder).expect("make a package's folder");
        folder
    }

    fn pack(&self, name: &str, words: &[&str]) {
        let mut manifest = Command::new("python3");
        let manifest =
            run(manifest.arg(project().join("scripts/release-npm")).args(words)).ended(End::Code(0));
        fs::write(self.at(name).join("package.json"), manifest.stdout).expect("write package.json");
        fs::write(self.at(name).join("THIRD-PARTY.md"), "licences\n").expect("write the licences");
        let mut npm = Command::new("npm");
        npm.args(["pack", "--silent", "--pack-destination"]).arg(self.at("files"));
        run(npm.current_dir(self.at(name)).env("npm_config_update_notifier", "false")).ended(End::Code(0));
    }

    fn npm(&self, registry: &Registry, words: &[&str]) {
        let mut npm = registry.client(Command::new("npm"), self.root.path());
        run(npm.args(words).arg("--prefix").arg(self.at("prefix"))).ended(End::Code(0));
    }

    fn command(&self) -> Command {
        Command::new(self.at("prefix/bin/codex-traced"))
    }
}

#[test]
fn the_command_of_a_global_package_becomes_the_program_of_this_machine() {
    let packages = Packages::new(true);
    let registry = Registry::of(&packages.at("files"));
    packages.npm(&registry, &["install", "--global", "--ignore-scripts", "codex-traced"]);

    let running = start(packages.command().args(["exec", "two words", "", "$HOME `x` *"]));
    let pid = running.pid();
    assert_eq!(running.finish(LIMIT).stdout, format!("{pid}<exec><two words><><$HOME `x` *>"));
    // By a link of the user's, from another folder.
    let link = packages.at("link");
    std::os::unix::fs::symlink(packages.at("prefix/bin/codex-traced"), &link).expect("make a link");
    let linked = run(Command::new(&link).arg("word").current_dir("/")).ended(End::Code(0));
    assert!(linked.stdout.ends_with("<word>"), "{linked:?}");

    packages.npm(&registry, &["uninstall", "--global", "codex-traced"]);
    assert_eq!(trial::files(&packages.at("prefix")), BTreeSet::new());
}

#[test]
fn a_package_without_its_program_says_what_to_do() {
    let packages = Packages::new(false);
    let registry = Registry::of(&packages.at("files"));
    packages.npm(&registry, &["install", "--global", "codex-traced"]);
    let outcome = run(packages.command().arg("exec")).ended(End::Code(126));
    assert_eq!(outcome.stdout, "");
    let [fact, hint] = outcome.stderr.lines().collect::<Vec<_>>()[..] else { panic!("{}", outcome.stderr) };
    assert!(fact.starts_with("codex-traced: the package codex-traced-"), "{fact}");
    assert!(hint.starts_with("  hint: install codex-traced again"), "{hint}");
}
