//! The text of `mlflow prices`: the price lists, then a table of the models' prices now.

use super::book_json::count;
use super::{minute, problem_lines, thousands, title_of};
use crate::command::text_layout::{Colours, NAME, QUIET, WIDTH, counted, wrap};
use crate::trace::price_book::{CurrentPrice, PriceBook};
use crate::trace::price_list::{Rates, STANDARD, Section};
use common::printable::{clean, in_one_line};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Columns of a model's name; a longer one has a line of its own.
const NAME_WIDTH: usize = 31;

pub(super) fn text(book: &PriceBook, problems: &[String], now: Timestamp, colours: Colours) -> String {
    let mut text = lists(book, colours) + &problem_lines(problems, colours);
    let unit = "US dollars per million tokens; cached is cached input.";
    let _ = writeln!(text, "\n{unit}\n");
    let current = book.current(now);
    let at_openai: BTreeMap<&str, _> = of(&current, Section::OpenAi).map(|it| (it.name, it.price)).collect();
    for section in Section::ALL {
        let is_shown = |it: &&CurrentPrice| {
            section == Section::OpenAi || at_openai.get(it.name).is_none_or(|price| *price != it.price)
        };
        let shown: Vec<&CurrentPrice> = of(&current, section).filter(is_shown).collect();
        if shown.is_empty() {
            continue;
        }
        let title = match section {
            Section::OpenAi => "OpenAI".to_owned(),
            other => format!("{} (where it differs)", title_of(other)),
        };
        let head = format!("{title:<NAME_WIDTH$}{:>9}{:>9}{:>9}", "input", "cached", "output");
        let _ = writeln!(text, "{}", colours.paint(NAME, &format!("{head}  other tiers")));
        shown.iter().for_each(|price| text += &of_model(price));
        text.push('\n');
    }
    let note = "`--json` prints the rates of each tier.";
    text + &colours.paint(QUIET, note) + "\n"
}

fn of<'a, 'b>(
    current: &'a [CurrentPrice<'b>],
    section: Section,
) -> impl Iterator<Item = &'a CurrentPrice<'b>> {
    current.iter().filter(move |it| it.section == section)
}

fn lists(book: &PriceBook, colours: Colours) -> String {
    let mut text = colours.paint(NAME, "Price lists, the newest first") + "\n";
    if let Some(own) = book.overriding() {
        let models = counted(count(own), "model", "models");
        let line = format!("your own prices, for all times: {models} of {}", clean(&own.source));
        let _ = writeln!(text, "  {}", wrap(&line, 4));
    }
    for list in book.lists().rev() {
        let (source, as_of) = (clean(&list.list.source), in_one_line(&list.list.as_of));
        let from = match list.valid_from {
            at if at == Timestamp::MIN => "built in".to_owned(),
            at => format!("from {} on", minute(at)),
        };
        let models = counted(count(&list.list), "model", "models");
        let _ = writeln!(text, "  {}", wrap(&format!("{from}: {models} of {source}, prices of {as_of}"), 4));
    }
    text
}

fn of_model(current: &CurrentPrice) -> String {
    let CurrentPrice { name, price, valid_from, .. } = current;
    let mut marks: Vec<&str> =
        price.tiers.keys().map(String::as_str).filter(|tier| *tier != STANDARD).collect();
    if valid_from.is_none() {
        marks.insert(0, "your own");
    }
    let name = format!("  {}", clean(name));
    let mut text = match name.chars().count() < NAME_WIDTH {
        true => format!("{name:<NAME_WIDTH$}"),
        false => format!("{name}\n{:NAME_WIDTH$}", ""),
    };
    let rates = price.tiers.get(STANDARD).map_or(&[][..], |rates| rates);
    for (at, rates) in rates.iter().enumerate() {
        if let (1, Some(above)) = (at, price.above) {
            let _ = write!(text, "{:<NAME_WIDTH$}", format!("    above {} tokens", thousands(above)));
        }
        text += &of_rates(*rates);
        if at == 0 && !marks.is_empty() {
            let room = WIDTH - NAME_WIDTH - 3 * 9 - 2;
            let marks: String = clean(marks.join(" ")).chars().take(room).collect();
            let _ = write!(text, "  {marks}");
        }
        text.push('\n');
    }
    text
}

fn of_rates(rates: Rates) -> String {
    let [input, output, cached, _] = rates.each();
    format!("{input:>9}{cached:>9}{output:>9}")
}
