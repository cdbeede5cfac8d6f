//! What `list` prints: a table, or JSON.

use super::Listed;
use super::traces::TracesOfSessions;
use crate::base::world::World;
use crate::command::table::{Cell, Column, Side, fitting, render};
use crate::command::text_layout::{Colours, DOUBTFUL, GOOD, QUIET, WRONG, counted, output_width};
use crate::command::units::{active, dollars, in_millionths, tokens};
use crate::history::project::shortened;
use crate::history::sessions::SessionRow;
use anstyle::Style;
use common::printable::in_one_line;
use console::truncate_str;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

/// Columns that a prompt has at least.
const LEAST_PROMPT: usize = 24;

/// Characters at the end of a session's id: the beginning is a time, which many sessions share.
const ID: usize = 8;

pub(super) struct ListReport<'a> {
    pub(super) listed: &'a [Listed],
    /// How many sessions there are without a limit; None where that is not known.
    pub(super) all: Option<usize>,
    pub(super) is_filtered: bool,
    pub(super) traces: TracesOfSessions<'a>,
    pub(super) world: &'a World,
}

impl ListReport<'_> {
    pub(super) fn to_json(&self) -> Value {
        let sessions = self.listed.iter().map(|Listed { session, found }| {
            let places = self.traces.of(&session.thread);
            json!({
                "id": session.thread,
                "path": session.path.to_string_lossy(),
                "began": session.began,
                "ended": session.ended,
                "folder": session.folder,
                "project": session.project,
                "branch": session.branch,
                "prompt": session.prompt,
                "found": found,
                "models": session.models,
                "codex_version": session.version,
                "status": session.status,
                "turns": session.turns,
                "sub_agents": session.agents,
                "active_ms": session.active_ms,
                "input_tokens": session.tokens.input,
                "cached_input_tokens": session.tokens.cached_input,
                "cache_write_input_tokens": session.tokens.cache_write_input,
                "output_tokens": session.tokens.output,
                "reasoning_output_tokens": session.tokens.reasoning_output,
                "total_tokens": session.tokens.total(),
                "cost": in_millionths(session.cost),
                "unpriced_tokens": session.unpriced,
                "traces": places.traces,
                "waits": places.waits,
            })
        });
        json!({ "version": 1, "sessions": sessions.collect::<Vec<_>>(), "all": self.all })
    }

    pub(super) fn to_text(&self) -> String {
        if self.listed.is_empty() {
            let which = if self.is_filtered { "no session is like that" } else { "no session" };
            return format!("{which}\n");
        }
        let (width, colours) = (output_width(self.world), Colours::choose(self.world));
        let columns = self.columns();
        let titles = fitting(&columns, LEAST_PROMPT.min(width * 3 / 10), width);
        let has_status = titles.contains(&"STATUS");
        let prompts = Column {
            title: "PROMPT",
            side: Side::Left,
            rank: 0,
            most: usize::MAX,
            cells: self.listed.iter().map(|one| prompt_of(one, has_status)).collect(),
        };
        let mut text = self.with_finds(&render(&columns, &titles, &prompts, width, colours), width, colours);
        let more = self.all.unwrap_or(0).saturating_sub(self.listed.len());
        if more > 0 {
            let more = counted(more, "more session", "more sessions");
            text += &colours.paint(QUIET, &format!("{more}: --limit 0 lists all"));
            text.push('\n');
        }
        text
    }

    /// Adds a line with the found text below each session.
    fn with_finds(&self, table: &str, width: usize, colours: Colours) -> String {
        if self.listed.iter().all(|one| one.found.is_none()) {
            return table.to_owned();
        }
        let mut lines = table.lines();
        let mut text = format!("{}\n", lines.next().unwrap_or_default());
        for (line, one) in lines.zip(self.listed) {
            let found = in_one_line(one.found.as_deref().unwrap_or_default());
            let found = format!("  {}", found.split_whitespace().collect::<Vec<_>>().join(" "));
            text += &format!("{line}\n{}\n", colours.paint(QUIET, &truncate_str(&found, width, "…")));
        }
        text
    }

    fn columns(&self) -> Vec<Column> {
        let home = self.world.home.as_deref();
        let zone = TimeZone::system();
        let cells =
            |cell: &dyn Fn(&SessionRow) -> Cell| self.listed.iter().map(|one| cell(&one.session)).collect();
        let column = |title, side, rank, most, cell: &dyn Fn(&SessionRow) -> Cell| Column {
            title,
            side,
            rank,
            most,
            cells: cells(cell),
        };
        let plain = |text: Option<&str>| Cell::from(in_one_line(text.unwrap_or_default()));
        vec![
            column("LAST", Side::Left, 0, 16, &|it| Cell::from(time_text(it.ended, &zone))),
            column("STATUS", Side::Left, 5, 11, &|it| {
                Cell::from(it.status.clone()).with_style(style_of(&it.status))
            }),
            column("SESSION", Side::Left, 2, 16, &|it| Cell::from(short_id(&it.thread)).with_style(QUIET)),
            column("TURNS", Side::Right, 6, 6, &|it| Cell::from(it.turns.to_string())),
            column("WORK", Side::Right, 4, 8, &|it| Cell::from(active(it.active_ms))),
            column("TOKENS", Side::Right, 3, 8, &|it| Cell::from(tokens_of(it))),
            column("COST", Side::Right, 1, 12, &cost_of),
            column("MODEL", Side::Left, 7, 24, &|it| plain(Some(&it.models.join(", ")))),
            column("FOLDER", Side::Left, 8, 32, &|it| {
                plain(it.folder.as_deref().map(|folder| shortened(folder, home)).as_deref()).cut_at_the_left()
            }),
            column("BRANCH", Side::Left, 9, 24, &|it| plain(it.branch.as_deref())),
            column("TRACE", Side::Left, 10, 28, &|it| {
                Cell::from(self.traces.of(&it.thread).short()).with_style(QUIET)
            }),
        ]
    }
}

fn time_text(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string()
}

/// The end of a long id: sessions of one minute begin alike.
fn short_id(thread: &str) -> String {
    let start = thread.char_indices().rev().nth(ID - 1).map_or(0, |(at, _)| at);
    thread[start..].to_owned()
}

/// Nothing where Codex recorded no count.
fn tokens_of(session: &SessionRow) -> String {
    Some(session.tokens.total()).filter(|total| *total > 0).map(tokens).unwrap_or_default()
}

/// `?` where not all tokens have a price.
fn cost_of(session: &SessionRow) -> Cell {
    match session.unpriced {
        0 if session.tokens.total() == 0 => Cell::default(),
        0 => Cell::from(dollars(session.cost)),
        unpriced if unpriced == session.tokens.total() => Cell::from("?".to_owned()).with_style(DOUBTFUL),
        _ => Cell::from(format!("{}+?", dollars(session.cost))).with_style(DOUBTFUL),
    }
}

fn style_of(status: &str) -> Style {
    match status {
        "running" => GOOD,
        "failed" | "lost" => WRONG,
        "interrupted" => DOUBTFUL,
        _ => QUIET,
    }
}

/// A narrow table has no column of the status: the prompt begins with one that is not `completed`.
fn prompt_of(one: &Listed, has_status: bool) -> Cell {
    let SessionRow { prompt, status, .. } = &one.session;
    let prompt = in_one_line(prompt.as_deref().unwrap_or_default());
    let prompt = prompt.split_whitespace().collect::<Vec<_>>().join(" ");
    match has_status || status == "completed" {
        true => Cell::from(prompt),
        false => Cell::from(format!("{status}: {prompt}")).with_style(style_of(status)),
    }
}
