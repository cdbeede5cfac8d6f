//! `mlflow prices`: what tokens cost at list price, and `--update`, which adds a price list.

mod book_json;
mod book_text;
mod source;
mod update;
mod update_json;
mod update_text;

use super::{CommandError, context};
use crate::base::world::World;
use crate::cli::Prices;
use crate::command::text_layout::{Colours, DOUBTFUL, wrap};
use crate::trace::price_list::{Rates, Section};
use common::printable::in_one_line;
use jiff::{Timestamp, tz::TimeZone};

pub(super) fn run(prices: &Prices, world: &World) -> Result<(), CommandError> {
    let (context, colours) = (context(world)?, Colours::choose(world));
    match &prices.update {
        Some(source) => {
            let update = update::run(source, &context)?;
            match prices.json {
                true => super::print_json(&update_json::UpdateReport::new(&update)),
                false => super::print(&update_text::text(&update, colours)),
            }
        }
        None => {
            let (book, problems, now) = (context.prices(), context.price_problems(), Timestamp::now());
            match prices.json {
                true => super::print_json(&book_json::BookReport::new(book, problems, now)),
                false => super::print(&book_text::text(book, problems, now, colours)),
            }
        }
    }
    Ok(())
}

/// Each problem with its hint on a line of its own.
fn problem_lines(problems: &[String], colours: Colours) -> String {
    let line = |line: &str| colours.paint(DOUBTFUL, &wrap(&in_one_line(line), 4)) + "\n";
    problems.iter().flat_map(|problem| problem.lines()).map(line).collect()
}

/// The provider's name in JSON.
fn provider_of(section: Section) -> &'static str {
    match section {
        Section::OpenAi => "openai",
        Section::Azure => "azure",
        Section::Bedrock => "bedrock",
    }
}

/// The provider's own spelling.
fn title_of(section: Section) -> &'static str {
    match section {
        Section::OpenAi => "OpenAI",
        Section::Azure => "Azure",
        Section::Bedrock => "Bedrock",
    }
}

/// `2026-11-30 10:04 UTC`.
fn minute(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// A number of tokens: `272k`.
fn thousands(tokens: u64) -> String {
    if tokens.is_multiple_of(1000) { format!("{}k", tokens / 1000) } else { tokens.to_string() }
}

/// The rates under their names; null where there are none.
#[derive(serde::Serialize, Default)]
struct RatesReport {
    input: Option<f64>,
    cached_input: Option<f64>,
    cache_write: Option<f64>,
    output: Option<f64>,
}

impl RatesReport {
    fn new(rates: Option<Rates>) -> RatesReport {
        rates.map_or_else(RatesReport::default, |rates| {
            let [input, output, cached, written] = rates.each().map(Some);
            RatesReport { input, cached_input: cached, cache_write: written, output }
        })
    }
}
