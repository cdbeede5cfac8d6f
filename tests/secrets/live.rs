//! A hostile server, and hostile bytes on a terminal, with a real Codex: the attempts and their effects.

use crate::LAUNCHER;
use crate::hostile::{HOSTILE, assert_harmless};
use std::fs;
use std::net::TcpListener;
use std::process::Command;
use support::run::LIMIT;
use support::{
    End, Front, Gate, Home, ModelServer, Reply, Script, Tmux, codex, each_in_parallel, run, start,
};

const TOKEN: &str = "dapi-of-nobody-0123456789abcdef";

const VERSION: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n3.17.2";

/// Its answer to every request.
struct Hostile {
    what: &'static str,
    status: &'static str,
    headers: String,
    body: String,
}

fn table(elsewhere: &str) -> Vec<Hostile> {
    let error = |code: &str, message: &str| format!(r#"{{"error_code": "{code}", "message": "{message}"}}"#);
    let row = |what, status, headers: &str, body| Hostile { what, status, headers: headers.to_owned(), body };
    let steering = r"\u001b]0;owned\u0007\u001b[2J\u009b31m\r\u202eevil\u007f";
    let away = format!("Location: {elsewhere}/take\r\n");
    vec![
        row("words that steer, as JSON", "400 Bad Request", "", error(steering, steering)),
        row(
            "words that steer, as they are",
            "500 Internal Server Error",
            "Content-Type: text/html\r\n",
            HOSTILE.into(),
        ),
        row("words that steer, and all is well", "200 OK", "", HOSTILE.into()),
        row(
            "our token, sent back",
            "401 Unauthorized",
            "",
            error("UNAUTHENTICATED", &format!("Bearer {TOKEN}")),
        ),
        row("sends us elsewhere", "307 Temporary Redirect", &away, String::new()),
        row("sends us elsewhere for good", "301 Moved Permanently", &away, String::new()),
        row("JSON of a hundred thousand levels", "200 OK", "", "[".repeat(100_000) + &"]".repeat(100_000)),
        row("an answer of 64 MiB", "200 OK", "", format!(r#"{{"trace": "{}"}}"#, "x".repeat(64 << 20))),
        row(
            "comes back in an age",
            "429 Too Many Requests",
            "Retry-After: 99999999999999999999\r\n",
            String::new(),
        ),
        row(
            "a cookie, and a name of a header that none has",
            "200 OK",
            "Set-Cookie: a=b\r\nX-\u{7f}: 1\r\n",
            "{}".into(),
        ),
        row("no answer", "", "", String::new()),
    ]
}

impl Hostile {
    fn answer(&self) -> String {
        if self.status.is_empty() {
            return String::new();
        }
        let length = self.body.len();
        format!(
            "HTTP/1.1 {}\r\nContent-Length: {length}\r\nConnection: close\r\n{}\r\n{}",
            self.status, self.headers, self.body
        )
    }
}

fn set_aside(home: &Home) -> usize {
    let entries = fs::read_dir(home.state().join("spool/set_aside")).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().extension().is_some_and(|it| it == "json")).count()
}

#[test]
fn a_hostile_server_gets_nothing_but_what_was_meant_for_it_and_steers_nothing() {
    let Some(codex) = codex() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("without waiting");
    let elsewhere = format!("http://{}", listener.local_addr().expect("an address"));
    // From the first request on, or after it has answered like an MLflow.
    let cases = [false, true]
        .into_iter()
        .flat_map(|begins_well| table(&elsewhere).into_iter().map(move |hostile| (begins_well, hostile)));
    each_in_parallel(cases.collect(), |(begins_well, hostile)| {
        let what = format!("{}{}", hostile.what, if begins_well { ", later" } else { "" });
        let model = ModelServer::start(Script::new().reply(Reply::new().answer("done")));
        let home = Home::new(&model.url());
        let front = Front::answering(9, move |seen| match seen.target == "/version" && begins_well {
            true => Some(VERSION.to_owned()),
            false => Some(hostile.answer()),
        });
        let uri = front.uri();
        let ours = |words: &[&str]| -> Command {
            let mut command = home.traced(LAUNCHER, &codex.native);
            command.args(words).envs([
                ("MLFLOW_TRACKING_URI", uri.as_str()),
                ("MLFLOW_TRACKING_TOKEN", TOKEN),
                ("MLFLOW_CODEX_TRACING_ENABLED", "true"),
                ("MLFLOW_HTTP_REQUEST_TIMEOUT", "5"),
                ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1"),
                ("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0"),
                ("CODEX_TRACED_WAIT", "90"),
            ]);
            command
        };
        let said = run(&mut ours(&["exec", "go"])).ended(End::Code(0));
        assert_eq!(said.stdout, "done\n", "{what}");
        let notices = said.stderr.lines().filter(|line| line.starts_with("codex-traced: "));
        let mut all = notices.collect::<Vec<_>>().join("\n");
        assert!(!front.seen().is_empty(), "{what}: the server was asked");
        for words in [
            &["mlflow", "sync"][..],
            &["mlflow", "sync", "--list"],
            &["mlflow", "status"],
            &["mlflow", "doctor"],
        ] {
            let said = run(&mut ours(words));
            all += &format!("\n{}{}", said.stdout, said.stderr);
        }
        println!("{what}: {}", all.lines().next().unwrap_or_default());
        assert_harmless(&what, &all);
        assert!(!all.contains(TOKEN), "{what}: {all}");
        let kept = home.spooled().len() + set_aside(&home);
        assert_eq!(kept, 1, "{what}: the trace is kept; {all}");
        assert!(listener.accept().is_err(), "{what}: a request came to where the server sent the launcher");
    });
}

/// In a folder with a hostile name a hostile prompt gets a hostile answer.
#[test]
fn no_byte_of_a_session_sets_the_terminals_title_but_those_that_plain_codex_writes() {
    let Some(codex) = codex() else { return };
    let reply = || Reply::new().answer(HOSTILE);
    let model = ModelServer::start(Script::new().reply(reply()).reply(reply()));
    let home = Home::new(&model.url());
    let plain = codex.native.to_str().expect("UTF-8");
    let shell = Tmux::start(&home, &[("CODEX_TRACED_CODEX_BIN", plain), ("C", plain), ("T", LAUNCHER)]);
    let steers = r"$(printf '\033]0;owned\007\033[21t\302\233')";
    shell.type_line(&format!("mkdir \"{steers}\"; cd \"{steers}\"; git init -q; PS1='at: '; clear"));
    let title_after = |line: &str| {
        shell.type_line(&format!(
            "printf '\\033]0;mine\\007'; {line} >told 2>&1; cat told; echo over$((1 + 1))"
        ));
        shell.wait_for("over2");
        let title = shell.state("#{pane_title}");
        shell.type_line("clear");
        shell.wait_until("an empty screen", |screen| !screen.contains("over2"));
        title
    };
    let exec = |program: &str| format!("{program} exec --skip-git-repo-check \"{steers}\"");
    let [of_plain, of_traced] = ["$C", "$T"].map(|program| title_after(&exec(program)));
    assert_eq!(of_plain, of_traced, "what Codex itself writes");
    home.wait_until_delivered();
    assert_eq!(home.claimed().len(), 1);
    for words in ["show", "status", "doctor", "sync --list", "import --all --dry-run"] {
        assert_eq!(title_after(&format!("$T mlflow {words}")), "mine", "{words}");
    }
    // And as it would be without a look at each character.
    assert_eq!(title_after(&format!("printf %s \"{steers}\"")), "owned");
}

#[test]
fn a_rule_for_secrets_counts_also_when_it_is_written_while_codex_runs() {
    let Some(codex) = codex() else { return };
    let gate = Gate::new();
    let model = ModelServer::start(Script::new().reply(Reply::new().answer("done").stall_at_start(&gate)));
    let home = Home::new(&model.url());
    let launch = start(home.traced(LAUNCHER, &codex.native).args(["exec", "build aurora-77"]));
    gate.wait_until_reached(LIMIT);
    let rule = r#"{"redaction": {"rules": [{"name": "project", "pattern": "aurora-[0-9]+"}]}}"#;
    fs::write(home.codex().join("mlflow_config.json"), rule).expect("write the configuration");
    gate.open();
    launch.finish(LIMIT).ended(End::Code(0));
    home.wait_until_delivered();
    let folder = home.database().parent().expect("a folder").to_owned();
    let files = ["mlflow.db", "mlflow.db-wal"].map(|name| fs::read(folder.join(name)).unwrap_or_default());
    let text = String::from_utf8_lossy(&files.concat()).into_owned();
    assert!(text.contains("[redacted:project:") && !text.contains("aurora-77"));
}
