//! What the steps of GitHub's actions do, with the real Codex between them.

use super::job::Job;
use super::project;
use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use std::sync::{Arc, Mutex};
use support::real::MLFLOW_VERSION;
use support::{Answered, Asked, End, MlflowServer, Oracle, Reply, Script, WebServer, run};

fn trace_id() -> regex::Regex {
    regex::Regex::new("tr-[0-9a-f]{32}").expect("a pattern")
}

/// Without the ids.
fn masked(text: &str) -> String {
    trace_id().replace_all(text, "tr-ID").into_owned()
}

#[test]
fn the_steps_of_a_job_leave_traces_a_summary_and_nothing_to_keep() {
    let Some(job) = Job::new() else { return };
    job.install(&[]).ended(End::Code(0));
    assert_eq!(job.user_step("one").stdout, "one\n");
    assert_eq!(job.user_step("two").stdout, "two\n");
    let printed = job.report(&[]);
    let summary = masked(&job.read("runner/summary.md"));
    assert_eq!(
        summary,
        "### Codex sessions\n\n\
         | status | trace | tokens in | tokens out | cost | delivery |\n\
         |---|---|--:|--:|--:|---|\n\
         | ✅ completed | tr-ID | 9,000 | 120 | &#36;0.0302 | delivered |\n\
         | ✅ completed | tr-ID | 9,000 | 120 | &#36;0.0302 | delivered |\n\n\
         2 sessions, &#36;0.0603 at list price.\n\n"
    );
    assert!(masked(&printed.stdout).starts_with(summary.trim_end()), "{}", printed.stdout);
    assert_eq!(job.read("runner/output"), format!("left=0\nhome={}\n", job.home.codex().display()));
    assert_eq!(job.home.claimed().len(), 2);
    assert!(job.codex.native.exists());
}

#[test]
fn the_server_that_the_action_names_has_the_trace_and_the_summary_links_it() {
    let (Some(job), Some(server)) = (Job::new(), MlflowServer::shared(MLFLOW_VERSION)) else { return };
    let Some(oracle) = Oracle::newest() else { return };
    job.install(&[("TRACKING_URI", &server.uri()), ("EXPERIMENT", "a job")]).ended(End::Code(0));
    job.user_step("done");
    job.report(&[]);
    let summary = job.read("runner/summary.md");
    let id = trace_id().find(&summary).expect("a trace's id").as_str();
    let trace = oracle.trace_of(&*server, id);
    assert_eq!(trace.experiment.as_deref(), Some("a job"));
    let link = format!("| [{}](<{}/#/experiments/{}/", trace.trace_id, server.uri(), trace.experiment_id);
    assert!(summary.contains(&link), "{summary}");
}

#[test]
fn a_server_that_is_down_fails_no_job_and_the_report_says_what_is_left() {
    let Some(job) = Job::new() else { return };
    job.install(&[("TRACKING_URI", "http://127.0.0.1:9"), ("WAIT", "1")]).ended(End::Code(0));
    let outcome = job.user_step("done");
    assert_eq!(outcome.stdout, "done\n");
    let printed = job.report(&[]);
    assert!(
        printed.stdout.contains("::warning title=codex-traced::1 of 1 traces were not delivered"),
        "{printed:?}"
    );
    let summary = masked(&job.read("runner/summary.md"));
    assert!(summary.contains("| ✅ completed | tr-ID | 9,000 | 120 | &#36;0.0302 | "), "{summary}");
    assert!(!summary.contains("| delivered |"), "{summary}");
    assert!(
        summary.contains("\n⚠️ 1 of 1 traces were not delivered; `codex-traced mlflow sync` sends them"),
        "{summary}"
    );
    assert!(job.read("runner/output").starts_with("left=1\n"));
    // What the artifact would hold.
    assert_eq!((job.home.spooled().len(), job.home.rollouts().len()), (1, 1));
}

#[test]
fn a_job_has_one_comment_on_its_pull_request_which_later_runs_update() {
    let Some(mut job) = Job::new() else { return };
    let comments = Arc::new(Mutex::new(vec![
        // A person quotes ours.
        json!({"id": 1, "user": {"type": "User"}, "body": "<!-- codex-traced CI/test -->\nlook"}),
    ]));
    let github = WebServer::start(|_| {
        let comments = Arc::clone(&comments);
        move |asked: &Asked| github(asked, &mut comments.lock().expect("the comments"))
    });
    for (name, value) in [
        ("GITHUB_API_URL", github.url().as_str()),
        ("GITHUB_REPOSITORY", "team/project"),
        ("GITHUB_WORKFLOW", "CI"),
        ("GITHUB_JOB", "test"),
    ] {
        job.variables.insert(name.into(), value.into());
    }
    fs::write(job.at("runner/event.json"), r#"{"pull_request": {"number": 7}}"#).expect("write the event");
    let inputs = [("COMMENT", "true"), ("GITHUB_TOKEN", "a-token")];
    job.install(&[]).ended(End::Code(0));
    for answer in ["one", "two"] {
        job.user_step(answer);
        let printed = job.report(&inputs);
        assert!(!printed.stdout.contains("::warning"), "{}", printed.stdout);
    }
    let comments = comments.lock().expect("the comments");
    let [theirs, ours] = &comments[..] else { panic!("{comments:#?}") };
    assert!(theirs["body"].as_str().expect("text").ends_with("look"));
    let body = ours["body"].as_str().expect("text");
    assert!(body.starts_with("<!-- codex-traced CI/test -->\n### Codex sessions\n"), "{body}");
    assert!(body.contains("\n2 sessions, "), "{body}");
    let changes: Vec<String> =
        github.asked().into_iter().map(|asked| asked.method).filter(|m| m != "GET").collect();
    assert_eq!(changes, ["POST", "PATCH"]);
}

/// The part of GitHub's API for comments, with pages as long as they come.
fn github(asked: &Asked, comments: &mut Vec<Value>) -> Answered {
    let body = || serde_json::from_slice::<Value>(&asked.body).expect("a body of JSON")["body"].clone();
    let answer = match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", "/repos/team/project/issues/7/comments?per_page=100&page=1") => json!(comments),
        ("GET", _) => json!([]),
        ("POST", "/repos/team/project/issues/7/comments") => {
            comments.push(json!({"id": 2, "user": {"type": "Bot"}, "body": body()}));
            json!({"id": 2})
        }
        ("PATCH", "/repos/team/project/issues/comments/2") => {
            comments[1]["body"] = body();
            json!({"id": 2})
        }
        _ => return (404, b"{}".to_vec()),
    };
    (200, answer.to_string().into_bytes())
}

#[test]
fn a_link_and_hostile_texts_stay_in_their_cells() {
    let folder = tempfile::tempdir().expect("make a temporary folder");
    let thread = json!({
        "trace_id": "tr-1", "status": "failed", "delivery": "waits", "link": "http://host/#/a|b>c\\",
        "reason": "no | <b>host</b> @team\nat all", "tokens": null, "cost_usd": null,
    });
    let summary = json!({"threads": [thread, {"trace_id": "tr-2", "status": "completed", "delivery": "delivered",
        "link": "javascript:alert(1)", "tokens": {"input_tokens": 9, "output_tokens": 1}}]});
    fs::write(folder.path().join("1.json"), summary.to_string()).expect("write a summary");
    let lines = json!({"threads": [{"trace_id": "tr-3", "status": "completed", "delivery": "delivered",
        "link": "http://host/\n::error::ours"}]});
    fs::write(folder.path().join("3.json"), lines.to_string()).expect("write a summary");
    fs::write(folder.path().join("2.json"), "{").expect("write half a summary");
    let mut report = Command::new("python3");
    report
        .arg(project().join("packaging/ci/report"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").expect("PATH"));
    let printed = run(report.env("CODEX_TRACED_SUMMARY", folder.path())).ended(End::Code(0)).stdout;
    let rows: Vec<&str> = printed.lines().filter(|line| line.contains("tr-")).collect();
    assert_eq!(
        rows,
        [
            "| ❌ failed | [tr-1](<http://host/#/a%7Cb%3Ec%5C>) | 0 | 0 |  | waits: no &#124; &#60;b&#62;host&#60;/b&#62; &#64;team at all |",
            "| ✅ completed | tr-2 | 9 | 1 |  | delivered |",
            "| ✅ completed | tr-3 | 0 | 0 |  | delivered |",
        ]
    );
    assert!(printed.contains("codex-traced: 2.json is no summary of codex-traced"), "{printed}");
    assert!(printed.contains("1 of 3 traces were not delivered"), "{printed}");
}

#[test]
fn an_archive_that_is_not_the_one_that_was_meant_is_refused() {
    let Some(job) = Job::new() else { return };
    let sum = run(Command::new("sha256sum").arg(job.at("archive.tar.gz"))).ended(End::Code(0)).stdout;
    let sum = sum.split(' ').next().expect("a sum").to_uppercase();
    job.install(&[("SHA256", &sum)]).ended(End::Code(0));
    let other = "0".repeat(64);
    let outcome = job.install(&[("SHA256", &other)]).ended(End::Code(1));
    assert!(outcome.stderr.contains("has another checksum"), "{}", outcome.stderr);
    let missing = job.at("missing").display().to_string();
    let outcome = job.install(&[("ARCHIVE", &missing)]).ended(End::Code(1));
    assert_eq!(
        outcome.stderr,
        format!("codex-traced: there is no file {missing}\n  hint: name the archive of a release\n")
    );
}

#[test]
fn another_ci_takes_the_lines_that_the_step_prints() {
    let Some(job) = Job::new() else { return };
    let install = project().join("packaging/ci/install");
    let script = format!(
        "unset GITHUB_PATH GITHUB_ENV GITHUB_ACTIONS\n\
         lines=$(ARCHIVE=../archive.tar.gz EXPERIMENT=\"it's\" sh '{}') && eval \"$lines\"\n\
         codex exec 'say done' && printf '%s\\n' \"$MLFLOW_EXPERIMENT_NAME\" && python3 '{}'",
        install.display(),
        project().join("packaging/ci/report").display()
    );
    job.server.play(Script::new().reply(Reply::new().answer("done").usage(9_000, 4_096, 120, 64)));
    let outcome = run(&mut job.step(&script)).ended(End::Code(0));
    assert!(outcome.stdout.starts_with("done\nit's\n### Codex sessions\n"), "{outcome:?}");
    assert!(outcome.stdout.contains("1 session, "), "{outcome:?}");
}
