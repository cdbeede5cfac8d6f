//! Checks of traces and sessions: waiting traces, unfinished launches, files of a later codex-traced, and unknown
//! lines of session files.

use super::Finding;
use crate::base::later_version::LaterVersion;
use crate::base::paths::Paths;
use crate::claim::{launches, thread_record, unclaimed};
use crate::command::survey::Survey;
use crate::command::text_layout::counted;
use crate::finish::{gather, price_updates};
use crate::queue::receipts;
use crate::queue::spool::list::{EntryState, Listed};
use crate::queue::thread_history::recent_threads;
use codex_session::rollout::thread_files::ThreadFiles;
use std::collections::BTreeMap;

/// How many sessions are read for unknown lines: enough to notice a new Codex, few enough to read quickly.
const RECENT: usize = 5;

pub(super) fn check(survey: &Survey, paths: &Paths) -> Vec<Finding> {
    let mut findings = vec![waiting(survey.waiting.len())];
    findings.extend(set_aside(&survey.set_aside));
    findings.push(unfinished(survey.launches_to_finish));
    findings.extend(later(&later_versions(paths)));
    findings.push(unknown(paths));
    findings
}

fn waiting(count: usize) -> Finding {
    match count {
        0 => Finding::ok("waiting", "no trace waits to be delivered"),
        count => Finding::warning(
            "waiting",
            counted(count, "trace waits to be delivered", "traces wait to be delivered"),
            "`codex-traced mlflow sync` delivers them, or says why it cannot",
        ),
    }
}

fn set_aside(entries: &[Listed]) -> Option<Finding> {
    let EntryState::Quarantined(reason) = &entries.first()?.state else { return None };
    let found = format!("{} set aside: {reason}", counted(entries.len(), "trace was", "traces were"));
    let todo = "`codex-traced mlflow sync --list` shows all; `--retry` tries again, `--drop ID` removes";
    Some(Finding::warning("set aside", found, todo))
}

fn unfinished(count: usize) -> Finding {
    match count {
        0 => Finding::ok("launches", "all are finished"),
        count => Finding::warning(
            "launches",
            format!("{} ended before the traces were made", counted(count, "launch", "launches")),
            "`codex-traced mlflow sync` makes them; so does your next launch",
        ),
    }
}

/// Spool entries of a later version are among those that wait.
fn later_versions(paths: &Paths) -> Vec<LaterVersion> {
    let mut later = launches::later_versions(&paths.launches());
    later.extend(thread_record::later_versions(&paths.threads()));
    later.extend(receipts(paths).later_versions());
    later.extend(price_updates::later_version(&paths.prices()));
    later.extend(unclaimed::all(&paths.unclaimed()).err());
    later
}

fn later(files: &[LaterVersion]) -> Option<Finding> {
    let first = files.first()?;
    let count = counted(files.len(), "file", "files");
    let found = format!("{count} of a later codex-traced cannot be used: {first}");
    Some(Finding::warning("later files", found, "update codex-traced, or use the later one here"))
}

fn unknown(paths: &Paths) -> Finding {
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    let mut bad = 0;
    let mut read = 0;
    let mut shelf = ThreadFiles::new(paths.home().path());
    for thread in recent_threads(paths, RECENT) {
        let files = shelf.files_of(&thread, None);
        let own = gather::session_of(&thread, &files, &gather::from_disk(paths.home()));
        let Ok(Some((session, _))) = own else {
            continue;
        };
        read += 1;
        bad += session.bad_lines;
        for (kind, count) in session.unknown_lines {
            *kinds.entry(kind).or_default() += count;
        }
    }
    if kinds.is_empty() && bad == 0 {
        return Finding::ok(
            "sessions",
            match read {
                0 => "none traced yet".to_owned(),
                read => {
                    format!("every line of the last {} was understood", counted(read, "session", "sessions"))
                }
            },
        );
    }
    let mut counts: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} × {kind}")).collect();
    if bad > 0 {
        counts.push(format!("{bad} damaged"));
    }
    Finding::warning(
        "sessions",
        format!(
            "lines that were not understood in the last {}: {}",
            counted(read, "session", "sessions"),
            counts.join(", ")
        ),
        "nothing else of the traces is affected; a newer codex-traced may know them",
    )
}
