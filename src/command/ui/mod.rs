//! `mlflow ui`: opens a trace on MLflow's page in the browser.

mod browser;
mod server;

use super::{CommandError, home, named, print};
use crate::base::notice;
use crate::base::paths::Paths;
use crate::base::world::World;
use crate::cli::Ui;
use crate::queue::history::last_trace;
use crate::queue::receipts;
use crate::settings::Settings;
use browser::Browser;
use common::printable::masked;
use launch::exit::ChildExit;
use mlflow_store::ids::TraceId;
use mlflow_store::page;
use mlflow_store::receipt::Receipt;
use mlflow_store::target::Target;
use mlflow_store::target::access::Access;
use nix::libc::SIGINT;
pub(super) use server::command_line;
use server::{MlflowServer, ServerEnd};

pub(super) fn run(ui: &Ui, world: &World) -> Result<ChildExit, CommandError> {
    let home = home(world)?;
    let paths = Paths::new(&home);
    let settings = Settings::read(world, &home);
    let trace = match &ui.what {
        Some(what) => Some(named::trace(what, &paths)?.0),
        None => last_trace(&paths),
    };
    let page = TracePage::choose(trace, &paths, &settings.target.value);
    if let (Some(trace), None) = (trace, &page.shown) {
        notice::print(&format!(
            "{trace} is not in {} yet\n  hint: `codex-traced mlflow sync` delivers what waits",
            masked(&page.target.to_string())
        ));
    }
    match &page.target {
        Target::Http(_) | Target::Databricks { .. } => {
            remote(ui, &page, &crate::settings::access::with_file(world, &settings.file), world)
        }
        Target::Sqlite(_) | Target::FileStore(_) => local(ui, &page, world),
    }
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
    fn choose(trace: Option<TraceId>, paths: &Paths, usual: &Target) -> TracePage {
        let receipt = trace.and_then(|trace| {
            let receipts = receipts(paths);
            let there = receipts.get(trace, usual).map(|kept| kept.receipt);
            Some((trace, there.or_else(|| receipts.first(trace))?))
        });
        match receipt {
            Some((trace, Receipt { target, experiment_id, .. })) => {
                TracePage { target, shown: Some((trace, experiment_id)) }
            }
            None => TracePage { target: usual.clone(), shown: None },
        }
    }

    fn address(&self, server: &Target, access: &Access) -> Option<String> {
        match &self.shown {
            Some((trace, experiment)) => page::trace_page(server, experiment, *trace, access),
            None => page::server_page(server, access),
        }
    }
}

fn remote(ui: &Ui, page: &TracePage, access: &Access, world: &World) -> Result<ChildExit, CommandError> {
    let address = page.address(&page.target, access).ok_or(
        "no workspace is known, or no way to log in to it\n  hint: `codex-traced mlflow doctor` says what is missing",
    )?;
    show(ui, &address, world);
    Ok(ChildExit::Code(0))
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
        && let Some(browser) = Browser::choose(world, address, is_on_path)
    {
        browser.open();
    }
}

fn is_on_path(program: &str) -> bool {
    which::which(program).is_ok()
}
