//! What `usage` prints: a table with a bar for each row, JSON, or comma-separated values.

use super::name_of;
use crate::base::world::World;
use crate::cli::UsageKey;
use crate::command::table::{Cell, Column, Side, fitting, render, rest_of};
use crate::command::text_layout::{Colours, DOUBTFUL, NAME, QUIET, output_width};
use crate::command::units::{dollars, grouped, in_millionths, tokens};
use crate::history::project::shortened;
use crate::history::time_range::TimeRange;
use crate::history::usage::{Sum, UsageSums};
use anstyle::AnsiColor;
use common::printable::in_one_line;
use serde_json::{Map, Value, json};

/// Columns of the longest bar.
const BAR: usize = 24;

/// Columns of an output without a bar.
const NARROW: usize = 60;

/// Shorter bars show nothing.
const SHORTEST_BAR: usize = 4;

/// Eighths of a column, from none to seven.
const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// The figures of each row in JSON and CSV.
const FIGURES: [&str; 10] = [
    "sessions",
    "responses",
    "input_tokens",
    "cached_input_tokens",
    "cache_write_input_tokens",
    "output_tokens",
    "reasoning_output_tokens",
    "total_tokens",
    "cost",
    "unpriced_tokens",
];

pub(super) struct UsageReport<'a> {
    pub(super) keys: &'a [UsageKey],
    pub(super) range: TimeRange,
    pub(super) sums: &'a UsageSums,
    pub(super) world: &'a World,
}

type Row = (Vec<Option<String>>, Sum);

impl UsageReport<'_> {
    pub(super) fn to_json(&self) -> Value {
        let rows = self.sums.rows.iter().map(|(values, sum)| {
            let mut row = Map::new();
            for (key, value) in self.keys.iter().zip(values) {
                row.insert(name_of(*key).into(), value.clone().into());
                if *key == UsageKey::Session {
                    let prompt = value.as_ref().and_then(|id| self.sums.prompts.get(id));
                    row.insert("prompt".into(), prompt.cloned().into());
                }
            }
            row.extend(figures(sum));
            Value::Object(row)
        });
        let unpriced = self.sums.unpriced.iter().map(|(provider, model, sum)| {
            let mut row = Map::new();
            row.insert("provider".into(), provider.clone().into());
            row.insert("model".into(), model.clone().into());
            row.extend(figures(sum));
            Value::Object(row)
        });
        json!({
            "version": 1,
            "by": self.keys.iter().map(|key| name_of(*key)).collect::<Vec<_>>(),
            "since": self.range.since,
            "until": self.range.until,
            "rows": rows.collect::<Vec<_>>(),
            "total": figures(&self.sums.total),
            "unpriced": unpriced.collect::<Vec<_>>(),
        })
    }

    pub(super) fn to_csv(&self) -> String {
        let names = self.keys.iter().map(|key| name_of(*key)).chain(FIGURES);
        let mut text = names.collect::<Vec<_>>().join(",") + "\n";
        for (values, sum) in &self.sums.rows {
            let values = values.iter().map(|value| quoted(value.as_deref().unwrap_or_default()));
            let figures = figures(sum).into_iter().map(|(_, figure)| figure.to_string());
            text += &values.chain(figures).collect::<Vec<_>>().join(",");
            text.push('\n');
        }
        text
    }

    pub(super) fn to_text(&self) -> String {
        if self.sums.rows.is_empty() {
            return "no response of a model\n".to_owned();
        }
        let (width, colours) = (output_width(self.world), Colours::choose(self.world));
        let columns = self.columns();
        let titles = fitting(&columns, room_for_bars(width), width);
        let bars = self.bars(rest_of(&columns, &titles, width).min(BAR));
        let mut text = render(&columns, &titles, &bars, width, colours);
        for (provider, model, sum) in &self.sums.unpriced {
            let model = in_one_line(model.as_deref().unwrap_or("a model that Codex did not record"));
            let provider =
                provider.as_deref().map(|name| format!(" of {}", in_one_line(name))).unwrap_or_default();
            let line = format!("no price: {model}{provider}, {} tokens", grouped(sum.tokens.total()));
            text += &colours.paint(DOUBTFUL, &line);
            text.push('\n');
        }
        text
    }

    /// The sums of the rows, then their total.
    fn sums(&self) -> impl Iterator<Item = &Sum> {
        self.sums.rows.iter().map(|(_, sum)| sum).chain([&self.sums.total])
    }

    fn columns(&self) -> Vec<Column> {
        let mut columns: Vec<Column> =
            self.keys.iter().enumerate().map(|(at, key)| self.key_column(at, *key)).collect();
        let figure = |title, rank, cell: &dyn Fn(&Sum) -> String| {
            let last = self.sums.rows.len();
            let style = |at| if at == last { NAME } else { anstyle::Style::new() };
            let cells = self.sums().enumerate().map(|(at, sum)| Cell::from(cell(sum)).with_style(style(at)));
            Column { title, side: Side::Right, rank, most: 12, cells: cells.collect() }
        };
        columns.extend([
            figure("SESSIONS", 6, &|sum| sum.sessions().to_string()),
            figure("RESPONSES", 7, &|sum| sum.responses.to_string()),
            figure("INPUT", 3, &|sum| tokens(sum.tokens.input)),
            figure("CACHED", 4, &|sum| tokens(sum.tokens.cached_input)),
            figure("OUTPUT", 3, &|sum| tokens(sum.tokens.output)),
            figure("REASONING", 5, &|sum| tokens(sum.tokens.reasoning_output)),
            figure("COST", 1, &cost_of),
        ]);
        columns
    }

    fn key_column(&self, at: usize, key: UsageKey) -> Column {
        let home = self.world.home.as_deref();
        let shown = |value: Option<&str>| match (key, value) {
            (_, None) => Cell::from("(none)".to_owned()).with_style(QUIET),
            (UsageKey::Project, Some(folder)) => {
                Cell::from(in_one_line(&shortened(folder, home))).cut_at_the_left()
            }
            (UsageKey::Session, Some(id)) => {
                let prompt = self.sums.prompts.get(id).map(|prompt| in_one_line(prompt)).unwrap_or_default();
                let start = id.char_indices().rev().nth(7).map_or(0, |(at, _)| at);
                Cell::from(format!("{}  {prompt}", &id[start..]))
            }
            (_, Some(value)) => Cell::from(in_one_line(value)),
        };
        let mut cells: Vec<Cell> =
            self.sums.rows.iter().map(|(values, _): &Row| shown(values[at].as_deref())).collect();
        cells.push(Cell::from(if at == 0 { "total".to_owned() } else { String::new() }).with_style(NAME));
        let title = match key {
            UsageKey::Day => "DAY",
            UsageKey::Week => "WEEK",
            UsageKey::Month => "MONTH",
            UsageKey::Model => "MODEL",
            UsageKey::Project => "PROJECT",
            UsageKey::Branch => "BRANCH",
            UsageKey::Session => "SESSION",
            UsageKey::Subagent => "SUB-AGENT",
        };
        Column { title, side: Side::Left, rank: 0, most: if self.keys.len() > 1 { 20 } else { 32 }, cells }
    }

    /// By cost; by tokens where nothing has a price.
    fn bars(&self, longest: usize) -> Column {
        let is_priced = self.sums.total.cost() > 0.0;
        let size = |sum: &Sum| if is_priced { sum.cost() } else { sum.tokens.total() as f64 };
        let most = self.sums.rows.iter().map(|(_, sum)| size(sum)).fold(0.0, f64::max);
        let style = AnsiColor::Cyan.on_default();
        let bars =
            self.sums.rows.iter().map(|(_, sum)| Cell::from(bar(size(sum), most, longest)).with_style(style));
        Column {
            title: "",
            side: Side::Left,
            rank: 0,
            most: BAR,
            cells: bars.chain([Cell::default()]).collect(),
        }
    }
}

/// Figures come first where there is little room.
fn room_for_bars(width: usize) -> usize {
    if width < NARROW { 0 } else { (width / 6).min(BAR) }
}

fn figures(sum: &Sum) -> Map<String, Value> {
    let values: [Value; 10] = [
        sum.sessions().into(),
        sum.responses.into(),
        sum.tokens.input.into(),
        sum.tokens.cached_input.into(),
        sum.tokens.cache_write_input.into(),
        sum.tokens.output.into(),
        sum.tokens.reasoning_output.into(),
        sum.tokens.total().into(),
        in_millionths(sum.cost()).into(),
        sum.unpriced.into(),
    ];
    FIGURES.into_iter().map(str::to_owned).zip(values).collect()
}

/// `?` where not all tokens have a price.
fn cost_of(sum: &Sum) -> String {
    match sum.unpriced {
        0 => dollars(sum.cost()),
        unpriced if unpriced == sum.tokens.total() => "?".to_owned(),
        _ => format!("{}+?", dollars(sum.cost())),
    }
}

/// At least a part of a column for what is not zero.
fn bar(size: f64, most: f64, longest: usize) -> String {
    if size <= 0.0 || most <= 0.0 || longest < SHORTEST_BAR {
        return String::new();
    }
    let eighths = ((size / most * (longest * PARTS.len()) as f64).round() as usize).max(1);
    "█".repeat(eighths / PARTS.len()) + PARTS[eighths % PARTS.len()]
}

/// A field of comma-separated values (RFC 4180), on one line.
fn quoted(field: &str) -> String {
    let field = in_one_line(field);
    if field.contains([',', '"']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_part_of_the_longest() {
        let table = [(1.0, 1.0, "█".repeat(24)), (0.5, 1.0, "█".repeat(12)), (0.0, 1.0, String::new())];
        for (size, most, expected) in table {
            assert_eq!(bar(size, most, 24), expected);
        }
        assert_eq!(bar(1e-9, 1.0, 24), "▏");
        assert_eq!(bar(1.5, 24.0, 24), "█▌");
        assert_eq!([bar(0.0, 0.0, 24), bar(1.0, 1.0, 3)], ["", ""]);
    }

    #[test]
    fn a_field_with_a_comma_or_a_quote_is_quoted() {
        let table = [("plain", "plain"), ("a,b", "\"a,b\""), ("a \"b\"", "\"a \"\"b\"\"\""), ("a\nb", "a b")];
        for (field, expected) in table {
            assert_eq!(quoted(field), expected);
        }
    }
}
