//! Which threads a launch wrote, and where their rollouts lie.

use super::State;
use crate::claim::evidence::{Candidate, Evidence, Origin, Verdict, decide};
use crate::claim::journal::{self, Launch};
use crate::claim::record::ThreadRecord;
use crate::claim::unclaimed::{self, Unclaimed};
use crate::codex::asked::Asked;
use crate::codex::thread::ThreadId;
use crate::codex::tui_log::Logged;
use crate::disk::file_system::FileSystem;
use crate::rollout;
use crate::rollout::line::SessionMeta;
use crate::rollout::shelf::{Parts, Shelf};
use crate::trace::ids::TraceId;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A file's time comes from a clock of the kernel's that ticks every 10 ms at the least.
const COARSE: Duration = Duration::from_millis(20);

/// How far a file server's clock may be behind ours.
const ANOTHERS_CLOCK: Duration = Duration::from_secs(60);

impl State {
    /// The threads of a launch, each by its strongest evidence.
    pub(super) fn verdict_of(&self, launch: &Launch) -> Verdict {
        let logged = self.logged_by(launch);
        let held = launch.claims.iter().map(|claim| claim.thread.clone()).collect();
        let evidence = Evidence { logged, held, sight: launch.sight(), named: launch.asked.thread.clone() };
        let mut verdict = decide(&evidence, || self.candidates(launch));
        // What a sub-agent did is part of its root's trace.
        verdict.claims.iter_mut().for_each(|claim| claim.thread = self.root_of(&claim.thread));
        verdict.claims.sort_by(|a, b| (&a.thread, a.attribution).cmp(&(&b.thread, b.attribution)));
        verdict.claims.dedup_by(|later, first| later.thread == first.thread);
        verdict
    }

    /// The launches that run, or have yet to be finished, and have the thread for theirs; the oldest first.
    pub(super) fn launches_of(&self, thread: &ThreadId) -> Vec<Launch> {
        let mut launches = journal::of_others(&self.launches(), "");
        launches.retain(|launch| {
            launch.claims.iter().any(|claim| claim.thread == *thread)
                || self.logged_by(launch).contains(thread)
        });
        launches
    }

    /// The threads that its interface told of.
    fn logged_by(&self, launch: &Launch) -> Vec<ThreadId> {
        let files = launch.logged.iter().filter_map(|line| match line {
            Logged::Rollout(path) => ThreadId::of_rollout(path),
            Logged::Prompt { .. } | Logged::Deed => None,
        });
        files.chain(self.prompts_of(launch).threads).collect()
    }

    /// Whether a prompt of its interface stands in no session. It may be on its way still: Codex's daemon writes it
    /// when it gets to it, and the interface may be gone by then.
    pub fn misses_a_prompt(&self, launch: &Launch) -> bool {
        !self.prompts_of(launch).missing.is_empty()
    }

    fn prompts_of(&self, launch: &Launch) -> rollout::prompts::Held {
        let prompts = launch.logged.iter().filter_map(|line| match line {
            Logged::Prompt { client_id } => Some(client_id.clone()),
            Logged::Rollout(_) | Logged::Deed => None,
        });
        rollout::prompts::threads_holding(self.home.path(), &prompts.collect(), launch.started_at)
    }

    /// The root threads that were written to since the launch began.
    fn candidates(&self, launch: &Launch) -> Vec<Candidate> {
        let others: BTreeSet<ThreadId> = journal::of_others(&self.launches(), &launch.id)
            .iter()
            .flat_map(|other| {
                other.claims.iter().map(|claim| claim.thread.clone()).chain(self.logged_by(other))
            })
            .collect();
        let mut candidates = BTreeMap::new();
        for path in rollout::prompts::of_tree(self.home.path(), launch.started_at) {
            let Some(thread) = rollout::path::thread_of(&path) else { continue };
            let meta = rollout::files::meta_of(&path).ok().flatten();
            if meta.as_ref().is_some_and(|meta| meta.parent().is_some()) {
                continue;
            }
            let is_anothers =
                others.contains(&thread) || self.is_recorded_for_another(&thread, meta.as_ref(), launch);
            let origin = origin_of(meta.as_ref(), &launch.asked);
            candidates.insert(thread.clone(), Candidate { thread, origin, is_anothers });
        }
        candidates.into_values().collect()
    }

    /// By a launch of the same time: one that began later, or earlier and yet before the thread.
    fn is_recorded_for_another(
        &self,
        thread: &ThreadId,
        meta: Option<&SessionMeta>,
        launch: &Launch,
    ) -> bool {
        let record = ThreadRecord::load(&self.threads(), thread).unwrap_or_default();
        let made = meta.and_then(|meta| meta.timestamp.as_ref()?.parse::<Timestamp>().ok());
        let is_younger = made.is_some_and(|made| made >= launch.started_at);
        let mut others = record.launches.iter().filter(|other| other.launch_id != launch.id);
        others.any(|other| is_younger || other.started_at >= launch.started_at)
    }

    pub(super) fn unclaimed(&self) -> PathBuf {
        self.folder.join("unclaimed.json")
    }

    /// Sessions that nobody's launch claims, though one of ours may have written them; the newest last. Those that
    /// were brought in since are not told any more.
    pub fn unclaimed_sessions(&self) -> Vec<Unclaimed> {
        let mut all = unclaimed::all(&self.unclaimed());
        all.retain(|one| {
            let is_recorded = ThreadRecord::load(&self.threads(), &one.thread)
                .is_ok_and(|record| !record.launches.is_empty());
            !is_recorded && self.receipts().first(TraceId::of_thread(one.thread.as_str())).is_none()
        });
        all
    }

    /// Says what stays nobody's.
    pub(super) fn tell_unclear(&self, launch: &Launch, unclear: &[ThreadId]) {
        if unclear.is_empty() {
            return;
        }
        let told: Vec<Unclaimed> = unclear
            .iter()
            .map(|thread| Unclaimed {
                thread: thread.clone(),
                launch_id: launch.id.clone(),
                launched_at: launch.started_at,
                of: unclear.len(),
            })
            .collect();
        for one in &told {
            tracing::warn!("thread {} is left unclaimed by launch {}: {}", one.thread, launch.id, one.why());
        }
        if let Err(error) = unclaimed::add(&self.unclaimed(), told) {
            tracing::warn!("cannot keep which sessions are unclaimed: {error}");
        }
    }

    /// The thread's files, if a launch may have written to one of them since it began. Codex's index leads to
    /// another where none is in its place, or none there was written to: in a copied home.
    pub(super) fn written_files_of(
        &self,
        thread: &ThreadId,
        shelf: &mut Shelf,
        since: Timestamp,
    ) -> Result<Parts, Unwritten> {
        let in_place = shelf.files_of(thread, Some(since));
        if in_place.iter().flatten().any(|path| is_written_since(path, since)) {
            return Ok(in_place);
        }
        let indexed = rollout::index::rollout_of(self.home.path(), thread);
        let indexed = indexed.filter(|path| is_written_since(path, since)).map(|path| vec![vec![path]]);
        indexed.ok_or(if in_place.is_empty() { Unwritten::AtAll } else { Unwritten::SinceThen })
    }
}

/// Why there is nothing of a launch's in a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unwritten {
    /// It is as it was before: opened and left.
    SinceThen,
    AtAll,
}

fn is_written_since(path: &Path, since: Timestamp) -> bool {
    let modified = fs::metadata(path).and_then(|file| file.modified());
    let slack = match FileSystem::of(path) {
        FileSystem::Local => COARSE,
        FileSystem::Network => ANOTHERS_CLOCK,
    };
    modified.is_ok_and(|at| at + slack >= SystemTime::from(since))
}

fn origin_of(meta: Option<&SessionMeta>, asked: &Asked) -> Origin {
    let Some((folder, originator)) = meta.and_then(|meta| meta.cwd.as_ref().zip(meta.originator.as_ref()))
    else {
        return Origin::Unsaid;
    };
    let is_ours = asked.folder.as_ref().is_some_and(|ours| is_same_folder(folder, ours));
    if is_ours && asked.front.is_called(originator) { Origin::Ours } else { Origin::Another }
}

/// Whichever links lead there.
fn is_same_folder(a: &str, b: &str) -> bool {
    a == b || fs::canonicalize(a).ok().zip(fs::canonicalize(b).ok()).is_some_and(|(a, b)| a == b)
}
