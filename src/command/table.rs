//! A table that fits the width of the output: less important columns leave it first.

use super::text_layout::{Colours, QUIET};
use anstyle::Style;
use console::{measure_text_width, truncate_str};
use std::borrow::Cow;

/// Columns of space between two columns.
const GAP: usize = 2;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    #[default]
    Right,
}

/// A column, and its cells from top to bottom.
pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) side: Side,
    /// The columns of the lowest ranks stay longest.
    pub(super) rank: u8,
    /// A longer text is cut.
    pub(super) most: usize,
    pub(super) cells: Vec<Cell>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) style: Style,
    /// The end at which a long text is cut.
    pub(super) cut: Side,
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell { text, ..Cell::default() }
    }
}

impl Cell {
    pub(super) fn with_style(self, style: Style) -> Cell {
        Cell { style, ..self }
    }

    /// For paths, which differ at their end.
    pub(super) fn cut_at_the_left(self) -> Cell {
        Cell { cut: Side::Left, ..self }
    }

    fn within(&self, width: usize) -> Cow<'_, str> {
        if self.cut == Side::Right || measure_text_width(&self.text) <= width {
            return truncate_str(&self.text, width, "…");
        }
        let mut end = self.text.as_str();
        while measure_text_width(end) + 1 > width {
            let mut rest = end.chars();
            rest.next();
            end = rest.as_str();
        }
        Cow::Owned(format!("…{end}"))
    }
}

impl Column {
    fn width(&self) -> usize {
        let cells = self.cells.iter().map(|cell| measure_text_width(&cell.text));
        cells.chain([self.title.len()]).max().unwrap_or(0).min(self.most)
    }

    fn is_empty(&self) -> bool {
        self.cells.iter().all(|cell| cell.text.is_empty())
    }
}

/// The titles of the columns that fit, in their order, where the last column has at least `least` of the width. Columns
/// without any text do not.
pub(super) fn fitting(columns: &[Column], least: usize, width: usize) -> Vec<&'static str> {
    let mut ranked: Vec<&Column> = columns.iter().filter(|column| !column.is_empty()).collect();
    ranked.sort_by_key(|column| column.rank);
    let mut room = width.saturating_sub(least);
    let mut taken = Vec::new();
    for column in ranked {
        if let Some(left) = room.checked_sub(column.width() + GAP) {
            taken.push(column.title);
            room = left;
        }
    }
    columns.iter().map(|column| column.title).filter(|title| taken.contains(title)).collect()
}

/// What the columns of these titles leave of the width.
pub(super) fn rest_of(columns: &[Column], titles: &[&str], width: usize) -> usize {
    let shown = columns.iter().filter(|column| titles.contains(&column.title));
    width.saturating_sub(shown.map(|column| column.width() + GAP).sum())
}

/// The columns of these titles, then `last` in the rest of the width. One line for each row, below a line of titles.
pub(super) fn render(
    columns: &[Column],
    titles: &[&str],
    last: &Column,
    width: usize,
    colours: Colours,
) -> String {
    let shown: Vec<(&Column, usize)> = columns
        .iter()
        .filter(|column| titles.contains(&column.title))
        .map(|column| (column, column.width()))
        .collect();
    let rest = rest_of(columns, titles, width).max(1);
    let mut text = String::new();
    let title = |column: &Column| Cell { text: column.title.to_owned(), style: QUIET, cut: Side::Right };
    for row in 0..=last.cells.len() {
        let cell = |column: &Column| match row.checked_sub(1) {
            Some(row) => column.cells.get(row).cloned().unwrap_or_default(),
            None => title(column),
        };
        let mut line = String::new();
        for (column, width) in &shown {
            line += &placed(&cell(column), *width, column.side, colours);
            line += &" ".repeat(GAP);
        }
        let end = cell(last);
        line += &colours.paint(end.style, &end.within(rest));
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn placed(cell: &Cell, width: usize, side: Side, colours: Colours) -> String {
    let text = cell.within(width);
    let pad = " ".repeat(width.saturating_sub(measure_text_width(&text)));
    let painted = if text.is_empty() { String::new() } else { colours.paint(cell.style, &text) };
    match side {
        Side::Left => painted + &pad,
        Side::Right => pad + &painted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::world::World;

    fn column(title: &'static str, side: Side, rank: u8, cells: &[&str]) -> Column {
        let cells = cells.iter().map(|text| Cell::from((*text).to_owned())).collect();
        Column { title, side, rank, most: 12, cells }
    }

    #[test]
    fn less_important_columns_leave_a_narrow_table_first() {
        let columns = [
            column("DAY", Side::Left, 0, &["2026-11-01", "2026-11-02"]),
            column("NOTE", Side::Left, 2, &["a", "long enough to be cut"]),
            column("COST", Side::Right, 1, &["$1.00", "$10.00"]),
            column("NONE", Side::Left, 1, &["", ""]),
        ];
        let last = column("PROMPT", Side::Left, 0, &["first", "日本語の長い文字列がここにあります"]);
        let table = [
            (80, "DAY NOTE COST"),
            (58, "DAY NOTE COST"),
            (57, "DAY COST"),
            (44, "DAY COST"),
            (43, "DAY"),
            (32, "COST"),
            (20, ""),
        ];
        for (width, expected) in table {
            let titles = fitting(&columns, 24, width);
            assert_eq!(titles.join(" "), expected, "{width}");
            let text = render(&columns, &titles, &last, width, Colours::choose(&World::default()));
            assert!(text.lines().all(|line| measure_text_width(line) <= width), "{width}\n{text}");
            assert_eq!(text.lines().count(), 3);
        }
        let text =
            render(&columns, &fitting(&columns, 24, 50), &last, 50, Colours::choose(&World::default()));
        assert_eq!(text.lines().next(), Some("DAY           COST  PROMPT"));
        assert_eq!(text.lines().nth(1), Some("2026-11-01   $1.00  first"));
    }

    #[test]
    fn a_path_is_cut_at_its_beginning() {
        let cell = Cell::from("/home/me/project".to_owned());
        assert_eq!(cell.within(9), "/home/me…");
        let table = [(16, "/home/me/project"), (9, "…/project"), (4, "…ect"), (1, "…")];
        for (width, expected) in table {
            assert_eq!(cell.clone().cut_at_the_left().within(width), expected, "{width}");
        }
        assert_eq!(Cell::from("~/日本語".to_owned()).cut_at_the_left().within(6), "…本語");
    }
}
