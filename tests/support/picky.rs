//! A small mock of an MLflow server, which takes or refuses single traces. It shows which ones arrive; tests of what
//! MLflow does with a trace use a real server.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::listener::{Listener, Stop};
use crate::wire::{Request, read_request};

/// What the server does with each attempt to send one trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dislike {
    Answers(u16),
    Hangs,
}

/// Runs until it is dropped.
#[derive(Debug)]
pub struct PickyServer {
    listener: Listener,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    dislikes: Mutex<BTreeMap<String, Dislike>>,
    taken: Mutex<BTreeSet<String>>,
}

impl PickyServer {
    pub fn start() -> PickyServer {
        let shared = Arc::<Shared>::default();
        let listener = Listener::start(|_| {
            let shared = Arc::clone(&shared);
            move |stream, stop| drop(shared.serve(&stream, stop))
        });
        PickyServer { listener, shared }
    }

    pub fn url(&self) -> String {
        self.listener.url()
    }

    /// From now on, without end.
    pub fn dislike(&self, trace: &str, how: Dislike) {
        self.shared.dislikes.lock().unwrap().insert(trace.to_owned(), how);
    }

    /// The ids of all traces that were taken as a whole.
    pub fn taken(&self) -> BTreeSet<String> {
        self.shared.taken.lock().unwrap().clone()
    }
}

impl Shared {
    /// One request per connection.
    fn serve(&self, mut client: &TcpStream, stop: &Stop) -> io::Result<()> {
        let Some(request) = read_request(client)? else { return Ok(()) };
        let (status, body) = match self.answer(&request) {
            Some(answer) => answer,
            None => {
                stop.wait(None);
                return Ok(());
            }
        };
        let head = format!(
            "HTTP/1.1 {status} Scripted\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        client.write_all(head.as_bytes())?;
        client.write_all(body.as_bytes())?;
        client.shutdown(Shutdown::Both)
    }

    /// None to leave the client waiting.
    fn answer(&self, request: &Request) -> Option<(u16, String)> {
        const TRACES: &str = "/api/3.0/mlflow/traces";
        let missing =
            || (404, json!({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"}).to_string());
        let path = request.path.split('?').next().unwrap_or_default();
        match (request.method.as_str(), path) {
            ("GET", "/version") => Some((200, "3.18.0".to_owned())),
            ("GET", path) if path.contains("/experiments/get") => {
                let experiment = json!({"experiment_id": "1", "lifecycle_stage": "active"});
                Some((200, json!({"experiment": experiment}).to_string()))
            }
            ("GET", path) if path.starts_with(TRACES) => {
                let trace = path.rsplit('/').next().unwrap_or_default();
                let is_taken = self.taken.lock().unwrap().contains(trace);
                Some(if is_taken { (200, info(trace).to_string()) } else { missing() })
            }
            ("POST", "/v1/traces" | TRACES) => {
                let trace = trace_in(&request.body).expect("a body names its trace");
                match self.dislikes.lock().unwrap().get(&trace) {
                    Some(Dislike::Hangs) => return None,
                    Some(Dislike::Answers(status)) => {
                        return Some((*status, json!({"message": "I do not like it"}).to_string()));
                    }
                    None => {}
                }
                if path == "/v1/traces" {
                    return Some((200, String::new()));
                }
                self.taken.lock().unwrap().insert(trace.clone());
                Some((200, info(&trace).to_string()))
            }
            _ => Some(missing()),
        }
    }
}

fn info(trace: &str) -> Value {
    let location = json!({"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "1"}});
    let tags = json!({"mlflow.trace.spansLocation": "TRACKING_STORE"});
    json!({"trace": {"trace_info": {"trace_id": trace, "trace_location": location, "tags": tags}}})
}

/// Protobuf or JSON: both hold its id as text.
fn trace_in(body: &[u8]) -> Option<String> {
    const LENGTH: usize = "tr-".len() + 32;
    let is_id = |text: &&[u8]| text.starts_with(b"tr-") && text[3..].iter().all(u8::is_ascii_hexdigit);
    body.windows(LENGTH).find(is_id).map(|id| String::from_utf8_lossy(id).into_owned())
}
