//! A real Arize Phoenix on 127.0.0.1, and what its own client reads there.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::python_server::{PythonServer, free_port, new_folder};
use crate::real::phoenix;
use crate::run::{End, run};

/// Prints a project's spans as JSON, by Phoenix's own client.
const READ: &str = include_str!("read_phoenix.py");

/// Runs until it is dropped.
#[derive(Debug)]
pub struct Phoenix {
    server: PythonServer,
    python: PathBuf,
}

impl Phoenix {
    /// None when tests are to stay offline.
    pub fn start() -> Option<Phoenix> {
        let python = phoenix()?;
        let (folder, port) = (new_folder(), free_port());
        let mut command = Command::new(&python);
        command.args(["-m", "phoenix.server.main", "serve"]);
        command.env("PHOENIX_WORKING_DIR", folder.path()).envs([
            ("PHOENIX_HOST", "127.0.0.1"),
            ("PHOENIX_PORT", port.to_string().as_str()),
            ("PHOENIX_GRPC_PORT", free_port().to_string().as_str()),
            ("PHOENIX_TELEMETRY_ENABLED", "false"),
        ]);
        let server = PythonServer::start(folder, port, &command, "/healthz");
        Some(Phoenix { server, python })
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port)
    }

    /// The spans of a project, each with `name`, `span_kind`, `parent_id`, `status_code` and `attributes`.
    pub fn spans(&self, project: &str) -> Vec<Value> {
        let mut read = self.command();
        read.args(["-c", READ, &self.url(), project]);
        let printed = run(&mut read).ended(End::Code(0)).stdout;
        let spans: Value = serde_json::from_str(&printed).expect("JSON");
        spans.as_array().expect("a list of spans").clone()
    }

    /// Its Python, which has OpenTelemetry's SDK too.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.python);
        command
            .env_clear()
            .envs([("HOME", self.server.folder.path().as_os_str()), ("LANG", "C.UTF-8".as_ref())]);
        command
    }
}
