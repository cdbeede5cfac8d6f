//! The sessions in the index, newest first.

use super::index::{Index, IndexError};
use super::time_range::TimeRange;
use codex_session::rollout::usage::TokenUsage;
use jiff::Timestamp;
use rusqlite::types::{ToSql, Value};
use rusqlite::{Row, params};
use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Which sessions are wanted; without a field, all are.
#[derive(Clone, Debug, Default)]
pub struct SessionFilter {
    /// Sessions that went on since, and began before.
    pub range: TimeRange,
    /// This folder, folders below it, and the whole project.
    pub within: Option<(PathBuf, PathBuf)>,
    pub status: Option<&'static str>,
    /// A part of a model's name.
    pub model: Option<String>,
}

/// A session with its sub-agents.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionRow {
    pub thread: String,
    /// The file to which Codex appends.
    pub path: PathBuf,
    pub began: Timestamp,
    /// Of the last line.
    pub ended: Timestamp,
    pub folder: Option<String>,
    pub project: Option<String>,
    pub branch: Option<String>,
    pub prompt: Option<String>,
    /// Each once.
    pub models: Vec<String>,
    pub version: Option<String>,
    pub status: String,
    pub turns: u64,
    pub agents: u64,
    /// In which its turns worked.
    pub active_ms: i64,
    pub tokens: TokenUsage,
    /// Of the responses with a price, in US dollars.
    pub cost: f64,
    /// Tokens of responses without a price.
    pub unpriced: u64,
}

const COLUMNS: &str = "s.root, t.path, s.began, s.ended, t.folder, j.project, t.branch, t.prompt, s.models, t.version, \
    t.status, t.turns, s.agents, t.active_ms, s.input, s.cached, s.cache_write, s.output, s.reasoning, s.cost, s.unpriced";

const TABLES: &str = "session s JOIN thread t ON t.id = s.thread LEFT JOIN project j ON j.folder = t.folder";

impl Index {
    /// At most so many, by their last line.
    pub fn sessions(
        &self,
        filter: &SessionFilter,
        limit: Option<usize>,
    ) -> Result<Vec<SessionRow>, IndexError> {
        let (condition, mut values) = filter.to_sql();
        values.push(Value::Integer(limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX))));
        let query = format!(
            "SELECT {COLUMNS} FROM {TABLES} WHERE {condition} \
             ORDER BY s.ended DESC, s.root DESC LIMIT ?"
        );
        let mut statement = self.connection.prepare(&query)?;
        let values = values.iter().map(|value| value as &dyn ToSql).collect::<Vec<_>>();
        let rows = statement.query_map(&values[..], SessionRow::from_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub fn count(&self, filter: &SessionFilter) -> Result<usize, IndexError> {
        let (condition, values) = filter.to_sql();
        // Without the join, SQLite counts the entries of a small index.
        let tables = if filter.is_of_threads() { TABLES } else { "session s" };
        let query = format!("SELECT count(*) FROM {tables} WHERE {condition}");
        let values = values.iter().map(|value| value as &dyn ToSql).collect::<Vec<_>>();
        Ok(self.connection.query_row(&query, &values[..], |row| row.get(0))?)
    }

    /// The session of this id, or of an id that ends or begins so. Err: how many sessions have it.
    pub fn session_named(&self, part: &str) -> Result<Result<SessionRow, usize>, IndexError> {
        let query = format!(
            "SELECT {COLUMNS} FROM {TABLES} \
             WHERE s.root = ?1 OR lower(substr(s.root, -length(?1))) = lower(?1) \
             OR lower(substr(s.root, 1, length(?1))) = lower(?1)"
        );
        let mut statement = self.connection.prepare(&query)?;
        let rows = statement.query_map(params![part], SessionRow::from_row)?;
        let mut rows: Vec<SessionRow> = rows.collect::<Result<_, _>>()?;
        let is_whole = |row: &SessionRow| row.thread == part;
        if let Some(whole) = rows.iter().position(is_whole) {
            return Ok(Ok(rows.swap_remove(whole)));
        }
        Ok(if rows.len() == 1 { Ok(rows.remove(0)) } else { Err(rows.len()) })
    }

    /// The files of each session, of all its threads.
    pub fn files_by_session(&self) -> Result<HashMap<String, Vec<PathBuf>>, IndexError> {
        let query = "SELECT t.root, f.path FROM thread t JOIN file f ON f.thread = t.thread ORDER BY f.path";
        let mut statement = self.connection.prepare(query)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, path_from(row.get(1)?))))?;
        let mut files: HashMap<String, Vec<PathBuf>> = HashMap::new();
        for row in rows {
            let (root, path) = row?;
            files.entry(root).or_default().push(path);
        }
        Ok(files)
    }

    /// Session files that cannot be read, and why.
    pub fn problems(&self) -> Result<Vec<(PathBuf, String)>, IndexError> {
        let query = "SELECT path, problem FROM file WHERE problem IS NOT NULL ORDER BY path";
        let mut statement = self.connection.prepare(query)?;
        let rows = statement.query_map([], |row| Ok((path_from(row.get(0)?), row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn path_from(bytes: Vec<u8>) -> PathBuf {
    OsString::from_vec(bytes).into()
}

/// The counts in five columns, of which this is the first.
pub(super) fn tokens_in(row: &Row, first: usize) -> rusqlite::Result<TokenUsage> {
    Ok(TokenUsage {
        input: row.get(first)?,
        cached_input: row.get(first + 1)?,
        cache_write_input: row.get(first + 2)?,
        output: row.get(first + 3)?,
        reasoning_output: row.get(first + 4)?,
    })
}

/// The index has no time that is out of range.
pub(super) fn time_from(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or_default()
}

impl SessionRow {
    fn from_row(row: &Row) -> rusqlite::Result<SessionRow> {
        let models: String = row.get(8)?;
        let mut each: Vec<String> = Vec::new();
        for model in models.split('\n').filter(|model| !model.is_empty()) {
            if !each.iter().any(|known| known == model) {
                each.push(model.to_owned());
            }
        }
        Ok(SessionRow {
            thread: row.get(0)?,
            path: path_from(row.get(1)?),
            began: time_from(row.get(2)?),
            ended: time_from(row.get(3)?),
            folder: row.get(4)?,
            project: row.get(5)?,
            branch: row.get(6)?,
            prompt: row.get(7)?,
            models: each,
            version: row.get(9)?,
            status: row.get(10)?,
            turns: row.get(11)?,
            agents: row.get(12)?,
            active_ms: row.get(13)?,
            tokens: tokens_in(row, 14)?,
            cost: row.get(19)?,
            unpriced: row.get(20)?,
        })
    }
}

impl SessionFilter {
    /// Whether it leaves out any session.
    pub fn is_any(&self) -> bool {
        self.is_of_threads() || self.model.is_some() || self.range != TimeRange::default()
    }

    /// Whether it asks for what is not in the table `session`.
    fn is_of_threads(&self) -> bool {
        self.within.is_some() || self.status.is_some()
    }

    /// The condition, and its values in the order of their marks.
    fn to_sql(&self) -> (String, Vec<Value>) {
        let (mut conditions, mut values) = (vec!["1"], Vec::new());
        let TimeRange { since, until } = self.range;
        for (condition, at) in [("s.ended >= ?", since), ("s.began < ?", until)] {
            if let Some(at) = at {
                conditions.push(condition);
                values.push(Value::Integer(at.as_millisecond()));
            }
        }
        if let Some((folder, project)) = &self.within {
            conditions.push("(j.project = ? OR t.folder = ? OR substr(t.folder, 1, length(?)) = ?)");
            let below = format!("{}/", text_of(folder).trim_end_matches('/'));
            values.extend([text_of(project), text_of(folder), below.clone(), below].map(Value::Text));
        }
        if let Some(status) = self.status {
            conditions.push("t.status = ?");
            values.push(Value::Text(status.to_owned()));
        }
        if let Some(model) = &self.model {
            conditions.push("instr(lower(s.models), lower(?)) > 0");
            values.push(Value::Text(model.clone()));
        }
        (conditions.join(" AND "), values)
    }
}

fn text_of(path: &Path) -> String {
    path.display().to_string()
}
