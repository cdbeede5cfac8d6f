//! The layout of the commands' text: 80 columns, and colours on a terminal.

use crate::base::world::World;
use anstyle::{AnsiColor, Style};
use common::printable::in_one_line;
use console::Term;
use std::fmt::Write;

/// Columns; the usual width of a terminal.
pub(super) const WIDTH: usize = 80;

/// Columns of a table that still has room for words.
const NARROWEST: usize = 40;

/// Columns. A longer line is hard to read, and a huge `COLUMNS` must not fill the memory.
const WIDEST: usize = 1_000;

/// Characters of a prompt in a line.
const PROMPT: usize = 60;

pub(super) const NAME: Style = Style::new().bold();
pub(super) const QUIET: Style = Style::new().dimmed();
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
pub(super) const DOUBTFUL: Style = AnsiColor::Yellow.on_default();
pub(super) const WRONG: Style = AnsiColor::Red.on_default();

#[derive(Clone, Copy, Debug)]
pub(super) struct Colours {
    are_shown: bool,
}

impl Colours {
    /// Shown by a terminal that supports them, and without `NO_COLOR` (no-color.org).
    pub(super) fn choose(world: &World) -> Colours {
        let is_dumb = world.variables.os("TERM").is_some_and(|term| term == "dumb");
        let are_wanted = !is_dumb && world.variables.os("NO_COLOR").is_none();
        Colours { are_shown: world.stdout_is_terminal && are_wanted }
    }

    pub(super) fn paint(self, style: Style, text: &str) -> String {
        if self.are_shown { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// Columns of a table: the terminal's, else those of `COLUMNS`, else 80.
pub(super) fn output_width(world: &World) -> usize {
    let of_terminal = || Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
    choose_width(if world.stdout_is_terminal { of_terminal() } else { None }, world)
}

fn choose_width(of_terminal: Option<usize>, world: &World) -> usize {
    let is_known = |columns: &usize| *columns > 0;
    let of_variable = || world.variables.text("COLUMNS")?.trim().parse().ok().filter(is_known);
    of_terminal.filter(is_known).or_else(of_variable).unwrap_or(WIDTH).clamp(NARROWEST, WIDEST)
}

/// Breaks lines at spaces and indents all but the first. A long word stays whole: it may be an address to copy.
pub(super) fn wrap(text: &str, indent: usize) -> String {
    let mut lines = String::new();
    let mut at = indent;
    for (index, word) in text.split(' ').enumerate() {
        let width = columns(word);
        match index {
            0 => {}
            _ if at + 1 + width > WIDTH => {
                let _ = write!(lines, "\n{:indent$}", "");
                at = indent;
            }
            _ => {
                lines.push(' ');
                at += 1;
            }
        }
        lines.push_str(word);
        at += width;
    }
    lines
}

/// The width of a word; colour sequences count as zero.
fn columns(word: &str) -> usize {
    let mut within = false;
    let is_shown = |c: &char| {
        within |= *c == '\u{1b}';
        let shown = !within;
        within &= *c != 'm';
        shown
    };
    word.chars().filter(is_shown).count()
}

/// `1 trace`, `2 traces`.
pub(super) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// The beginning of a session's prompt, after the id of its trace.
pub(super) fn prompt_line(prompt: &str) -> String {
    in_one_line(prompt).chars().take(PROMPT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::variables::Variables;

    #[test]
    fn only_terminals_that_support_colours_get_them() {
        let table = [
            (true, Variables::default(), true),
            (true, Variables::from([("TERM", "xterm-256color")]), true),
            (true, Variables::from([("TERM", "dumb")]), false),
            (true, Variables::from([("NO_COLOR", "1")]), false),
            (false, Variables::from([("TERM", "xterm-256color")]), false),
        ];
        for (stdout_is_terminal, variables, coloured) in table {
            let world = World { stdout_is_terminal, variables, ..World::default() };
            assert_eq!(Colours::choose(&world).are_shown, coloured, "{:?}", world.variables);
        }
    }

    #[test]
    fn the_terminal_decides_the_width_before_the_variable() {
        let table = [
            (Some(120), None, 120),
            (Some(120), Some("200"), 120),
            (Some(0), Some("200"), 200),
            (None, Some("200"), 200),
            (None, Some(" 90 "), 90),
            (None, Some("0"), WIDTH),
            (None, Some("wide"), WIDTH),
            (None, None, WIDTH),
            (None, Some("1"), NARROWEST),
            (None, Some("1000000000"), WIDEST),
        ];
        for (of_terminal, columns, expected) in table {
            let variables = columns.map(|columns| ("COLUMNS", columns));
            let variables = variables.map_or_else(Variables::default, |pair| Variables::from([pair]));
            let world = World { variables, ..World::default() };
            assert_eq!(choose_width(of_terminal, &world), expected, "{of_terminal:?} {columns:?}");
        }
    }

    #[test]
    fn lines_end_at_eighty_columns_and_long_words_stay_whole() {
        let text = format!("{} {} end", "word ".repeat(20).trim_end(), "x".repeat(100));
        let wrapped = wrap(&text, 4);
        let lines: Vec<&str> = wrapped.lines().collect();
        assert!(lines.iter().all(|line| line.len() + 4 <= WIDTH || line.trim().len() == 100), "{wrapped}");
        assert_eq!(lines.len(), 4);
        assert_eq!(columns("\u{1b}[32myes\u{1b}[0m,"), 4);
        assert_eq!(wrapped.split_whitespace().collect::<Vec<_>>().join(" "), text);
    }
}
