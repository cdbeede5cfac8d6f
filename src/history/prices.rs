//! What responses cost, and the index's costs after prices have changed.

use super::facts::Service;
use super::index::IndexError;
use super::sessions::tokens_in;
use crate::trace::price::Priced;
use crate::trace::price_book::PriceBook;
use codex_session::rollout::usage::TokenUsage;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

/// The fact that names the prices of the costs in the index.
const PRICES: &str = "prices";

/// US dollars; None without a price.
pub(super) fn cost_of(book: &PriceBook, service: &Service, at: Timestamp, usage: TokenUsage) -> Option<f64> {
    let (provider, tier) = (service.provider.as_deref(), service.tier.as_deref());
    let priced = Priced::from_usage(book, Some(at), provider, service.model.as_deref()?, tier, usage)?;
    Some(priced.cost.input + priced.cost.output)
}

/// Whether all costs in the index are made from these prices.
pub(super) fn is_priced(connection: &Connection, book: &PriceBook) -> Result<bool, IndexError> {
    let query = "SELECT value FROM fact WHERE name = ?1";
    let before: Option<String> = connection.query_row(query, [PRICES], |row| row.get(0)).optional()?;
    Ok(before.as_deref() == Some(book.fingerprint()))
}

/// For a transaction that writes costs of these prices: an interrupt before [`reprice`] must not leave two kinds of costs
/// under one name.
pub(super) fn forget_other_prices(connection: &Connection, book: &PriceBook) -> Result<(), IndexError> {
    connection.execute("DELETE FROM fact WHERE name = ?1 AND value != ?2", [PRICES, book.fingerprint()])?;
    Ok(())
}

/// Computes all costs again if they were made from other prices.
pub(super) fn reprice(connection: &Connection, book: &PriceBook) -> Result<(), IndexError> {
    if is_priced(connection, book)? {
        return Ok(());
    }
    let mut read = connection.prepare(
        "SELECT r.thread, r.number, r.at, s.provider, s.model, s.tier, r.input, r.cached, r.cache_write, r.output, \
         r.reasoning, r.cost FROM response r JOIN service s ON s.id = r.service",
    )?;
    let mut write = connection.prepare("UPDATE response SET cost = ?3 WHERE thread = ?1 AND number = ?2")?;
    let mut rows = read.query([])?;
    let mut changed = Vec::new();
    while let Some(row) = rows.next()? {
        let service = Service { provider: row.get(3)?, model: row.get(4)?, tier: row.get(5)? };
        let usage = tokens_in(row, 6)?;
        let at = Timestamp::from_millisecond(row.get(2)?).unwrap_or_default();
        let (now, before): (_, Option<f64>) = (cost_of(book, &service, at, usage), row.get(11)?);
        if now != before {
            changed.push((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, now));
        }
    }
    for (thread, number, cost) in changed {
        write.execute(params![thread, number, cost])?;
    }
    connection.execute("INSERT OR IGNORE INTO stale SELECT root FROM session", [])?;
    connection.execute("INSERT OR REPLACE INTO fact VALUES (?1, ?2)", [PRICES, book.fingerprint()])?;
    Ok(())
}
