//! One case, run plain and traced, and what was observed of each.
//!
//! | replaced in an observation | by |
//! |---|---|
//! | ids of processes: the one that the test started, the probe's own, that of the first above it that is no `codex` | `<started>`, `<itself>`, `<above>` |
//! | a process's id in the output of a shell, which pads it to five places, and of Codex when it panics | `<id>` |
//! | the terminal that the test made, by name and number | `<terminal>`; every other `<another terminal>` |
//! | numbers of pipes | `<pipe-N>`, N by first appearance |
//! | a namespace that is not the test's own: each run of `unshare` makes one | `<another namespace>` |
//!
//! And nothing else: paths, variables and bytes stay as they are.

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use support::probe::{self, probe};
use support::run::LIMIT;
use support::{End, Home, Running, Terminal, start, wait_for};

use crate::LAUNCHER;

/// Each thing that was observed, by its name.
pub(crate) type Observation = BTreeMap<String, String>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Plain,
    Traced,
}

/// Where the shell that starts `codex` runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It leads a session on a terminal.
    Terminal,
    /// It leads a session without one; stdin is empty, stdout and stderr are pipes.
    Pipes,
}

/// What the probe leaves for us in its folder.
const LEFT: [&str; 5] = ["seen", "caught", "read", "out", "err"];

/// A folder of programs in which `codex` is by turns the plain program or codex-traced; all else is the same.
pub(crate) struct Stage {
    pub(crate) home: Home,
    /// What is plain, and what codex-traced runs.
    codex: PathBuf,
    variables: Vec<(&'static str, String)>,
}

/// A shell that runs, and what it was started in.
pub(crate) enum Act {
    Terminal(Terminal),
    Pipes(Running),
}

impl Stage {
    pub(crate) fn new() -> Stage {
        let home = Home::new("http://127.0.0.1:9");
        fs::create_dir(home.root().join("bin")).expect("make a folder of programs");
        Stage { home, codex: probe(), variables: Vec::new() }
    }

    /// Where this program is Codex; it starts the probe. It is made in the home.
    pub(crate) fn of(make: impl FnOnce(&Home) -> PathBuf) -> Stage {
        let stage = Stage::new();
        Stage { codex: make(&stage.home), ..stage }
    }

    /// With this variable for both.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Stage {
        self.variables.push((name, value.to_owned()));
        self
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.home.work().join(name)
    }

    /// From now on `codex` runs this one.
    pub(crate) fn cast(&self, who: Who) {
        let codex = self.home.root().join("bin/codex");
        let _ = fs::remove_file(&codex);
        let program = if who == Who::Plain { self.codex.clone() } else { LAUNCHER.into() };
        symlink(program, codex).expect("put a program in its place");
        for entry in fs::read_dir(self.home.work()).expect("read the work folder").flatten() {
            if entry.path().is_file() {
                fs::remove_file(entry.path()).expect("clear the work folder");
            }
        }
    }

    /// In a session of its own, a shell that runs this.
    pub(crate) fn shell(&self, script: &str) -> Command {
        let mut shell = self.home.command("bash");
        shell.args(["-c", script]).envs(self.environment());
        shell
    }

    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let usual = self.home.environment().swap_remove(0).1;
        let path = format!("{}:{}", self.home.root().join("bin").display(), usual.display());
        let codex = self.codex.to_str().expect("UTF-8").to_owned();
        let mut all = vec![("PATH", path), ("CODEX_TRACED_CODEX_BIN", codex), ("USER", "tester".into())];
        all.extend(self.variables.iter().cloned());
        all
    }

    pub(crate) fn begin(&self, who: Who, place: Place, script: &str) -> Act {
        self.cast(who);
        match place {
            Place::Terminal => Act::Terminal(Terminal::start(&self.shell(script))),
            Place::Pipes => {
                let mut leader = self.home.command("setsid");
                let shell = self.shell(script);
                leader.arg(shell.get_program()).args(shell.get_args()).envs(self.environment());
                Act::Pipes(start(&mut leader))
            }
        }
    }

    /// Waits for the file that Codex leaves, and for the signal probe, which the launcher starts after Codex:
    /// until then a signal for the group may reach Codex twice.
    #[track_caller]
    pub(crate) fn wait_until_attended(&self, name: &str) {
        wait_until(&self.at(name));
        let codex = fs::read_link(self.home.root().join("bin/codex")).expect("a program in its place");
        if codex == Path::new(LAUNCHER) {
            wait_for("the signal probe", LIMIT, || self.signal_probe().is_some());
        }
    }

    pub(crate) fn signal_probe(&self) -> Option<Pid> {
        let name = |id: &Pid| fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
        self.home.processes().into_iter().find(|id| name(id).trim_end() == "codex-witness")
    }

    /// Plain and traced, to the end.
    #[track_caller]
    pub(crate) fn observe(&self, place: Place, script: &str, deed: impl Fn(&Act)) -> [Observation; 2] {
        [Who::Plain, Who::Traced].map(|who| {
            let act = self.begin(who, place, script);
            deed(&act);
            self.end(act)
        })
    }

    #[track_caller]
    pub(crate) fn end(&self, act: Act) -> Observation {
        let started = act.id();
        let mut names = vec![(started.to_string(), "<started>".to_owned())];
        let mut seen = Observation::new();
        match act {
            Act::Terminal(terminal) => {
                let (name, device) = terminal.name();
                names.extend([(name, "<terminal>".into()), (device.to_string(), "<terminal>".into())]);
                let ended = terminal.finish();
                seen.insert("shown".into(), without_ids(&ended.text()));
                seen.insert("end".into(), format!("{:?}", ended.end));
                let modes = ended.modes_before == ended.modes_after;
                seen.insert("modes are put back".into(), modes.to_string());
            }
            Act::Pipes(running) => {
                let outcome = running.finish(LIMIT);
                seen.insert("stdout".into(), outcome.stdout);
                seen.insert("stderr".into(), without_ids(&outcome.stderr));
                seen.insert("end".into(), format!("{:?}", outcome.end));
            }
        }
        for name in LEFT {
            let Ok(text) = fs::read(self.at(name)) else { continue };
            let text = text.escape_ascii().to_string();
            if name == "seen" {
                seen.extend(normalised(
                    probe::parse(&fs::read_to_string(self.at(name)).expect("UTF-8")),
                    &names,
                ));
            } else {
                seen.insert(format!("file {name}"), text);
            }
        }
        wait_for("all to be gone", LIMIT, || self.home.processes().is_empty());
        seen
    }
}

impl Act {
    pub(crate) fn id(&self) -> Pid {
        match self {
            Act::Terminal(terminal) => terminal.pid(),
            Act::Pipes(running) => running.pid(),
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send(self.id().as_raw(), signal as i32);
    }

    pub(crate) fn terminal(&self) -> &Terminal {
        match self {
            Act::Terminal(terminal) => terminal,
            Act::Pipes(_) => panic!("there is no terminal"),
        }
    }
}

pub(crate) fn send(to: i32, signal: i32) {
    let sent = Command::new("/bin/kill").args([&format!("-{signal}"), "--", &to.to_string()]).status();
    assert!(sent.expect("run kill").success(), "send {signal} to {to}");
}

/// No step, to be waited for by its file.
#[track_caller]
pub(crate) fn wait_until(file: &Path) {
    wait_for(&format!("the probe to make {}", file.display()), LIMIT, || file.exists());
}

static IDS: LazyLock<Regex> = LazyLock::new(|| {
    let shell = r"(?m)^(?P<before>(?:bash: line \d+:|\[\d\]) ) *\d+\b";
    Regex::new(&format!(r"{shell}|(?P<thread>^thread '[a-z-]+' \()\d+\)"))
        .expect("the pattern is well formed")
});

pub(crate) fn without_ids(text: &str) -> String {
    IDS.replace_all(text, "$before$thread<id>").into_owned()
}

#[test]
fn ids_of_any_length_become_the_same() {
    for id in [" 4711", "32768", "4194304"] {
        assert_eq!(without_ids(&format!("bash: line 1: {id} Alarm clock")), "bash: line 1: <id> Alarm clock");
        assert_eq!(without_ids(&format!("[1] {id}\n")), "[1] <id>\n");
    }
}

fn normalised(mut sight: Observation, names: &[(String, String)]) -> Observation {
    let mut names = names.to_vec();
    names.extend(sight.get("itself").map(|id| (id.clone(), "<itself>".to_owned())));
    let ancestors = sight.remove("ancestors").expect("the probe told its ancestors");
    let mut ancestors = ancestors.split(' ').filter_map(|one| one.split_once('='));
    let parent = ancestors.clone().next().map_or("", |(_, name)| name);
    sight.insert("parent's name".into(), parent.to_owned());
    names.extend(
        ancestors.find(|(_, name)| *name != "codex").map(|(id, _)| (id.to_owned(), "<above>".into())),
    );
    let mut pipes = Vec::new();
    sight
        .into_iter()
        .map(|(key, value)| {
            let known = names.iter().find(|(id, _)| *id == value).map(|(_, name)| name.clone());
            let is_id = ["itself", "group", "session", "controlling terminal", "foreground group"]
                .contains(&key.as_str());
            let value = match known {
                Some(name) if is_id || value.starts_with('/') => name,
                _ if value.starts_with("/dev/pts/") => "<another terminal>".to_owned(),
                _ if key == "controlling terminal" && value != "0" => "<another terminal>".to_owned(),
                _ if is_another_namespace(&key, &value) => "<another namespace>".to_owned(),
                _ if value.starts_with("pipe:[") => {
                    let at = pipes.iter().position(|pipe| *pipe == value).unwrap_or_else(|| {
                        pipes.push(value);
                        pipes.len() - 1
                    });
                    format!("<pipe-{at}>")
                }
                _ => value,
            };
            (key, value)
        })
        .filter(|(key, _)| key != "parent")
        .collect()
}

fn is_another_namespace(key: &str, value: &str) -> bool {
    let own = |name| fs::read_link(format!("/proc/self/ns/{name}")).expect("the test has this namespace");
    key.strip_prefix("namespace ").is_some_and(|name| own(name).to_string_lossy() != value)
}

/// The names of what is not the same.
pub(crate) fn differing([plain, traced]: &[Observation; 2]) -> BTreeSet<String> {
    let names = plain.keys().chain(traced.keys());
    names.filter(|name| plain.get(*name) != traced.get(*name)).cloned().collect()
}

/// The same but for these, and these differ: an allowed difference that is gone is reported too.
pub(crate) fn compare(case: &str, seen: &[Observation; 2], allowed: &[&str]) -> Vec<String> {
    let found = differing(seen);
    let allowed: BTreeSet<String> = allowed.iter().map(|name| (*name).to_owned()).collect();
    let told = |name: &String| {
        let [plain, traced] = seen.each_ref().map(|seen| seen.get(name));
        format!("{case}: {name}: plain {plain:?}, traced {traced:?}")
    };
    let gone = allowed.difference(&found).map(|name| format!("{case}: {name} is the same by now"));
    found.difference(&allowed).map(told).chain(gone).collect()
}

#[track_caller]
pub(crate) fn assert_same(case: &str, seen: &[Observation; 2], allowed: &[&str]) {
    assert_none(&compare(case, seen, allowed));
}

#[track_caller]
pub(crate) fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[track_caller]
pub(crate) fn assert_ended(seen: &[Observation; 2], end: End) {
    assert_eq!(seen[0]["end"], format!("{end:?}"), "{seen:#?}");
}
