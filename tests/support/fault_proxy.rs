//! A proxy between a client and a real server, with the network faults that a test asks for.
//!
//! One request per connection, which is handed on as it came but for `connection: close`.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::gate::Gate;
use crate::listener::{Listener, Stop};
use crate::run::LIMIT;
use crate::wire::{Head, read_head};

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is read and never answered.
    Hang,
    /// The answer comes a byte a second.
    Trickle,
    /// The connection is reset while the body is under way.
    ResetInBody,
    /// The proxy answers in place of the server.
    Answer { status: u16, headers: Vec<(&'static str, &'static str)>, body: &'static str },
    /// It is handed on, and the server's answer is lost.
    LoseAnswer,
}

/// Runs until it is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    listener: Listener,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server: Mutex<SocketAddr>,
    plan: Mutex<Plan>,
    gate: Mutex<Option<Gate>>,
    seen: Mutex<Vec<String>>,
}

#[derive(Debug, Default)]
struct Plan {
    /// Requests whose path begins so; all with the empty text.
    path: String,
    fault: Option<Fault>,
    /// How many more requests it happens to; None for all.
    left: Option<usize>,
}

impl FaultProxy {
    pub fn before(server: SocketAddr) -> FaultProxy {
        let shared = Arc::new(Shared {
            server: Mutex::new(server),
            plan: Mutex::default(),
            gate: Mutex::default(),
            seen: Mutex::default(),
        });
        let listener = Listener::start(|_| {
            let shared = Arc::clone(&shared);
            // A client or a server that leaves is what a network does.
            move |stream, stop| drop(shared.serve(&stream, stop))
        });
        FaultProxy { listener, shared }
    }

    pub fn url(&self) -> String {
        self.listener.url()
    }

    /// From now on another server is behind it.
    pub fn aim_at(&self, server: SocketAddr) {
        *self.shared.server.lock().unwrap() = server;
    }

    /// From now on the fault happens to every request whose path begins so.
    pub fn fail(&self, path: &str, fault: Fault) {
        *self.shared.plan.lock().unwrap() = Plan { path: path.to_owned(), fault: Some(fault), left: None };
    }

    /// As `fail`, to the next request only.
    pub fn fail_once(&self, path: &str, fault: Fault) {
        *self.shared.plan.lock().unwrap() = Plan { path: path.to_owned(), fault: Some(fault), left: Some(1) };
    }

    /// From now on each request waits at the gate, before anything happens to it.
    pub fn hold(&self, gate: &Gate) {
        *self.shared.gate.lock().unwrap() = Some(gate.clone());
    }

    pub fn heal(&self) {
        *self.shared.plan.lock().unwrap() = Plan::default();
    }

    /// Method and path of each request so far.
    pub fn seen(&self) -> Vec<String> {
        self.shared.seen.lock().unwrap().clone()
    }
}

impl Shared {
    fn serve(&self, mut client: &TcpStream, stop: &Stop) -> io::Result<()> {
        let Some(head) = read_head(client)? else { return Ok(()) };
        self.seen.lock().unwrap().push(format!("{} {}", head.method, head.path));
        let gate = self.gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            gate.arrive();
            gate.is_open_within(LIMIT);
        }
        let fault = self.fault_for(&head.path);
        if fault == Some(Fault::ResetInBody) {
            // What was sent and not read makes the kernel reset the connection when it is closed.
            client.read_exact(&mut vec![0; head.length / 2])?;
            return Ok(());
        }
        let mut body = vec![0; head.length];
        client.read_exact(&mut body)?;
        match fault {
            Some(Fault::Hang) => stop.wait(None),
            Some(Fault::Answer { status, headers, body }) => {
                client.write_all(&answer(status, &headers, body))?;
            }
            Some(Fault::LoseAnswer) => {
                self.hand_on(&head, &body)?;
            }
            Some(Fault::Trickle) => {
                for byte in self.hand_on(&head, &body)? {
                    client.write_all(&[byte])?;
                    stop.wait(Some(Duration::from_secs(1)));
                }
            }
            Some(Fault::ResetInBody) | None => client.write_all(&self.hand_on(&head, &body)?)?,
        }
        client.shutdown(Shutdown::Both)
    }

    fn fault_for(&self, path: &str) -> Option<Fault> {
        let mut plan = self.plan.lock().unwrap();
        if !path.starts_with(&plan.path) || plan.left == Some(0) {
            return None;
        }
        plan.left = plan.left.map(|left| left - 1);
        plan.fault.clone()
    }

    /// The server's whole answer.
    fn hand_on(&self, head: &Head, body: &[u8]) -> io::Result<Vec<u8>> {
        let mut server = TcpStream::connect(*self.server.lock().unwrap())?;
        let mut request =
            format!("{} {} HTTP/1.1\r\nconnection: close\r\n", head.method, head.path).into_bytes();
        for (name, value) in head.headers.iter().filter(|(name, _)| name != "connection") {
            request.extend_from_slice(name.as_bytes());
            request.extend_from_slice(b": ");
            request.extend_from_slice(value);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(body);
        // A server may answer and close before it has read the body.
        let written = server.write_all(&request);
        let mut answer = Vec::new();
        let read = server.read_to_end(&mut answer);
        if answer.is_empty() { written.and(read).map(|_| answer) } else { Ok(answer) }
    }
}

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut answer =
        format!("HTTP/1.1 {status} Scripted\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        answer.push_str(&format!("{name}: {value}\r\n"));
    }
    answer.push_str("\r\n");
    answer.push_str(body);
    answer.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// Answers every request with its body.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut client = &stream;
                let head = read_head(client).unwrap().unwrap();
                let mut body = vec![0; head.length];
                client.read_exact(&mut body).unwrap();
                client.write_all(&answer(200, &[], &String::from_utf8(body).unwrap())).unwrap();
            }
        });
        address
    }

    fn ask(proxy: &FaultProxy, body: &str) -> io::Result<String> {
        ask_within(LIMIT, proxy, body)
    }

    fn ask_within(limit: Duration, proxy: &FaultProxy, body: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", proxy.listener.port()))?;
        stream.set_read_timeout(Some(limit))?;
        write!(stream, "POST /x HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}", body.len())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn each_fault_is_seen_by_the_client_as_it_is_named() {
        let proxy = FaultProxy::before(echo());
        assert!(ask(&proxy, "hello").unwrap().ends_with("\r\n\r\nhello"));
        let kind = |fault: Fault| {
            // No whole answer comes within any limit.
            let never = matches!(fault, Fault::Hang | Fault::Trickle);
            let limit = if never { Duration::from_millis(200) } else { LIMIT };
            proxy.fail("/x", fault);
            ask_within(limit, &proxy, &"x".repeat(4 << 20)).map_err(|error| error.kind())
        };
        assert_eq!(kind(Fault::Hang), Err(io::ErrorKind::WouldBlock));
        assert_eq!(kind(Fault::Trickle), Err(io::ErrorKind::WouldBlock));
        let reset = kind(Fault::ResetInBody);
        assert!(
            matches!(reset, Err(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)),
            "{reset:?}"
        );
        assert_eq!(kind(Fault::LoseAnswer), Ok(String::new()));
        let gone = Fault::Answer { status: 410, headers: vec![("x-a", "b")], body: "gone" };
        assert!(kind(gone).unwrap().starts_with("HTTP/1.1 410 "));
        proxy.fail("/elsewhere", Fault::Hang);
        assert!(ask(&proxy, "again").unwrap().ends_with("again"));
        proxy.fail_once("/x", Fault::LoseAnswer);
        assert_eq!(ask(&proxy, "once").unwrap(), "");
        assert!(ask(&proxy, "twice").unwrap().ends_with("twice"));
        assert_eq!(proxy.seen().len(), 9);
    }
}
