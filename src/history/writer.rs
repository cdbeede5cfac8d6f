//! Writes threads and their files into the index.

use super::changes::ChangedFile;
use super::facts::{ResponseFacts, Service, ThreadFacts};
use super::folder_scan::{FileState, bytes_of};
use super::index::IndexError;
use super::prices::cost_of;
use super::project::project_of;
use super::update::ReadThread;
use crate::trace::price_book::PriceBook;
use codex_session::thread::ThreadId;
use rusqlite::{OptionalExtension, Transaction, params};
use std::collections::HashMap;
use std::path::Path;

/// What the writer has looked up before.
pub(super) struct IndexWriter<'b> {
    prices: &'b PriceBook,
    projects: HashMap<String, String>,
    services: HashMap<Service, i64>,
}

impl IndexWriter<'_> {
    pub(super) fn new(prices: &PriceBook) -> IndexWriter<'_> {
        IndexWriter { prices, projects: HashMap::new(), services: HashMap::new() }
    }

    pub(super) fn write(
        &mut self,
        thread: Option<&ThreadId>,
        files: &[ChangedFile],
        read: Option<ReadThread>,
        to: &Transaction,
    ) -> Result<(), IndexError> {
        let problem = match read {
            Some(Ok(facts)) => {
                let thread = thread.map_or("", ThreadId::as_str);
                remove(thread, to)?;
                if let Some(facts) = facts {
                    self.insert(&facts, to)?;
                }
                None
            }
            Some(Err(problem)) => Some(problem),
            None => None,
        };
        let mut insert =
            to.prepare_cached("INSERT OR REPLACE INTO file VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
        for file in files {
            let FileState { bytes, modified, inode } = file.state;
            let problem = problem.as_ref().or(file.problem.as_ref());
            let (path, folder) = (bytes_of(&file.path), bytes_of(&file.folder));
            let thread = thread.map(ThreadId::as_str);
            insert.execute(params![path, folder, bytes, modified, inode.cast_signed(), thread, problem])?;
        }
        Ok(())
    }

    fn insert(&mut self, facts: &ThreadFacts, to: &Transaction) -> Result<(), IndexError> {
        let project = facts.folder.as_ref().map(|folder| {
            let project = || project_of(Path::new(folder)).display().to_string();
            self.projects.entry(folder.clone()).or_insert_with(project).clone()
        });
        let mut insert = to.prepare_cached(
            "INSERT INTO thread (thread, parent, path, began, ended, folder, project, branch, prompt, agent, models, \
             version, status, turns, active_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        )?;
        let id = insert.insert(params![
            facts.thread.as_str(),
            facts.parent,
            bytes_of(&facts.path),
            facts.began.as_millisecond(),
            facts.ended.as_millisecond(),
            facts.folder,
            project,
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

    /// A transaction that is rolled back takes its services with it.
    pub(super) fn forget_services(&mut self) {
        self.services.clear();
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
        "UPDATE thread SET root = NULL WHERE parent = ?1",
        "DELETE FROM response WHERE thread IN (SELECT id FROM thread WHERE thread = ?1)",
        "DELETE FROM thread WHERE thread = ?1",
    ];
    for statement in statements {
        to.prepare_cached(statement)?.execute([thread])?;
    }
    Ok(())
}
