//! `mlflow list`: the sessions of Codex's home, newest first.

mod report;
mod search;
mod traces;

use super::{CommandError, context, history_index, pager, print_json};
use crate::base::world::World;
use crate::cli::{List, SessionStatus};
use crate::history::index::Index;
use crate::history::project::project_of;
use crate::history::sessions::{SessionFilter, SessionRow};
use crate::history::time_range::TimeRange;
use codex_session::rollout::search::SearchText;
use report::ListReport;
use std::path::PathBuf;
use traces::TracesOfSessions;

/// A session, and the place where the searched text was found.
struct Listed {
    session: SessionRow,
    found: Option<String>,
}

pub(super) fn run(list: &List, world: &World) -> Result<(), CommandError> {
    let filter = filter_from(list, world)?;
    let search = match &list.search {
        Some(text) => {
            Some(SearchText::new(text).ok_or("--search has no text\n  hint: name what to look for")?)
        }
        None => None,
    };
    let context = context(world)?;
    let limit = Some(list.limit).filter(|limit| *limit > 0);
    let (listed, all) = match &search {
        Some(text) => {
            let question = |index: &Index| Ok((index.sessions(&filter, None)?, index.files_by_session()?));
            let (sessions, files) = history_index::ask(&context, question)?;
            (search::matching(sessions, files, text, limit, &context), None)
        }
        None => {
            let question = |index: &Index| {
                let sessions = index.sessions(&filter, limit)?;
                let is_cut = limit.is_some_and(|limit| sessions.len() == limit);
                let all = if is_cut { index.count(&filter)? } else { sessions.len() };
                Ok((sessions, all))
            };
            let (sessions, all) = history_index::ask(&context, question)?;
            (sessions.into_iter().map(|session| Listed { session, found: None }).collect(), Some(all))
        }
    };
    let is_filtered = filter.is_any() || search.is_some();
    let traces = TracesOfSessions::new(&context);
    let report = ListReport { listed: &listed, all, is_filtered, traces, world };
    if list.json {
        print_json(&report.to_json());
    } else {
        pager::print(&report.to_text(), world);
    }
    Ok(())
}

fn filter_from(list: &List, world: &World) -> Result<SessionFilter, CommandError> {
    let here = || -> Result<(PathBuf, PathBuf), CommandError> {
        let folder =
            world.cwd.clone().ok_or("the working folder is gone\n  hint: change to another folder")?;
        let project = project_of(&folder);
        Ok((folder, project))
    };
    Ok(SessionFilter {
        range: TimeRange::from_options(list.since.as_deref(), list.until.as_deref())?,
        within: list.here.then(here).transpose()?,
        status: list.status.map(word_of),
        model: list.model.clone(),
    })
}

fn word_of(status: SessionStatus) -> &'static str {
    match status {
        SessionStatus::Completed => "completed",
        SessionStatus::Failed => "failed",
        SessionStatus::Interrupted => "interrupted",
        SessionStatus::Lost => "lost",
        SessionStatus::Running => "running",
    }
}
