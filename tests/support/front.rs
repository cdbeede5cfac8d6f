//! A front end of a server: a listener on 127.0.0.1 that records each request and passes it on, or answers itself; in
//! clear or with TLS, as a server or as a proxy.
//!
//! One request per connection: each answer closes it, so that requests need no framing.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::listener::Listener;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    /// A path, or at a proxy an address.
    pub target: String,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Decides on a request: None passes it on, text is the whole answer, an empty one closes without a word.
pub type Answers = dyn Fn(&Seen) -> Option<String> + Send + Sync;

/// Stops when it is dropped.
pub struct Front {
    listener: Listener,
    seen: Arc<Mutex<Vec<Seen>>>,
}

struct Behind {
    /// The port of all requests, for every host that they name.
    upstream: u16,
    tls: Option<Arc<ServerConfig>>,
    answers: Box<Answers>,
}

impl Front {
    /// Passes everything on to this port.
    pub fn before(upstream: u16) -> Front {
        Front::answering(upstream, |_| None)
    }

    pub fn answering(
        upstream: u16,
        answers: impl Fn(&Seen) -> Option<String> + Send + Sync + 'static,
    ) -> Front {
        Front::start(Behind { upstream, tls: None, answers: Box::new(answers) })
    }

    pub fn with_tls(upstream: u16, tls: Arc<ServerConfig>) -> Front {
        Front::start(Behind { upstream, tls: Some(tls), answers: Box::new(|_| None) })
    }

    fn start(behind: Behind) -> Front {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let listener = Listener::start(|_| {
            let seen = Arc::clone(&seen);
            // A client that leaves in the middle is its test's business.
            move |stream, _| drop(serve(stream, &behind, &seen))
        });
        Front { listener, seen }
    }

    pub fn port(&self) -> u16 {
        self.listener.port()
    }

    pub fn uri(&self) -> String {
        self.listener.url()
    }

    /// Every request so far, in the order in which they came.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Method and path of each.
    pub fn asked(&self) -> Vec<String> {
        let path = |seen: &Seen| seen.target.split('?').next().unwrap_or_default().to_owned();
        self.seen().iter().map(|seen| format!("{} {}", seen.method, path(seen))).collect()
    }

    pub fn forget(&self) {
        self.seen.lock().unwrap().clear();
    }
}

fn serve(mut stream: TcpStream, behind: &Behind, seen: &Mutex<Vec<Seen>>) -> io::Result<()> {
    let Some(tls) = &behind.tls else {
        if let Some(request) = take(&mut stream, behind, seen)? {
            // CONNECT: from here on, bytes in both directions.
            debug_assert_eq!(request.method, "CONNECT");
            return tunnel(stream, behind.upstream);
        }
        return stream.shutdown(Shutdown::Write);
    };
    let connection = ServerConnection::new(Arc::clone(tls)).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    take(&mut stream, behind, seen)?;
    stream.conn.send_close_notify();
    stream.flush()
}

/// Reads a request and writes its answer; the request, if it asked for a tunnel.
fn take(
    stream: &mut (impl Read + Write),
    behind: &Behind,
    seen: &Mutex<Vec<Seen>>,
) -> io::Result<Option<Seen>> {
    let request = match read(stream) {
        Ok(Some(request)) => request,
        Ok(None) => return Ok(None),
        Err(error) => {
            // A real server's answer to a client that sends TLS.
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")?;
            return Err(error);
        }
    };
    seen.lock().unwrap().push(request.clone());
    if let Some(answer) = (behind.answers)(&request) {
        stream.write_all(answer.as_bytes())?;
        stream.flush()?;
        return Ok(None);
    }
    if request.method == "CONNECT" {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        return Ok(Some(request));
    }
    stream.write_all(&passed_on(&request, behind.upstream)?)?;
    stream.flush()?;
    Ok(None)
}

/// None where the client left without a word.
fn read(stream: &mut impl Read) -> io::Result<Option<Seen>> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 64 << 10]);
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Request::new(&mut headers);
        if let httparse::Status::Complete(end) = head.parse(&bytes).map_err(io::Error::other)? {
            let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
            let headers: Vec<(String, String)> = head
                .headers
                .iter()
                .map(|header| (header.name.to_ascii_lowercase(), text(header.value)))
                .collect();
            let length = headers.iter().find(|(name, _)| name == "content-length");
            let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
            let (method, target) =
                (head.method.unwrap_or_default().to_owned(), head.path.unwrap_or_default());
            let target = target.to_owned();
            let mut body = bytes.split_off(end);
            while body.len() < length {
                let count = stream.read(&mut chunk)?;
                if count == 0 {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                body.extend_from_slice(&chunk[..count]);
            }
            return Ok(Some(Seen { method, target, headers, body }));
        }
        match stream.read(&mut chunk)? {
            0 => return Ok(None),
            count => bytes.extend_from_slice(&chunk[..count]),
        }
    }
}

/// The upstream's whole answer.
fn passed_on(request: &Seen, upstream: u16) -> io::Result<Vec<u8>> {
    let path = match request.target.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => &request.target,
    };
    let mut head = format!("{} {path} HTTP/1.1\r\nhost: 127.0.0.1:{upstream}\r\n", request.method);
    let ours = ["host", "connection", "proxy-authorization", "proxy-connection"];
    for (name, value) in request.headers.iter().filter(|(name, _)| !ours.contains(&name.as_str())) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream))?;
    stream.write_all(format!("{head}connection: close\r\n\r\n").as_bytes())?;
    stream.write_all(&request.body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

fn tunnel(client: TcpStream, upstream: u16) -> io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream))?;
    let copy = |mut from: TcpStream, mut to: TcpStream| {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    };
    let (from, to) = (client.try_clone()?, server.try_clone()?);
    let up = thread::spawn(move || copy(from, to));
    copy(server, client);
    let _ = up.join();
    Ok(())
}
