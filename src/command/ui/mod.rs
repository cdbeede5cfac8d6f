//! `mlflow ui`: opens a trace on MLflow's page in the browser.

mod server;

use super::{CommandError, context, print, trace_argument};
use crate::base::notice;
use crate::base::paths::Paths;
use crate::base::world::World;
use crate::cli::Ui;
use crate::queue::receipts;
use crate::queue::thread_history::last_trace;
use crate::settings::further_targets::TargetRoles;
use common::printable::{hex, masked};
use launch::exit::ChildExit;
use mlflow_store::ids::TraceId;
use mlflow_store::page_address;
use mlflow_store::receipt::Receipt;
use mlflow_store::target::Target;
use mlflow_store::target::access::Access;
use nix::libc::SIGINT;
pub(super) use server::command_line;
use server::{MlflowServer, ServerEnd};
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

pub(super) fn run(ui: &Ui, world: &World) -> Result<ChildExit, CommandError> {
    let context = context(world)?;
    let paths = &context.paths;
    let trace = match &ui.what {
        Some(what) if Path::new(what).is_file() => Some(trace_argument::trace(what, paths)?.0),
        Some(what) => match trace_argument::by_name(&what.to_string_lossy(), &context)? {
            Some(named) => Some(named.trace),
            None => Some(trace_argument::trace(what, paths)?.0),
        },
        None => last_trace(paths, context.settings().roles()),
    };
    let page = TracePage::choose(trace, paths, context.settings().roles());
    if let (Some(trace), None) = (trace, &page.shown) {
        notice::print(&format!(
            "{trace} is not in {} yet\n  hint: `codex-traced mlflow sync` delivers what waits",
            masked(&page.target.to_string())
        ));
    }
    if !page.target.is_remote() {
        return local(ui, &page, world);
    }
    if page.target.is_append_only() {
        return Err(format!(
            "{} is a collector, and what shows its traces is not known\n  hint: look for {} on its page",
            masked(&page.target.to_string()),
            page.shown.map_or_else(|| "them".to_owned(), |(trace, _)| hex(&trace.0))
        ));
    }
    let address = page.address(&page.target, &context.access()).ok_or(
        "no workspace is known, or no way to log in to it\n  hint: `codex-traced mlflow doctor` says what is missing",
    )?;
    show(ui, &address, world);
    Ok(ChildExit::Code(0))
}

/// The trace to open, and the target that has it.
#[derive(Debug, PartialEq, Eq)]
struct TracePage {
    target: Target,
    /// The trace and its experiment id; None for the server's start page.
    shown: Option<(TraceId, String)>,
}

impl TracePage {
    /// The target of the settings if it has the trace, else the target of the first delivery.
    fn choose(trace: Option<TraceId>, paths: &Paths, roles: TargetRoles) -> TracePage {
        let receipt = trace.and_then(|trace| {
            let receipts = receipts(paths);
            Some((trace, receipts.first(trace, roles).or_else(|| receipts.all(trace).pop())?))
        });
        match receipt {
            Some((trace, Receipt { target, experiment_id, .. })) => {
                TracePage { target, shown: Some((trace, experiment_id)) }
            }
            None => TracePage { target: roles.first.clone(), shown: None },
        }
    }

    fn address(&self, server: &Target, access: &Access) -> Option<String> {
        match &self.shown {
            Some((trace, experiment)) => page_address::trace_page(server, experiment, *trace, access),
            None => page_address::server_page(server, access),
        }
    }
}

fn local(ui: &Ui, page: &TracePage, world: &World) -> Result<ChildExit, CommandError> {
    let address_at = |base: &str| page.address(&Target::Http(base.into()), &Access::default());
    let command = command_line(&page.target);
    if ui.print {
        let address = address_at(&format!("http://127.0.0.1:{}", server::USUAL_PORT)).unwrap_or_default();
        print(&format!("{command}\n{address}\n"));
        return Ok(ChildExit::Code(0));
    }
    if !is_on_path("mlflow") {
        return Err(format!(
            "mlflow is not installed here, and {} needs its server to be looked at\n  hint: where it is: {command}",
            page.target
        ));
    }
    let mut server = MlflowServer::start(&page.target)?;
    let end = match server.begin()? {
        Some(end) => end,
        None => {
            show(ui, &address_at(&server.address()).unwrap_or_default(), world);
            notice::print(&"Ctrl-C ends the server");
            server.wait(None).unwrap_or(ServerEnd::Requested)
        }
    };
    match end {
        ServerEnd::Requested => Ok(ChildExit::Signal(SIGINT)),
        ServerEnd::Ended(status) => {
            Err(format!("mlflow's server ended ({status})\n  hint: it says above why"))
        }
    }
}

/// Always prints the address: the browser may be on another machine.
fn show(ui: &Ui, address: &str, world: &World) {
    print(&format!("{address}\n"));
    if !ui.print
        && let Some(browser) = browser(world, address, is_on_path)
    {
        open(&browser);
    }
}

fn is_on_path(program: &str) -> bool {
    which::which(program).is_ok()
}

/// A browser and its arguments: the program in `$BROWSER`, with the address for `%s`, else the opener of the desktop, or of
/// Windows under WSL. None without a desktop: over ssh, or in a container.
fn browser(world: &World, address: &str, find: impl Fn(&str) -> bool) -> Option<Vec<OsString>> {
    if let Some(browsers) = world.variables.text("BROWSER") {
        // Other programs try several in turn; this one takes the first.
        let first = browsers.split(':').next()?.split_whitespace();
        let mut words: Vec<OsString> = first.map(|word| word.replace("%s", address).into()).collect();
        words.first()?;
        if !words.iter().any(|word| word == OsStr::new(address)) {
            words.push(address.into());
        }
        return Some(words);
    }
    let has_desktop = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| world.variables.os(name).is_some());
    let opener = match std::env::consts::OS {
        "macos" => "open",
        // WSL may show Linux windows too, but the user's browser is Windows'.
        _ if world.is_wsl() && find("wslview") => "wslview",
        _ if has_desktop => "xdg-open",
        _ => return None,
    };
    find(opener).then(|| vec![opener.into(), address.into()])
}

/// In its own process group, so that Ctrl-C does not end it.
fn open(browser: &[OsString]) {
    let Some((program, words)) = browser.split_first() else { return };
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    if let Err(error) = command.spawn() {
        tracing::info!("cannot start {program:?}: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::variables::Variables;

    #[test]
    fn the_browser_is_the_named_one_or_the_desktops() {
        let choose = |name: &str, value: &str, has_opener: bool| {
            let world = World { variables: Variables::from([(name, value)]), ..World::default() };
            browser(&world, "http://a", |_| has_opener)
        };
        let expected = |words: &[&str]| Some(words.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(choose("BROWSER", "firefox", false), expected(&["firefox", "http://a"]));
        assert_eq!(
            choose("BROWSER", "firefox --new %s:lynx", false),
            expected(&["firefox", "--new", "http://a"])
        );
        assert_eq!(choose("BROWSER", " ", true), None);
        if cfg!(target_os = "linux") {
            assert_eq!(choose("DISPLAY", ":0", true), expected(&["xdg-open", "http://a"]));
            assert_eq!(choose("WAYLAND_DISPLAY", "wayland-0", false), None);
            assert_eq!(choose("TERM", "xterm", true), None);
            assert_eq!(choose("WSL_DISTRO_NAME", "Debian", true), expected(&["wslview", "http://a"]));
            assert_eq!(choose("WSL_DISTRO_NAME", "Debian", false), None);
        }
    }
}
