//! A server's workspaces: a trace is for the one that its launch named, and for no other team.

use crate::LAUNCHER;
use serde_json::{Value, json};
use std::process::Command;
use support::mlflow_server::post;
use support::real::{MLFLOW_VERSION, mlflow};
use support::{
    Codex, End, Home, MlflowServer, ModelServer, Oracle, Reply, Script, ServerOptions, Verb, codex, run,
};

struct Teams {
    server: MlflowServer,
    oracle: Oracle,
}

impl Teams {
    fn start() -> Option<Teams> {
        let options =
            ServerOptions { arguments: vec!["--enable-workspaces".into()], ..ServerOptions::default() };
        let server = MlflowServer::with(&mlflow(MLFLOW_VERSION)?, &options);
        Some(Teams { server, oracle: Oracle::newest()? })
    }

    fn make(&self, workspace: &str) {
        let body = json!({ "name": workspace }).to_string();
        let made = post(self.server.port(), "/api/3.0/mlflow/workspaces", &[], &body);
        assert!(made.starts_with("HTTP/1.1 201"), "{made}");
    }

    /// First prompt, last answer and id of each trace, as MLflow's own client finds them in a workspace.
    fn traces(&self, workspace: &str) -> Vec<[String; 3]> {
        let variables = [("MLFLOW_WORKSPACE", workspace)];
        let answers = self.oracle.ask_store(&self.server.uri(), &variables, &[Verb::Traces]);
        let traces: Vec<support::Trace> = serde_json::from_value(answers[0].clone()).expect("traces");
        let text = |preview: Option<String>| preview.unwrap_or_default();
        let shown = |trace: support::Trace| {
            [text(trace.request_preview), text(trace.response_preview), trace.trace_id]
        };
        traces.into_iter().map(shown).collect()
    }

    /// The launcher of a user who works for this team.
    fn launcher(&self, home: &Home, codex: &Codex, workspace: &str) -> Command {
        let mut command = home.traced(LAUNCHER, &codex.native);
        command.env("MLFLOW_CODEX_TRACING_ENABLED", "true").env("MLFLOW_TRACKING_URI", self.server.uri());
        command.env("MLFLOW_WORKSPACE", workspace);
        command
    }
}

fn thread(said: &[Value]) -> String {
    said[0]["thread_id"].as_str().expect("a thread id").to_owned()
}

#[test]
fn a_trace_goes_to_the_workspace_of_its_launch_and_its_session_stays_there() {
    let (Some(codex), Some(teams)) = (codex(), Teams::start()) else { return };
    let model = ModelServer::start(Script::new().reply(Reply::new().answer("one")));
    let home = Home::new(&model.url());
    let launcher = |workspace: &str| teams.launcher(&home, &codex, workspace);
    let of = |thread: &str| format!("tr-{}", thread.replace('-', ""));

    // The server refuses it: there is no such workspace yet.
    teams.make("team-b");
    let outcome = run(launcher("team-a").args(["exec", "--json", "secret of team a"])).ended(End::Code(0));
    let secret = thread(&outcome.json_lines());
    assert_eq!(home.spooled().len(), 1, "{}", outcome.stderr);
    let listed = run(launcher("team-b").args(["mlflow", "sync", "--list"])).ended(End::Code(0)).stdout;
    teams.make("team-a");
    run(launcher("team-b").args(["mlflow", "sync"])).ended(End::Code(0));
    let in_a = [["secret of team a".to_owned(), "one".to_owned(), of(&secret)]];
    assert_eq!((teams.traces("team-a"), teams.traces("team-b")), (in_a.to_vec(), vec![]));
    assert!(listed.contains("(workspace team-a)"), "{listed}");

    // A session of team b goes on while its user works for team a.
    model.play(Script::new().reply(Reply::new().answer("two")));
    let outcome = run(launcher("team-b").args(["exec", "--json", "work of team b"])).ended(End::Code(0));
    let work = thread(&outcome.json_lines());
    model.play(Script::new().reply(Reply::new().answer("three")));
    run(launcher("team-a").args(["exec", "resume", &work, "and more"])).ended(End::Code(0));
    run(launcher("team-a").args(["mlflow", "sync"])).ended(End::Code(0));
    let in_b = [["work of team b".to_owned(), "three".to_owned(), of(&work)]];
    assert_eq!((teams.traces("team-a"), teams.traces("team-b")), (in_a.to_vec(), in_b.to_vec()));

    let page = run(launcher("team-a").args(["mlflow", "ui", "--print", &work])).ended(End::Code(0)).stdout;
    assert!(page.trim_end().ends_with(&format!("{}&workspace=team-b", of(&work))), "{page}");
}
