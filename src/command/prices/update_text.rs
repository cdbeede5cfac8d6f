//! The text of `prices --update`: each price that changed, and what stays.

use super::update::Update;
use super::{minute, thousands, title_of};
use crate::command::text_layout::{Colours, DOUBTFUL, NAME, QUIET, counted, wrap};
use crate::trace::price_change::{ModelChange, RateChange};
use crate::trace::price_list::{Rates, Section};
use common::printable::clean;
use std::fmt::Write;

pub(super) fn text(update: &Update, colours: Colours) -> String {
    let Update { source, as_of, changes, left_out, valid_from, problems } = update;
    let mut text = wrap(&format!("{} has the prices of {as_of}", clean(source)), 2) + "\n";
    let (new, changed): (Vec<_>, Vec<_>) = changes.models.iter().partition(|change| change.old.is_none());
    for (word, models) in [("changed", changed), ("new", new)] {
        if !models.is_empty() {
            let _ = writeln!(text, "\n{word}: {}", counted(models.len(), "model", "models"));
            models.iter().for_each(|change| text += &of_model(change, colours));
        }
    }
    text.push('\n');
    if !changes.kept.is_empty() {
        let count = counted(changes.kept.len(), "model", "models");
        let _ = writeln!(text, "not in the catalogue, with the price as before: {count}");
    }
    for section in Section::ALL {
        let of_section = changes.kept.iter().filter(|(of, _)| *of == section);
        let names: Vec<String> = of_section.map(|(_, name)| clean(name)).collect();
        if !names.is_empty() {
            let line = format!("{}: {}", title_of(section), names.join(", "));
            let _ = writeln!(text, "  {}", wrap(&line, 4));
        }
    }
    let _ = writeln!(text, "unchanged: {}", counted(changes.unchanged, "model", "models"));
    if *left_out > 0 {
        let count = counted(*left_out, "model", "models");
        let line = format!("left out: {count} whose name or price no list can hold");
        text += &(wrap(&line, 2) + "\n");
    }
    let end = match valid_from {
        Some(at) => format!("The new prices are valid from {}.", minute(*at)),
        None if !problems.is_empty() => "No price differs from those in the lists.".to_owned(),
        None => "No price differs from those that are valid: nothing is written.".to_owned(),
    };
    text += &format!("\n{end}\n");
    if valid_from.is_some() {
        text += "What was used before keeps its price.\n";
    }
    text += &super::problem_lines(problems, colours);
    let is_shown = !changes.models.is_empty();
    let unit = if is_shown { "Prices are US dollars per million tokens.\n" } else { "" };
    text + &colours.paint(QUIET, unit)
}

fn titled(section: Section, name: &str) -> String {
    match section {
        Section::OpenAi => clean(name),
        other => format!("{} {}", title_of(other), clean(name)),
    }
}

fn of_model(change: &ModelChange, colours: Colours) -> String {
    let mut text = format!("  {}", colours.paint(NAME, &titled(change.section, &change.name)));
    if let Some(mark) = mark(change) {
        text += &format!("  {}", colours.paint(DOUBTFUL, mark));
    }
    text.push('\n');
    for rates in change.rates() {
        text += &format!("    {}\n", wrap(&of_rates(&rates), 6));
    }
    text
}

/// What a user should look at twice.
fn mark(change: &ModelChange) -> Option<&'static str> {
    match () {
        () if change.is_large() => Some("(look twice: by more than a factor of 10)"),
        () if change.is_free() => Some("(look twice: a price of 0)"),
        () => None,
    }
}

/// `priority above 272k: input 5 → 10, output 30 → 60`.
fn of_rates(change: &RateChange) -> String {
    let above = change
        .above
        .or(change.old_above)
        .map(|above| format!(" above {}", thousands(above)))
        .unwrap_or_default();
    let names = ["input", "output", "cached input", "cache write"];
    let tier = clean(&change.tier);
    let (old, new) = (change.old.map(Rates::each), change.new.map(Rates::each));
    let is_listed = |at: &usize| match at {
        2 => [change.old, change.new].into_iter().flatten().any(|rates| rates.2.is_some()),
        3 => [change.old, change.new].into_iter().flatten().any(|rates| rates.3.is_some()),
        _ => true,
    };
    // An unlisted rate is that of the input, which is shown.
    let listed = (0..names.len()).filter(is_listed);
    let mut figures: Vec<String> = match (old, new) {
        (Some(old), Some(new)) => listed
            .filter(|at| old[*at] != new[*at])
            .map(|at| format!("{} {} → {}", names[at], old[at], new[at]))
            .collect(),
        (None, Some(new)) => listed.map(|at| format!("{} {}", names[at], new[at])).collect(),
        (_, None) => vec!["no price of its own any more".to_owned()],
    };
    if let (Some(old), Some(new)) = (change.old_above, change.above)
        && old != new
    {
        figures.push(format!("threshold {} → {}", thousands(old), thousands(new)));
    }
    format!("{tier}{above}: {}", figures.join(", "))
}
