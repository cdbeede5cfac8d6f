//! `--remote`: an app server writes the sessions. Those of this home are traced, by the interface's log, or where no
//! other session can be the launch's.

use super::{claimed, evidence, home, shell, thread_of, thread_with, traced};
use crate::LAUNCHER;
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use support::run::LIMIT;
use support::{Codex, End, Gate, Home, ModelServer, Reply, Running, Script, codex, run, start, wait_for};

/// `codex app-server`, until it is dropped.
struct AppServer {
    address: String,
    _running: Running,
}

impl AppServer {
    fn at_a_port(home: &Home, codex: &Codex) -> AppServer {
        let running = start(home.command(&codex.native).args(["app-server", "--listen", "ws://127.0.0.1:0"]));
        let address = || {
            let printed = running.stdout() + &running.stderr();
            let line = printed.lines().find_map(|line| line.trim().strip_prefix("listening on: "))?;
            TcpStream::connect(line.strip_prefix("ws://")?).ok()?;
            Some(line.to_owned())
        };
        wait_for("the app server to listen", LIMIT, || address().is_some());
        AppServer { address: address().expect("it listens"), _running: running }
    }

    fn at_a_socket(home: &Home, codex: &Codex) -> AppServer {
        let socket = home.root().join("app-server.sock");
        let address = format!("unix://{}", socket.display());
        let running = start(home.command(&codex.native).args(["app-server", "--listen", &address]));
        wait_for("the app server to listen", LIMIT, || UnixStream::connect(&socket).is_ok());
        AppServer { address, _running: running }
    }
}

fn exec(mut codex: Command, address: &str, words: &[&str]) -> Command {
    codex.args(["exec", "--json", "--remote", address]).args(words);
    codex
}

fn unclaimed(home: &Home) -> BTreeSet<String> {
    let status = run(home.traced(LAUNCHER, Path::new("/nowhere")).args(["mlflow", "status", "--json"]));
    let status: Value = serde_json::from_str(&status.ended(End::Code(0)).stdout).expect("JSON");
    let listed = status["unclaimed"].as_array().expect("a list");
    listed.iter().map(|one| one["thread_id"].as_str().expect("text").to_owned()).collect()
}

#[test]
fn an_exec_on_an_app_server_of_this_home_is_traced() {
    let Some(codex) = codex() else { return };
    let server = ModelServer::start(Script::new());
    for start_server in [AppServer::at_a_port, AppServer::at_a_socket] {
        let home = Home::new(&server.url());
        let app_server = start_server(&home, &codex);
        let traced_exec = |words: &[&str]| {
            run(&mut exec(home.traced(LAUNCHER, &codex.native), &app_server.address, words))
                .ended(End::Code(0))
        };
        let new = thread_of(&traced_exec(&["go"]));
        assert_eq!(evidence(&home, &new), ["only"]);
        assert_eq!(thread_of(&traced_exec(&["resume", &new, "go on"])), new);
        assert_eq!(evidence(&home, &new), ["only", "named"]);
        let other = thread_of(&traced_exec(&["go again"]));
        assert_eq!(evidence(&home, &other), ["only"]);
        assert_eq!(traced(&home), BTreeSet::from([new, other]));
        // A turn that fails, and a server that is not there: which session is whose is not known.
        server.play(Script::new().reply(Reply::new().http_error(400, "no")));
        run(&mut exec(home.traced(LAUNCHER, &codex.native), &app_server.address, &["fail"]))
            .ended(End::Code(1));
        assert_eq!((home.rollouts().len(), traced(&home).len()), (3, 2));
    }
}

#[test]
fn of_two_execs_at_once_in_one_folder_none_is_guessed() {
    let Some(codex) = codex() else { return };
    let gate = Gate::new();
    let slow = Reply::new().answer("late").stall_at_start(&gate);
    let server = ModelServer::start(Script::new().reply_to("slow", slow));
    let home = Home::new(&server.url());
    let app_server = AppServer::at_a_port(&home, &codex);
    let ours = start(&mut exec(home.traced(LAUNCHER, &codex.native), &app_server.address, &["slow"]));
    gate.wait_until_reached(LIMIT);
    let theirs =
        run(&mut exec(home.command(&codex.native), &app_server.address, &["go"])).ended(End::Code(0));
    gate.open();
    let ours = ours.finish(LIMIT).ended(End::Code(0));
    assert_eq!(claimed(&home), BTreeSet::new());
    assert_eq!(unclaimed(&home), BTreeSet::from([thread_of(&ours), thread_of(&theirs)]));
}

#[test]
fn of_an_exec_on_an_app_server_of_another_home_nothing_is_claimed() {
    let Some(codex) = codex() else { return };
    let gate = Gate::new();
    let slow = Reply::new().answer("late").stall_at_start(&gate);
    let server = ModelServer::start(Script::new().reply_to("slow", slow));
    let (home, other) = (Home::new(&server.url()), Home::new(&server.url()));
    let (here, elsewhere) = (AppServer::at_a_port(&home, &codex), AppServer::at_a_port(&other, &codex));
    let ours = start(&mut exec(home.traced(LAUNCHER, &codex.native), &elsewhere.address, &["slow"]));
    gate.wait_until_reached(LIMIT);
    // The only session of this home in that time.
    run(&mut exec(home.command(&codex.native), &here.address, &["go"])).ended(End::Code(0));
    gate.open();
    ours.finish(LIMIT).ended(End::Code(0));
    assert_eq!((home.rollouts().len(), other.rollouts().len()), (1, 1));
    assert_eq!((claimed(&home), unclaimed(&home)), (BTreeSet::new(), BTreeSet::new()));
    assert_eq!((home.launches().len(), home.spooled().len()), (0, 0));
}

#[test]
fn an_interface_on_an_app_server_is_traced_by_its_log() {
    let Some(codex) = codex() else { return };
    let title = || Reply::new().answer("a title");
    let script = (0..2).fold(Script::new(), |script, _| script.reply_to("Generate a concise", title()));
    let script = script
        .reply_to("theirs prompt", Reply::new().answer("theirs answer"))
        .reply_to("mine prompt", Reply::new().answer("mine answer"));
    let server = ModelServer::start(script);
    let home = home(&server);
    let app_server = AppServer::at_a_port(&home, &codex);
    let (theirs, mine) = (shell(&home, &codex), shell(&home, &codex));
    mine.type_line(&format!("clear; $T --remote {} 'mine prompt'; echo ended $?", app_server.address));
    mine.wait_for("mine answer");
    theirs.type_line(&format!("clear; $P --remote {} 'theirs prompt'; echo ended $?", app_server.address));
    theirs.wait_for("theirs answer");
    theirs.submit("/quit", "ended 0");
    mine.submit("/quit", "ended 0");
    home.wait_until_delivered();
    let thread = thread_with(&home, "mine answer");
    assert_eq!(home.rollouts().len(), 2);
    assert_eq!(traced(&home), BTreeSet::from([thread.clone()]));
    assert_eq!(evidence(&home, &thread), ["tui_log"]);
}
