//! `prices --update`: compares a catalogue with the prices that are valid, and adds what differs as a price list.

use super::minute;
use super::source::prices_at;
use crate::base::later_version::LaterVersion;
use crate::base::notice::HINT;
use crate::command::CommandError;
use crate::finish::context::Context;
use crate::finish::price_updates;
use crate::trace::price_book::PriceBook;
use crate::trace::price_change::PriceChanges;
use common::disk;
use jiff::Timestamp;
use std::io;
use std::path::Path;

/// What an update did.
pub(super) struct Update {
    pub(super) source: String,
    pub(super) as_of: String,
    pub(super) changes: PriceChanges,
    pub(super) left_out: usize,
    /// None where no price differs.
    pub(super) valid_from: Option<Timestamp>,
    /// Sentences about lists whose date lay in the future.
    pub(super) problems: Vec<String>,
}

/// Writes all of the update, or nothing.
pub(super) fn run(source: &str, context: &Context) -> Result<Update, CommandError> {
    let catalogue = prices_at(source, context)?;
    let (paths, path) = (&context.paths, context.paths.prices());
    let cannot = |why: String| format!("cannot keep the prices in {}: {why}", path.display());
    let lock = price_updates::lock(paths).map_err(|error| cannot(disk::reason(&error)));
    let _lock = lock?;
    let mut lists = price_updates::read(&path).map_err(|error| unusable(&path, &error))?;
    // Without the user's override: an update compares list prices.
    let book = PriceBook::new(lists.clone(), None);
    let changes = PriceChanges::new(&book, &catalogue);
    // Not before the download or the wait: what is used until now keeps its price.
    let now = price_updates::in_milliseconds(Timestamp::now());
    check_clock(now, &PriceBook::built_in_list().as_of)?;
    let future = price_updates::future(&lists, now);
    price_updates::end_future(&mut lists, now);
    let valid_from = (!changes.is_empty()).then_some(now);
    if valid_from.is_some() {
        lists.push(changes.dated(now));
    }
    if valid_from.or(future).is_some() {
        price_updates::store(&path, lists).map_err(|error| cannot(disk::reason(&error)))?;
    }
    let problems = future.map(|at| redated(at, now)).into_iter().collect();
    let (source, as_of) = (catalogue.list.source, catalogue.list.as_of);
    Ok(Update { source, as_of, changes, left_out: catalogue.left_out, valid_from, problems })
}

/// A date before the built-in prices would change costs of the past.
fn check_clock(now: Timestamp, built_in: &str) -> Result<(), CommandError> {
    let today = now.strftime("%Y-%m-%d").to_string();
    match today.as_str() < built_in {
        true => Err(format!(
            "the clock shows {today}, and the built-in prices are of {built_in}; the prices stay as they are{HINT}set the clock"
        )),
        false => Ok(()),
    }
}

/// A file of a later version stays where it is.
fn unusable(path: &Path, error: &io::Error) -> CommandError {
    let why = price_updates::problem(path, error);
    let hint = match LaterVersion::from_io(error) {
        Some(_) => String::new(),
        None => format!("{HINT}move the file away, and update again"),
    };
    why + &hint
}

fn redated(future: Timestamp, now: Timestamp) -> String {
    format!(
        "earlier prices were valid only from {} on, because a clock was wrong: they are valid from {} on now",
        minute(future),
        minute(now)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_is_never_dated_before_the_built_in_prices() {
        let table = [
            ("1970-01-01T00:00:00Z", false),
            ("2026-11-01T23:59:59Z", false),
            ("2026-11-02T00:00:00Z", true),
            ("9998-01-01T00:00:00Z", true),
        ];
        for (now, is_right) in table {
            assert_eq!(check_clock(now.parse().unwrap(), "2026-11-02").is_ok(), is_right, "{now}");
        }
    }
}
