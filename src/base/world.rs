//! The program's surroundings at start: arguments, variables, folders, terminals. Read once, then passed on.

use common::variables::Variables;
pub use launch::terminals::{Device, Terminals};
use std::ffi::OsString;
use std::path::PathBuf;

#[derive(Clone, Debug, Default)]
pub struct World {
    /// Without the program's name.
    pub args: Vec<OsString>,
    pub variables: Variables,
    /// None when the working folder was deleted.
    pub cwd: Option<PathBuf>,
    pub home: Option<PathBuf>,
    pub stdout_is_terminal: bool,
    pub stderr_is_terminal: bool,
    pub terminals: Terminals,
    /// The parent at start. Later it may be process 1, which adopts processes when a window closes.
    pub parent: u32,
}

impl World {
    /// Whether this is the Windows Subsystem for Linux, which sets this variable for every program.
    pub fn is_wsl(&self) -> bool {
        self.variables.os("WSL_DISTRO_NAME").is_some()
    }

    pub fn read() -> World {
        let terminals = Terminals::read();
        let is_terminal = |stream: usize| terminals.0[stream].is_some();
        World {
            args: std::env::args_os().skip(1).collect(),
            variables: Variables::from_process(),
            cwd: std::env::current_dir().ok(),
            home: dirs::home_dir(),
            stdout_is_terminal: is_terminal(1),
            stderr_is_terminal: is_terminal(2),
            terminals,
            parent: std::os::unix::process::parent_id(),
        }
    }
}
