//! A server in Python on 127.0.0.1: a process group of its own, a port and a folder.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::run::wait_for;

/// A first start makes a database, on a machine that does other things too.
const START: Duration = Duration::from_secs(300);

/// A server answers what it is doing before it ends.
const END: Duration = Duration::from_secs(20);

/// Leads the server's process group. When its stdin closes, because the server was dropped or the test program ended, it
/// ends the group and removes the folder: a static is never dropped.
const SHELL: &str = r#"folder=$1; shift; "$@" </dev/null & cat >/dev/null
trap '' TERM; kill -TERM 0; wait; cd /; rm -rf "$folder""#;

/// Ends with all its workers when it is dropped, and when the test program ends.
#[derive(Debug)]
pub(crate) struct PythonServer {
    shell: Child,
    pub(crate) port: u16,
    pub(crate) folder: TempDir,
}

/// Not every server reports which port it got, so it is chosen here. It is below those that the kernel chooses (32768 and
/// up): during a server's start no other test's listener gets it.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = std::process::id().wrapping_mul(31).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + u16::try_from(step % 22_000).expect("it fits");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

impl PythonServer {
    /// `command`: the server's program and arguments, with its variables. It answers 200 at `/PATH` once it is ready.
    pub(crate) fn start(folder: TempDir, port: u16, command: &Command, path: &str) -> PythonServer {
        let log = File::create(folder.path().join("log")).expect("make a server's log");
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", SHELL, "sh"])
            .arg(folder.path())
            .arg(command.get_program())
            .args(command.get_args());
        shell.current_dir(folder.path()).env_clear().envs([
            ("HOME", folder.path().as_os_str()),
            ("PATH", "/usr/local/bin:/usr/bin:/bin".as_ref()),
            ("LANG", "C.UTF-8".as_ref()),
            ("TZ", "UTC".as_ref()),
            ("DO_NOT_TRACK", "true".as_ref()),
            ("HTTPS_PROXY", "http://127.0.0.1:9".as_ref()),
            ("NO_PROXY", "127.0.0.1,localhost".as_ref()),
        ]);
        shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("share a log"))
            .stderr(log)
            .process_group(0);
        let shell = shell.spawn().expect("start a shell");
        let server = PythonServer { shell, port, folder };
        server.wait_until_it_answers(path);
        server
    }

    fn wait_until_it_answers(&self, path: &str) {
        let until = Instant::now() + START;
        while get(self.port, path).is_none_or(|answer| !answer.starts_with("HTTP/1.1 200")) {
            assert!(Instant::now() < until, "no server after {START:?}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// With kill -9, all its processes. Its folder stays.
    pub(crate) fn killed(mut self) -> TempDir {
        killpg(self.group(), Signal::SIGKILL).expect("kill the server");
        std::mem::replace(&mut self.folder, new_folder())
    }

    /// What it has printed so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn group(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.shell.id()).expect("a process id fits its own type"))
    }
}

impl Drop for PythonServer {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let group = self.group();
        // The shell belongs to its group until it is waited for.
        let mut is_gone =
            || self.shell.try_wait().is_ok_and(|end| end.is_some()) && killpg(group, None).is_err();
        let until = Instant::now() + END;
        while !is_gone() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        if !is_gone() {
            let _ = killpg(group, Signal::SIGKILL);
            if !std::thread::panicking() {
                wait_for("the server's processes to end", END, &mut is_gone);
            }
        }
    }
}

pub(crate) fn new_folder() -> TempDir {
    tempfile::Builder::new().prefix("codex-traced-server-").tempdir().expect("make a folder for a server")
}

/// The whole answer to a GET, as text; None without an answer.
pub fn get(port: u16, path: &str) -> Option<String> {
    ask(port, &format!("GET {path} HTTP/1.1\r\n"), "").ok()
}

/// The whole answer to a POST of JSON with further headers, as text.
pub fn post(port: u16, path: &str, headers: &[&str], body: &str) -> String {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let head = format!("POST {path} HTTP/1.1\r\nContent-Type: application/json\r\n{headers}");
    ask(port, &head, body).expect("an answer")
}

fn ask(port: u16, head: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let length = body.len();
    write!(
        stream,
        "{head}Host: 127.0.0.1:{port}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
