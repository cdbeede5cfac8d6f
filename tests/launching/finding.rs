//! Finding the real codex, handing it what we were given, and knowing which session it wrote.

use crate::LAUNCHER;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::processes;
use support::run::LIMIT;
use support::{
    End, Gate, Home, ModelServer, Reply, Script, codex, copy_program, run, start, wait_for, write_program,
};

/// A home without a model server: for codexes that are scripts.
fn home() -> Home {
    Home::new("http://127.0.0.1:9")
}

fn script(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("make the folder");
    write_program(path, text);
}

/// The launcher, with these folders first on PATH.
fn launcher(home: &Home, folders: &[PathBuf]) -> Command {
    let mut command = home.command(LAUNCHER);
    let usual = home.environment().into_iter().find(|(name, _)| *name == "PATH").expect("a PATH").1;
    let path = folders.iter().cloned().chain(std::env::split_paths(&usual));
    command.env("PATH", std::env::join_paths(path).expect("no colons"));
    command
}

#[test]
fn our_own_link_and_our_shim_are_passed_over() {
    let home = home();
    let [ours, shim, real] = ["ours", "shim", "real"].map(|name| home.root().join(name));
    fs::create_dir(&ours).expect("make a folder");
    symlink(LAUNCHER, ours.join("codex")).expect("link");
    script(&shim.join("codex"), "#!/bin/sh\n# codex-traced shim\nexec codex-traced \"$@\"\n");
    script(&real.join("codex"), "#!/bin/sh\necho the real one: \"$@\"\nexit 7\n");
    let outcome = run(launcher(&home, &[ours, shim, real]).args(["exec", "go"])).ended(End::Code(7));
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("the real one: exec go\n", ""));
}

#[test]
fn what_cannot_be_started_is_reported_in_a_sentence() {
    let home = home();
    let [empty, data] = ["empty", "data"].map(|name| home.root().join(name));
    fs::create_dir_all(&empty).expect("make a folder");
    fs::create_dir_all(&data).expect("make a folder");
    fs::write(data.join("codex"), "not a program").expect("write");
    let only = |folder: &Path| {
        let mut command = home.command(LAUNCHER);
        command.env("PATH", folder);
        command
    };
    let told = |path: &OsStr| {
        let mut command = home.command(LAUNCHER);
        command.env("CODEX_TRACED_CODEX_BIN", path);
        command
    };
    let table = [
        (only(&empty), 127, "the real codex was not found on PATH (searched 1 directories)"),
        (only(&data), 126, "is not executable"),
        (told(empty.join("gone").as_os_str()), 127, "which does not exist"),
        (told(data.join("codex").as_os_str()), 126, "is not executable"),
        (told(OsStr::new(LAUNCHER)), 126, "which is codex-traced itself"),
    ];
    for (mut command, code, sentence) in table {
        let outcome = run(command.arg("exec")).ended(End::Code(code));
        assert!(
            outcome.stderr.contains(sentence) && outcome.stderr.contains("\n  hint: "),
            "{}",
            outcome.stderr
        );
        assert_eq!(outcome.stderr.lines().count(), 2, "{}", outcome.stderr);
    }
}

#[test]
fn a_codex_that_starts_the_launcher_again_ends_in_one_error() {
    let home = home();
    let at = |name: &str| home.root().join(name);
    for folder in ["linked", "copied", "script", "shim", "alias"] {
        fs::create_dir(at(folder)).expect("make a folder");
    }
    symlink(LAUNCHER, at("linked/codex-traced")).expect("link");
    // Not the same file as the launcher, so the search takes it for Codex; started, it finds the launcher.
    copy_program(Path::new(LAUNCHER), &at("copied/codex"));
    script(&at("script/codex"), &format!("#!/bin/sh\nexec {LAUNCHER} \"$@\"\n"));
    // A shim that a user has changed is a script like any other.
    let shim =
        fs::read_to_string("shims/codex").expect("the shim").replace("codex-traced shim", "my own shim");
    script(&at("shim/codex"), &shim);
    script(
        &at("alias/codex"),
        "#!/bin/bash -i\nalias codex=codex-traced\nshopt -s expand_aliases\neval 'codex \"$@\"'\n",
    );
    let table: [(&str, &[&str]); 4] = [
        ("a script", &["script"]),
        ("a copy of us before a script", &["copied", "script"]),
        ("a changed shim and a link", &["shim", "linked"]),
        ("an alias in a script", &["alias", "linked"]),
    ];
    for (what, folders) in table {
        for words in [&["exec", "go"][..], &["--version"]] {
            let folders: Vec<PathBuf> = folders.iter().map(|folder| at(folder)).collect();
            let outcome = run(launcher(&home, &folders).args(words)).ended(End::Code(126));
            let ours = outcome.stderr.find("codex-traced: ").unwrap_or(0);
            let said = &outcome.stderr[ours..];
            assert!(
                said.starts_with("codex-traced: started 16 times within itself"),
                "{what}: {}",
                outcome.stderr
            );
            assert_eq!(said.lines().count(), 2, "{what}: {}", outcome.stderr);
        }
    }
}

#[test]
fn a_copy_of_the_launcher_in_path_leads_to_the_real_codex() {
    let home = home();
    let [copied, real] = ["copied", "real"].map(|name| home.root().join(name));
    fs::create_dir(&copied).expect("make a folder");
    copy_program(Path::new(LAUNCHER), &copied.join("codex"));
    script(&real.join("codex"), "#!/bin/sh\necho the real one\nexit 7\n");
    let outcome = run(launcher(&home, &[copied, real]).args(["exec", "go"])).ended(End::Code(7));
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("the real one\n", ""));
}

#[test]
fn eight_honest_levels_of_nesting_work() {
    let home = home();
    let folder = home.root().join("nests");
    // As a tool in Codex that runs `codex-traced exec`, seven times within itself.
    let nests = "#!/bin/sh\n\
        case $2 in\n\
        0) echo the innermost at $CODEX_TRACED_DEPTH; exit 7 ;;\n\
        *) codex-traced exec $(($2 - 1)); exit $? ;;\n\
        esac\n";
    script(&folder.join("codex"), nests);
    symlink(LAUNCHER, folder.join("codex-traced")).expect("link");
    let outcome = run(launcher(&home, &[folder]).args(["exec", "7"])).ended(End::Code(7));
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("the innermost at 8\n", ""));
}

#[test]
fn arguments_and_variables_arrive_byte_for_byte() {
    let home = home();
    let folder = home.root().join("probe");
    script(
        &folder.join("codex"),
        "#!/bin/sh\nfor word; do printf '<%s>' \"$word\"; done; printf '%s' \"$ODD\"; cat\n",
    );
    let odd: &OsStr = OsStr::from_bytes(b"odd \xff\xfe value");
    let mut words: Vec<std::ffi::OsString> =
        ["exec", "", " ", "a\nb", "--", "*", "ä", "--not-an-option"].map(Into::into).into();
    words.push(std::ffi::OsString::from_vec(vec![0xff, 0x80]));
    let mut command = launcher(&home, &[folder]);
    let outcome =
        support::run_with_input(command.args(&words).env("ODD", odd), b"from stdin").ended(End::Code(0));
    let expected = "<exec><>< ><a\nb><--><*><ä><--not-an-option><\\xff\\x80>odd \\xff\\xfe valuefrom stdin";
    assert_eq!(outcome.stdout, expected);
}

#[cfg(target_os = "linux")]
#[test]
fn a_signal_that_the_parent_ignored_stays_ignored_for_codex() {
    let home = home();
    let folder = home.root().join("probe");
    script(&folder.join("codex"), "#!/bin/sh\ngrep -E '^Sig(Blk|Ign)' /proc/self/status\n");
    let seen = |program: &Path| {
        let mut shell = home.command("sh");
        shell.env("CODEX_TRACED_CODEX_BIN", folder.join("codex"));
        shell.args(["-c", "trap '' HUP USR1 CHLD; \"$@\"", "sh"]).arg(program).arg("exec");
        run(&mut shell).ended(End::Code(0)).stdout
    };
    assert_eq!(seen(Path::new(LAUNCHER)), seen(&folder.join("codex")));
}

#[test]
fn a_neighbour_in_the_same_folder_keeps_its_session() {
    let Some(codex) = codex() else { return };
    let gate = Gate::new();
    let script = Script::new()
        .reply_to("the neighbour's prompt", Reply::new().answer("hers").stall_at_start(&gate))
        .reply(Reply::new().answer("ours"));
    let server = ModelServer::start(script);
    let home = Home::new(&server.url());
    let neighbour = start(home.command(&codex.native).args(["exec", "--json", "the neighbour's prompt"]));
    gate.wait_until_reached(LIMIT);
    let ours =
        run(home.traced(LAUNCHER, &codex.native).args(["exec", "--json", "our prompt"])).ended(End::Code(0));
    gate.open();
    neighbour.finish(LIMIT).ended(End::Code(0));
    assert_eq!(home.rollouts().len(), 2);
    assert_eq!(home.claimed(), [ours.json_lines()[0]["thread_id"].as_str().expect("a thread id")]);
}

#[test]
fn a_codex_that_a_tool_started_is_not_claimed() {
    let Some(codex) = codex() else { return };
    let inner = format!("{} exec 'the inner prompt' < /dev/null", codex.native.display());
    let script = Script::new()
        .reply_to("the inner prompt\"", Reply::new().answer("inner"))
        .reply(Reply::new().call("exec_command", json!({"cmd": inner, "yield_time_ms": 30_000})))
        .reply(Reply::new().answer("outer"));
    let server = ModelServer::start(script);
    let home = Home::new(&server.url());
    let outer = run(home.traced(LAUNCHER, &codex.native).args(["exec", "--json", "go"])).ended(End::Code(0));
    assert_eq!(home.rollouts().len(), 2, "{}", outer.stdout);
    assert_eq!(home.claimed(), [outer.json_lines()[0]["thread_id"].as_str().expect("a thread id")]);
}

#[test]
fn a_launch_that_writes_no_session_claims_none() {
    let Some(codex) = codex() else { return };
    let server = ModelServer::start(Script::new().reply(Reply::new().answer("done")));
    let home = Home::new(&server.url());
    run(home.traced(LAUNCHER, &codex.native).args(["exec", "--ephemeral", "do it"])).ended(End::Code(0));
    assert_eq!(home.claimed(), [""; 0]);
    assert!(!home.database().exists());
}

#[test]
fn what_a_killed_launcher_left_is_finished_by_the_next_launch() {
    let Some(codex) = codex() else { return };
    let gate = Gate::new();
    let script = Script::new().reply(Reply::new().answer("done").stall_at_start(&gate));
    let server = ModelServer::start(script);
    let home = Home::new(&server.url());
    let asked_for = home.root().join("asked for.db");
    let mut killed = home.traced(LAUNCHER, &codex.native);
    // A tracer would complete the trace by itself.
    killed.env("CODEX_TRACED_LIVE", "off");
    killed.env("MLFLOW_TRACKING_URI", format!("sqlite:///{}", asked_for.display()));
    let killed = start(killed.args(["exec", "do it"]));
    gate.wait_until_reached(LIMIT);
    let native = fs::canonicalize(&codex.native).expect("codex is there");
    let is_codex = |id: &Pid| processes::program(*id).is_some_and(|file| file == native);
    let orphan = home.processes().into_iter().find(is_codex).expect("a codex");
    kill(killed.pid(), Signal::SIGKILL).expect("kill the launcher");
    gate.open();
    assert_eq!(killed.finish(LIMIT).ended(End::Signal(9)).stdout, "done\n", "codex went on");
    wait_for("codex to end", LIMIT, || !processes::is_there(orphan));
    assert_eq!(home.claimed(), [""; 0]);

    server.play(Script::new().reply(Reply::new().answer("again")));
    run(home.traced(LAUNCHER, &codex.native).args(["exec", "once more"])).ended(End::Code(0));
    assert_eq!(home.claimed().len(), 2);
    let left: Vec<_> = fs::read_dir(home.state().join("launches")).expect("read").collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(
        asked_for.exists() && home.database().exists(),
        "each trace is where its own launch was to send it"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_parent_that_blocks_sigchld_does_not_block_the_launcher() {
    let home = home();
    let folder = home.root().join("probe");
    script(&folder.join("codex"), "#!/bin/sh\ngrep -E '^SigBlk' /proc/self/status\nexit 5\n");
    let block = "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD, signal.SIGUSR1]); \
                 os.execv(sys.argv[1], sys.argv[1:])";
    let seen = |program: &Path| {
        let mut python = home.command("python3");
        python
            .env("CODEX_TRACED_CODEX_BIN", folder.join("codex"))
            .args(["-c", block])
            .arg(program)
            .arg("exec");
        run(&mut python).ended(End::Code(5)).stdout
    };
    assert_eq!(seen(Path::new(LAUNCHER)), seen(&folder.join("codex")));
}

#[cfg(target_os = "linux")]
#[test]
fn odd_ways_to_start_and_to_end_are_codexs_own() {
    let home = home();
    let folder = home.root().join("probe");
    script(&folder.join("dies"), "#!/bin/sh\nkill -40 $$\n");
    script(&folder.join("plain"), "echo no interpreter named: \"$@\"\nexit 4\n");
    script(&home.work().join("codex"), "#!/bin/sh\necho beside us: \"$@\"\n");
    let with = |codex: &Path, words: &[&str]| {
        let mut command = home.command(LAUNCHER);
        run(command.env("CODEX_TRACED_CODEX_BIN", codex).args(words))
    };
    assert_eq!(with(&folder.join("dies"), &["exec"]).end, End::Signal(40));
    for words in [&["exec", "a b"][..], &["--version", "a b"]] {
        let outcome = with(&folder.join("plain"), words).ended(End::Code(4));
        assert_eq!(outcome.stdout, format!("no interpreter named: {} a b\n", words[0]));
        let outcome = with(Path::new("codex"), words).ended(End::Code(0));
        assert_eq!(outcome.stdout, format!("beside us: {} a b\n", words[0]));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_limit_of_file_sizes_fails_the_launchers_writes_and_kills_no_process() {
    let home = home();
    let folder = home.root().join("probe");
    script(&folder.join("codex"), "#!/bin/sh\ngrep -E '^SigIgn' /proc/self/status\nexit 6\n");
    let seen = |program: &Path| {
        let mut shell = home.command("sh");
        shell.env("CODEX_TRACED_CODEX_BIN", folder.join("codex"));
        shell.args(["-c", "ulimit -f 0; exec \"$@\"", "sh"]).arg(program).arg("exec");
        run(&mut shell).ended(End::Code(6)).stdout
    };
    assert_eq!(seen(Path::new(LAUNCHER)), seen(&folder.join("codex")));
    let left: Vec<_> = fs::read_dir(home.state().join("launches")).into_iter().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_signal_after_codex_has_ended_does_not_change_the_launchers_end() {
    let Some(codex) = codex() else { return };
    let server = ModelServer::start(Script::new().reply(Reply::new().answer("done")));
    let home = Home::new(&server.url());
    let spool = home.state().join("spool");
    fs::create_dir_all(&spool).expect("make the spool");
    // A delivery waits for the locked database for seconds.
    let blocker = rusqlite::Connection::open(home.database()).expect("make a database");
    blocker.execute_batch("BEGIN EXCLUSIVE; CREATE TABLE t (c)").expect("lock the database");
    let running = start(home.traced(LAUNCHER, &codex.native).args(["exec", "do it"]));
    let has_entry = || {
        let mut names = fs::read_dir(&spool).expect("read").flatten().map(|entry| entry.file_name());
        names.any(|name| name.as_bytes().ends_with(b".json"))
    };
    wait_for("the trace in the spool", LIMIT, has_entry);
    running.signal(Signal::SIGTERM);
    running.signal(Signal::SIGINT);
    assert_eq!(running.finish(LIMIT).ended(End::Code(0)).stdout, "done\n");
}
