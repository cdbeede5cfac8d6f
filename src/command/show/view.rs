//! The views of a trace: tree, spans of one name, patch of the files, time.

use super::net_changes::{NetChange, net_changes, without_record};
use super::time_use::TimeUse;
use super::waterfall::{self, Layout};
use super::{span_details, turn};
use crate::base::notice;
use crate::base::world::World;
use crate::cli::Show;
use crate::command::text_layout::{Colours, DOUBTFUL, GOOD, NAME, QUIET, WRONG, counted, output_width};
use crate::command::tree::{self, TreeStyle};
use crate::command::{CommandError, print, print_json};
use anstyle::Style;
use common::printable::{clean, escaped, is_unsafe};
use mlflow_store::trace::Trace;

pub(super) fn print_view(show: &Show, trace: Trace, from: &str, world: &World) -> Result<(), CommandError> {
    let trace = match show.turn {
        Some(number) => turn::only_turn(trace, number)?,
        None => trace,
    };
    let colours = Colours::choose(world);
    if let Some(name) = &show.span {
        let spans = span_details::named(&trace, name)?;
        match show.json {
            true => print_json(&spans),
            false => print(&span_details::render(&spans, colours)),
        }
    } else if show.diff {
        print_changes(&trace, show.json, world)?;
    } else if show.times {
        match show.json {
            true => print_json(&TimeUse::from_trace(&trace).to_json(&trace)),
            false => {
                print(&waterfall::render(&trace, Layout { colours, width: output_width(world) }));
            }
        }
    } else if show.json {
        // The JSON of this program's model. MLflow's clients print MLflow's form.
        print_json(&trace);
    } else {
        let text = tree::render(&trace, TreeStyle::of_a_stored_trace(colours));
        print(&format!("{text}\n{} in {}\n", trace.id, clean(from)));
    }
    Ok(())
}

fn print_changes(trace: &Trace, as_json: bool, world: &World) -> Result<(), CommandError> {
    if trace.is_metadata_only() {
        return Err("this trace holds figures only, and no change of a file\n  hint: name the session file to see its changes".into());
    }
    let changes = net_changes(trace);
    if as_json {
        print_json(&changes);
        return Ok(());
    }
    let colours = Colours::choose(world);
    for change in &changes {
        print(&change_text(change, world.stdout_is_terminal, colours));
    }
    // On stderr: stdout holds a patch, which may be empty.
    let unrecorded = without_record(trace);
    if unrecorded > 0 {
        let patches = counted(unrecorded, "patch", "patches");
        notice::print(&format!(
            "Codex recorded no changes of {patches}\n  hint: Codex records them since 0.130; `show --span tool_apply_patch` shows the patches"
        ));
    } else if changes.is_empty() {
        notice::print(
            &"no tool changed a file, or the changes cancel each other\n  hint: Codex does not record what shell commands change",
        );
    }
    Ok(())
}

/// A pipe gets the exact bytes, which `git apply` reads.
fn change_text(change: &NetChange, is_terminal: bool, colours: Colours) -> String {
    let mut text = String::new();
    for note in &change.notes {
        let line = format!("# {}: {}", escaped(&change.path), note.sentence());
        text.push_str(&colours.paint(DOUBTFUL, &line));
        text.push('\n');
    }
    let mut position = Position::default();
    for line in change.patch.split_terminator('\n') {
        let style = position.style_of(line);
        let shown = if is_terminal { on_terminal(line) } else { line.to_owned() };
        match style {
            Some(style) => text.push_str(&colours.paint(style, &shown)),
            None => text.push_str(&shown),
        }
        text.push('\n');
    }
    text
}

/// Without control characters. The carriage return of a line end is left out: a terminal shows nothing for it.
fn on_terminal(line: &str) -> String {
    let safe = |c: char| if is_unsafe(c) && c != '\t' { '\u{fffd}' } else { c };
    line.strip_suffix('\r').unwrap_or(line).chars().map(safe).collect()
}

/// Whether a line is within a hunk: a removed line may look like the header `--- a/x`.
#[derive(Debug, Default)]
struct Position {
    is_in_hunk: bool,
}

impl Position {
    fn style_of(&mut self, line: &str) -> Option<Style> {
        match line.as_bytes().first() {
            Some(b'@') => {
                self.is_in_hunk = true;
                Some(QUIET)
            }
            Some(b'+') if self.is_in_hunk => Some(GOOD),
            Some(b'-') if self.is_in_hunk => Some(WRONG),
            Some(b'\\' | b'#') => Some(QUIET),
            _ if self.is_in_hunk => None,
            _ => Some(NAME),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_on_a_terminal_has_no_control_character() {
        for (line, expected) in [
            ("+a\tb", "+a\tb"),
            ("+a\r", "+a"),
            ("\r", ""),
            ("+a\r\r", "+a\u{fffd}"),
            ("+a\rb", "+a\u{fffd}b"),
            ("+\u{1b}[2J\r", "+\u{fffd}[2J"),
        ] {
            assert_eq!(on_terminal(line), expected, "{line:?}");
        }
    }
}
