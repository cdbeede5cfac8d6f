//! A listener on 127.0.0.1, which serves each connection in a thread of its own until it is dropped.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Listener {
    port: u16,
    stop: Arc<Stop>,
    acceptor: Option<JoinHandle<()>>,
}

/// Whether the listener is about to end.
#[derive(Debug, Default)]
pub(crate) struct Stop(Mutex<bool>, Condvar);

impl Listener {
    /// `make` gets the port and returns what serves a connection.
    pub(crate) fn start<S>(make: impl FnOnce(u16) -> S) -> Listener
    where
        S: Fn(TcpStream, &Stop) + Send + Sync + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a port of 127.0.0.1");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let stop = Arc::<Stop>::default();
        let acceptor = thread::spawn({
            let (serve, stop) = (Arc::new(make(port)), Arc::clone(&stop));
            move || {
                for stream in listener.incoming() {
                    if stop.is_asked() {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    let (serve, stop) = (Arc::clone(&serve), Arc::clone(&stop));
                    thread::spawn(move || serve(stream, &stop));
                }
            }
        });
        Listener { port, stop, acceptor: Some(acceptor) }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Stop {
    pub(crate) fn is_asked(&self) -> bool {
        *self.0.lock().unwrap()
    }

    /// Waits until the listener is dropped, at most so long.
    pub(crate) fn wait(&self, at_most: Option<Duration>) {
        let guard = self.0.lock().unwrap();
        match at_most {
            Some(limit) => drop(self.1.wait_timeout_while(guard, limit, |is_asked| !*is_asked)),
            None => drop(self.1.wait_while(guard, |is_asked| !*is_asked)),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        *self.stop.0.lock().unwrap() = true;
        self.stop.1.notify_all();
        // A connection wakes the acceptor.
        if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
            && let Some(acceptor) = self.acceptor.take()
        {
            let _ = acceptor.join();
        }
    }
}
