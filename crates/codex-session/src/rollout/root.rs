//! From a sub-agent's thread to the thread that a person works in.

use super::session_meta::SessionMeta;
use super::{files, path};
use crate::thread::ThreadId;
use std::collections::HashSet;
use std::path::Path;

/// The thread whose trace holds what this one did: itself, or the first of those that started it. Files are looked
/// for in this home of Codex; a parent without a file ends the search.
pub fn root_of(thread: &ThreadId, home: &Path) -> ThreadId {
    let (mut root, mut seen) = (thread.clone(), HashSet::new());
    while seen.insert(root.clone())
        && let Some(meta) = meta_of(&root, home)
        && meta.parent().is_some()
    {
        let by_session = meta.session_id.as_deref().filter(|session| *session != meta.id);
        let candidates = [by_session, meta.parent()].into_iter().flatten().filter_map(ThreadId::parse);
        match candidates.into_iter().find(|above| path::find(home, above).is_some()) {
            Some(above) => root = above,
            None => break,
        }
    }
    root
}

fn meta_of(thread: &ThreadId, home: &Path) -> Option<SessionMeta> {
    files::meta_of(&path::find(home, thread)?).ok()?
}
