//! The sessions whose files hold a text, looked for on all processors.

use super::Listed;
use crate::finish::context::Context;
use crate::history::sessions::SessionRow;
use codex_session::rollout::search::{SearchBlock, SearchText};
use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Bytes of the found text before and after the match.
const AROUND: usize = 80;

/// The first `limit` sessions that hold the text, in their order. `all`: the files of each session.
pub(super) fn matching(
    sessions: Vec<SessionRow>,
    mut all: HashMap<String, Vec<PathBuf>>,
    text: &SearchText,
    limit: Option<usize>,
    context: &Context,
) -> Vec<Listed> {
    let files: Vec<Vec<PathBuf>> =
        sessions.iter().map(|session| all.remove(&session.thread).unwrap_or_default()).collect();
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let is_enough = || limit.is_some_and(|limit| found.lock().expect("no panic").len() >= limit);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                let mut block = SearchBlock::default();
                while !is_enough() {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(files) = files.get(at) else { return };
                    let hit = files.iter().find_map(|file| {
                        let searched = text.find_in(file, &mut block);
                        searched
                            .inspect_err(|error| tracing::warn!("cannot read {}: {error}", file.display()))
                            .ok()?
                    });
                    if let Some(hit) = hit {
                        found.lock().expect("no panic").push((at, hit));
                    }
                }
            });
        }
    });
    let mut found = found.into_inner().expect("no panic");
    found.sort_unstable_by_key(|(at, _)| *at);
    found.truncate(limit.unwrap_or(usize::MAX));
    let mut sessions: Vec<Option<SessionRow>> = sessions.into_iter().map(Some).collect();
    let redactor = context.redactor_for_output();
    let listed = found.into_iter().filter_map(|(at, hit)| {
        // Redacted before it is cut: no rule recognizes half a secret.
        let hit = redactor.text(&hit).unwrap_or(hit);
        Some(Listed { session: sessions[at].take()?, found: Some(excerpt(&hit, text.place_in(&hit))) })
    });
    listed.collect()
}

/// The text around the match; its beginning where the match was redacted.
fn excerpt(text: &str, place: Option<Range<usize>>) -> String {
    let place = place.unwrap_or(0..0);
    let start = text.floor_char_boundary(place.start.saturating_sub(AROUND));
    let end = text.ceil_char_boundary(place.end.saturating_add(AROUND).min(text.len()));
    let (before, after) = (if start > 0 { "…" } else { "" }, if end < text.len() { "…" } else { "" });
    format!("{before}{}{after}", text[start..end].trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_the_text_around_the_match() {
        let long = format!("{}needle{}", "ä".repeat(100), "ö".repeat(100));
        let at = long.find("needle").unwrap();
        let cut = excerpt(&long, Some(at..at + 6));
        assert_eq!(cut, format!("…{}needle{}…", "ä".repeat(40), "ö".repeat(40)));
        assert_eq!(excerpt(" short ", Some(1..3)), "short");
        assert_eq!(excerpt(&"x".repeat(100), None), format!("{}…", "x".repeat(80)));
    }
}
