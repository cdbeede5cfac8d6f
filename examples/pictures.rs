//! Leaves a database of sessions that are worth a look, for `scripts/mlflow-page`. Needs no account.
//!
//! `cargo run --example pictures`
//!
//! A real Codex does all of it; a stand-in on 127.0.0.1 plays the model. What it leaves stays in `pictures/` of the
//! target folder until the next run.

use serde_json::json;
use std::fs;
use std::path::PathBuf;
use support::scenarios::{self, CODE_MODE};
use support::{End, Home, ModelServer, Reply, Script, real, run};

fn main() {
    let target =
        std::env::current_exe().ok().and_then(|program| Some(program.ancestors().nth(3)?.to_owned()));
    let target = target.expect("an example lies in target/<profile>/examples");
    let launcher = target.join("debug/codex-traced");
    assert!(launcher.exists(), "run `cargo build` first");
    let codex = real::fetch_codex();
    let server = ModelServer::start(Script::new());
    let home = Home::kept(&target.join("pictures"), &server.url());
    let exec = |model: &str, variables: &[(&str, &str)], arguments: &[&str]| {
        home.face(model, &server.url());
        let mut command = home.traced(&launcher, &codex.native);
        command.envs(variables.iter().copied()).args(["exec", "--json"]).args(arguments);
        let outcome = run(&mut command).ended(End::Code(0));
        outcome.json_lines()[0]["thread_id"].as_str().expect("a thread's id").to_owned()
    };

    fs::write(home.work().join("test.sh"), "echo 'expected 4, got 5' >&2; exit 1\n").expect("write a file");
    server.play(a_failing_test());
    let thread = exec("gpt-5.5", &[], &["why does test.sh fail?"]);
    server.play(
        Script::new()
            .reply(Reply::new().answer("It compares with **4**; the sum is 5.").usage(9_800, 9_700, 30, 0)),
    );
    exec("gpt-5.5", &[], &["resume", &thread, "what would mend it?"]);
    server.play(scenarios::nested_agents());
    exec(CODE_MODE, &[], &["do it with agents"]);
    let turns = [("CODEX_TRACED_GRANULARITY", "turn")];
    server.play(Script::new().reply(Reply::new().answer("A parser reads text.").usage(9_000, 0, 12, 0)));
    let thread = exec("gpt-5.5", &turns, &["what is a parser?"]);
    server.play(
        Script::new().reply(Reply::new().answer("A lexer makes its tokens.").usage(9_100, 9_000, 14, 0)),
    );
    exec("gpt-5.5", &turns, &["resume", &thread, "and a lexer?"]);
    let database: PathBuf = home.database();
    println!("{}", database.display());
}

fn a_failing_test() -> Script {
    let look = Reply::new()
        .reasoning("**Running the test** to see what it says")
        .commentary("I run it first.")
        .call("exec_command", json!({"cmd": "sh test.sh"}));
    let read = Reply::new()
        .reasoning("**Reading the script**, for the message names two numbers")
        .commentary("It exits with 1; I read the script.")
        .call("exec_command", json!({"cmd": "cat test.sh"}));
    Script::new().reply(look.usage(9_120, 4_096, 92, 64)).reply(read.usage(9_310, 9_088, 148, 96)).reply(
        Reply::new()
            .answer("`test.sh` fails by design: it prints a message and exits with 1.")
            .usage(9_520, 9_216, 41, 0),
    )
}
