//! A small mock of an MLflow server, which takes or refuses single traces. It shows which ones arrive; tests of what
//! MLflow does with a trace use a real server.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};

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
    port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    dislikes: Mutex<BTreeMap<String, Dislike>>,
    taken: Mutex<BTreeSet<String>>,
    stopping: AtomicBool,
    stop: (Mutex<()>, Condvar),
}

impl PickyServer {
    pub fn start() -> PickyServer {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("bind a port of 127.0.0.1");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let shared = Arc::<Shared>::default();
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.accept(&listener)
        });
        PickyServer { port, shared, acceptor: Some(acceptor) }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
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

impl Drop for PickyServer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.shared.stop.1.notify_all();
        // A connection of our own wakes the acceptor.
        if TcpStream::connect(("127.0.0.1", self.port)).is_ok()
            && let Some(acceptor) = self.acceptor.take()
        {
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn accept(self: &Arc<Shared>, listener: &TcpListener) {
        for stream in listener.incoming() {
            if self.stopping.load(Ordering::SeqCst) {
                return;
            }
            let Ok(stream) = stream else { continue };
            let shared = Arc::clone(self);
            thread::spawn(move || shared.serve(&stream));
        }
    }

    /// One request per connection.
    fn serve(&self, mut client: &TcpStream) -> io::Result<()> {
        let Some(request) = read_request(client)? else { return Ok(()) };
        let (status, body) = match self.answer(&request) {
            Some(answer) => answer,
            None => {
                let guard = self.stop.0.lock().unwrap();
                drop(self.stop.1.wait_while(guard, |()| !self.stopping.load(Ordering::SeqCst)));
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
