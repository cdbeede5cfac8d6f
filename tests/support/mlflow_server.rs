//! A real MLflow server on 127.0.0.1, with a folder of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;

use crate::python_server::{PythonServer, free_port, new_folder};
pub use crate::python_server::{get, post};
use crate::real::{mlflow, mlflow_with_auth};

/// Ends with all its workers when it is dropped, and when the test program ends.
#[derive(Debug)]
pub struct MlflowServer {
    server: PythonServer,
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
        let port = free_port();
        let mut command = Command::new(python);
        command.args(["-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1", "--port"]);
        command.arg(port.to_string());
        if !options.arguments.iter().any(|argument| argument == "--backend-store-uri") {
            command
                .arg("--backend-store-uri")
                .arg(format!("sqlite:///{}/mlflow.db", folder.path().display()));
        }
        command.args(&options.arguments).envs([
            ("MLFLOW_DISABLE_TELEMETRY", "true"),
            ("GIT_PYTHON_REFRESH", "quiet"),
            // Its job runner starts eight helper processes and more, of 230 MB each; no test needs a job.
            ("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false"),
        ]);
        if !options.with_catalog {
            command.env("MLFLOW_MODEL_CATALOG_URI", "");
        }
        command.envs(options.variables.iter().map(|(name, value)| (name, value)));
        let server = PythonServer::start(folder, port, &command, "/health");
        MlflowServer { server, python: python.to_owned(), options: options.clone() }
    }

    /// With kill -9, all its processes; then a new one on the same folder, at another port.
    pub fn killed_and_started_again(self) -> MlflowServer {
        let MlflowServer { server, python, options } = self;
        MlflowServer::within(server.killed(), &python, &options)
    }

    pub fn port(&self) -> u16 {
        self.server.port
    }

    pub fn uri(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port)
    }

    pub fn folder(&self) -> &Path {
        self.server.folder.path()
    }

    /// Its database, while it runs.
    pub fn database(&self) -> PathBuf {
        self.server.folder.path().join("mlflow.db")
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        self.server.log()
    }
}
