//! The command to run: its file, its arguments, the variables that the launcher changes, and the state it starts in.

use super::orphan::Orphan;
use super::{before_main, entry_state, node_state};
use nix::errno::Errno;
use nix::libc;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

#[derive(Clone, Debug)]
pub struct Program {
    pub file: PathBuf,
    /// Its `argv[0]`.
    pub name: OsString,
    pub args: Vec<OsString>,
    pub added_variables: Vec<(&'static str, OsString)>,
    pub removed_variables: Vec<&'static str>,
    pub state: StartState,
    pub orphan: Orphan,
}

/// The signals, descriptors and limits with which the program starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartState {
    /// Those with which this process was started.
    #[default]
    AsEntered,
    /// Those of a program that Node.js starts.
    AsFromNode,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot start {}: {error}", file.display())]
pub struct StartError {
    pub file: PathBuf,
    pub error: io::Error,
}

impl StartError {
    /// The code with which a shell ends when it cannot run a command.
    pub fn exit_code(&self) -> i32 {
        if self.error.kind() == io::ErrorKind::NotFound { 127 } else { 126 }
    }
}

/// The arguments of execve, allocated before any fork.
pub(super) struct Image {
    file: CString,
    args: Texts,
    environment: Texts,
    state: StartState,
}

/// C texts, and the array of their addresses that execve takes: a child has to allocate nothing.
struct Texts {
    texts: Vec<CString>,
    addresses: Vec<*const libc::c_char>,
}

impl Texts {
    fn new(texts: Vec<CString>) -> Texts {
        let addresses = texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect();
        Texts { texts, addresses }
    }
}

impl Program {
    /// Replaces this process by the program, which keeps the descriptors. Returns only on failure.
    pub fn replace_process(&self) -> StartError {
        let exec = |image: Image| {
            before_main::close_streams_again();
            image.exec()
        };
        let error = self.image().map_or_else(|error| error, exec);
        StartError { file: self.file.clone(), error }
    }

    pub(super) fn image(&self) -> io::Result<Image> {
        let args = std::iter::once(&self.name).chain(&self.args);
        Ok(Image {
            file: c_text(self.file.as_os_str())?,
            args: Texts::new(args.map(|arg| c_text(arg)).collect::<io::Result<_>>()?),
            environment: Texts::new(self.environment().map(|pair| c_text(&pair)).collect::<io::Result<_>>()?),
            state: self.state,
        })
    }

    /// The launcher's environment in its order, then the added variables.
    fn environment(&self) -> impl Iterator<Item = OsString> {
        let added = self.added_variables.iter().map(|(own, _)| own);
        let changed: Vec<&str> = added.chain(&self.removed_variables).copied().collect();
        let kept = std::env::vars_os().filter(move |(name, _)| !changed.iter().any(|own| name == own));
        let added = self.added_variables.iter().map(|(name, value)| (OsString::from(name), value.clone()));
        kept.chain(added).map(|(mut pair, value)| {
            pair.push("=");
            pair.push(value);
            pair
        })
    }
}

impl Image {
    /// Replaces this process. Not by std's `exec`, which would empty the signal mask and sort the environment.
    pub(super) fn exec(&self) -> io::Error {
        match self.state {
            StartState::AsEntered => entry_state::restore_dispositions(),
            StartState::AsFromNode => node_state::enter(),
        }
        let error = execve(&self.file, &self.args, &self.environment);
        if error != Errno::ENOEXEC {
            return error.into();
        }
        // A script without `#!`: a shell would run it itself, so /bin/sh runs it.
        let args = [c"/bin/sh".to_owned(), self.file.clone()].into_iter();
        let args = Texts::new(args.chain(self.args.texts.iter().skip(1).cloned()).collect());
        execve(c"/bin/sh", &args, &self.environment).into()
    }
}

fn execve(file: &CStr, args: &Texts, environment: &Texts) -> Errno {
    #[expect(unsafe_code, reason = "nix's execve allocates")]
    // SAFETY: both arrays end with a null pointer, and their texts live as long as they.
    unsafe {
        libc::execve(file.as_ptr(), args.addresses.as_ptr(), environment.addresses.as_ptr());
    }
    Errno::last()
}

fn c_text(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(|_| io::Error::from(Errno::EINVAL))
}
