//! MLflow's server for a local store, in the foreground until Ctrl-C.

use crate::command::CommandError;
use launch::signals::SignalPipe;
use mlflow_store::target::Target;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// MLflow's default port, for the printed command.
pub(super) const USUAL_PORT: u16 = 5000;

/// The interval between health checks of a starting server.
const LOOK: Duration = Duration::from_millis(100);

/// A cold start of Python on a slow, busy disk takes minutes.
const PATIENCE: Duration = Duration::from_secs(300);

/// The time between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(10);

/// A running server. Drop ends its whole process group.
pub(super) struct MlflowServer {
    child: Child,
    port: u16,
    signals: SignalPipe,
}

/// Why the server's run is over.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ServerEnd {
    Requested,
    Ended(ExitStatus),
}

/// The command that serves the store, in the folder to which the URI is relative, if it is.
fn command(store: &Target, port: u16) -> Command {
    let mut command = Command::new("mlflow");
    let uri = match store.only_within() {
        Some((folder, uri)) => {
            command.current_dir(folder);
            uri
        }
        None => store.uri(),
    };
    let port = port.to_string();
    command.args(["server", "--backend-store-uri", &uri, "--host", "127.0.0.1", "--port", &port]);
    if let Target::FileStore(_) = store {
        // MLflow 3.14 and newer require it to open a file store.
        command.env("MLFLOW_ALLOW_FILE_STORE", "true");
    }
    command
}

/// The command for a shell.
pub(in crate::command) fn command_line(store: &Target) -> String {
    let quoted = |word: &OsStr| {
        let word = word.to_string_lossy();
        let is_plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c));
        if is_plain { word.into_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
    };
    let command = command(store, USUAL_PORT);
    let folder = command.get_current_dir().map(|folder| format!("cd {} && ", quoted(folder.as_os_str())));
    let set = |(name, value): (&OsStr, Option<&OsStr>)| Some(format!("{}={} ", quoted(name), quoted(value?)));
    let variables: String = command.get_envs().filter_map(set).collect();
    let words: Vec<String> =
        std::iter::once(command.get_program()).chain(command.get_args()).map(quoted).collect();
    format!("{}{variables}{}", folder.unwrap_or_default(), words.join(" "))
}

impl MlflowServer {
    pub(super) fn start(store: &Target) -> Result<MlflowServer, CommandError> {
        let failed =
            |error: io::Error| format!("cannot start mlflow: {error}\n  hint: {}", command_line(store));
        let signals = SignalPipe::with_ending_signals().map_err(failed)?;
        // Another process may take the port first. Then the server ends with an error of its own.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|free| free.local_addr())
            .map_err(failed)?
            .port();
        // Its own process group, so that it ends with all its workers.
        let child = command(store, port).stdin(Stdio::null()).process_group(0).spawn().map_err(failed)?;
        Ok(MlflowServer { child, port, signals })
    }

    pub(super) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Waits until the server answers, then returns None.
    pub(super) fn begin(&mut self) -> Result<Option<ServerEnd>, CommandError> {
        let begun = Instant::now();
        while !answers(self.port) {
            if let Some(end) = self.wait(Some(LOOK)) {
                return Ok(Some(end));
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("mlflow's server did not answer within {} s", PATIENCE.as_secs()));
            }
        }
        Ok(None)
    }

    /// Waits until the server ends or a signal asks for the end; None after `time`.
    pub(super) fn wait(&mut self, time: Option<Duration>) -> Option<ServerEnd> {
        let until = time.map(|time| Instant::now() + time);
        loop {
            if self.signals.is_asked_to_end() {
                return Some(ServerEnd::Requested);
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(ServerEnd::Ended(status));
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return None;
            }
            // The signal pipe also reports the child's end.
            let timeout = left
                .map_or(PollTimeout::NONE, |left| PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
            let _ = poll(&mut [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)], timeout);
        }
    }

    fn signal_group(&self, signal: Signal) {
        let _ = killpg(Pid::from_raw(self.child.id().cast_signed()), signal);
    }
}

impl Drop for MlflowServer {
    fn drop(&mut self) {
        self.signal_group(Signal::SIGTERM);
        let until = Instant::now() + GRACE;
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() >= until {
                break;
            }
            std::thread::sleep(LOOK);
        }
        // Workers may outlive the server.
        self.signal_group(Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

fn answers(port: u16) -> bool {
    let ask = || -> io::Result<bool> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        write!(stream, "GET /health HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n")?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        Ok(answer.starts_with(b"HTTP/1.") && answer.ends_with(b" 200"))
    };
    ask().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_command_is_valid_in_a_shell() {
        let table = [
            (
                Target::Sqlite("/a b/x.db".into()),
                "mlflow server --backend-store-uri 'sqlite:////a b/x.db' --host 127.0.0.1 --port 5000",
            ),
            (
                Target::Sqlite("/a?b/x.db".into()),
                "cd '/a?b' && mlflow server --backend-store-uri sqlite:///x.db --host 127.0.0.1 --port 5000",
            ),
            (
                Target::FileStore("/abs/mlruns".into()),
                "MLFLOW_ALLOW_FILE_STORE=true mlflow server --backend-store-uri file:///abs/mlruns --host 127.0.0.1 \
                 --port 5000",
            ),
        ];
        for (store, expected) in table {
            assert_eq!(command_line(&store), expected);
        }
    }
}
