//! Writes threads and their files into the index.

use super::changes::ChangedFile;
use super::facts::{ResponseFacts, Service, ThreadFacts};
use super::folder_scan::bytes_of;
use super::index::IndexError;
use super::prices::cost_of;
use super::project::project_of;
use super::update::{ReadThread, UnreadFile};
use crate::trace::price_book::PriceBook;
use codex_session::thread::ThreadId;
use common::disk::file_state::FileState;
use rusqlite::{OptionalExtension, Transaction, params};
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// What the writer has looked up before.
pub(super) struct IndexWriter<'b> {
    prices: &'b PriceBook,
    /// Folders whose project is in the index.
    placed: HashSet<String>,
    services: HashMap<Service, i64>,
}

impl IndexWriter<'_> {
    pub(super) fn new(prices: &PriceBook) -> IndexWriter<'_> {
        IndexWriter { prices, placed: HashSet::new(), services: HashMap::new() }
    }

    pub(super) fn write(
        &mut self,
        thread: Option<&ThreadId>,
        files: &[ChangedFile],
        read: Option<ReadThread>,
        to: &Transaction,
    ) -> Result<(), IndexError> {
        let mut problem = None;
        match read {
            // It was archived or compressed after the look at its folder: the next look finds it.
            Some(Err(unread)) if !unread.path.exists() => return Ok(()),
            Some(read) => {
                remove(thread.map_or("", ThreadId::as_str), to)?;
                match read {
                    Ok(Some(facts)) => self.insert(&facts, to)?,
                    Ok(None) => {}
                    Err(unread) => problem = Some(unread),
                }
            }
            None => {}
        }
        let mut insert =
            to.prepare_cached("INSERT OR REPLACE INTO file VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
        for file in files {
            let FileState { bytes, changed, inode } = file.state;
            let (path, folder) = (bytes_of(&file.path), bytes_of(&file.folder));
            let thread = thread.map(ThreadId::as_str);
            insert.execute(params![
                path,
                folder,
                bytes,
                changed,
                inode.cast_signed(),
                thread,
                file.problem
            ])?;
        }
        if let Some(thread) = thread {
            to.prepare_cached("UPDATE file SET problem = NULL WHERE thread = ?1 AND problem IS NOT NULL")?
                .execute([thread.as_str()])?;
        }
        if let Some(UnreadFile { path, reason }) = problem {
            to.prepare_cached("UPDATE file SET problem = ?2 WHERE path = ?1")?
                .execute(params![bytes_of(&path), reason])?;
        }
        Ok(())
    }

    fn insert(&mut self, facts: &ThreadFacts, to: &Transaction) -> Result<(), IndexError> {
        if let Some(folder) = &facts.folder
            && self.placed.insert(folder.clone())
        {
            let project = project_of(Path::new(folder)).display().to_string();
            to.prepare_cached("INSERT OR IGNORE INTO project VALUES (?1, ?2)")?
                .execute([folder, &project])?;
        }
        let mut insert = to.prepare_cached(
            "INSERT INTO thread (thread, parent, path, began, ended, folder, branch, prompt, agent, models, version, \
             status, turns, active_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?;
        let id = insert.insert(params![
            facts.thread.as_str(),
            facts.parent,
            bytes_of(&facts.path),
            facts.began.as_millisecond(),
            facts.ended.as_millisecond(),
            facts.folder,
            facts.branch,
            facts.prompt,
            facts.agent,
            facts.models(),
            facts.version,
            facts.status,
            facts.turns,
            facts.active_ms,
        ])?;
        let mut insert =
            to.prepare_cached("INSERT INTO response VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?;
        for (number, response) in facts.responses.iter().enumerate() {
            let ResponseFacts { at, service, usage } = response;
            let served = self.service(service, to)?;
            insert.execute(params![
                id,
                number,
                at.as_millisecond(),
                served,
                usage.input,
                usage.cached_input,
                usage.cache_write_input,
                usage.output,
                usage.reasoning_output,
                cost_of(self.prices, service, *at, *usage),
            ])?;
        }
        Ok(())
    }

    /// A transaction that is rolled back takes its rows with it.
    pub(super) fn forget_rows(&mut self) {
        self.services.clear();
        self.placed.clear();
    }

    fn service(&mut self, service: &Service, to: &Transaction) -> Result<i64, IndexError> {
        if let Some(known) = self.services.get(service) {
            return Ok(*known);
        }
        let Service { provider, model, tier } = service;
        let query = "SELECT id FROM service WHERE provider IS ?1 AND model IS ?2 AND tier IS ?3";
        let known = to.query_row(query, params![provider, model, tier], |row| row.get(0)).optional()?;
        let insert = "INSERT INTO service (provider, model, tier) VALUES (?1, ?2, ?3)";
        let id = match known {
            Some(id) => id,
            None => to.prepare_cached(insert)?.insert(params![provider, model, tier])?,
        };
        self.services.insert(service.clone(), id);
        Ok(id)
    }
}

/// Threads below it look for their root again.
fn remove(thread: &str, to: &Transaction) -> Result<(), IndexError> {
    let statements = [
        "INSERT OR IGNORE INTO stale SELECT root FROM thread WHERE thread = ?1 AND root IS NOT NULL",
        "INSERT OR IGNORE INTO stale SELECT root FROM thread WHERE parent = ?1 AND root IS NOT NULL",
        "UPDATE thread SET root = NULL WHERE parent = ?1",
        "DELETE FROM response WHERE thread IN (SELECT id FROM thread WHERE thread = ?1)",
        "DELETE FROM thread WHERE thread = ?1",
    ];
    for statement in statements {
        to.prepare_cached(statement)?.execute([thread])?;
    }
    Ok(())
}
