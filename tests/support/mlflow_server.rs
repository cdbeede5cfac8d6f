//! A real MLflow server on 127.0.0.1, with a folder of its own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::real::{mlflow, mlflow_with_auth};
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
pub struct MlflowServer {
    shell: Child,
    port: u16,
    folder: TempDir,
    python: PathBuf,
    options: ServerOptions,
}

/// What differs from one server to another.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    pub arguments: Vec<String>,
    pub variables: Vec<(String, String)>,
    /// MLflow's price list, which a server looks for on the network at its first spans.
    pub with_catalog: bool,
}

/// MLflow does not report which port it got, so it is chosen here. It is below those that the kernel chooses (32768 and
/// up): during MLflow's start no other test's listener gets it.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = std::process::id().wrapping_mul(31).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + u16::try_from(step % 22_000).expect("it fits");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

impl MlflowServer {
    /// None when tests are to stay offline.
    pub fn of(version: &str) -> Option<MlflowServer> {
        Some(MlflowServer::with(&mlflow(version)?, &ServerOptions::default()))
    }

    /// The server of this version that all tests of a program share, to its end: a start is most of a server's cost.
    pub fn shared(version: &str) -> Option<Arc<MlflowServer>> {
        static SHARED: Mutex<BTreeMap<String, Arc<MlflowServer>>> = Mutex::new(BTreeMap::new());
        // A server that failed to start is not in the map.
        let mut all = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = all.get(version) {
            return Some(Arc::clone(server));
        }
        let server = Arc::new(MlflowServer::of(version)?);
        all.insert(version.to_owned(), Arc::clone(&server));
        Some(server)
    }

    /// The newest server, with users and passwords: `admin` with `password`.
    pub fn with_users(admin: &str, password: &str) -> Option<MlflowServer> {
        let python = mlflow_with_auth()?;
        let folder = new_folder();
        let settings = folder.path().join("auth.ini");
        let database = folder.path().join("users.db");
        let text = format!(
            "[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{}\nadmin_username = {admin}\n\
             admin_password = {password}\nauthorization_function = mlflow.server.auth:authenticate_request_basic_auth\n",
            database.display()
        );
        fs::write(&settings, text).expect("write the settings of a server with users");
        let options = ServerOptions {
            arguments: vec!["--app-name".into(), "basic-auth".into()],
            variables: vec![
                ("MLFLOW_AUTH_CONFIG_PATH".into(), settings.display().to_string()),
                ("MLFLOW_FLASK_SERVER_SECRET_KEY".into(), "only for a test".into()),
            ],
            ..ServerOptions::default()
        };
        Some(MlflowServer::within(folder, &python, &options))
    }

    /// Started by this Python.
    pub fn with(python: &Path, options: &ServerOptions) -> MlflowServer {
        MlflowServer::within(new_folder(), python, options)
    }

    fn within(folder: TempDir, python: &Path, options: &ServerOptions) -> MlflowServer {
        let log = File::create(folder.path().join("log")).expect("make a server's log");
        let port = free_port();
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", SHELL, "sh"]).arg(folder.path()).arg(python);
        shell.args(["-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1", "--port"]);
        shell.arg(port.to_string());
        if !options.arguments.iter().any(|argument| argument == "--backend-store-uri") {
            shell.arg("--backend-store-uri").arg(format!("sqlite:///{}/mlflow.db", folder.path().display()));
        }
        shell.args(&options.arguments);
        shell.current_dir(folder.path()).env_clear().envs([
            ("HOME", folder.path().as_os_str()),
            ("PATH", "/usr/local/bin:/usr/bin:/bin".as_ref()),
            ("LANG", "C.UTF-8".as_ref()),
            ("TZ", "UTC".as_ref()),
            ("MLFLOW_DISABLE_TELEMETRY", "true".as_ref()),
            ("DO_NOT_TRACK", "true".as_ref()),
            ("HTTPS_PROXY", "http://127.0.0.1:9".as_ref()),
            ("NO_PROXY", "127.0.0.1,localhost".as_ref()),
            ("GIT_PYTHON_REFRESH", "quiet".as_ref()),
            // Its job runner starts eight helper processes and more, of 230 MB each; no test needs a job.
            ("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false".as_ref()),
        ]);
        if !options.with_catalog {
            shell.env("MLFLOW_MODEL_CATALOG_URI", "");
        }
        shell.envs(options.variables.iter().map(|(name, value)| (name, value)));
        shell
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("share a log"))
            .stderr(log)
            .process_group(0);
        let shell = shell.spawn().expect("start a shell");
        let server =
            MlflowServer { shell, port, folder, python: python.to_owned(), options: options.clone() };
        server.wait_until_it_answers();
        server
    }

    fn wait_until_it_answers(&self) {
        let until = Instant::now() + START;
        while get(self.port, "/health").is_none_or(|answer| !answer.starts_with("HTTP/1.1 200")) {
            assert!(Instant::now() < until, "MLflow did not start within {START:?}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// With kill -9, all its processes; then a new one on the same folder, at another port.
    pub fn killed_and_started_again(mut self) -> MlflowServer {
        killpg(self.group(), Signal::SIGKILL).expect("kill the server");
        let folder = std::mem::replace(&mut self.folder, new_folder());
        MlflowServer::within(folder, &self.python.clone(), &self.options.clone())
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn uri(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its database, while it runs.
    pub fn database(&self) -> PathBuf {
        self.folder.path().join("mlflow.db")
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn group(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.shell.id()).expect("a process id fits its own type"))
    }
}

impl Drop for MlflowServer {
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

fn new_folder() -> TempDir {
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
