//! `mlflow show`: one trace, from a local store, the spool, or straight from a session file.

use super::text::clean;
use super::tree::{self, Style};
use super::{Failure, named};
use crate::claim::record::ThreadRecord;
use crate::cli::Show;
use crate::codex::home::CodexHome;
use crate::codex::thread::ThreadId;
use crate::config::settings::Settings;
use crate::config::target::Target;
use crate::env::World;
use crate::export::mlflow::{file_store, sqlite};
use crate::rollout::files::Walk;
use crate::rollout::shelf::Shelf;
use crate::session::{self, Writer};
use crate::spool::Spool;
use crate::state::State;
use crate::state::families::Own;
use crate::trace::build::{Surroundings, build_family};
use crate::trace::ids::TraceId;
use crate::trace::model::Trace;
use crate::trace::redact::Keep;
use std::io;
use std::path::Path;

pub(super) fn run(show: &Show, world: &World) -> Result<(), Failure> {
    let home = CodexHome::of(world).ok_or("there is no home folder\n  hint: set CODEX_HOME")?;
    let state = State::of(&home);
    let (trace, from) = match &show.what {
        None => {
            let trace = state.last_trace().ok_or(
                "there is no trace yet\n  hint: run `codex-traced exec \"…\"`, or name a session file",
            )?;
            stored(trace, &state, world, &home)?
        }
        Some(what) if Path::new(what).is_file() => (
            of_rollout(Path::new(what), &state, &home, world)?,
            format!("session file {}", Path::new(what).display()),
        ),
        Some(what) => {
            let text = what.to_string_lossy();
            let newest = |(trace, thread): (_, Option<ThreadId>)| {
                thread.map_or(trace, |thread| state.newest_part(&thread))
            };
            let id = named::by_id(&text, &state).map(newest).ok_or_else(|| {
                format!("{text} is neither a trace id (tr-…), a session id, nor a file\n  hint: `codex-traced mlflow show` shows the newest trace")
            })?;
            stored(id, &state, world, &home)?
        }
    };
    if show.json {
        // Our own model: MLflow's clients have their form of it for whoever wants that.
        super::print_json(&trace);
        return Ok(());
    }
    let text = tree::render(&trace, Style::choose(world));
    super::print(&format!("{text}\n{} in {}\n", trace.id, clean(from)));
    Ok(())
}

/// The newest form of the trace, wherever it is: in its store or still in the spool.
fn stored(id: TraceId, state: &State, world: &World, home: &CodexHome) -> Result<(Trace, String), Failure> {
    // A session stays where it was first sent.
    let target = state.receipts().first(id).map(|receipt| receipt.target);
    let target = target.unwrap_or_else(|| Settings::read(world, home).target.value);
    let entries = state.spool().paths().into_iter().filter(|path| Spool::trace_of(path) == Some(id));
    let waiting = entries.filter_map(|path| {
        let trace = Trace::from(Spool::load(&path).ok()?.trace);
        Some((trace, format!("{} (waiting to be delivered)", path.display())))
    });
    let delivered = match &target {
        Target::Sqlite(path) => sqlite::read(path, id).map_err(|error| error.to_string()),
        Target::FileStore(root) => file_store::read(root, id).map_err(|error| error.to_string()),
        Target::Http(_) | Target::Databricks { .. } => {
            Err("this version shows traces from local stores only".to_owned())
        }
    };
    let delivered = delivered.map(|trace| Some((trace?, target.to_string())));
    let newest = waiting.chain(delivered.clone().ok().flatten()).max_by_key(|(trace, _)| trace.ended_at);
    newest.ok_or_else(|| match delivered {
        Ok(_) => format!("{id} is not in {target}\n  hint: name its session file to see it all the same"),
        Err(why) => {
            format!("cannot read {target}: {why}\n  hint: name the session file to see it all the same")
        }
    })
}

fn of_rollout(path: &Path, state: &State, home: &CodexHome, world: &World) -> Result<Trace, Failure> {
    let none = || {
        format!("{} holds no turn\n  hint: is it a session file of Codex (rollout-….jsonl)?", path.display())
    };
    let cannot = |file: &Path, error: &io::Error| format!("cannot read {}: {error}", file.display());
    // Somebody may be writing it: an open turn is shown as running.
    let read = |file: &Path, _| session::read(file, Writer::Alive);
    let mut walk = Walk::default();
    walk.file(path).map_err(|error| cannot(path, &error))?;
    let thread = walk.files.pop().map(|file| file.thread);
    let mut shelf = Shelf::of(home.path()).and(Settings::read(world, home).sessions_dir.value);
    let own = match &thread {
        Some(thread) => {
            let files = shelf.files_with(path, thread);
            state.own_of(thread, &files, &read).map_err(|(file, error)| cannot(&file, &error))?
        }
        // It does not say whose it is.
        None => {
            let session = read(path, Writer::Alive).map_err(|error| cannot(path, &error))?;
            Some(Own { session, rollout: path.to_path_buf() })
        }
    };
    let Own { session, rollout } = own.ok_or_else(none)?;
    let record =
        thread.and_then(|thread| ThreadRecord::load(&state.threads(), &thread).ok()).unwrap_or_default();
    let family = state.family(session, &rollout, &mut shelf, &read);
    let trace =
        build_family(&family, &record, Surroundings { rollout: &rollout, user: None }).ok_or_else(none)?;
    // As it would be stored, so that what is shown can be shown around.
    let redactor = state.redactor().map_err(|error| error.to_string())?;
    Ok(redactor.redact(trace, Keep::Everything).into())
}
