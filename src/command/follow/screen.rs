//! The tree on a terminal: redrawn in place on the alternate screen, its end where it does not fit.

use super::output::Scene;
use super::state_line;
use crate::command::text_layout::{Colours, QUIET, counted};
use crate::command::tree::{self, TreeStyle};
use console::{Term, truncate_str};
use std::fs::File;
use std::io::{self, Write};

/// Alternate screen, no cursor, no line breaks at the right edge: a character that is wider than it is counted moves no
/// other line.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// Columns and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

impl Size {
    /// Of the terminal on stdout; 80 columns and 24 rows where it has none.
    pub(super) fn of_terminal() -> Size {
        let (rows, columns) = Term::stdout().size();
        Size { columns: columns.into(), rows: rows.into() }
    }
}

/// The alternate screen. Dropping it leaves the terminal as it was.
pub(super) struct Screen {
    /// Unbuffered, so that each picture is one write.
    terminal: File,
}

impl Screen {
    pub(super) fn enter(terminal: File) -> io::Result<Screen> {
        let mut screen = Screen { terminal };
        screen.terminal.write_all(ENTER.as_bytes())?;
        Ok(screen)
    }

    pub(super) fn draw(&mut self, rows: &[String]) -> io::Result<()> {
        self.terminal.write_all(picture(rows).as_bytes())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.terminal.write_all(LEAVE.as_bytes());
    }
}

/// What each row shows of a session.
pub(super) fn rows(scene: Scene, size: Size, colours: Colours) -> Vec<String> {
    let Scene { thread, view, now } = scene;
    let trace = view.map(|view| &view.trace);
    let facts = state_line::facts(thread, view, Some(now), colours);
    let state = state_line::lines(&facts, size.columns.saturating_sub(1));
    let style = TreeStyle { colours, width: size.columns, now: Some(now) };
    let root = trace.and_then(|trace| Some((trace, trace.spans.first()?)));
    let tree = root.map(|(trace, root)| tree::below(trace, root, style)).unwrap_or_default();
    fit(&state, &tree.lines().collect::<Vec<_>>(), size, colours)
}

/// The state, then the end of the tree, with a line that counts what is above it. Each row leaves the last column
/// empty: a terminal that erases the rest of a full row erases its last character.
fn fit(state: &[String], tree: &[&str], size: Size, colours: Colours) -> Vec<String> {
    let room = size.rows.saturating_sub(state.len());
    let shown = if tree.len() <= room { tree.len() } else { room.saturating_sub(1) };
    let above = tree.len() - shown;
    let note = format!("↑ {} above", counted(above, "line", "lines"));
    let note = (above > 0 && room > 0).then(|| colours.paint(QUIET, &note));
    let rows = state.iter().map(String::as_str).chain(note.as_deref()).chain(tree[above..].iter().copied());
    let columns = size.columns.saturating_sub(1);
    rows.take(size.rows).map(|row| truncate_str(row, columns, "…").into_owned()).collect()
}

/// The bytes that show these rows and nothing else. Each row replaces what the screen shows there, so that nothing
/// flickers.
fn picture(rows: &[String]) -> String {
    format!("\x1b[H{}\x1b[K\x1b[J", rows.join("\x1b[K\r\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::world::World;

    #[test]
    fn the_end_of_the_tree_is_shown_with_a_count_of_what_is_above() {
        let colours = Colours::choose(&World::default());
        let state = |count: usize| vec!["state"; count].into_iter().map(str::to_owned).collect::<Vec<_>>();
        let tree = ["1", "2", "3", "4"];
        let table: [(usize, &[&str], usize, &[&str]); 9] = [
            (1, &tree, 9, &["state", "1", "2", "3", "4"]),
            (1, &tree, 5, &["state", "1", "2", "3", "4"]),
            (1, &tree, 4, &["state", "↑ 2 lines above", "3", "4"]),
            (2, &tree, 4, &["state", "state", "↑ 3 lines above", "4"]),
            (1, &tree, 2, &["state", "↑ 4 lines above"]),
            (1, &tree[..2], 2, &["state", "↑ 2 lines above"]),
            (1, &tree, 1, &["state"]),
            (2, &tree, 0, &[]),
            (1, &[], 3, &["state"]),
        ];
        for (count, tree, rows, expected) in table {
            assert_eq!(
                fit(&state(count), tree, Size { columns: 80, rows }, colours),
                expected,
                "{rows} rows"
            );
        }
    }

    #[test]
    fn a_row_leaves_the_last_column_empty_and_keeps_its_colours_whole() {
        let colours = Colours::choose(&World::default());
        let table = [
            ("abcdef", 7, "abcdef"),
            ("abcdef", 6, "abcd…"),
            ("漢字漢字", 6, "漢字…"),
            ("\u{1b}[2mabcdef\u{1b}[0m", 4, "\u{1b}[2mab…\u{1b}[0m"),
            ("abc", 1, "…"),
        ];
        for (row, columns, expected) in table {
            let size = Size { columns, rows: 2 };
            assert_eq!(fit(&[], &[row], size, colours), [expected], "{row} {columns}");
        }
    }

    #[test]
    fn a_picture_begins_at_home_and_erases_the_rest_of_each_row_and_of_the_screen() {
        let rows = ["a", "b"].map(str::to_owned);
        assert_eq!(picture(&rows), "\u{1b}[Ha\u{1b}[K\r\nb\u{1b}[K\u{1b}[J");
        assert_eq!(picture(&[]), "\u{1b}[H\u{1b}[K\u{1b}[J");
    }
}
