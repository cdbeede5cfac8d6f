//! A mock of the model's API: answers the Responses API from a script, on 127.0.0.1 only.
//!
//! One thread and one request per connection, so that closing the socket is an event of its own, and so that the
//! end of the client is seen while a reply is held back.

use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::gate::Gate;
use crate::listener::{Listener, Stop};
use crate::run::wait_for;
use crate::script::{Ending, Reply, Script, Usage};
use crate::wire::{Events, read_request};

/// The server's answer when the script is used up; `assert_script_used_up_exactly` fails then.
pub const NOTHING_LEFT: &str = "nothing left in the script";

/// How often a reply at a gate checks that its client is still there.
const LOOK_FOR_CLIENT: Duration = Duration::from_millis(20);

/// A running mock; it stops when dropped.
#[derive(Debug)]
pub struct ModelServer {
    listener: Listener,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    script: Script,
    requests: Vec<Value>,
    strays: Vec<String>,
    reported: Vec<Usage>,
    unscripted: usize,
    clients_gone: usize,
}

impl ModelServer {
    pub fn start(script: Script) -> ModelServer {
        let state = Arc::new(Mutex::new(State { script, ..State::default() }));
        let listener = Listener::start(|_| {
            let state = Arc::clone(&state);
            move |stream, stop| {
                let mut connection = Connection { stream, state: &state, stop };
                if connection.serve().is_err() {
                    state.lock().unwrap().clients_gone += 1;
                }
                let _ = connection.stream.shutdown(Shutdown::Both);
            }
        });
        ModelServer { listener, state }
    }

    /// What Codex takes as `base_url`.
    pub fn url(&self) -> String {
        format!("{}/v1", self.listener.url())
    }

    /// Appends to the script: for a second turn, or the same turn again for another launcher.
    pub fn play(&self, more: Script) {
        let mut state = self.state.lock().unwrap();
        let script = std::mem::take(&mut state.script);
        state.script = script.then(more);
    }

    /// The bodies of all requests for a response, in the order in which they came.
    pub fn requests(&self) -> Vec<Value> {
        self.state.lock().unwrap().requests.clone()
    }

    /// Method and path of all requests other than for responses and models.
    pub fn strays(&self) -> Vec<String> {
        self.state.lock().unwrap().strays.clone()
    }

    /// The usage of each response that came to its end, complete or incomplete, with one.
    pub fn reported_each(&self) -> Vec<Usage> {
        self.state.lock().unwrap().reported.clone()
    }

    /// The sum of `reported_each`: what Codex must have counted.
    pub fn reported(&self) -> Usage {
        let mut sum = Usage::default();
        self.reported_each().into_iter().for_each(|usage| sum += usage);
        sum
    }

    /// How many clients left before their reply was complete.
    pub fn clients_gone(&self) -> usize {
        self.state.lock().unwrap().clients_gone
    }

    #[track_caller]
    pub fn wait_for_requests(&self, count: usize, limit: Duration) {
        wait_for(&format!("{count} requests to the model"), limit, || self.requests().len() >= count);
    }

    /// How many requests came when nothing was left in the script.
    pub fn unscripted(&self) -> usize {
        self.state.lock().unwrap().unscripted
    }

    #[track_caller]
    pub fn assert_script_used_up_exactly(&self) {
        let state = self.state.lock().unwrap();
        assert!(state.script.is_empty(), "replies were never asked for: {:#?}", state.script);
        assert_eq!(state.unscripted, 0, "requests came after the script's end");
    }
}

struct Connection<'a> {
    stream: TcpStream,
    state: &'a Mutex<State>,
    stop: &'a Stop,
}

impl Connection<'_> {
    /// An error means that the client has left.
    fn serve(&mut self) -> io::Result<()> {
        let Some(request) = read_request(&self.stream)? else {
            return Ok(());
        };
        let path = request.path.split('?').next().unwrap_or_default();
        match (request.method.as_str(), path) {
            ("GET", "/v1/models") => self.send_json(200, &[], &json!({"models": []})),
            ("POST", "/v1/responses") => {
                let (number, reply) = self.next_reply(&request.body);
                self.send_reply(number, &reply)
            }
            ("POST", "/v1/responses/compact") => {
                let (number, reply) = self.next_reply(&request.body);
                let output: Vec<Value> =
                    (0..).zip(&reply.items).map(|(k, item)| item.named(number, k)).collect();
                self.send_json(200, &reply.headers, &json!({"output": output}))
            }
            (method, path) => {
                self.state.lock().unwrap().strays.push(format!("{method} {path}"));
                self.send_json(
                    404,
                    &[],
                    &json!({"error": {"message": "not found", "type": "invalid_request_error"}}),
                )
            }
        }
    }

    fn next_reply(&self, body: &[u8]) -> (usize, Reply) {
        let text = String::from_utf8_lossy(body);
        let mut state = self.state.lock().unwrap();
        state.requests.push(serde_json::from_slice(body).unwrap_or_else(|_| json!(text)));
        let number = state.requests.len();
        let reply = state.script.next(&text).unwrap_or_else(|| {
            state.unscripted += 1;
            Reply::new().answer(NOTHING_LEFT)
        });
        (number, reply)
    }

    fn send_reply(&mut self, number: usize, reply: &Reply) -> io::Result<()> {
        if let Some(gate) = &reply.gate_at_start {
            self.stand_at(gate)?;
        }
        if let Ending::Http { status, body } = &reply.ending {
            return self.send_json(*status, &reply.headers, body);
        }
        let head = [("content-type", "text/event-stream"), ("cache-control", "no-store")];
        let more = reply.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        self.send_head(200, head.into_iter().chain(more))?;
        self.send_events(number, reply)
    }

    fn send_events(&mut self, number: usize, reply: &Reply) -> io::Result<()> {
        let id = format!("resp_{number:024x}");
        let mut events = Events::on(&self.stream);
        events.send(
            "response.created",
            json!({"response": {"id": id, "status": "in_progress", "output": []}}),
        )?;
        let mut output = Vec::new();
        for (place, item) in reply.items.iter().enumerate() {
            if matches!(reply.ending, Ending::Dropped { after } if place >= after) {
                break;
            }
            let item = item.named(number, place);
            events.send_item(place, &item)?;
            output.push(item);
        }
        if let Some(gate) = &reply.gate_at_end {
            self.stand_at(gate)?;
        }
        let usage = reply.usage.map(|usage| usage.as_sent());
        if matches!(reply.ending, Ending::Completed | Ending::Incomplete { .. }) {
            // Counted before it is sent: a client may be gone the moment it has read the last event.
            self.state.lock().unwrap().reported.extend(reply.usage);
        }
        match &reply.ending {
            Ending::Completed => {
                let response = json!({"id": id, "status": "completed", "output": output, "usage": usage});
                events.send("response.completed", json!({"response": response}))
            }
            Ending::Incomplete { reason } => {
                let details = json!({"reason": reason});
                let response = json!({"id": id, "status": "incomplete", "incomplete_details": details,
                    "output": output, "usage": usage});
                events.send("response.incomplete", json!({"response": response}))
            }
            Ending::Failed { code, message } => {
                let error = json!({"code": code, "message": message});
                let response = json!({"id": id, "status": "failed", "error": error});
                events.send("response.failed", json!({"response": response}))
            }
            Ending::Dropped { .. } | Ending::Http { .. } => Ok(()),
        }
    }

    /// Waits for the gate, or for the client to leave.
    fn stand_at(&self, gate: &Gate) -> io::Result<()> {
        gate.arrive();
        self.stream.set_nonblocking(true)?;
        while !gate.is_open_within(LOOK_FOR_CLIENT) {
            match self.stream.peek(&mut [0]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ if self.stop.is_asked() => break,
                _ => {}
            }
        }
        self.stream.set_nonblocking(false)
    }

    fn send_json(&mut self, status: u16, headers: &[(String, String)], body: &Value) -> io::Result<()> {
        let body = body.to_string();
        let length = body.len().to_string();
        let head = [("content-type", "application/json"), ("content-length", length.as_str())];
        let more = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        self.send_head(status, head.into_iter().chain(more))?;
        self.stream.write_all(body.as_bytes())
    }

    fn send_head<'a>(
        &mut self,
        status: u16,
        headers: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {status} Scripted\r\nconnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        self.stream.write_all(head.as_bytes())
    }
}
