//! The claims of a launch: evidence is gathered from disk, and the verdict decides by it.

use super::app_servers;
use super::launch_record::Launch;
use super::launches;
use super::thread_record::ThreadRecord;
use super::verdict::{Candidate, Claim, Coverage, Evidence, Origin, Verdict, decide};
use crate::base::paths::Paths;
use crate::codex::command_line::SessionRequest;
use crate::codex::interface_log::Logged;
use codex_session::rollout;
use codex_session::rollout::files::root_of;
use codex_session::rollout::session_meta::SessionMeta;
use codex_session::thread::ThreadId;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// The threads of a launch, each by its strongest evidence. A sub-agent counts as its root thread, whose trace
/// holds it.
pub fn claims_of(launch: &Launch, paths: &Paths) -> Verdict {
    let logged = logged_by(launch, paths);
    let held = launch.claims.iter().map(|claim| claim.thread.clone()).collect();
    let evidence =
        Evidence { logged, held, coverage: coverage_of(launch, paths), named: launch.request.thread.clone() };
    let mut verdict = decide(&evidence, || candidates(launch, paths));
    verdict.claims = by_root(verdict.claims, paths);
    verdict
}

/// Those of `claims_of` that no later evidence can take back, while the launch still runs.
pub fn certain_claims_of(launch: &Launch, paths: &Paths) -> Vec<Claim> {
    let logged = logged_by(launch, paths);
    let held = launch.claims.iter().map(|claim| claim.thread.clone()).collect();
    let evidence = Evidence { logged, held, coverage: Coverage::Complete, named: None };
    by_root(decide(&evidence, Vec::new).claims, paths)
}

fn by_root(mut claims: Vec<Claim>, paths: &Paths) -> Vec<Claim> {
    for claim in &mut claims {
        claim.thread = root_of(&claim.thread, paths.home().path());
    }
    claims.sort_by(|a, b| (&a.thread, a.attribution).cmp(&(&b.thread, b.attribution)));
    claims.dedup_by(|later, first| later.thread == first.thread);
    claims
}

/// Weak evidence counts only for sessions of this home.
fn coverage_of(launch: &Launch, paths: &Paths) -> Coverage {
    match &launch.request.remote {
        Some(address) if !app_servers::serves(address, paths.home().path()) => {
            let id = &launch.id;
            tracing::info!("launch {id}: no app server of this home listens at its --remote address");
            Coverage::Complete
        }
        _ => launch.coverage(),
    }
}

/// The launches that run, or are not finished, and claim the thread; the oldest first.
pub fn launches_of(thread: &ThreadId, paths: &Paths) -> Vec<Launch> {
    let mut launches = launches::all_but(&paths.launches(), "");
    launches.retain(|launch| {
        launch.claims.iter().any(|claim| claim.thread == *thread) || logged_by(launch, paths).contains(thread)
    });
    launches
}

/// The threads of all launches that run, or are not finished.
pub fn claimed_threads(paths: &Paths) -> BTreeSet<ThreadId> {
    launches::all_but(&paths.launches(), "").iter().flat_map(|launch| threads_so_far(launch, paths)).collect()
}

/// The threads that strong evidence names by now, while the launch runs. A sub-agent counts as its root thread.
pub fn threads_so_far(launch: &Launch, paths: &Paths) -> BTreeSet<ThreadId> {
    let held = launch.claims.iter().map(|claim| claim.thread.clone());
    held.chain(logged_by(launch, paths)).map(|thread| root_of(&thread, paths.home().path())).collect()
}

/// Whether no session file holds a prompt that the launch's interface logged. Codex's daemon may still write it,
/// after the interface has ended.
pub fn misses_a_prompt(launch: &Launch, paths: &Paths) -> bool {
    !prompts_of(launch, paths).missing.is_empty()
}

/// The threads in the log of the launch's interface.
fn logged_by(launch: &Launch, paths: &Paths) -> Vec<ThreadId> {
    let files = launch.logged.iter().filter_map(|line| match line {
        Logged::Rollout(path) => ThreadId::from_rollout_name(path),
        Logged::Prompt { .. } | Logged::UntaggedOp => None,
    });
    files.chain(prompts_of(launch, paths).threads).collect()
}

fn prompts_of(launch: &Launch, paths: &Paths) -> rollout::prompts::PromptMatches {
    let prompts = launch.logged.iter().filter_map(|line| match line {
        Logged::Prompt { client_id } => Some(client_id.clone()),
        Logged::Rollout(_) | Logged::UntaggedOp => None,
    });
    rollout::prompts::threads_holding(paths.home().path(), &prompts.collect(), launch.started_at)
}

/// The root threads whose files were written to since the launch began.
fn candidates(launch: &Launch, paths: &Paths) -> Vec<Candidate> {
    let of = |other: &Launch| {
        let held = other.claims.iter().map(|claim| claim.thread.clone());
        held.chain(logged_by(other, paths)).collect::<Vec<_>>()
    };
    let others = launches::all_but(&paths.launches(), &launch.id);
    let others: BTreeSet<ThreadId> = others.iter().flat_map(of).collect();
    let mut candidates = BTreeMap::new();
    for path in rollout::prompts::of_tree(paths.home().path(), launch.started_at) {
        let Some(thread) = ThreadId::from_rollout_name(&path) else { continue };
        let meta = rollout::files::meta_of(&path).ok().flatten();
        if meta.as_ref().is_some_and(|meta| meta.parent().is_some()) {
            continue;
        }
        let is_anothers =
            others.contains(&thread) || is_recorded_for_another(&thread, meta.as_ref(), launch, paths);
        let origin = origin_of(meta.as_ref(), &launch.request);
        candidates.insert(thread.clone(), Candidate { thread, origin, is_anothers });
    }
    candidates.into_values().collect()
}

/// By a launch of the same time: one that began later, or earlier and yet before the thread.
fn is_recorded_for_another(
    thread: &ThreadId,
    meta: Option<&SessionMeta>,
    launch: &Launch,
    paths: &Paths,
) -> bool {
    let record = ThreadRecord::load(&paths.threads(), thread).unwrap_or_default();
    let made = meta.and_then(|meta| meta.timestamp.as_ref()?.parse::<Timestamp>().ok());
    let is_younger = made.is_some_and(|made| made >= launch.started_at);
    let mut others = record.launches.iter().filter(|other| other.launch_id != launch.id);
    others.any(|other| is_younger || other.started_at >= launch.started_at)
}

fn origin_of(meta: Option<&SessionMeta>, request: &SessionRequest) -> Origin {
    let Some((folder, originator)) = meta.and_then(|meta| meta.cwd.as_ref().zip(meta.originator.as_ref()))
    else {
        return Origin::Unsaid;
    };
    let is_ours = || request.folder.as_ref().is_some_and(|ours| is_same_folder(folder, ours));
    match request.has_originator(originator) {
        // Its clients choose folder and originator, and another server may have such clients too.
        true if request.is_server => Origin::Unsaid,
        true if is_ours() => Origin::Ours,
        _ => Origin::Another,
    }
}

/// Links are followed.
fn is_same_folder(a: &str, b: &str) -> bool {
    a == b || fs::canonicalize(a).ok().zip(fs::canonicalize(b).ok()).is_some_and(|(a, b)| a == b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use launch::mode::Interface;

    #[test]
    fn a_session_is_of_an_interface_by_folder_and_originator_and_of_a_server_never_for_certain() {
        let table = [
            (("/w", "codex_exec"), Origin::Ours, Origin::Another),
            (("/w", "codex-tui"), Origin::Another, Origin::Another),
            (("/other", "codex_exec"), Origin::Another, Origin::Another),
            (("/w", "codex_python_sdk"), Origin::Another, Origin::Unsaid),
            (("/other", "codex_vscode"), Origin::Another, Origin::Unsaid),
        ];
        for ((folder, originator), of_exec, of_server) in table {
            let meta = SessionMeta {
                cwd: Some(folder.into()),
                originator: Some(originator.into()),
                ..SessionMeta::default()
            };
            let request = |is_server| SessionRequest {
                interface: Interface::Lines,
                folder: Some("/w".into()),
                is_server,
                ..SessionRequest::default()
            };
            let found = [false, true].map(|is_server| origin_of(Some(&meta), &request(is_server)));
            assert_eq!(found, [of_exec, of_server], "{folder} {originator}");
        }
        assert_eq!(origin_of(None, &SessionRequest::default()), Origin::Unsaid);
    }
}
