//! The real Codex and the real MLflow: fetched once, pinned, into `real/` of the target folder.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The Codex that tests run by default: the newest that was tried.
pub const CODEX_VERSION: &str = "0.171.0";

/// The newest Codex before it, of which most of the corpus was recorded.
pub const CODEX_BEFORE: &str = "0.169.0";

/// The one that comes with the machine may be older.
const NODE_VERSION: &str = "24.9.0";

/// The MLflow that tests read with by default: the newest that was tried.
pub const MLFLOW_VERSION: &str = "3.18.0";

/// The newest MLflow before it.
pub const MLFLOW_BEFORE: &str = "3.17.2";

/// The oldest MLflow that can read the launcher's database.
pub const MLFLOW_OLDEST: &str = "3.6.0";

/// The oldest MLflow server that we deliver to; it keeps spans as files.
pub const MLFLOW_OLDEST_SERVER: &str = "3.2.0";

/// The Arize Phoenix that tests run.
const PHOENIX_VERSION: &str = "20.26.1";

/// Leaves out, visibly, what needs a real part.
const OFFLINE: &str = "CODEX_TRACED_TEST_OFFLINE";

/// Written last: a folder without it was never finished.
const FINISHED: &str = "finished";

/// The Codex of the npm package `@openai/codex`.
#[derive(Clone, Debug)]
pub struct Codex {
    /// The program itself.
    pub native: PathBuf,
    /// npm's launcher, a Node script that starts it.
    pub launcher: PathBuf,
}

/// None, with a line on stderr, when tests are to stay offline.
pub fn codex() -> Option<Codex> {
    wanted(&format!("Codex {CODEX_VERSION}")).then(fetch_codex)
}

/// As `codex`, of another version.
pub fn older_codex(version: &str) -> Option<Codex> {
    wanted(&format!("Codex {version}")).then(|| fetch_codex_of(version))
}

/// npm's launcher of a version, without the native program; None as for `codex`.
pub fn npms_launcher(version: &str) -> Option<PathBuf> {
    wanted(&format!("npm's launcher of Codex {version}")).then(|| {
        let folder = fetched(&format!("codex-launcher-{version}"), |folder| {
            npm_install_with(folder, &format!("@openai/codex@{version}"), &["--omit=optional"]);
        });
        folder.join("node_modules/@openai/codex/bin/codex.js")
    })
}

/// As `codex`, without regard to the environment: for the demo.
pub fn fetch_codex() -> Codex {
    fetch_codex_of(CODEX_VERSION)
}

fn fetch_codex_of(version: &str) -> Codex {
    let folder = fetched(&format!("codex-{version}"), |folder| {
        npm_install(folder, &format!("@openai/codex@{version}"));
    });
    let modules = folder.join("node_modules");
    let native = native_codex(&modules.join("@openai")).unwrap_or_else(|| {
        let folder = folder.display();
        panic!(
            "npm brought no Codex program for this platform into {folder}; remove that folder to try again"
        )
    });
    Codex { native, launcher: modules.join(".bin/codex") }
}

/// The program of the Codex that tests run by default, when it was fetched.
pub(crate) fn fetched_codex_program() -> Option<PathBuf> {
    let folder = target_folder().join("real").join(format!("codex-{CODEX_VERSION}"));
    folder.join(FINISHED).exists().then(|| native_codex(&folder.join("node_modules/@openai")))?
}

/// The folder of a Node.js that replaces itself by what it starts (`process.execve`, 22.15 and later); None as for
/// `codex`.
pub fn node_that_replaces_itself() -> Option<PathBuf> {
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let package = format!("node-linux-{architecture}");
    wanted(&format!("Node.js {NODE_VERSION}")).then(|| {
        let folder = fetched(&format!("node-{NODE_VERSION}"), |folder| {
            npm_install(folder, &format!("{package}@{NODE_VERSION}"));
        });
        folder.join("node_modules").join(package).join("bin")
    })
}

/// The Python of a virtual environment with this MLflow; None, with a line on stderr, when tests are to stay offline.
pub fn mlflow(version: &str) -> Option<PathBuf> {
    wanted(&format!("MLflow {version}")).then(|| fetch_mlflow(version))
}

/// The newest MLflow with what its server needs to know users; None as for `mlflow`.
pub fn mlflow_with_auth() -> Option<PathBuf> {
    let name = format!("mlflow-{MLFLOW_VERSION}-auth");
    wanted(&format!("MLflow {MLFLOW_VERSION} with users"))
        .then(|| fetch_python(&name, "mlflow[auth]", MLFLOW_VERSION))
}

/// Arize Phoenix with OpenTelemetry's SDK; None as for `mlflow`.
pub fn phoenix() -> Option<PathBuf> {
    wanted(&format!("Phoenix {PHOENIX_VERSION}")).then(|| {
        let phoenix = format!("arize-phoenix=={PHOENIX_VERSION}");
        python_with(&format!("phoenix-{PHOENIX_VERSION}"), &[&[&phoenix, "opentelemetry-sdk"]])
    })
}

fn fetch_mlflow(version: &str) -> PathBuf {
    fetch_python(&format!("mlflow-{version}"), "mlflow", version)
}

/// Makes a virtual environment `name` with `package` (`mlflow`, with its extras) at `version`.
///
/// PyPI's mirrors serve `mlflow` 3.18.0 without the `mlflow-skinny` of that version. So the dependencies of the
/// version before come first, then the package alone, which holds all of MLflow's own files.
fn fetch_python(name: &str, package: &str, version: &str) -> PathBuf {
    let with_dependencies = if version == MLFLOW_VERSION { MLFLOW_BEFORE } else { version };
    // MLflow 3.6 uses what SQLAlchemy 2.1 has removed.
    let first = [&*format!("{package}=={with_dependencies}"), "sqlalchemy<2.1"];
    let alone = ["--no-deps", "--force-reinstall", &*format!("mlflow=={version}")];
    match with_dependencies == version {
        true => python_with(name, &[&first]),
        false => python_with(name, &[&first, &alone]),
    }
}

/// The Python of a virtual environment `name` with these packages, one list after the other.
fn python_with(name: &str, packages: &[&[&str]]) -> PathBuf {
    let folder = fetched(name, |folder| {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv"]).arg(folder);
        fetch(&mut venv, "python3", "install Python 3.10 or newer with its venv module");
        for some in packages {
            let mut pip = Command::new(folder.join("bin/python"));
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(*some);
            fetch(&mut pip, "pip", "install Python's ensurepip module");
        }
    });
    folder.join("bin/python")
}

/// Into `node_modules` of this folder.
pub(crate) fn npm_install(folder: &Path, package: &str) {
    npm_install_with(folder, package, &[]);
}

fn npm_install_with(folder: &Path, package: &str, options: &[&str]) {
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--no-save"]).args(options);
    npm.arg("--prefix").arg(folder).arg(package);
    fetch(&mut npm, "npm", "install Node.js (18 or newer), which brings npm");
}

/// The path of a program of the machine; None, with a line on stderr, when it is not there.
pub fn tool(name: &str) -> Option<PathBuf> {
    let found = which::which(name).ok();
    if found.is_none() {
        let thread = std::thread::current();
        say(&format!("left out: {} needs {name}, which is not here", thread.name().unwrap_or("a test")));
    }
    found
}

/// Whether a part may be fetched; else it is named on stderr.
pub fn wanted(part: &str) -> bool {
    let offline = std::env::var_os(OFFLINE).is_some_and(|value| value == "1");
    if offline {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("a test");
        say(&format!("left out: {test} needs {part}, and {OFFLINE}=1"));
    }
    !offline
}

/// The folder `name` in `real/`.
pub(crate) fn fetched(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    finished(&target_folder().join("real"), name, make)
}

/// The folder `name` in `all`, made by `make` unless an earlier run has finished it. One process makes it, others
/// wait.
fn finished(all: &Path, name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let folder = all.join(name);
    if folder.join(FINISHED).exists() {
        return folder;
    }
    fs::create_dir_all(all).unwrap_or_else(|error| panic!("cannot make {}: {error}", all.display()));
    let lock = File::create(all.join(format!("{name}.lock"))).expect("make a lock file in the target folder");
    lock.lock().expect("lock a file of the target folder");
    if !folder.join(FINISHED).exists() {
        // Made in place, since a virtual environment cannot be moved; what an interrupted run left is removed.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).expect("make a folder in the target folder");
        say(&format!("fetching {name} into {} (once)", all.display()));
        make(&folder);
        File::create(folder.join(FINISHED)).expect("mark a fetched part as finished");
    }
    folder
}

/// Past the test harness, which hides what a passing test prints by `eprintln!`.
fn say(line: &str) {
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Runs a command that brings a part; panics with what to do when it cannot.
pub(crate) fn fetch(command: &mut Command, program: &str, remedy: &str) {
    let leave_out = format!("or set {OFFLINE}=1 to leave out the tests that need it");
    let output = command.output().unwrap_or_else(|error| {
        panic!(
            "cannot run {program} to fetch a real part for the tests: {error}\n  hint: {remedy}, {leave_out}"
        )
    });
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} could not fetch a real part for the tests ({}): {command:?}\n{stderr}\n  \
         hint: check the network and {program}'s registry settings, {leave_out}",
        output.status
    );
}

/// `@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex`, and its like on other platforms. Older
/// versions brought all platforms in one package, in other folders.
fn native_codex(packages: &Path) -> Option<PathBuf> {
    let children =
        |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let platform = format!(
        "{}-{}",
        std::env::consts::ARCH,
        if cfg!(target_os = "macos") { "apple" } else { "unknown-linux" }
    );
    let is_ours = |path: &PathBuf| path.to_string_lossy().contains(&platform);
    let candidates = children(packages.to_owned()).flat_map(|package| {
        let vendors = children(package.join("vendor"));
        let inner = vendors.flat_map(|vendor| [vendor.join("bin/codex"), vendor.join("codex/codex")]);
        inner.chain(children(package.join("bin"))).collect::<Vec<_>>()
    });
    candidates.filter(is_ours).find(|program| program.is_file())
}

/// Cargo marks it with CACHEDIR.TAG at every path.
fn target_folder() -> PathBuf {
    let program = std::env::current_exe().expect("a running program has a path");
    let marked = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    marked.map(Path::to_owned).unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_at_once_make_one_folder_and_a_later_one_makes_nothing() {
        let all = tempfile::tempdir().unwrap();
        // An interrupted run's folder has no mark.
        fs::create_dir(all.path().join("part")).unwrap();
        fs::write(all.path().join("part/half"), "").unwrap();
        let make = |folder: &Path| fs::write(folder.join("made"), "").unwrap();
        let made = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    finished(all.path(), "part", |folder| {
                        made.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        make(folder);
                    })
                });
            }
        });
        finished(all.path(), "part", |_| panic!("it was there"));
        assert_eq!(made.into_inner(), 1);
        assert!(all.path().join("part/made").exists() && !all.path().join("part/half").exists());
    }

    #[test]
    #[should_panic(expected = "hint: install it, or set CODEX_TRACED_TEST_OFFLINE=1")]
    fn a_missing_program_is_named_with_what_to_do() {
        fetch(&mut Command::new("no-such-program"), "no-such-program", "install it");
    }

    #[test]
    #[should_panic(expected = "hint: check the network and false's registry settings")]
    fn a_program_that_fails_shows_its_output_and_a_hint() {
        fetch(&mut Command::new("false"), "false", "install it");
    }
}
