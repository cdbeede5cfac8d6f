//! `prices --update`: compares a catalogue with the prices that are valid, and adds what differs as a price list.

use super::source::prices_at;
use crate::command::CommandError;
use crate::finish::context::Context;
use crate::finish::price_files;
use crate::trace::price_book::PriceBook;
use crate::trace::price_change::PriceChanges;
use common::disk;
use jiff::Timestamp;

/// What an update did.
pub(super) struct Update {
    pub(super) source: String,
    pub(super) as_of: String,
    pub(super) changes: PriceChanges,
    pub(super) left_out: usize,
    /// None where no price differs: then nothing was written.
    pub(super) valid_from: Option<Timestamp>,
}

/// Writes all of the update, or nothing.
pub(super) fn run(source: &str, context: &Context, now: Timestamp) -> Result<Update, CommandError> {
    let catalogue = prices_at(source, context, now)?;
    let (paths, path) = (&context.paths, context.paths.prices());
    let cannot = |why: String| format!("cannot keep the prices in {}: {why}", path.display());
    let lock = price_files::lock(paths).map_err(|error| cannot(disk::reason(&error)));
    let _lock = lock?;
    let mut lists = price_files::updates(&path).map_err(|error| {
        let why = price_files::update_problem(&path, &error);
        format!("{why}\n  hint: move the file away, and update again")
    })?;
    // Without the user's override: an update compares list prices.
    let book = PriceBook::new(lists.clone(), None);
    let changes = PriceChanges::new(&book, &catalogue);
    let mut valid_from = None;
    if !changes.is_empty() {
        // Milliseconds, as Codex's session files have them.
        let now = Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now);
        let added = changes.dated(&book, now);
        valid_from = Some(added.valid_from);
        lists.push(added);
        price_files::store(&path, lists).map_err(|error| cannot(disk::reason(&error)))?;
    }
    let (source, as_of) = (catalogue.list.source, catalogue.list.as_of);
    Ok(Update { source, as_of, changes, left_out: catalogue.left_out, valid_from })
}
