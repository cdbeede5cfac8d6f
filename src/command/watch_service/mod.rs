//! `mlflow watch --install` and `--uninstall`: the service that runs `mlflow watch` at each login.

mod unit;

use super::{CommandError, print, question};
use crate::base::world::World;
use crate::cli::Watch;
use crate::settings::variable_reference;
use common::disk;
use common::printable::{clean, in_one_line};
use launch::exit::ChildExit;
use std::fmt::Write;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::{Command, Stdio};
use unit::{Manager, Program, Service, is_marked, path_text, typed};

/// The exit code when nothing was changed.
const UNCHANGED: ChildExit = ChildExit::Code(1);

/// The service's file on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileState {
    Missing,
    /// Written by codex-traced, with this text.
    Same,
    /// Written by codex-traced, with another text.
    Older,
    Foreign,
}

pub(super) fn run(watch: &Watch, world: &World) -> Result<ChildExit, CommandError> {
    let service = service(world)?;
    let state = state_of(&service)?;
    if state == FileState::Foreign {
        return Err(format!(
            "{} was not written by codex-traced, and stays as it is\n  hint: remove or rename it first",
            clean(service.file.display())
        ));
    }
    if watch.uninstall {
        uninstall(&service, state, watch, world)
    } else {
        install(&service, state, watch, world)
    }
}

fn service(world: &World) -> Result<Service, CommandError> {
    let manager = match cfg!(target_os = "macos") {
        true => Manager::Launchd(nix::unistd::getuid().as_raw()),
        false => Manager::Systemd,
    };
    let unfit = |path: &Path| {
        format!("a service file cannot name {}\n  hint: choose a path of plain text", clean(path.display()))
    };
    let program = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let path = path_text(&program).ok_or_else(|| unfit(&program))?;
    let home = super::home(world)?;
    let is_set = world.variables.os("CODEX_HOME").is_some();
    let codex_home = is_set.then(|| path_text(home.path()).ok_or_else(|| unfit(home.path()))).transpose()?;
    let service = manager.service(Program { path, codex_home }, world);
    service.ok_or_else(|| "there is no home folder\n  hint: set HOME".to_owned())
}

fn state_of(service: &Service) -> Result<FileState, CommandError> {
    match fs::read(&service.file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(FileState::Missing),
        Err(error) => Err(failed("read", &service.file, &error)),
        Ok(text) if text == service.text.as_bytes() => Ok(FileState::Same),
        Ok(text) if is_marked(&text) => Ok(FileState::Older),
        Ok(_) => Ok(FileState::Foreign),
    }
}

fn install(
    service: &Service,
    state: FileState,
    watch: &Watch,
    world: &World,
) -> Result<ChildExit, CommandError> {
    let file = clean(service.file.display());
    let mut page = format!("{file}\n\n");
    service.text.lines().for_each(|line| _ = writeln!(page, "  {line}"));
    let _ = writeln!(page, "\nIt is started by: {}", typed(&service.start));
    let unseen = unseen_variables(world);
    if !unseen.is_empty() {
        let _ =
            writeln!(page, "The service does not see these variables of your shell: {}", unseen.join(", "));
        page.push_str("`codex-traced mlflow enable` writes their settings into the configuration file.\n");
    }
    print(&page);
    if !is_agreed("Write this file and start the service?", "written", watch, world) {
        return Ok(UNCHANGED);
    }
    if state != FileState::Same {
        let folder = service.file.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder).map_err(|error| failed("make", folder, &error))?;
        disk::write_whole(&service.file, service.text.as_bytes())
            .map_err(|error| failed("write", &service.file, &error))?;
    }
    print(&format!("Written: {file}\n"));
    if let Some(Err(reason)) = service.reload.as_deref().map(ask) {
        let commands: Vec<String> =
            service.reload.iter().chain([&service.start]).map(|words| typed(words)).collect();
        print(&format!(
            "It is not started: {}\n  hint: in a login session run `{}`\n",
            in_one_line(&reason),
            commands.join(" && ")
        ));
        return Ok(ChildExit::Code(0));
    }
    ask(&service.start).or_else(|reason| {
        // launchd refuses to start a service that runs.
        if state == FileState::Missing { Err(reason) } else { ask(&service.restart) }
    })?;
    if state == FileState::Older {
        // It runs with the text before.
        ask(&service.restart)?;
    }
    print("Started. `codex-traced mlflow watch --uninstall` stops and removes it.\n");
    Ok(ChildExit::Code(0))
}

fn uninstall(
    service: &Service,
    state: FileState,
    watch: &Watch,
    world: &World,
) -> Result<ChildExit, CommandError> {
    let file = clean(service.file.display());
    if state == FileState::Missing {
        print(&format!("There is no service to remove: {file} is not there.\n"));
        return Ok(ChildExit::Code(0));
    }
    print(&format!("{file}\n\nIt is stopped by: {}\n", typed(&service.stop)));
    if !is_agreed("Stop the service and remove this file?", "removed", watch, world) {
        return Ok(UNCHANGED);
    }
    // Without a manager, or when it is not started, there is nothing to stop.
    let stopped = ask(&service.stop);
    fs::remove_file(&service.file).map_err(|error| failed("remove", &service.file, &error))?;
    let _ = service.reload.as_deref().map(ask);
    print(&format!("Removed: {file}\n"));
    if let Err(reason) = stopped {
        print(&format!("The service manager did not stop it: {}\n", in_one_line(&reason)));
    }
    Ok(ChildExit::Code(0))
}

/// The set variables of codex-traced and of MLflow. A service gets only what its file has.
fn unseen_variables(world: &World) -> Vec<&'static str> {
    let names = variable_reference::all().map(|variable| variable.name);
    let is_ours = |name: &&str| name.starts_with("MLFLOW") || name.starts_with("CODEX_TRACED");
    names.filter(is_ours).filter(|name| world.variables.os(name).is_some()).collect()
}

/// `--yes`, or the user's answer on a terminal. Without both the user reads that nothing was done.
fn is_agreed(question: &str, done: &str, watch: &Watch, world: &World) -> bool {
    if watch.yes {
        return true;
    }
    if !question::can_be_asked(world) {
        print(&format!("Nothing was {done}: there is no terminal to ask on.\n  hint: add --yes\n"));
        return false;
    }
    let answer = question::ask(&format!("{question} [y/N] ")).unwrap_or_default();
    let is_yes = matches!(answer.to_lowercase().as_str(), "y" | "yes");
    if !is_yes {
        print(&format!("Nothing was {done}.\n"));
    }
    is_yes
}

/// Runs a command of the service manager. The error is what the manager prints.
fn ask(words: &[String]) -> Result<(), CommandError> {
    let [program, arguments @ ..] = words else { return Ok(()) };
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("cannot run {program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let printed = String::from_utf8_lossy(&output.stderr);
    let reason = printed.lines().next().unwrap_or_default();
    Err(format!("`{}` failed ({}): {}", typed(words), output.status, in_one_line(reason)))
}

fn failed(what: &str, path: &Path, error: &io::Error) -> CommandError {
    format!(
        "cannot {what} {}: {}\n  hint: look at its permissions",
        clean(path.display()),
        disk::reason(error)
    )
}
