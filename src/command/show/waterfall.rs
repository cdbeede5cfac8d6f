//! The time of a trace as text: how it divides, then one line per span with a bar on the axis of the working time.

use super::time_use::{Figures, SHORTEST_WAIT, TimeUse};
use super::turn::{children, turns};
use crate::command::text_layout::{Colours, NAME, QUIET, WRONG};
use crate::command::tree::{duration, status};
use anstyle::{AnsiColor, Style};
use common::printable::is_unsafe;
use console::{measure_text_width, truncate_str};
use jiff::{SignedDuration, Timestamp};
use mlflow_store::ids::SpanId;
use mlflow_store::trace::{Span, SpanStatus, SpanType, Trace};
use std::collections::HashMap;
use std::fmt::Write;

const MODEL: Style = AnsiColor::Cyan.on_default();
const TOOLS: Style = AnsiColor::Yellow.on_default();

/// Columns of the longest bar of the summary.
const SUMMARY_BAR: usize = 40;

/// Columns of a name that is still recognizable.
const SHORTEST_NAME: usize = 14;

#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) colours: Colours,
    pub(super) width: usize,
}

pub(super) fn render(trace: &Trace, layout: Layout) -> String {
    let Some(root) = trace.root() else { return String::new() };
    let uses = TimeUse::from_trace(trace);
    let Layout { colours, .. } = layout;
    let mut text = format!(
        "{}  {}\n{}\n\n",
        colours.paint(NAME, &name_of(root)),
        status(trace, root, colours),
        colours.paint(QUIET, &period(uses.started_at, uses.ended_at)),
    );
    text.push_str(&summary(uses.figures(), layout));
    text.push('\n');
    text + &waterfall(trace, &uses, layout)
}

/// In 40 columns at most.
fn period(from: Timestamp, to: Timestamp) -> String {
    let [first, last] = [from, to].map(|at| at.strftime("%Y-%m-%d").to_string());
    match first == last {
        true => format!("{first} {} to {} UTC", from.strftime("%H:%M:%S"), to.strftime("%H:%M:%S")),
        false => format!("{first} {} to {last} {} UTC", from.strftime("%H:%M"), to.strftime("%H:%M")),
    }
}

fn summary(figures: Figures, Layout { colours, width }: Layout) -> String {
    let rows = [
        ("model", figures.model, MODEL, '█'),
        ("tools", figures.tools, TOOLS, '▒'),
        ("Codex itself", figures.codex, QUIET, '─'),
        ("waiting for you", figures.waiting, QUIET, '·'),
    ];
    let percentages = percentages(rows.map(|(_, time, ..)| time.as_millis()));
    let mut text = format!("{:15} {:>12}\n", "total", text_of(figures.total));
    let room = width.saturating_sub(38).min(SUMMARY_BAR);
    for ((label, time, style, glyph), percent) in rows.into_iter().zip(percentages) {
        let percentage = match percent {
            0 if time > SignedDuration::ZERO => "<1 %".to_owned(),
            percent => format!("{percent} %"),
        };
        let bar: String = std::iter::repeat_n(glyph, (room * percent).div_ceil(100)).collect();
        let line = format!("{label:15} {:>12} {percentage:>6}", text_of(time));
        let _ = match bar.is_empty() {
            true => writeln!(text, "{line}"),
            false => writeln!(text, "{line}  {}", colours.paint(style, &bar)),
        };
    }
    text
}

/// Whole percentages with the sum 100: the largest remainders are rounded up.
fn percentages<const N: usize>(parts: [i128; N]) -> [usize; N] {
    let parts = parts.map(|part| usize::try_from(part).unwrap_or_default());
    let total: usize = parts.iter().sum();
    if total == 0 {
        return [0; N];
    }
    let mut percentages = parts.map(|part| part * 100 / total);
    let mut order: Vec<usize> = (0..N).collect();
    order.sort_by_key(|at| std::cmp::Reverse(parts[*at] * 100 % total));
    let missing = 100 - percentages.iter().sum::<usize>();
    order.into_iter().take(missing).for_each(|at| percentages[at] += 1);
    percentages
}

struct Row<'t> {
    span: &'t Span,
    name: String,
    lasted: String,
}

fn waterfall(trace: &Trace, uses: &TimeUse, layout: Layout) -> String {
    let rows: Vec<Row> = in_tree_order(trace)
        .into_iter()
        .map(|(depth, span)| {
            let mark = if matches!(span.status, SpanStatus::Error { .. }) { "✗ " } else { "" };
            let indent = "  ".repeat(depth);
            Row {
                span,
                name: format!("{indent}{mark}{}", name_of(span)),
                lasted: duration(span.started_at, span.ended_at),
            }
        })
        .collect();
    let longest = |widths: &dyn Fn(&Row) -> usize| rows.iter().map(widths).max().unwrap_or_default();
    let lasted = longest(&|row| row.lasted.len());
    let names = longest(&|row| measure_text_width(&row.name));
    let names = names.min((layout.width * 2 / 5).max(SHORTEST_NAME));
    let cells = layout.width.saturating_sub(names + lasted + 4).max(1);
    let waits = waits(trace, uses);
    let axis = Axis { uses, total: uses.working.total(), cells };
    let mut text = String::new();
    for row in &rows {
        if let Some(wait) = waits.get(&row.span.id) {
            let _ = writeln!(
                text,
                "{}",
                layout.colours.paint(QUIET, &format!("… {} until the next prompt", text_of(*wait)))
            );
        }
        text.push_str(&row.line(&axis, names, lasted, layout.colours));
    }
    text
}

impl Row<'_> {
    fn line(&self, axis: &Axis, names: usize, lasted: usize, colours: Colours) -> String {
        let name = cut(&self.name, names);
        let padding = " ".repeat(names.saturating_sub(measure_text_width(&name)));
        let (glyph, style) = match self.span.span_type {
            SpanType::Llm => ('█', MODEL),
            SpanType::Tool => ('▒', TOOLS),
            SpanType::Agent | SpanType::Chain => ('─', QUIET),
        };
        let name_style = match (&self.span.status, self.span.span_type) {
            (SpanStatus::Error { .. }, _) => WRONG,
            (_, SpanType::Agent) => NAME,
            _ => Style::new(),
        };
        let (before, bar) = axis.place(self.span.started_at, self.span.ended_at);
        let bar: String = std::iter::repeat_n(glyph, bar).collect();
        format!(
            "{}{padding}  {}  {:before$}{}\n",
            colours.paint(name_style, &name),
            colours.paint(QUIET, &format!("{:>lasted$}", self.lasted)),
            "",
            colours.paint(style, &bar)
        )
    }
}

/// The indentation of a deep span leaves half of the columns to its name.
fn cut(name: &str, width: usize) -> String {
    let indent = name.len() - name.trim_start().len();
    let indent = indent.min(width / 2);
    let name = format!("{:indent$}{}", "", name.trim_start());
    truncate_str(&name, width, "…").into_owned()
}

/// The working time, divided among the columns of the bars.
struct Axis<'a> {
    uses: &'a TimeUse,
    total: SignedDuration,
    cells: usize,
}

impl Axis<'_> {
    /// Empty columns, then those of the bar: at least one.
    fn place(&self, from: Timestamp, to: Timestamp) -> (usize, usize) {
        let passed = |at: Timestamp| self.uses.working.passed(at).as_millis();
        let (total, cells) = (self.total.as_millis().max(1), i128::try_from(self.cells).unwrap_or(1));
        let first = passed(from) * cells / total;
        let last = (passed(to) * cells + total - 1) / total;
        let first = first.clamp(0, cells - 1);
        let last = last.clamp(first + 1, cells);
        let columns = |count: i128| usize::try_from(count).unwrap_or_default();
        (columns(first), columns(last - first))
    }
}

/// The waits before turns, by the turn's span.
fn waits(trace: &Trace, uses: &TimeUse) -> HashMap<SpanId, SignedDuration> {
    let later = turns(trace).into_iter().skip(1);
    let waits = later.map(|turn| (turn.span.id, uses.waited_before(turn.started_at)));
    waits.filter(|(_, wait)| *wait >= SHORTEST_WAIT).collect()
}

/// Each span with its depth, parents before children. The trace has no circle.
fn in_tree_order(trace: &Trace) -> Vec<(usize, &Span)> {
    let mut children = children(trace);
    let mut ordered = Vec::with_capacity(trace.spans.len());
    let mut open: Vec<(usize, &Span)> = trace.root().map(|root| (0, root)).into_iter().collect();
    while let Some((depth, span)) = open.pop() {
        ordered.push((depth, span));
        let below = children.remove(&span.id).unwrap_or_default();
        open.extend(below.into_iter().rev().map(|child| (depth + 1, child)));
    }
    ordered
}

fn name_of(span: &Span) -> String {
    span.name.chars().map(|c| if is_unsafe(c) { '\u{fffd}' } else { c }).collect()
}

fn text_of(time: SignedDuration) -> String {
    let from = Timestamp::UNIX_EPOCH;
    duration(from, from.checked_add(time).unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_add_up_to_a_hundred() {
        let table = [
            ([1, 1, 1, 0], [34, 33, 33, 0]),
            ([0, 0, 0, 0], [0, 0, 0, 0]),
            ([999, 1, 0, 0], [100, 0, 0, 0]),
            ([1, 0, 0, 0], [100, 0, 0, 0]),
            ([5, 5, 5, 5], [25, 25, 25, 25]),
        ];
        for (parts, expected) in table {
            assert_eq!(percentages(parts), expected, "{parts:?}");
        }
    }

    #[test]
    fn a_deep_name_is_cut_at_its_end_and_keeps_room_for_letters() {
        let table = [
            ("  llm_call_1", 12, "  llm_call_1"),
            ("  llm_call_1", 8, "  llm_c…"),
            ("                llm_call_1", 12, "      llm_c…"),
        ];
        for (name, width, expected) in table {
            assert_eq!(cut(name, width), expected);
        }
    }
}
