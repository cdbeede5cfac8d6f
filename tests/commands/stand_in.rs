//! A tracking server as far as a look at it goes: its version, its clock, its experiments.

use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// How the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// MLflow 3.17.2 with one experiment, `codex-sessions` (id 1), and a right clock.
    Well,
    /// As MLflow's own login does without credentials.
    Unauthorized,
    /// A clock that is years behind.
    Late,
}

/// Answers for as long as the test runs; gives its address.
pub(crate) fn server(manner: Manner) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("bind a port of 127.0.0.1");
    let port = listener.local_addr().expect("a bound socket has an address").port();
    thread::spawn(move || listener.incoming().flatten().for_each(|stream| answer(&stream, manner)));
    format!("http://127.0.0.1:{port}")
}

fn answer(stream: &TcpStream, manner: Manner) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let Some(request) = lines.next() else { return };
    // Only what has no body is asked.
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    let asked = request.split_whitespace().nth(1).unwrap_or_default();
    let (status, body) = match () {
        () if manner == Manner::Unauthorized => ("401 Unauthorized", "You are not authenticated.".to_owned()),
        () if asked == "/version" => ("200 OK", "3.17.2".to_owned()),
        () if asked.ends_with("experiment_name=codex-sessions") || asked.ends_with("experiment_id=1") => {
            let experiment =
                json!({"experiment_id": "1", "name": "codex-sessions", "lifecycle_stage": "active"});
            ("200 OK", json!({ "experiment": experiment }).to_string())
        }
        () => {
            ("404 Not Found", json!({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no"}).to_string())
        }
    };
    let date = match manner {
        Manner::Late => "Sun, 22 Nov 2020 09:54:45 GMT".to_owned(),
        _ => jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string(),
    };
    let head =
        format!("HTTP/1.1 {status}\r\ndate: {date}\r\nconnection: close\r\ncontent-length: {}", body.len());
    let mut stream = stream;
    let _ = stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes());
}
