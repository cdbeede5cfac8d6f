//! Facts of a thread that its spans share.

use codex_session::session::model::Session;
use common::json::text::Text;
use jiff::Timestamp;

#[derive(Clone)]
pub(super) struct ThreadScope<'a> {
    pub(super) thread: &'a str,
    /// Conversation id: the root thread's id, also for its sub-agents.
    pub(super) conversation: Text,
    pub(super) provider: Option<Text>,
    /// Start of spans without a recorded time.
    pub(super) start: Timestamp,
}

impl ThreadScope<'_> {
    pub(super) fn from_session(session: &Session) -> ThreadScope<'_> {
        let meta = &session.meta;
        let root = meta.session_id.as_deref().filter(|_| meta.started_as().is_some());
        ThreadScope {
            thread: &meta.id,
            conversation: root.unwrap_or(&meta.id).into(),
            provider: meta.model_provider.as_deref().map(Text::from),
            start: thread_start(session),
        }
    }
}

/// When Codex created the thread; the time of the first line where the file has no creation time.
pub(super) fn thread_start(session: &Session) -> Timestamp {
    let recorded = session.meta.timestamp.as_ref().and_then(|text| text.parse().ok());
    recorded.or(session.first_line_at).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// No span begins earlier. The header of a bare session file has local time, so it sets no floor.
pub(super) fn earliest_start(session: &Session) -> Timestamp {
    if session.is_bare { Timestamp::MIN } else { thread_start(session) }
}
