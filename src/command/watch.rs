//! `mlflow watch`: traces sessions that no launch began. While a turn runs their traces are brought up to date, and
//! when it ends they are delivered.

use super::text_layout::prompt_line;
use super::{CommandError, print};
use crate::base::notice;
use crate::base::world::World;
use crate::claim::launch_record::Destination;
use crate::claim::launches;
use crate::codex::interface_log::Logged;
use crate::finish::context::Context;
use crate::finish::delivery::deliver;
use crate::finish::gather;
use crate::finish::imported::{Toward, import};
use crate::queue::drain::{DeliveryRequest, DrainStep};
use crate::queue::spool::PATIENCE;
use crate::queue::target_state::ask;
use crate::queue::thread_history::taken_by;
use crate::queue::{receipts, spool};
use crate::settings::Tracing;
use crate::settings::modes::Granularity;
use crate::trace::ids::trace_of_turn;
use crate::tracer::live_threads::LiveThreads;
use crate::tracer::session_cache::Look;
use crate::tracer::thread_source::ThreadSource;
use codex_session::rollout::file_changes::Changes;
use codex_session::rollout::files::root_of;
use codex_session::rollout::thread_files::ThreadFiles;
use codex_session::session::family::Family;
use codex_session::session::model::Session;
use codex_session::thread::ThreadId;
use common::disk;
use common::printable::in_one_line;
use launch::exit::ChildExit;
use launch::signals::SignalPipe;
use mlflow_store::ids::TraceId;
use mlflow_store::page_address;
use mlflow_store::target::Target;
use nix::libc::SIGINT;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The pause between a file's change and its reading: Codex writes several lines at the end of a turn.
const LINGER: Duration = Duration::from_millis(250);

/// The interval between tries of undelivered traces.
const AGAIN: Duration = Duration::from_secs(60);

/// The limit of one delivery, during which `watch` reports no other turn's end.
const AT_MOST: Duration = Duration::from_secs(10);

struct Watcher<'a> {
    context: Context<'a>,
    destination: &'a Destination,
    granularity: Granularity,
    signals: &'a SignalPipe,
    asked: Cell<usize>,
    live: LiveThreads,
}

pub(super) fn run(world: &World) -> Result<ChildExit, CommandError> {
    let context = super::context(world)?;
    let settings = context.settings().clone();
    if settings.tracing.value == Tracing::Off {
        return Err("tracing is switched off\n  hint: `codex-traced mlflow enable` switches it on".into());
    }
    let home = context.home().clone();
    if !home.path().is_dir() {
        return Err(format!(
            "there is no folder {}\n  hint: run codex once, or set CODEX_HOME",
            home.path().display()
        ));
    }
    crate::base::log::begin(context.paths.log());
    let lock = disk::try_lock(&home.state().join("watch.lock")).map_err(|error| error.to_string())?;
    let _lock = lock.ok_or("another watch is at work for this home")?;
    let signals = SignalPipe::with_ending_signals().map_err(|error| error.to_string())?;
    let changes = Changes::begin(home.path());
    settings.problems.iter().chain(context.price_problems()).for_each(|problem| notice::print(problem));
    let destination = Destination::from_settings(&settings);
    let live = LiveThreads::new(&context, None).map_err(|error| error.to_string())?;
    print(&format!("watching {}\n", in_one_line(&home.sessions().to_string_lossy())));
    Watcher {
        context,
        destination: &destination,
        granularity: settings.granularity.value,
        signals: &signals,
        asked: Cell::new(0),
        live,
    }
    .follow(changes);
    Ok(ChildExit::Signal(SIGINT))
}

impl Watcher<'_> {
    /// Runs until a signal asks for the end.
    fn follow(&mut self, mut changes: Changes) {
        let mut due: BTreeMap<PathBuf, Instant> = BTreeMap::new();
        let mut again = Instant::now() + AGAIN;
        loop {
            let next = due.values().copied().chain(self.live.due()).fold(again, Instant::min);
            let patience = next.saturating_duration_since(Instant::now());
            changes.wait([self.signals.as_fd(), self.live.wakes()], patience);
            if self.times_asked() > 0 {
                return;
            }
            for path in changes.take() {
                due.entry(path).or_insert_with(|| Instant::now() + LINGER);
            }
            let now = Instant::now();
            for (path, _) in due.extract_if(.., |_, at| *at <= now) {
                if let Err(failure) = self.look_at(&path) {
                    notice::print(&in_one_line(&format!("{}: {failure}", path.display())));
                }
            }
            self.update(now);
            if now >= again {
                self.context.reread_settings();
                let request =
                    DeliveryRequest { patience: Duration::ZERO, ..DeliveryRequest::of_launch(AT_MOST) };
                let _ = deliver(&request, &self.context);
                again = Instant::now() + AGAIN;
            }
        }
    }

    /// Brings the traces of turns that run up to date.
    fn update(&mut self, now: Instant) {
        self.live.take_answers();
        if self.live.next_update().is_some_and(|due| due <= now) {
            if self.context.reread_settings() {
                self.live.redact_again();
            }
            let (destination, granularity) = (self.destination, self.granularity);
            let other = ThreadSource::Other { destination, granularity };
            self.live.update(|_| Some(other), &self.context, now);
        }
        self.live.unload_idle(&self.context, now);
    }

    /// How many signals asked for the end. The first lets the current delivery finish, the second does not.
    fn times_asked(&self) -> usize {
        self.asked.set(self.asked.get() + self.signals.endings());
        self.asked.get()
    }

    fn look_at(&mut self, path: &Path) -> Result<(), CommandError> {
        let look = match self.live.cache.look(path) {
            // Archived or deleted since the change.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            look => look.map_err(|error| error.to_string())?,
        };
        if look == Look::Unchanged {
            return Ok(());
        }
        let session = self.session_at(path)?;
        let Some(thread) = ThreadId::from_meta(&session.meta.id) else { return Ok(()) };
        let thread = root_of(&thread, self.context.home().path());
        if self.is_a_launchs(&thread, path) {
            if look == Look::AtRest {
                tracing::info!("the launch that claims thread {thread} will trace it");
            }
            return Ok(());
        }
        if look == Look::AtRest {
            self.context.reread_settings();
            self.live.release(&thread, &self.context);
            return self.trace(path, &thread);
        }
        self.live.add(thread, Instant::now());
        self.live.file_changed(path, Instant::now());
        Ok(())
    }

    /// An open turn is running.
    fn session_at(&self, path: &Path) -> Result<Session, CommandError> {
        let thread = ThreadId::from_rollout_name(path);
        self.live.cache.session(path, thread.as_ref()).map_err(|error| error.to_string())
    }

    /// Traces a session whose turn has ended.
    fn trace(&self, path: &Path, thread: &ThreadId) -> Result<(), CommandError> {
        let (context, paths) = (&self.context, &self.context.paths);
        let Some((family, rollout)) = self.family_of(thread, self.session_at(path)?, path)? else {
            return Ok(());
        };
        // With a trace per turn, the target may have lost earlier ones. A session's single trace changes with each
        // turn, so it needs no such question.
        let first_turn = receipts(paths).file_of(trace_of_turn(thread.as_str(), 1));
        let taken = match first_turn.exists() {
            true => taken_by(context.settings().roles(), thread, paths),
            false => Vec::new(),
        };
        let answers = ask(taken, context.world);
        let toward = Toward {
            destination: self.destination,
            further: &context.settings().further,
            granularity: self.granularity,
            answers: &answers,
        };
        let imported = import(thread, &family, &rollout, toward, context);
        let Some(imported) = imported.map_err(|error| error.to_string())? else { return Ok(()) };
        if !imported.target_state().must_be_sent() {
            return Ok(());
        }
        let newest = imported.traces.iter().rev().find(|(_, state)| state.must_be_sent());
        let Some((newest, _)) = newest.or(imported.traces.last()) else { return Ok(()) };
        let (trace, prompt) = (newest.id, newest.request_preview.clone().unwrap_or_default());
        let target = imported.destination.target.clone();
        imported.put(context).map_err(|error| error.to_string())?;
        let outcome = RefCell::new(None);
        let progress = |step: &DrainStep| {
            if step.trace == trace && *step.target == target {
                outcome.replace(Some(step.outcome.map_err(str::to_owned)));
            }
        };
        let request = DeliveryRequest {
            patience: PATIENCE,
            is_asked_to_end: &|| self.times_asked() > 1,
            progress: &progress,
            ..DeliveryRequest::of_launch(AT_MOST)
        };
        let delivered = deliver(&request, context);
        match (delivered, outcome.into_inner()) {
            (Ok(_), Some(Ok(()))) => {
                let page = self.page_of(trace, &target).map(|page| format!("  {page}")).unwrap_or_default();
                print(&format!("{trace}  {}{page}\n", prompt_line(&prompt)));
                Ok(())
            }
            (Err(error), _) => Err(notice::kept_on_disk(spool(paths).paths().len(), &error.to_string())),
            (Ok(_), Some(Err(reason))) => Err(notice::kept_on_disk(spool(paths).paths().len(), &reason)),
            // Another process delivers now, this trace included.
            (Ok(_), None) => Ok(()),
        }
    }

    /// The thread with its sub-agents. `session` is the content of the file `at`, which is not read again.
    fn family_of(
        &self,
        thread: &ThreadId,
        session: Session,
        at: &Path,
    ) -> Result<Option<(Family, PathBuf)>, CommandError> {
        let home = self.context.home();
        let mut shelf = ThreadFiles::new(home.path());
        let from_disk = gather::from_disk(home);
        let read = |file: &Path, thread: Option<&ThreadId>| match file == at {
            true => Ok(session.clone()),
            false => from_disk(file, thread),
        };
        let own = gather::session_of(thread, &shelf.files_of(thread, None), &read);
        let Some(own) = own.map_err(|(file, error)| format!("{}: {error}", file.display()))? else {
            return Ok(None);
        };
        if own.0.meta.parent().is_some() {
            return Ok(None);
        }
        Ok(Some(gather::family(own, &mut shelf, &read)))
    }

    fn page_of(&self, trace: TraceId, target: &Target) -> Option<String> {
        let experiment = receipts(&self.context.paths).get(trace, target)?.receipt.experiment_id;
        page_address::trace_page(target, &experiment, trace, &self.context.access())
    }

    /// Whether a running launch will trace the thread: because it claims it, or because its interface sent a prompt
    /// to it.
    fn is_a_launchs(&self, thread: &ThreadId, file: &Path) -> bool {
        launches::under_way(&self.context.paths.launches()).iter().any(|launch| {
            let is_logged = |logged: &Logged| match logged {
                Logged::Prompt { client_id } => self.live.cache.holds_prompt_in(file, client_id),
                Logged::Rollout(path) => ThreadId::from_rollout_name(path).as_ref() == Some(thread),
                Logged::UntaggedOp => false,
            };
            launch.claims.iter().any(|claim| claim.thread == *thread) || launch.logged.iter().any(is_logged)
        })
    }
}
