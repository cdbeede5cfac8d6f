//! A web server on 127.0.0.1 that answers as a test's function says, and keeps what it was asked.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};

use crate::listener::Listener;
use crate::wire::{Request, read_request};

/// Runs until it is dropped.
#[derive(Debug)]
pub struct WebServer {
    listener: Listener,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub method: String,
    /// With its query.
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

/// A status and a body.
pub type Answered = (u16, Vec<u8>);

impl WebServer {
    /// `make` gets the server's address and returns what answers a request.
    pub fn start<A>(make: impl FnOnce(&str) -> A) -> WebServer
    where
        A: Fn(&Asked) -> Answered + Send + Sync + 'static,
    {
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let listener = Listener::start(|port| {
            let (answer, asked) = (make(&format!("http://127.0.0.1:{port}")), Arc::clone(&asked));
            move |stream, _| {
                // A client that leaves is no concern of the server.
                let _ = serve(&stream, &answer, &asked);
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
        WebServer { listener, asked }
    }

    pub fn url(&self) -> String {
        self.listener.url()
    }

    /// In the order in which the requests came.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// One request per connection.
fn serve(
    mut stream: &TcpStream,
    answer: &impl Fn(&Asked) -> Answered,
    all: &Mutex<Vec<Asked>>,
) -> io::Result<()> {
    let Some(Request { method, path, headers, body }) = read_request(stream)? else { return Ok(()) };
    let asked = Asked { method, path, headers, body };
    all.lock().unwrap().push(asked.clone());
    let (status, body) = answer(&asked);
    let head = format!("HTTP/1.1 {status} -\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body)
}
