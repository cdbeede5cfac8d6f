//! What a delivery left behind: lines for the log, and sentences for the user.

use crate::base::notice;
use crate::queue::deliver::Drained;
use crate::queue::spool::Spool;
use crate::queue::spool::policy::LONG;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::path::Path;

/// One line for each reason.
pub(super) fn log_what_stays(drained: &Drained, now: Timestamp) {
    let mut by_reason: BTreeMap<&str, Vec<&Path>> = BTreeMap::new();
    for waiting in &drained.waiting {
        by_reason.entry(&waiting.reason).or_default().push(&waiting.path);
    }
    for (reason, paths) in by_reason {
        match paths[..] {
            [only] => tracing::warn!("{} stays in the spool: {reason}", name_of(only)),
            _ => tracing::warn!("{} traces stay in the spool: {reason}", paths.len()),
        }
    }
    for aside in &drained.set_aside {
        tracing::error!("{} is set aside: {}", name_of(&aside.path), aside.reason);
    }
    let old = drained.waiting.iter().filter(|waiting| is_old(&waiting.path, now)).count();
    if old > 0 {
        tracing::warn!("{old} of them wait for more than {} days", LONG.as_secs() / 86_400);
    }
}

/// What a user reads after a delivery.
pub(super) fn sentences(drained: &Drained, now: Timestamp) -> Vec<String> {
    let mut sentences = Vec::new();
    if let Some(last) = drained.waiting.last() {
        let old = drained.waiting.iter().filter(|waiting| is_old(&waiting.path, now)).count();
        sentences.push(match old {
            0 => notice::kept_on_disk(drained.waiting.len(), &last.reason),
            old => notice::kept_for_long(drained.waiting.len(), old, LONG.as_secs() / 86_400, &last.reason),
        });
    }
    if let Some(last) = drained.set_aside.last() {
        sentences.push(notice::set_aside(drained.set_aside.len(), &last.reason));
    }
    sentences
}

/// Whether the user must learn that it still waits.
fn is_old(entry: &Path, now: Timestamp) -> bool {
    Spool::put_at(entry).is_some_and(|at| now.duration_since(at).unsigned_abs() > LONG && at < now)
}

fn name_of(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::deliver::Waiting;

    #[test]
    fn a_user_reads_what_waits_and_what_waits_for_too_long() {
        let put = |second: i64| Waiting {
            path: format!("/spool/{:020}-tr-07070707070707070707070707070707.json", second * 1_000_000_000)
                .into(),
            reason: "away".into(),
        };
        let day = 86_400;
        let now = Timestamp::from_second(100 * day).unwrap();
        let said = |waiting: Vec<Waiting>, set_aside: Vec<Waiting>| -> Vec<String> {
            let drained = Drained { waiting, set_aside, ..Drained::default() };
            let first = |sentence: String| sentence.lines().next().unwrap_or_default().to_owned();
            sentences(&drained, now).into_iter().map(first).collect()
        };
        assert_eq!(said(vec![], vec![]), [""; 0]);
        let young = "trace kept on disk (1 waiting): away";
        assert_eq!(said(vec![put(86 * day)], vec![]), [young]);
        // A clock that went back makes nothing old.
        assert_eq!(said(vec![put(200 * day)], vec![]), [young]);
        let old = "trace kept on disk (2 waiting, 1 of them for more than 14 days): away";
        assert_eq!(said(vec![put(86 * day - 1), put(99 * day)], vec![]), [old]);
        assert_eq!(said(vec![], vec![put(0)]), ["a trace was set aside: away"]);
    }
}
