//! What a real Codex run leaves in a real MLflow: read back by MLflow's own client.

use crate::LAUNCHER;
use codex_traced::trace::ids::trace_of_thread;
use mlflow_store::sqlite;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use support::real::MLFLOW_OLDEST;
use support::{
    Codex, End, Home, ModelServer, Oracle, Reply, Script, Trace, Usage, Verb, assert_facts, codex,
    older_codex, run,
};

const PATCH: &str = "*** Begin Patch\n*** Add File: hello.txt\n+hello\n*** End Patch\n";

fn a_small_job() -> Script {
    Script::new()
        .reply(
            Reply::new()
                .reasoning("**Plan** list")
                .commentary("I look first.")
                .call("exec_command", json!({"cmd": "ls"}))
                .usage(9000, 4096, 120, 64),
        )
        .reply(
            Reply::new().call("exec_command", json!({"cmd": "echo no >&2; exit 3"})).usage(9300, 9000, 40, 0),
        )
        .reply(Reply::new().custom("apply_patch", PATCH).usage(9500, 9300, 60, 0))
        .reply(Reply::new().answer("done").usage(9700, 9500, 20, 0))
}

struct Job {
    home: Home,
    server: ModelServer,
    thread: String,
}

impl Job {
    /// `codex-traced exec` has done the small job.
    fn done(codex: &Codex) -> Job {
        let server = ModelServer::start(a_small_job());
        let home = Home::new(&server.url());
        let mut command = home.traced(LAUNCHER, &codex.native);
        let outcome = run(command.args(["exec", "--json", "do it"])).ended(End::Code(0));
        server.assert_script_used_up_exactly();
        let thread = outcome.json_lines()[0]["thread_id"].as_str().expect("a thread id").to_owned();
        Job { home, server, thread }
    }

    fn resume(&self, codex: &Codex) {
        self.server.play(Script::new().reply(Reply::new().answer("more").usage(10_000, 9_700, 7, 0)));
        let mut command = self.home.traced(LAUNCHER, &codex.native);
        run(command.args(["exec", "resume", &self.thread, "and more"])).ended(End::Code(0));
        self.server.assert_script_used_up_exactly();
    }

    fn trace_id(&self) -> String {
        format!("tr-{}", self.thread.replace('-', ""))
    }
}

fn tokens(usage: Usage) -> Value {
    json!({"input_tokens": usage.input, "output_tokens": usage.output, "total_tokens": usage.total(),
           "cache_read_input_tokens": usage.cached, "cache_creation_input_tokens": 0})
}

#[test]
fn a_run_is_one_whole_trace() {
    let (Some(codex), Some(oracle)) = (codex(), Oracle::newest()) else { return };
    let job = Job::done(&codex);
    let trace = oracle.trace(&job.home.database());

    assert_eq!(trace.trace_id, job.trace_id());
    let rollout = job.home.rollout();
    let metadata = ["session", "source", "session_file", "mlflow.trace.session", "mlflow.trace.user"];
    assert_eq!(
        metadata.map(|key| trace.metadata[key].as_str().expect("text")),
        [&job.thread, "codex_cli", rollout.to_str().expect("UTF-8"), &job.thread, "tester"]
    );
    assert_eq!(json!(trace.token_usage), tokens(job.server.reported()));
    assert_facts(
        &trace,
        r#"
        trace OK name=codex_cli_session experiment=codex-sessions request="do it" response=done in=37500 out=240 tags.codex.cli_version=0.171.0 spans=8
        codex_cli_session AGENT OK inputs.prompt="do it" outputs.response=done outputs.status=completed codex.attribution=held codex.tokens_reconciled=true process.exit.code=0 codex.bad_lines=- codex.unknown_lines=-
          llm_call_1 LLM OK in=9000 cached=4096 out=120 input_tokens=9000 output_tokens=120 cached_input_tokens=4096 reasoning_output_tokens=64 mlflow.llm.model=gpt-5.5 inputs.messages.0.role=system outputs.response="I look first." outputs.choices.0.message.reasoning="**Plan** list" outputs.choices.0.message.tool_calls.0.function.name=exec_command
          tool_exec_command TOOL OK inputs.cmd=ls outputs.result="README.md\n" outputs.exit_code=0 exit_code=0 tool_name=exec_command event=-
          llm_call_2 LLM OK in=9300 cached=9000 out=40 inputs.messages.0.role=tool inputs.messages.0.content=…README.md… inputs.messages.1=-
          tool_exec_command TOOL ERROR message="exit code 3" inputs.cmd="echo no >&2; exit 3" outputs.result="no\n" outputs.exit_code=3 exit_code=3 event=exception
          llm_call_3 LLM OK in=9500 cached=9300 out=60 inputs.messages.0.content="…exited with code 3…"
          tool_apply_patch TOOL OK inputs.input.text="*** Begin Patch\n*** Add File: hello.txt\n+hello\n*** End Patch\n" outputs.result.text="…A hello.txt…" event=-
          llm_call_4 LLM OK in=9700 cached=9500 out=20 outputs.response=done
        "#,
    );
    assert!(trace.spans[1..].iter().all(|span| span.parent.as_deref() == Some("codex_cli_session")));
    assert_times_are_sane(&trace);
}

/// Every child starts no earlier than its parent, everything ends no earlier than it starts.
fn assert_times_are_sane(trace: &Trace) {
    for span in &trace.spans {
        let parent = trace.spans.iter().find(|other| Some(&other.span_id) == span.parent_id.as_ref());
        assert!(
            parent.is_none_or(|parent| parent.start_ns <= span.start_ns),
            "{} starts before its parent",
            span.name
        );
        assert!(
            span.end_ns.expect("every span has an end") >= span.start_ns,
            "{} ends before it starts",
            span.name
        );
    }
}

#[test]
fn a_resumed_session_stays_where_it_was_first_sent() {
    let Some(codex) = codex() else { return };
    let job = Job::done(&codex);
    job.server.play(Script::new().reply(Reply::new().answer("more")));
    let other = job.home.root().join("other.db");
    let mut command = job.home.traced(LAUNCHER, &codex.native);
    command.env("MLFLOW_TRACKING_URI", format!("sqlite:///{}", other.display()));
    run(command.args(["exec", "resume", &job.thread, "and more"])).ended(End::Code(0));
    let trace = job.trace_id().parse().expect("an id");
    let read = sqlite::read(&job.home.database(), trace).expect("readable").expect("there");
    assert_eq!((read.response_preview.as_deref(), other.exists()), (Some("more"), false));
    let log = std::fs::read_to_string(job.home.state().join("codex_tracing.log")).expect("a log");
    assert!(log.contains("stays where it was first sent"), "{log}");
}

#[test]
fn a_resumed_session_is_the_same_trace_with_another_turn() {
    let (Some(codex), Some(oracle)) = (codex(), Oracle::newest()) else { return };
    let job = Job::done(&codex);
    let before = oracle.trace(&job.home.database());
    job.resume(&codex);
    let trace = oracle.trace(&job.home.database());

    assert_eq!(trace.trace_id, before.trace_id);
    assert_eq!(json!(trace.token_usage), tokens(job.server.reported()));
    assert_facts(
        &trace,
        r#"
        trace OK request="do it" response=more in=47500 out=247 spans=11
        codex_cli_session AGENT OK inputs.prompt="do it" outputs.response=more codex.turns=2
          turn_1 AGENT OK inputs.prompt="do it" outputs.response=done outputs.status=completed
            llm_call_1 LLM OK in=9000
            tool_exec_command TOOL OK inputs.cmd=ls
            llm_call_2 LLM OK in=9300
            tool_exec_command TOOL ERROR exit_code=3
            llm_call_3 LLM OK in=9500
            tool_apply_patch TOOL OK
            llm_call_4 LLM OK in=9700
          turn_2 AGENT OK inputs.prompt="and more" outputs.response=more
            llm_call_5 LLM OK in=10000 cached=9700 out=7
        "#,
    );
    let ids = |trace: &Trace| trace.spans.iter().map(|span| span.span_id.clone()).collect::<Vec<_>>();
    assert!(ids(&before).iter().all(|id| ids(&trace).contains(id)), "every span keeps its id");
}

#[test]
fn what_people_added_in_mlflow_survives_the_next_turn_and_an_upgrade() {
    let (Some(codex), Some(oldest), Some(newest)) = (codex(), Oracle::of(MLFLOW_OLDEST), Oracle::newest())
    else {
        return;
    };
    let job = Job::done(&codex);
    let database = job.home.database();
    let trace = job.trace_id();

    // MLflow 3.6 upgrades the file when it opens it, 3.17 upgrades 3.6's version.
    let in_oldest = oldest.trace(&database);
    assert_eq!((in_oldest.trace_id.as_str(), in_oldest.spans.len()), (trace.as_str(), 8));
    let added = [
        Verb::Feedback { trace: &trace, name: "good", value: json!(true) },
        Verb::Expectation { trace: &trace, name: "answer", value: json!("done") },
        Verb::Tag { trace: &trace, key: "team", value: "red" },
        Verb::Rename { trace: &trace, name: "mine" },
    ];
    newest.traces_after(&database, &added);
    job.resume(&codex);

    let after = newest.trace(&database);
    let mut names: Vec<&str> =
        after.assessments.iter().filter_map(|added| added["assessment_name"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["answer", "good"]);
    assert_facts(&after, "trace OK name=mine tags.team=red in=47500 out=247 response=more spans=11");
}

#[test]
fn npms_launcher_in_between_changes_nothing() {
    let (Some(codex), Some(oracle)) = (codex(), Oracle::newest()) else { return };
    let server = ModelServer::start(Script::new().reply(Reply::new().answer("done").usage(10, 0, 1, 0)));
    let home = Home::new(&server.url());
    run(home.traced(LAUNCHER, &codex.launcher).args(["exec", "do it"])).ended(End::Code(0));
    assert_facts(&oracle.trace(&home.database()), "trace OK in=10 out=1 response=done");
}

#[test]
fn a_failed_turn_is_an_error_with_its_reason() {
    let (Some(codex), Some(oracle)) = (codex(), Oracle::newest()) else { return };
    let failing = Reply::new().failed("insufficient_quota", "no money left");
    let server = ModelServer::start(Script::new().reply(failing));
    let home = Home::new(&server.url());
    run(home.traced(LAUNCHER, &codex.native).args(["exec", "do it"])).ended(End::Code(1));
    assert_facts(
        &oracle.trace(&home.database()),
        r#"
        trace ERROR request="do it" response=failed:… spans=2
        codex_cli_session AGENT ERROR outputs.status=failed outputs.response=- event=exception process.exit.code=1
          llm_call_1 LLM ERROR error.type=… mlflow.llm.model=gpt-5.5 event=exception message="…Quota exceeded…"
        "#,
    );
}

#[test]
fn a_turn_that_an_older_codex_ended_without_a_word_has_failed_with_its_request() {
    let (Some(codex), Some(oracle)) = (older_codex("0.142.5"), Oracle::newest()) else { return };
    let refused = || Reply::new().http_error(401, "no such key");
    // Codex asks again once.
    let script = Script::new()
        .reply(Reply::new().call("exec_command", json!({"cmd": "ls"})).usage(100, 0, 10, 0))
        .reply(refused())
        .reply(refused());
    let server = ModelServer::start(script);
    let home = Home::new(&server.url());
    let mut command = home.traced(LAUNCHER, &codex.native);
    let outcome = run(command.args(["exec", "--json", "do it"])).ended(End::Code(1));
    server.assert_script_used_up_exactly();
    assert_facts(
        &oracle.trace(&home.database()),
        r#"
        trace ERROR request="do it" response="failed: codex ended the turn without an answer" in=100 out=10 spans=4
        codex_cli_session AGENT ERROR outputs.status=failed outputs.response=- event=exception process.exit.code=1
          llm_call_1 LLM OK in=100 out=10 error.type=-
          tool_exec_command TOOL OK inputs.cmd=ls outputs.result="README.md\n"
          llm_call_2 LLM ERROR in=- error.type=no_answer mlflow.llm.model=gpt-5.5 inputs.messages.0.role=tool outputs=- event=exception
        "#,
    );
    // Taken up again, it counts on and is well.
    server.play(Script::new().reply(Reply::new().answer("done").usage(200, 0, 5, 0)));
    let thread = outcome.json_lines()[0]["thread_id"].as_str().expect("a thread id").to_owned();
    let mut command = home.traced(LAUNCHER, &codex.native);
    run(command.args(["exec", "resume", &thread, "again"])).ended(End::Code(0));
    assert_facts(
        &oracle.trace(&home.database()),
        r#"
        trace OK request="do it" response=done in=300 out=15 spans=7
        codex_cli_session AGENT OK outputs.status=completed process.exit.code=0
          turn_1 AGENT ERROR outputs.status=failed
            llm_call_1 LLM OK
            tool_exec_command TOOL OK
            llm_call_2 LLM ERROR error.type=no_answer
          turn_2 AGENT OK outputs.response=done
            llm_call_3 LLM OK in=200 out=5
        "#,
    );
}

#[test]
fn a_user_that_no_variable_names_has_the_name_of_the_account() {
    let Some(codex) = codex() else { return };
    let server = ModelServer::start(Script::new().reply(Reply::new().answer("done")));
    let home = Home::new(&server.url());
    let mut command = home.traced(LAUNCHER, &codex.native);
    command.env_remove("USER").env_remove("LOGNAME").args(["exec", "--json", "do it"]);
    let outcome = run(&mut command).ended(End::Code(0));
    let thread = outcome.json_lines()[0]["thread_id"].as_str().expect("a thread id").to_owned();
    let trace = sqlite::read(&home.database(), trace_of_thread(&thread)).expect("readable").expect("there");
    let account = run(Command::new("id").arg("-un")).ended(End::Code(0));
    assert_eq!(trace.metadata.get("mlflow.trace.user").map(String::as_str), Some(account.stdout.trim()));
}

#[test]
fn the_launchers_files_are_private() {
    let Some(codex) = codex() else { return };
    let job = Job::done(&codex);
    assert_eq!(loose_modes(&job.home.state()), [""; 0], "files 0600, folders 0700");
}

fn loose_modes(folder: &Path) -> Vec<String> {
    use std::os::unix::fs::PermissionsExt;
    let mut loose = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let mode = |path: &Path| path.metadata().expect("metadata").permissions().mode() & 0o777;
        if mode(&folder) != 0o700 {
            loose.push(format!("{} {:o}", folder.display(), mode(&folder)));
        }
        for entry in folder.read_dir().expect("read our folder").flatten() {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path if mode(&path) != 0o600 => loose.push(format!("{} {:o}", path.display(), mode(&path))),
                _ => {}
            }
        }
    }
    loose
}

/// The script of the example for GitHub in `docs/ci.md`, as GitHub's runner hands it to bash.
fn job_summary_script() -> String {
    let document = fs::read_to_string("docs/ci.md").expect("the document");
    let block = document.split("```yaml\n").filter_map(|rest| rest.split("```").next());
    let block = block.into_iter().find(|block| block.contains("GITHUB_STEP_SUMMARY")).expect("the example");
    let script = block.split("  run: |\n").nth(1).expect("its script");
    script.lines().map(|line| line.strip_prefix("    ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_summary_shows_the_next_step_what_became_of_the_session() {
    let Some(codex) = codex() else { return };
    let server = ModelServer::start(Script::new().reply(Reply::new().answer("done").usage(100, 40, 7, 0)));
    let home = Home::new(&server.url());
    let file = home.work().join("codex.json");
    let mut command = home.traced(LAUNCHER, &codex.native);
    // An earlier step may have left one.
    fs::write(&file, "{}").expect("write a file");
    command.env("CODEX_TRACED_SUMMARY", "codex.json").args(["exec", "do it"]);
    run(&mut command).ended(End::Code(0));

    let mut summary: Value = serde_json::from_slice(&fs::read(&file).expect("the summary")).expect("JSON");
    let thread = &summary["threads"][0];
    let id = thread["thread_id"].as_str().expect("an id").to_owned();
    assert!(home.rollout().to_string_lossy().contains(&id));
    let trace = format!("tr-{}", id.replace('-', ""));
    let told = json!({
        "thread_id": id, "trace_id": trace, "status": "completed",
        "tokens": {"input_tokens": 100, "output_tokens": 7, "total_tokens": 107, "cache_read_input_tokens": 40,
                   "cache_creation_input_tokens": 0},
        "cost_usd": thread["cost_usd"], "target": format!("sqlite:///{}", home.database().display()),
        "workspace": null, "experiment_id": "1", "link": null, "delivery": "delivered", "reason": null,
        "is_further_target": false
    });
    assert_eq!(*thread, told);
    assert!(thread["cost_usd"].as_f64().is_some_and(|cost| cost > 0.0), "{thread}");
    assert_eq!((&summary["version"], &summary["exit"]), (&json!(1), &json!({"code": 0})));
    assert_eq!((&summary["notice"], summary["threads"].as_array().map(Vec::len)), (&Value::Null, Some(1)));

    let shown = home.work().join("shown.md");
    let show = |summary: &Value| {
        fs::write(&file, summary.to_string()).expect("write a summary");
        let _ = fs::remove_file(&shown);
        let mut bash = home.command("bash");
        bash.args(["-e", "-c", &job_summary_script()])
            .env("GITHUB_STEP_SUMMARY", &shown)
            .env("SUMMARY", &file);
        run(&mut bash).ended(End::Code(0));
        fs::read_to_string(&shown).expect("what the job shows")
    };
    let line = show(&summary);
    assert!(line.starts_with(&format!("{trace}: completed, 100 tokens in, 7 out, $")), "{line}");
    assert!(line.ends_with(", delivered\n"), "{line}");
    summary["threads"][0]["link"] = "http://host/#/x".into();
    assert!(show(&summary).starts_with(&format!("<a href=\"http://host/#/x\">{trace}</a>: completed")));
}

#[test]
fn a_summary_lists_what_waits_and_why() {
    let Some(codex) = codex() else { return };
    let server = ModelServer::start(Script::new().reply(Reply::new().answer("done").usage(100, 0, 7, 0)));
    let home = Home::new(&server.url());
    let blocked = home.work().join("file");
    fs::write(&blocked, "").expect("write a file");
    let mut command = home.traced(LAUNCHER, &codex.native);
    command.env("MLFLOW_TRACKING_URI", format!("sqlite:///{}/x.db", blocked.display()));
    // A folder gets a file of each launch.
    let folder = home.work().join("summaries");
    fs::create_dir(&folder).expect("make a folder");
    command.env("CODEX_TRACED_SUMMARY", &folder).args(["exec", "do it"]);
    run(&mut command).ended(End::Code(0));
    let files: Vec<_> = fs::read_dir(&folder).expect("read").flatten().map(|entry| entry.path()).collect();
    let [file] = &files[..] else { panic!("one file: {files:?}") };
    let summary: Value = serde_json::from_slice(&fs::read(file).expect("the summary")).expect("JSON");
    assert_eq!(file.file_stem(), summary["launch_id"].as_str().map(std::ffi::OsStr::new));
    let thread = &summary["threads"][0];
    assert_eq!((&thread["delivery"], &thread["experiment_id"]), (&json!("waiting"), &Value::Null));
    let reason = thread["reason"].as_str().expect("a reason");
    assert!(reason.contains("x.db"), "{reason}");
    assert!(summary["notice"].as_str().expect("a notice").contains("kept on disk"), "{summary}");
}
