//! A real Codex that comes across secrets, and every byte that is left of it.

use crate::LAUNCHER;
use crate::bytes::{below, found, holds, modes};
use crate::planted;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Codex, End, Front, Home, ModelServer, Outcome, Reply, Script, Seen, codex, run};

/// Nothing listens there.
const NO_SERVER: &str = "http://127.0.0.1:9";

/// A server that accepts every request with the answers of MLflow 3.17. Other tests cover what a real server stores.
fn taker() -> Front {
    Front::answering(9, |seen: &Seen| {
        let path = seen.target.split('?').next().unwrap_or_default();
        let taken = json!({"trace": {"trace_info": {
            "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "3"}},
            "tags": {"mlflow.trace.spansLocation": "TRACKING_STORE"}, "trace_metadata": {},
        }}});
        let experiment =
            json!({"experiment": {"experiment_id": "3", "name": "x", "lifecycle_stage": "active"}});
        let (status, body) = match (seen.method.as_str(), path) {
            ("GET", "/version") => ("200 OK", "3.17.2".to_owned()),
            ("GET", path) if path.contains("/experiments/") => ("200 OK", experiment.to_string()),
            ("GET", _) => ("404 Not Found", json!({"error_code": "RESOURCE_DOES_NOT_EXIST"}).to_string()),
            (_, "/v1/traces") => ("200 OK", String::new()),
            _ => ("200 OK", taken.to_string()),
        };
        let length = body.len();
        Some(format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        ))
    })
}

/// What was sent with each path.
fn sent_to(front: &Front) -> Vec<(PathBuf, Vec<u8>)> {
    let told = |seen: &Seen| [format!("{:?}", seen.headers).into_bytes(), seen.body.clone()].concat();
    front.seen().iter().map(|seen| (PathBuf::from(&seen.target), told(seen))).collect()
}

struct Job {
    home: Home,
    _server: ModelServer,
    /// Line by line, as they are in Codex's output.
    secrets: Vec<String>,
}

impl Job {
    /// Secrets in all directions: in output, in a prompt, in a tool call, and in an answer.
    fn with(codex: &Codex, prepare: impl FnOnce(Command) -> Command) -> (Job, Outcome) {
        let planted: Vec<_> =
            planted::all().into_iter().filter(|one| one.text.len() < 300).step_by(7).collect();
        let secrets: Vec<String> = planted
            .iter()
            .flat_map(|one| one.secret.lines())
            .filter(|line| line.len() >= 10)
            .map(str::to_owned)
            .collect();
        assert!(secrets.len() >= 25, "only {} planted", secrets.len());
        let text = planted.iter().map(|one| format!("{}\n---\n", one.text)).collect::<String>();
        let used = format!("curl -s -H 'Authorization: Bearer {}' {NO_SERVER}; true", secrets[0]);
        let patch =
            format!("*** Begin Patch\n*** Add File: key.txt\n+token = \"{}\"\n*** End Patch\n", secrets[1]);
        let server = ModelServer::start(
            Script::new()
                .reply(
                    Reply::new()
                        .reasoning("**Look**")
                        .call("exec_command", json!({"cmd": "cat secrets.txt"})),
                )
                .reply(Reply::new().call("exec_command", json!({ "cmd": used })))
                .reply(Reply::new().custom("apply_patch", &patch))
                .reply(Reply::new().answer(&format!("The key is {} and {}.", secrets[2], secrets[3]))),
        );
        let home = Home::new(&server.url());
        fs::write(home.work().join("secrets.txt"), text).expect("plant");
        let mut command = prepare(home.traced(LAUNCHER, &codex.native));
        command.env("CODEX_TRACED_SUMMARY", home.root().join("summary.json"));
        let outcome = run(command.args(["exec", &format!("use {}", secrets[0])]));
        let job = Job { home, _server: server, secrets };
        (job, outcome)
    }

    fn secrets(&self) -> Vec<&str> {
        self.secrets.iter().map(String::as_str).collect()
    }

    fn ours(&self, words: &[&str]) -> Command {
        let mut command = self.home.traced(LAUNCHER, Path::new("/nowhere"));
        command.arg("mlflow").args(words);
        command
    }

    /// All files of the launcher: its folder, and the summary.
    fn written(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut all = below(&self.home.state());
        all.extend(below(self.home.root()).into_iter().filter(|(path, _)| path.ends_with("summary.json")));
        all
    }
}

#[test]
fn no_planted_secret_is_in_any_byte_that_is_written_or_sent() {
    let Some(codex) = codex() else { return };
    let (job, outcome) = Job::with(&codex, |mut command| {
        command.env("MLFLOW_CODEX_TRACING_ENABLED", "true").env("MLFLOW_TRACKING_URI", NO_SERVER);
        command.env("CODEX_TRACED_NOTICE", "always").env("CODEX_TRACED_WAIT", "15");
        command
    });
    outcome.clone().ended(End::Code(0));
    let secrets = job.secrets();
    let rollout = fs::read(job.home.rollout()).expect("the rollout");
    let there = secrets.iter().filter(|secret| holds(&rollout, secret)).count();
    assert!(there + 2 >= secrets.len(), "only {there} of {} came to pass", secrets.len());

    // The trace waits: spool, records, log, and the output.
    let written = job.written();
    let is_spooled =
        |(path, _): &(PathBuf, Vec<u8>)| path.parent().is_some_and(|folder| folder.ends_with("spool"));
    let paths: Vec<&PathBuf> = written.iter().map(|(path, _)| path).collect();
    assert!(written.iter().any(is_spooled), "nothing waits: {paths:?}\n{}", outcome.stderr);
    assert!(written.iter().any(|(path, _)| path.ends_with("summary.json")));
    assert_eq!(found(&secrets, &written), [""; 0]);
    let notices: String = outcome.stderr.lines().filter(|line| line.contains("codex-traced")).collect();
    assert!(!secrets.iter().any(|secret| notices.contains(secret)), "{notices}");

    // It is sent; and again, from the session's file, into a database and a folder of files.
    let front = taker();
    let spooled = fs::read_dir(job.home.state().join("spool")).expect("the spool").flatten();
    let entry =
        spooled.map(|entry| entry.path()).find(|path| path.extension().is_some_and(|it| it == "json"));
    assert!(entry.is_some(), "nothing waits");
    let file = job.home.rollout();
    let elsewhere = [
        front.uri(),
        format!("sqlite:///{}", job.home.root().join("x.db").display()),
        job.home.root().join("files").display().to_string(),
    ];
    for (number, target) in elsewhere.iter().enumerate() {
        let folder = job.home.root().join(format!("home{number}"));
        fs::create_dir(&folder).expect("another home");
        let mut import = job.ours(&["import", file.to_str().expect("UTF-8")]);
        import.env("CODEX_HOME", &folder).env("MLFLOW_TRACKING_URI", target);
        run(import.env("MLFLOW_CODEX_TRACING_ENABLED", "true")).ended(End::Code(0));
        assert_eq!(found(&secrets, &below(&folder)), [""; 0]);
    }
    let sent = sent_to(&front);
    for path in ["v1/traces", "api/3.0/mlflow/traces"] {
        let is_told = |(at, body): &(PathBuf, Vec<u8>)| at.ends_with(path) && holds(body, "[redacted:");
        assert!(sent.iter().any(is_told), "nothing redacted went to {path}: {:?}", front.asked());
    }
    assert_eq!(found(&secrets, &sent), [""; 0]);
    let database = fs::read(job.home.root().join("x.db")).expect("the database");
    assert!(holds(&database, "[redacted:"));
    assert_eq!(found(&secrets, &[("x.db".into(), database)]), [""; 0]);
    assert_eq!(found(&secrets, &below(&job.home.root().join("files"))), [""; 0]);
}

/// Under this umask, the modes of all the launcher's files.
fn modes_under(codex: &Codex, umask: &str) {
    let (job, outcome) = Job::with(codex, |command| {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\""), LAUNCHER]);
        shell.current_dir(command.get_current_dir().expect("a folder")).env_clear();
        shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell
    });
    outcome.ended(End::Code(0));
    let id = job.home.claimed().pop().expect("a thread");
    run(&mut job.ours(&["import", &id])).ended(End::Code(0));
    run(&mut job.ours(&["enable", "--no-check"])).ended(End::Code(0));
    let mut all = modes(&job.home.state());
    let is_config = |(path, _): &(PathBuf, u32)| path.ends_with("mlflow_config.json");
    all.extend(modes(&job.home.codex()).into_iter().filter(is_config));
    let listed: Vec<String> =
        all.iter().map(|(path, mode)| format!("{mode:04o} {}", path.display())).collect();
    println!("umask {umask}:\n{}", listed.join("\n"));
    assert!(all.len() >= 8, "{listed:?}");
    for (path, mode) in all {
        let wanted = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, wanted, "{}", path.display());
    }
}

#[test]
fn files_are_private_under_any_umask() {
    let Some(codex) = codex() else { return };
    for umask in ["000", "077"] {
        modes_under(&codex, umask);
    }
}

#[test]
fn of_figures_alone_no_prompt_output_path_or_name_is_sent() {
    for name in ["exec-basic", "codemode", "mcp-55"] {
        let home = Home::new(NO_SERVER);
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/corpus/0.169.0/{name}.jsonl"));
        let texts = texts_of(&home, &corpus);
        assert!(texts.len() >= 10, "{name}: only {texts:?}");
        let front = taker();
        let mut import = home.traced(LAUNCHER, Path::new("/nowhere"));
        import.args(["mlflow", "import"]).arg(&corpus).env("CODEX_TRACED_CONTENT", "metadata");
        import.env("MLFLOW_TRACKING_URI", front.uri()).env("MLFLOW_CODEX_TRACING_ENABLED", "true");
        run(&mut import).ended(End::Code(0));
        let sent: Vec<u8> = sent_to(&front)
            .into_iter()
            .flat_map(|(path, body)| [path.to_string_lossy().into_owned().into_bytes(), body].concat())
            .collect();
        assert!(holds(&sent, "llm_call_1") && holds(&sent, "metadata"), "{name}: nothing was sent");
        let leaked: Vec<&String> = texts.iter().filter(|text| holds(&sent, text)).collect();
        println!(
            "{name}: {} bytes sent, {} texts looked for, {} found",
            sent.len(),
            texts.len(),
            leaked.len()
        );
        assert_eq!(leaked, Vec::<&String>::new(), "{name}");
        assert_eq!(found(&["tester"], &below(&home.state().join("spool"))), [""; 0]);
    }
}

/// What a user, a model or a program wrote in a session: every word of its whole trace that is long enough to be
/// recognised, except the words that name figures.
fn texts_of(home: &Home, file: &Path) -> Vec<String> {
    let mut show = home.traced(LAUNCHER, Path::new("/nowhere"));
    show.args(["mlflow", "show", "--json"]).arg(file);
    let trace: Value = serde_json::from_str(&run(&mut show).ended(End::Code(0)).stdout).expect("JSON");
    let mut texts = vec!["tester".to_owned()];
    for span in trace["spans"].as_array().expect("spans") {
        for part in ["inputs", "outputs"] {
            let mut value = span[part].clone();
            for kept in ["model", "status", "exit_code"] {
                value.as_object_mut().map(|object| object.remove(kept));
            }
            gather(&value, &mut texts);
        }
        for key in ["codex.cwd", "cwd", "vcs.ref.head.name", "vcs.repository.url.full", "codex.originator"] {
            gather(&span["attributes"][key], &mut texts);
        }
    }
    for key in [
        "session_file",
        "mlflow.trace.working_directory",
        "mlflow.source.git.branch",
        "mlflow.source.git.repoURL",
    ] {
        gather(&trace["metadata"][key], &mut texts);
    }
    texts.sort();
    texts.dedup();
    texts
}

fn gather(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            // Lines of several words; a single word may be a name that the trace itself uses.
            let lines =
                text.lines().map(str::trim).filter(|line| line.len() >= 8 && line.contains([' ', '/']));
            texts.extend(lines.map(str::to_owned));
        }
        Value::Array(items) => items.iter().for_each(|item| gather(item, texts)),
        Value::Object(object) => object.values().for_each(|item| gather(item, texts)),
        _ => {}
    }
}

#[test]
fn a_forgotten_session_is_in_no_file_of_the_launcher() {
    let Some(codex) = codex() else { return };
    let (job, outcome) = Job::with(&codex, |command| command);
    outcome.ended(End::Code(0));
    job.home.wait_until_delivered();
    let thread = job.home.claimed().pop().expect("a thread");
    let trace = format!("tr-{}", thread.replace('-', ""));
    let said = run(&mut job.ours(&["forget", &thread])).ended(End::Code(0)).stdout;
    assert!(said.contains("removed      from sqlite:///") && said.contains("Codex's own file"), "{said}");
    let mut left = below(&job.home.state());
    left.retain(|(path, _)| !path.ends_with("codex_tracing.log"));
    assert_eq!(found(&[&trace, &thread], &left), [""; 0]);
    assert!(left.iter().all(|(path, _)| !path.to_string_lossy().contains(&thread)));
    let again = run(&mut job.ours(&["forget", &thread]));
    assert!(again.end == End::Code(1) && again.stderr.contains("nothing is known of"), "{again:?}");
    assert_eq!(run(&mut job.ours(&["show", &trace])).end, End::Code(1));
}
