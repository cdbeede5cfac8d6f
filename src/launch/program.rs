//! The command to run: its file, its words, and what we add to its environment.

use nix::errno::Errno;
use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

#[derive(Clone, Debug)]
pub struct Program {
    pub file: PathBuf,
    /// What it is told that it was called (`argv[0]`).
    pub name: OsString,
    pub args: Vec<OsString>,
    pub added_variables: Vec<(&'static str, OsString)>,
}

/// The program could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start {}: {error}", file.display())]
pub struct StartError {
    pub file: PathBuf,
    pub error: io::Error,
}

impl StartError {
    /// As a shell ends when it cannot run a command.
    pub fn exit_code(&self) -> i32 {
        if self.error.kind() == io::ErrorKind::NotFound { 127 } else { 126 }
    }
}

impl Program {
    /// Becomes the program: same process, same descriptors, nothing of ours left. Comes back only on failure.
    pub fn replace_us(&self) -> StartError {
        let Err(error) = self.exec();
        StartError { file: self.file.clone(), error }
    }

    /// Not by `Command::exec`, which would empty the signal mask that we were started with.
    fn exec(&self) -> io::Result<Infallible> {
        let text = |value: &OsStr| CString::new(value.as_bytes()).map_err(|_| io::Error::from(Errno::EINVAL));
        let file = text(self.file.as_os_str())?;
        let args: Vec<CString> = std::iter::once(text(&self.name))
            .chain(self.args.iter().map(|arg| text(arg)))
            .collect::<io::Result<_>>()?;
        let environment = self.environment().map(|pair| text(&pair)).collect::<io::Result<Vec<_>>>()?;
        super::signals::give_back_sigpipe();
        Ok(nix::unistd::execve(&file, &args, &environment)?)
    }

    fn environment(&self) -> impl Iterator<Item = OsString> {
        let added = self.added_variables.clone();
        let kept = std::env::vars_os()
            .filter(move |(name, _)| !added.iter().any(|(own, _)| OsStr::new(own) == name));
        let own = self.added_variables.iter().map(|(name, value)| (OsString::from(name), value.clone()));
        kept.chain(own).map(|(name, value)| {
            let mut pair = name;
            pair.push("=");
            pair.push(value);
            pair
        })
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.file);
        command.args(&self.args).arg0(&self.name);
        command.envs(self.added_variables.iter().map(|(name, value)| (name, value)));
        command
    }
}
