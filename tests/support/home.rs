//! A Codex home of its own for one test: its folders, its configuration, a git work folder and a clean environment.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::{Builder, TempDir};

use crate::processes;
use crate::run::{End, LIMIT, run, wait_for};

/// Switches off what only Linux has (crates/common/src/portable.rs).
pub const PORTABLE: &str = "CODEX_TRACED_TEST_PORTABLE";

/// Whether this run does without what only Linux has.
pub fn is_portable() -> bool {
    std::env::var_os(PORTABLE).is_some()
}

/// Takes exec_command and apply_patch directly; newer models wrap all tools in code mode.
const MODEL: &str = "gpt-5.5";

/// The variable that the configuration names for the API key; its value is a dummy.
const KEY: &str = "STAND_IN_KEY";

/// Nothing listens there: what tries to leave the machine fails at once.
const NOWHERE: &str = "http://127.0.0.1:9";

/// The folder and all in it go when it is dropped, a Codex daemon of this home included; `kept` keeps the folder.
#[derive(Debug)]
pub struct Home {
    root: TempDir,
}

impl Home {
    /// `url` is the model server's.
    pub fn new(url: &str) -> Home {
        let root = Builder::new().prefix("codex-traced-").tempdir().expect("make a temporary folder");
        Home::within(root, url)
    }

    /// In this folder, which stays; what an earlier home left there is removed.
    pub fn kept(folder: &Path, url: &str) -> Home {
        let _ = fs::remove_dir_all(folder);
        let parent = folder.parent().expect("a folder to keep has a parent");
        fs::create_dir_all(parent).expect("make the folder above a home");
        let name = folder.file_name().expect("a folder to keep has a name");
        let mut builder = Builder::new();
        builder.prefix(name).rand_bytes(0).disable_cleanup(true);
        Home::within(builder.tempdir_in(parent).expect("make a folder to keep"), url)
    }

    fn within(root: TempDir, url: &str) -> Home {
        let home = Home { root };
        for folder in [home.user(), home.codex(), home.work(), home.temporary()] {
            fs::create_dir(&folder).unwrap();
        }
        home.face(MODEL, url);
        home.make_repository();
        home
    }

    /// Replaces the configuration, for another model or another server.
    pub fn face(&self, model: &str, url: &str) {
        let work = self.work();
        // Retries are few and still there, so that a test can count them.
        let text = format!(
            r#"model = "{model}"
model_provider = "stand_in"
approval_policy = "never"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false

[model_providers.stand_in]
name = "stand_in"
base_url = "{url}"
env_key = "{KEY}"
wire_api = "responses"
request_max_retries = 1
stream_max_retries = 1

[projects."{}"]
trust_level = "trusted"
"#,
            work.display()
        );
        fs::write(self.config(), text).unwrap();
    }

    /// Tables to add at the end of the configuration.
    pub fn configure(&self, tables: &str) {
        let text = fs::read_to_string(self.config()).unwrap();
        fs::write(self.config(), format!("{text}\n{tables}\n")).unwrap();
    }

    fn make_repository(&self) {
        fs::write(self.work().join("README.md"), "a work folder\n").unwrap();
        self.git(&["init", "--quiet", "--initial-branch", "main"]);
        self.git(&["add", "."]);
        self.git(&["commit", "--quiet", "--message", "Start"]);
    }

    /// The work folder as it was at first, for the same script again.
    pub fn reset_work(&self) {
        self.git(&["reset", "--quiet", "--hard"]);
        self.git(&["clean", "--quiet", "-fdx"]);
    }

    fn git(&self, arguments: &[&str]) {
        let mut git = self.command("git");
        git.args(["-c", "user.name=Tester", "-c", "user.email=tester@example.org"]).args(arguments);
        git.env("GIT_CONFIG_NOSYSTEM", "1");
        // Fixed dates make a fixed commit id.
        git.env("GIT_AUTHOR_DATE", "2026-01-01T00:00:00Z").env("GIT_COMMITTER_DATE", "2026-01-01T00:00:00Z");
        run(&mut git).ended(End::Code(0));
    }

    /// In the work folder, with the environment of this home and nothing else.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.work()).env_clear().envs(self.environment());
        // The tests run a second time without what only Linux has.
        if let Some(value) = std::env::var_os(PORTABLE) {
            // A release build does not read it.
            if !cfg!(debug_assertions) {
                panic!("{PORTABLE} needs a debug build");
            }
            command.env(PORTABLE, value);
        }
        command
    }

    /// The launcher under test, with this codex as the real one.
    pub fn traced(&self, launcher: impl AsRef<OsStr>, codex: &Path) -> Command {
        let mut command = self.command(launcher);
        command.env("CODEX_TRACED_CODEX_BIN", codex).env("USER", "tester");
        command
    }

    /// The launcher where this file or folder cannot be written. For root that takes a mount of its own.
    pub fn traced_where_read_only(&self, place: &Path, launcher: &str, codex: &Path) -> Command {
        let metadata = fs::metadata(place).expect("what is to be read-only is there");
        if metadata.uid() != 0 {
            let mode = if metadata.is_dir() { 0o500 } else { 0o400 };
            fs::set_permissions(place, fs::Permissions::from_mode(mode)).expect("chmod");
            return self.traced(launcher, codex);
        }
        let mut command = self.traced("unshare", codex);
        let script = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && exec \"$@\"";
        command.args(["--mount", "sh", "-c", script]).arg(place).arg(launcher);
        command
    }

    /// The database that traces go to when nothing else was asked for.
    pub fn database(&self) -> PathBuf {
        self.state().join("mlflow.db")
    }

    /// Everything that is the launcher's.
    pub fn state(&self) -> PathBuf {
        self.codex().join("mlflow")
    }

    /// Notes of launches whose traces are still to be made, and logs of their interfaces.
    pub fn launches(&self) -> Vec<String> {
        names_in(&self.state().join("launches"))
    }

    /// The ids of the threads that launches claimed, in order.
    pub fn claimed(&self) -> Vec<String> {
        let names = names_in(&self.state().join("threads"));
        let mut ids: Vec<String> =
            names.iter().filter_map(|name| Some(name.strip_suffix(".json")?.to_owned())).collect();
        ids.sort();
        ids
    }

    /// What is kept of each claimed thread: which launches wrote it, and how they ended.
    pub fn records(&self) -> Vec<serde_json::Value> {
        let file_of = |id| self.state().join("threads").join(format!("{id}.json"));
        let read = |id| fs::read(file_of(id)).expect("read a record");
        self.claimed().iter().map(|id| serde_json::from_slice(&read(id)).expect("a record is JSON")).collect()
    }

    /// Traces that are still to be delivered.
    pub fn spooled(&self) -> Vec<String> {
        let mut names = names_in(&self.state().join("spool"));
        names.retain(|name| name.ends_with(".json"));
        names
    }

    /// Waits for the finisher, which may end after the shell's prompt is back: all traces are in the database.
    #[track_caller]
    pub fn wait_until_delivered(&self) {
        // In this order: a launch's notes go when its traces are in the spool.
        let delivered =
            || self.launches().is_empty() && self.spooled().is_empty() && self.database().exists();
        wait_for("the traces to be delivered", LIMIT, delivered);
    }

    /// Waits until no process of this home is left, and those that were there have closed their files.
    #[track_caller]
    pub fn wait_until_ended(&self) {
        let mut seen = BTreeSet::new();
        wait_for("the processes of a home to end", LIMIT, || {
            let now = self.processes();
            seen.extend(now.iter().copied());
            now.is_empty() && !seen.iter().copied().any(processes::runs)
        });
    }

    /// What a command of this home finds in its environment.
    pub fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        vec![
            ("PATH", search_path()),
            ("HOME", self.user()),
            ("CODEX_HOME", self.codex()),
            // Codex warns of a home under the temporary folder.
            ("TMPDIR", self.temporary()),
            ("TERM", "dumb".into()),
            ("TZ", "UTC".into()),
            ("LANG", "C.UTF-8".into()),
            ("HTTPS_PROXY", NOWHERE.into()),
            ("NO_PROXY", "127.0.0.1,localhost".into()),
            (KEY, "dummy".into()),
        ]
    }

    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// HOME.
    pub fn user(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// CODEX_HOME.
    pub fn codex(&self) -> PathBuf {
        self.root.path().join("codex")
    }

    /// The working directory, a git repository with one commit.
    pub fn work(&self) -> PathBuf {
        self.root.path().join("work")
    }

    /// TMPDIR.
    pub fn temporary(&self) -> PathBuf {
        self.root.path().join("tmp")
    }

    pub fn config(&self) -> PathBuf {
        self.codex().join("config.toml")
    }

    pub fn sessions(&self) -> PathBuf {
        self.codex().join("sessions")
    }

    /// All session files, oldest first.
    pub fn rollouts(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        collect_rollouts(&self.sessions(), &mut found);
        found.sort();
        found
    }

    /// The only session file.
    #[track_caller]
    pub fn rollout(&self) -> PathBuf {
        match &self.rollouts()[..] {
            [only] => only.clone(),
            several => panic!("expected one rollout: {several:?}"),
        }
    }

    /// The Codex daemon that serves this home, if one does.
    pub fn daemon(&self) -> Option<Pid> {
        self.processes()
            .into_iter()
            .find(|id| processes::words(*id).split(' ').any(|word| word == "--managed-daemon"))
    }

    /// Every process that was started with this home, which no one but this test knows: Codex's daemon and the
    /// daemon's updater, what a killed Codex left running.
    pub fn processes(&self) -> Vec<Pid> {
        processes::with_variable("CODEX_HOME", self.codex().as_os_str())
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let all_gone = || {
            let left = self.processes();
            for id in &left {
                let _ = kill(*id, Signal::SIGTERM);
            }
            left.is_empty()
        };
        if std::thread::panicking() {
            // A second panic while a failed test unwinds would abort all tests.
            all_gone();
        } else {
            wait_for("the processes of a home to end", LIMIT, all_gone);
        }
    }
}

/// Empty when there is no such folder.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn collect_rollouts(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() {
            collect_rollouts(&path, found);
        } else if name.as_bytes().starts_with(b"rollout-") {
            found.push(path);
        }
    }
}

/// Where node and git are, then the usual folders.
fn search_path() -> PathBuf {
    let tools = ["node", "git"].into_iter().filter_map(|tool| which::which(tool).ok());
    let folders = tools.filter_map(|tool| tool.parent().map(Path::to_owned));
    let usual = ["/usr/local/bin", "/usr/bin", "/bin"].map(PathBuf::from);
    std::env::join_paths(folders.chain(usual)).expect("a folder that PATH named has no colon").into()
}
