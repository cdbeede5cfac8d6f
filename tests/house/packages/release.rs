//! A release's files, each installed into an empty place: a real Codex is traced, and nothing stays after the removal.
//! `scripts/release --check` runs these; CODEX_TRACED_RELEASE names the folder of the files.

use super::project;
use super::registry::Registry;
use super::trial::{Trial, files};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{End, Home, Outcome, installers, real, run};
use tempfile::TempDir;

/// A file of the release, for this machine.
fn file(ending: &str) -> PathBuf {
    let folder =
        std::env::var_os("CODEX_TRACED_RELEASE").expect("CODEX_TRACED_RELEASE names a release's folder");
    let folder = fs::canonicalize(folder).expect("the release's folder");
    let all = fs::read_dir(&folder).expect("read the release's folder").flatten().map(|entry| entry.path());
    let found: Vec<PathBuf> = all.filter(|path| path.to_string_lossy().ends_with(ending)).collect();
    let [only] = &found[..] else { panic!("expected one file …{ending}: {found:?}") };
    only.clone()
}

fn done(command: &mut Command) -> Outcome {
    run(command).ended(End::Code(0))
}

/// A folder that an installation may write to.
fn empty() -> TempDir {
    tempfile::tempdir().expect("make a temporary folder")
}

/// What runs `program` where `root` is all that it sees: the trial's home and Codex are mounted there by their own paths.
fn within(root: &Path, trial: &Trial, program: &str) -> Command {
    const SCRIPT: &str = r#"root=$1; shift
        while [ "$1" != -- ]; do
            mkdir -p "$root$1" && mount --rbind "$1" "$root$1" || exit
            shift
        done
        shift; exec "$CHROOT" "$root" "$@""#;
    let mut command = trial.home.traced("unshare", &trial.codex.native);
    let codex = trial.codex.native.parent().expect("a folder");
    command.args(["--mount", "sh", "-c", SCRIPT, "sh"]).arg(root);
    command.env("CHROOT", chroot()).arg(trial.home.root()).arg(codex).args(["/dev", "/proc", "--", program]);
    command
}

/// By its path: a user's PATH lacks the folder.
fn chroot() -> PathBuf {
    real::tool("chroot").unwrap_or_else(|| "/usr/sbin/chroot".into())
}

/// Nothing of a release is left out.
fn trial() -> Trial {
    Trial::new().expect("CODEX_TRACED_TEST_OFFLINE is not set")
}

#[test]
fn the_licences_are_of_the_crates_that_are_linked() {
    // cargo reads the manifests of crates that only other systems need.
    if !real::wanted("the crates of all targets") {
        return;
    }
    let bill = done(
        Command::new("python3")
            .arg(project().join("scripts/release-sbom"))
            .arg(env!("CARGO_PKG_VERSION"))
            .current_dir(project()),
    );
    let bill: Value = serde_json::from_str(&bill.stdout).expect("the bill of materials is JSON");
    let components = bill["components"].as_array().expect("components");
    assert!(components.len() > 100, "{}", components.len());
    let licences = fs::read_to_string(project().join("THIRD-PARTY.md")).expect("the licences");
    let without = components.iter().filter_map(|component| {
        let (name, version) = (component["name"].as_str()?, component["version"].as_str()?);
        let is_ours = name.starts_with("codex-traced") || ["codex-session", "mlflow-store"].contains(&name);
        let line = format!("- {name} {version}\n");
        (!is_ours && !licences.contains(&line)).then_some(line)
    });
    assert_eq!(
        without.collect::<Vec<_>>(),
        Vec::<String>::new(),
        "`scripts/release` writes THIRD-PARTY.md anew"
    );
}

#[test]
#[ignore = "needs a release's files: scripts/release --check"]
fn the_wheel_in_a_new_environment() {
    let trial = trial();
    let place = empty();
    done(Command::new("python3").args(["-m", "venv"]).arg(place.path()));
    let before = files(place.path());
    let pip = |words: &[&str]| {
        let mut pip = Command::new(place.path().join("bin/python"));
        pip.args(["-m", "pip", "--disable-pip-version-check", "--quiet"]).args(words);
        done(&mut pip)
    };
    let wheel = file(&format!("musllinux_1_1_{}.whl", std::env::consts::ARCH));
    pip(&["install", "--no-index", wheel.to_str().expect("UTF-8")]);
    trial.assert_traces(|| trial.home.traced(place.path().join("bin/codex-traced"), &trial.codex.native));
    pip(&["uninstall", "--yes", "codex-traced"]);
    assert_eq!(files(place.path()), before);
}

#[test]
#[ignore = "needs a release's files: scripts/release --check"]
fn npms_package_with_and_without_scripts() {
    let trial = trial();
    for more in [&[][..], &["--ignore-scripts"]] {
        let place = empty();
        let registry = Registry::of(file("SHA256SUMS").parent().expect("a folder"));
        let npm = |words: &[&str]| {
            let mut npm = registry.client(Command::new("npm"), place.path());
            done(npm.args(words).args(more).arg("--prefix").arg(place.path().join("prefix")))
        };
        npm(&["install", "--global", "codex-traced"]);
        trial.assert_traces(|| {
            trial.home.traced(place.path().join("prefix/bin/codex-traced"), &trial.codex.native)
        });
        npm(&["uninstall", "--global", "codex-traced"]);
        assert!(files(&place.path().join("prefix")).is_empty(), "{more:?}");
    }
}

/// As docs/install.md has it: a registry's packages of our names are not ours.
#[test]
#[ignore = "needs a release's files: scripts/release --check"]
fn npms_files_where_a_registry_has_packages_of_others_by_these_names() {
    let trial = trial();
    let (place, registry) = (empty(), Registry::of_strangers());
    let processor = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let version = env!("CARGO_PKG_VERSION");
    let ours =
        [format!("codex-traced-{version}.tgz"), format!("codex-traced-linux-{processor}-{version}.tgz")];
    let mut npm = registry.client(Command::new("npm"), place.path());
    npm.args(["install", "--global", "--offline", "--ignore-scripts"])
        .args(ours.map(|name| file(&format!("/{name}"))));
    done(npm.arg("--prefix").arg(place.path().join("prefix")));
    assert_eq!(registry.asked(), Vec::<String>::new());
    trial.assert_traces(|| {
        trial.home.traced(place.path().join("prefix/bin/codex-traced"), &trial.codex.native)
    });
}

#[test]
#[ignore = "needs a release's files: scripts/release --check"]
fn npms_package_by_pnpm() {
    let (trial, pnpm) = (trial(), installers::pnpm().expect("pnpm"));
    let place = empty();
    let registry = Registry::of(file("SHA256SUMS").parent().expect("a folder"));
    let (home, bin) = (place.path().join("pnpm"), place.path().join("pnpm"));
    // Without it pnpm keeps what it removed for seven days.
    let keeps = ("npm_config_modules_cache_max_age", "0");
    let pnpm = |words: &[&str]| {
        let mut command = registry.client(Command::new(&pnpm), place.path());
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("PATH"));
        command.env("PNPM_HOME", &home).env("PATH", path).env("XDG_STATE_HOME", place.path().join("state"));
        command
            .env("XDG_CACHE_HOME", place.path().join("cache"))
            .env("XDG_DATA_HOME", place.path().join("data"));
        command.env("HOME", place.path()).envs([keeps]);
        done(command.args(words).current_dir(place.path()))
    };
    pnpm(&["add", "--global", "codex-traced"]);
    trial.assert_traces(|| trial.home.traced(bin.join("codex-traced"), &trial.codex.native));
    pnpm(&["remove", "--global", "codex-traced"]);
    // pnpm keeps what it fetched in a store, for all its projects.
    assert!(!bin.join("codex-traced").exists());
    pnpm(&["store", "prune"]);
    let left = files(&home).into_iter().filter(|path| path.contains("codex-traced"));
    assert_eq!(left.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
#[ignore = "needs a release's files: scripts/release --check"]
fn the_archive_where_nothing_else_is() {
    let trial = trial();
    let root = empty();
    let archive = file(&format!("-{}-unknown-linux-musl.tar.gz", std::env::consts::ARCH));
    done(Command::new("tar").arg("-xzf").arg(archive).arg("--strip-components=1").arg("-C").arg(root.path()));
    trial.assert_traces(|| within(root.path(), &trial, "/codex-traced"));
    // A user's settings for programs with the same allocator.
    let mut version = within(root.path(), &trial, "/codex-traced");
    version.arg("--version").env("MIMALLOC_SHOW_STATS", "1").env("MIMALLOC_VERBOSE", "1");
    assert_eq!(done(&mut version).stderr, "");
    // A server by a name that needs resolving, with certificates that are not there.
    let mut doctor = within(root.path(), &trial, "/codex-traced");
    doctor.args(["mlflow", "doctor"]).env("MLFLOW_CODEX_TRACING_ENABLED", "true");
    let outcome = run(doctor.env("MLFLOW_TRACKING_URI", "https://localhost:9")).ended(End::Code(2));
    assert!(
        outcome.stdout.contains("no server can be trusted: this system has no certificate"),
        "{outcome:?}"
    );
}

#[test]
#[ignore = "needs a release's files: scripts/release --check"]
fn debians_package_where_debian_alone_is() {
    let (trial, debian) = (trial(), installers::debian().expect("a Debian"));
    let place = empty();
    let root = place.path().join("root");
    done(Command::new("cp").arg("-a").arg(debian).arg(&root));
    let before = files_of_debian(&root);
    let processor = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    fs::copy(file(&format!("_{processor}.deb")), root.join("codex-traced.deb")).expect("copy the package");
    let dpkg = |words: &[&str]| done(Command::new(chroot()).arg(&root).arg("dpkg").args(words));
    dpkg(&["--install", "/codex-traced.deb"]);
    fs::remove_file(root.join("codex-traced.deb")).expect("remove the package");

    trial.assert_traces(|| within(&root, &trial, "/usr/bin/codex-traced"));
    // By its shim, as a `codex` of scripts.
    trial.assert_traces(|| {
        let mut shim = within(&root, &trial, "/usr/lib/codex-traced/shims/codex");
        shim.env("PATH", "/usr/lib/codex-traced/shims:/usr/bin:/bin:/usr/sbin:/sbin");
        shim
    });

    dpkg(&["--purge", "codex-traced"]);
    assert_eq!(files_of_debian(&root), before);
}

/// Without dpkg's notes of what it did, and without the folders that a trial is mounted on.
fn files_of_debian(root: &Path) -> Vec<String> {
    let inner = |path: String| path[root.as_os_str().len()..].to_owned();
    let notes = ["/var/lib/dpkg/", "/var/log/"];
    files(root)
        .into_iter()
        .map(inner)
        .filter(|path| !notes.iter().any(|note| path.starts_with(note)))
        .collect()
}

#[test]
#[ignore = "needs a release's files: scripts/release --check"]
fn the_program_for_the_other_processor_by_qemu() {
    let (trial, qemu) = (trial(), real::tool("qemu-aarch64-static").expect("qemu"));
    let place = empty();
    let archive = file("-aarch64-unknown-linux-musl.tar.gz");
    done(
        Command::new("tar").arg("-xzf").arg(archive).arg("--strip-components=1").arg("-C").arg(place.path()),
    );
    let emulated = |home: &Home| {
        let mut command = home.traced(&qemu, &trial.codex.native);
        command.arg(place.path().join("codex-traced"));
        command
    };
    let version = done(emulated(&trial.home).args(["mlflow", "--version"])).stdout;
    assert_eq!(version, concat!("codex-traced mlflow ", env!("CARGO_PKG_VERSION"), "\n"));
    // A process of its own is started by the kernel, which has no program for this processor's files here.
    trial.assert_traced(emulated(&trial.home));

    // An import: the session that Codex itself wrote, by another home.
    let other = Home::new("http://127.0.0.1:9");
    let rollout = trial.home.rollout();
    done(emulated(&other).args(["mlflow", "import"]).arg(&rollout));
    other.wait_until_delivered();
    assert!(other.database().exists());
}
