//! The way to a server: credentials, certificates, proxies, and the errors where it is closed.

use common::json::value::Map;
use common::json::value::Value;
use common::variables::Variables;
use mlflow_store::exporter::{Delivered, ExportError, Patience};
use mlflow_store::ids::{SpanId, TraceId};
use mlflow_store::target::access::Access;
use mlflow_store::target::{Experiment, Target};
use mlflow_store::trace::{Span, SpanStatus, SpanType, Trace, TraceState};
use serde_json::json;
use std::path::Path;
use std::time::Duration;
use support::mlflow_server::post;
use support::real::MLFLOW_VERSION;
use support::run::LIMIT;
use support::{Authority, Clients, Front, Home, MlflowServer, Seen, run, wait_for};
use tempfile::TempDir;

/// The smallest trace there is; `number` makes it one of its own.
fn a_trace(number: u8) -> Trace {
    let at = "2026-11-22T09:54:45Z".parse().expect("a time");
    Trace {
        id: TraceId([number; 16]),
        name: "codex_cli_session".to_owned(),
        state: TraceState::Ok,
        started_at: at,
        ended_at: at,
        request_preview: Some("hi".to_owned()),
        response_preview: None,
        context: Default::default(),
        metadata: [].into(),
        tags: [].into(),
        spans: vec![a_span(1, None, "")],
    }
}

fn a_span(number: u8, parent: Option<u8>, text: &str) -> Span {
    let at = "2026-11-22T09:54:45Z".parse().expect("a time");
    Span {
        id: SpanId([number; 8]),
        parent: parent.map(|parent| SpanId([parent; 8])),
        name: "span".to_owned(),
        span_type: SpanType::Agent,
        status: SpanStatus::Ok,
        started_at: at,
        ended_at: at,
        inputs: json!({"text": text}).into(),
        outputs: Value::Null,
        attributes: Map::new(),
        events: Vec::new(),
    }
}

/// Delivers with these variables, one try each.
fn deliver(uri: &str, variables: &[(&str, &str)], trace: &Trace) -> Result<Delivered, ExportError> {
    deliver_to(uri, "access", variables, trace)
}

fn deliver_to(
    uri: &str,
    experiment: &str,
    variables: &[(&str, &str)],
    trace: &Trace,
) -> Result<Delivered, ExportError> {
    let target = Target::parse(uri, Path::new("/")).expect("a tracking URI");
    let variables = [&[("MLFLOW_TRACKING_URI", uri)], variables].concat();
    deliver_there(&target, experiment, &variables, trace)
}

fn deliver_there(
    target: &Target,
    experiment: &str,
    variables: &[(&str, &str)],
    trace: &Trace,
) -> Result<Delivered, ExportError> {
    let one_try = [("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")];
    let pairs = one_try.iter().chain(variables).map(|(name, value)| (name.to_string(), value.to_string()));
    let access = Access { variables: pairs.collect::<Variables>(), ..Access::default() };
    let patience = Patience { until: None, is_asked_to_end: &|| false, retrying: &|_, _| {} };
    let experiment = match experiment.strip_prefix("id:") {
        Some(id) => Experiment::Id(id.to_owned()),
        None => Experiment::Name(experiment.to_owned()),
    };
    mlflow_store::exporter(target, &experiment, &access, patience)?.export(trace, None)
}

/// An error that lasts until a user changes something.
#[track_caller]
fn barred(result: Result<Delivered, ExportError>) -> String {
    match result {
        Err(ExportError::Target(reason)) => reason,
        other => panic!("expected the target to be refused: {other:?}"),
    }
}

/// As `barred`, for one experiment only.
fn closed(result: Result<Delivered, ExportError>) -> String {
    match result {
        Err(ExportError::Experiment(reason)) => reason,
        other => panic!("expected the target to be refused: {other:?}"),
    }
}

fn new_folder() -> TempDir {
    tempfile::tempdir().expect("make a temporary folder")
}

fn in_folder(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).to_str().expect("UTF-8").to_owned()
}

#[test]
fn a_server_with_users_needs_a_user_and_errors_name_the_cause() {
    let Some(server) = MlflowServer::with_users("boss", "a long password") else { return };
    let uri = server.uri();
    let with = |user: &str, password: &str| {
        let variables = [("MLFLOW_TRACKING_USERNAME", user), ("MLFLOW_TRACKING_PASSWORD", password)];
        deliver(&uri, &variables, &a_trace(1))
    };
    let without_user = barred(deliver(&uri, &[], &a_trace(1)));
    assert!(
        without_user.contains("401 Unauthorized") && without_user.contains("MLFLOW_TRACKING_USERNAME"),
        "{without_user}"
    );
    assert!(barred(with("boss", "wrong")).contains("401 Unauthorized"));
    assert_eq!(with("boss", "a long password").map(|delivered| delivered.spans_sent), Ok(1));

    // In the address, too; messages about the target are without it.
    let within = uri.replace("http://", "http://boss:a%20long%20password@");
    assert_eq!(deliver(&within, &[], &a_trace(2)).map(|delivered| delivered.spans_sent), Ok(1));
    let wrong = barred(deliver(&uri.replace("http://", "http://boss:wrong@"), &[], &a_trace(2)));
    assert!(wrong.contains(&uri) && !wrong.contains("wrong"), "{wrong}");

    // A user who may only read.
    let user = json!({"username": "reader", "password": "another long one"}).to_string();
    let admin = "Authorization: Basic Ym9zczphIGxvbmcgcGFzc3dvcmQ=";
    let made = post(server.port(), "/api/2.0/mlflow/users/create", &[admin], &user);
    assert!(made.starts_with("HTTP/1.1 200"), "{made}");
    let reader = [("MLFLOW_TRACKING_USERNAME", "reader"), ("MLFLOW_TRACKING_PASSWORD", "another long one")];
    let refused = closed(deliver(&uri, &reader, &a_trace(3)));
    assert!(refused.contains("403 Forbidden") && refused.contains("right to write"), "{refused}");
    // What is asked without a trace is answered all the same, so doctor promises no more than that.
    let home = Home::new("http://127.0.0.1:9");
    let mut doctor = home.command(env!("CARGO_BIN_EXE_codex-traced"));
    doctor.args(["mlflow", "doctor"]).envs(reader);
    doctor.envs([("MLFLOW_CODEX_TRACING_ENABLED", "true"), ("MLFLOW_TRACKING_URI", &uri)]);
    // `doctor` waits 3 s for an answer; a server on a busy machine may need more.
    let mut said = String::new();
    wait_for("an answer within doctor's time", LIMIT, || {
        said = run(&mut doctor).stdout;
        said.contains(&format!("{uri} answers"))
    });
    assert!(!said.contains("takes traces"), "{said}");
    let own = deliver_to(&uri, "the reader's own", &reader, &a_trace(3));
    assert_eq!(own.map(|delivered| delivered.spans_sent), Ok(1));
}

#[test]
fn a_token_goes_with_every_request() {
    let Some(server) = MlflowServer::shared(MLFLOW_VERSION) else { return };
    let front = Front::before(server.port());
    deliver(&front.uri(), &[("MLFLOW_TRACKING_TOKEN", "t0ken")], &a_trace(10)).expect("the server takes it");
    let seen = front.seen();
    assert!(seen.iter().all(|seen| seen.header("authorization") == Some("Bearer t0ken")) && seen.len() > 3);
}

#[test]
fn a_workspace_of_the_environment_is_for_targets_without_one() {
    for (noted, named) in [(None, "team"), (Some("first"), "first")] {
        let front = Front::answering(9, |_| {
            Some("HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".to_owned())
        });
        let target = Target::parse(&front.uri(), Path::new("/")).expect("a tracking URI");
        let target = target.with_workspace(noted.map(str::to_owned));
        barred(deliver_there(&target, "access", &[("MLFLOW_WORKSPACE", "team")], &a_trace(11)));
        let seen: Vec<Option<String>> =
            front.seen().iter().map(|seen| seen.header("x-mlflow-workspace").map(str::to_owned)).collect();
        assert_eq!(seen, [Some(named.to_owned())]);
    }
}

#[test]
fn a_server_of_a_private_authority_is_trusted_by_its_file_only() {
    let Some(server) = MlflowServer::shared(MLFLOW_VERSION) else { return };
    let (authority, folder) = (Authority::new(), new_folder());
    let (root, other) = (in_folder(&folder, "root.pem"), in_folder(&folder, "other.pem"));
    authority.write(Path::new(&root));
    Authority::new().write(Path::new(&other));
    let front = Front::with_tls(server.port(), authority.server("127.0.0.1", Clients::Anybody));
    let uri = front.uri().replace("http:", "https:");

    let stranger = barred(deliver(&uri, &[("SSL_CERT_FILE", &other)], &a_trace(20)));
    assert!(stranger.contains("MLFLOW_TRACKING_SERVER_CERT_PATH"), "{stranger}");
    assert!(front.seen().is_empty(), "nothing is said to a stranger");
    let folder_of_roots = folder.path().to_str().expect("UTF-8");
    let ways: [&[(&str, &str)]; 7] = [
        &[("MLFLOW_TRACKING_SERVER_CERT_PATH", &root), ("REQUESTS_CA_BUNDLE", &other)],
        &[("REQUESTS_CA_BUNDLE", &root), ("SSL_CERT_FILE", &other)],
        &[("CURL_CA_BUNDLE", &root)],
        &[("SSL_CERT_FILE", &root)],
        &[("SSL_CERT_DIR", folder_of_roots)],
        &[("REQUESTS_CA_BUNDLE", folder_of_roots)],
        &[("MLFLOW_TRACKING_INSECURE_TLS", "true")],
    ];
    for variables in ways {
        let delivered = deliver(&uri, variables, &a_trace(20));
        assert!(delivered.is_ok(), "{variables:?}: {delivered:?}");
    }

    let elsewhere = Front::with_tls(server.port(), authority.server("mlflow.example", Clients::Anybody));
    let uri = elsewhere.uri().replace("http:", "https:");
    let wrong = barred(deliver(&uri, &[("SSL_CERT_FILE", &root)], &a_trace(20)));
    assert!(wrong.contains("use the name that the certificate is for"), "{wrong}");
    // Two schemes that do not fit.
    let clear = Front::before(server.port());
    let wrong =
        barred(deliver(&clear.uri().replace("http:", "https:"), &[("SSL_CERT_FILE", &root)], &a_trace(20)));
    assert!(wrong.contains("use http://"), "{wrong}");
    assert!(
        barred(deliver(&uri, &[("SSL_CERT_FILE", "/dev/null")], &a_trace(20))).contains("no certificate")
    );
}

#[test]
fn a_client_certificate_is_accepted() {
    let Some(server) = MlflowServer::shared(MLFLOW_VERSION) else { return };
    let (authority, folder) = (Authority::new(), new_folder());
    let (root, ours) = (in_folder(&folder, "root.pem"), in_folder(&folder, "ours.pem"));
    authority.write(Path::new(&root));
    authority.write_client(Path::new(&ours));
    let front = Front::with_tls(server.port(), authority.server("127.0.0.1", Clients::Known));
    let uri = front.uri().replace("http:", "https:");
    let trust = ("MLFLOW_TRACKING_SERVER_CERT_PATH", root.as_str());

    let shut = barred(deliver(&uri, &[trust], &a_trace(30)));
    assert!(shut.contains("MLFLOW_TRACKING_CLIENT_CERT_PATH"), "{shut}");
    let known = deliver(&uri, &[trust, ("MLFLOW_TRACKING_CLIENT_CERT_PATH", &ours)], &a_trace(30));
    assert_eq!(known.map(|delivered| delivered.spans_sent), Ok(1));
    let keyless = barred(deliver(&uri, &[trust, ("MLFLOW_TRACKING_CLIENT_CERT_PATH", &root)], &a_trace(30)));
    assert!(keyless.contains("no certificate with its key"), "{keyless}");
}

#[test]
fn a_proxy_is_used_where_the_variables_name_one() {
    let Some(server) = MlflowServer::shared(MLFLOW_VERSION) else { return };
    let proxy = Front::before(server.port());
    let address = proxy.uri().replace("http://", "http://me:pass@");
    // This name exists for the proxy only.
    let clear = "http://mlflow.invalid:5000";
    deliver(clear, &[("HTTP_PROXY", &address)], &a_trace(40)).expect("by way of the proxy");
    let seen = proxy.seen();
    assert!(seen.iter().all(|seen| seen.target.starts_with(clear)), "{:?}", proxy.asked());
    assert_eq!(seen[0].header("proxy-authorization"), Some("Basic bWU6cGFzcw=="));

    // With TLS, the proxy sees only the host.
    let (authority, folder) = (Authority::new(), new_folder());
    let root = in_folder(&folder, "root.pem");
    authority.write(Path::new(&root));
    let front = Front::with_tls(server.port(), authority.server("mlflow.invalid", Clients::Anybody));
    let tunnel = Front::before(front.port());
    let variables = [("ALL_PROXY", tunnel.uri()), ("SSL_CERT_FILE", root)];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    deliver("https://mlflow.invalid", &variables, &a_trace(41)).expect("through a tunnel");
    assert!(
        tunnel
            .seen()
            .iter()
            .all(|seen| (seen.method.as_str(), seen.target.as_str()) == ("CONNECT", "mlflow.invalid:443"))
    );
    assert!(front.seen().len() > 3);

    // The small spelling wins, exceptions hold, and an empty variable is none.
    proxy.forget();
    let nowhere = "http://127.0.0.1:9";
    let near =
        [("http_proxy", nowhere), ("HTTP_PROXY", address.as_str()), ("no_proxy", "localhost,127.0.0.1:5000")];
    deliver(&server.uri(), &near, &a_trace(42)).expect("straight to the server");
    assert!(proxy.seen().is_empty());
    let small = deliver(clear, &[("http_proxy", nowhere), ("HTTP_PROXY", &address)], &a_trace(43));
    assert!(matches!(small, Err(ExportError::Transient { .. })), "{small:?}");
}

#[test]
fn a_system_without_certificates_still_reaches_servers_without_tls() {
    let Some(server) = MlflowServer::shared(MLFLOW_VERSION) else { return };
    let variables = [("SSL_CERT_FILE", "/dev/null")];
    deliver(&server.uri(), &variables, &a_trace(50)).expect("no certificate is needed");
    let said = barred(deliver("https://127.0.0.1:9", &variables, &a_trace(50)));
    assert!(said.contains("no certificate where SSL_CERT_FILE says"), "{said}");
}

#[test]
fn experiments_are_found_made_and_refused() {
    let Some(server) = MlflowServer::shared(MLFLOW_VERSION) else { return };
    let uri = server.uri();
    let delivered = deliver_to(&uri, "näme with/slash?&=", &[], &a_trace(60)).expect("made by name");
    let by_id = deliver_to(&uri, &format!("id:{}", delivered.experiment_id), &[], &a_trace(61));
    assert_eq!(by_id, Ok(delivered.clone()));
    for id in ["id:987654", "id:no number", "id:../1"] {
        let said = closed(deliver_to(&uri, id, &[], &a_trace(62)));
        assert!(said.contains("does not exist"), "{said}");
    }
    let body = json!({"experiment_id": delivered.experiment_id}).to_string();
    post(server.port(), "/api/2.0/mlflow/experiments/delete", &[], &body);
    for (experiment, trace) in [("näme with/slash?&=", 62), ("another", 60)] {
        let said = closed(deliver_to(&uri, experiment, &[], &a_trace(trace)));
        assert!(said.contains("was deleted") && said.contains("restore it"), "{said}");
    }
}

#[test]
fn an_experiment_that_another_client_creates_between_lookup_and_create_is_used() {
    let Some(server) = MlflowServer::shared(MLFLOW_VERSION) else { return };
    let port = server.port();
    let front = Front::answering(port, move |seen| {
        if seen.target.ends_with("/experiments/create") {
            post(port, "/api/2.0/mlflow/experiments/create", &[], &String::from_utf8_lossy(&seen.body));
        }
        None
    });
    let delivered =
        deliver_to(&front.uri(), "made twice", &[], &a_trace(70)).expect("found at the second look");
    assert_eq!(deliver_to(&server.uri(), "made twice", &[], &a_trace(71)), Ok(delivered));
}

#[test]
fn a_trace_stays_in_the_experiment_it_is_in() {
    let Some(server) = MlflowServer::shared(MLFLOW_VERSION) else { return };
    let first = deliver_to(&server.uri(), "first", &[], &a_trace(80)).expect("taken");
    assert_eq!(deliver_to(&server.uri(), "second", &[], &a_trace(80)), Ok(first));
}

#[test]
fn a_batch_that_is_too_large_for_a_proxy_goes_in_halves() {
    let Some(server) = MlflowServer::shared(MLFLOW_VERSION) else { return };
    let large = |seen: &Seen| {
        let is_large = seen.target == "/v1/traces" && seen.body.len() > 40_000;
        is_large
            .then(|| "HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".to_owned())
    };
    let front = Front::answering(server.port(), large);
    let mut trace = a_trace(90);
    trace.spans.extend((2..=9).map(|number| a_span(number, Some(1), &"x".repeat(10_000))));
    assert_eq!(deliver(&front.uri(), &[], &trace).map(|delivered| delivered.spans_sent), Ok(9));
    trace.spans.push(a_span(10, Some(1), &"x".repeat(50_000)));
    let refused = deliver(&front.uri(), &[], &trace);
    assert!(matches!(&refused, Err(ExportError::Trace(reason)) if reason.contains("413")), "{refused:?}");
}

#[test]
fn what_is_no_mlflow_server_gets_no_trace_and_is_named() {
    let answer = |head: &str, body: &str| {
        format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    };
    let page = "<!doctype html><title>\u{1b}[31mSign in</title>";
    let table = [
        (
            answer("200 OK\r\ncontent-type: text/html", page),
            "is not an MLflow server: it answered with a web page",
        ),
        (answer("200 OK", "2.22.2"), "is MLflow 2.22, which cannot take a trace from here"),
        (answer("200 OK", "{}"), "something that is not MLflow's"),
        (answer("404 Not Found", "nothing here"), "404 Not Found: nothing here"),
        (
            answer("302 Found\r\nlocation: https://sso.example/?next=1", ""),
            "sends on to https://sso.example/",
        ),
        (answer("308 Permanent Redirect\r\nlocation: /x", ""), "sends on to /x"),
        (answer("407 Proxy Authentication Required", ""), "HTTP_PROXY"),
        (answer("451 Unavailable", "\u{1b}[2Jlegal"), "451 Unavailable For Legal Reasons: [2Jlegal"),
    ];
    for (answer, expected) in table {
        let front = Front::answering(9, move |_| Some(answer.clone()));
        let said = match deliver(&front.uri(), &[("MLFLOW_TRACKING_TOKEN", "t0ken")], &a_trace(100)) {
            // An answer to the question for this trace may be for this trace alone: the next one is tried.
            Err(ExportError::Target(reason) | ExportError::Unclear { reason, .. }) => reason,
            other => panic!("expected a refusal: {other:?}"),
        };
        assert!(said.contains(expected), "{said}");
        assert!(
            front.seen().iter().all(|seen| seen.body.is_empty()),
            "{expected}: nothing of a trace is sent"
        );
        assert!(!said.contains('\u{1b}') && !said.contains("t0ken"), "{said}");
    }
}

#[test]
fn a_busy_servers_retry_after_is_read() {
    let busy = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 99\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let front = Front::answering(9, move |_| Some(busy.to_owned()));
    let expected = Some(Duration::from_secs(99));
    match deliver(&front.uri(), &[("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "7")], &a_trace(110)) {
        Err(ExportError::Transient { reason, after, .. }) => {
            assert!(reason.contains("503") && after == expected, "{reason} {after:?}");
        }
        other => panic!("expected to be told to wait: {other:?}"),
    }
    assert_eq!(front.seen().len(), 1, "a pause of a minute and a half is not waited for here");
}
