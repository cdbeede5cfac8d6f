//! Hunks with context from the steps between two versions of a file. Context is what is known of the kept lines.

use super::unified_diff::{CONTEXT, Edit, Hunk, Line};
use std::collections::BTreeMap;
use std::ops::Range;

/// A step on the way from the original. Places count the original's lines from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step<'l> {
    /// No two of these follow each other.
    Keep(Range<usize>),
    Remove(usize),
    Add(&'l Line),
}

/// `known` holds the text of every removed line, and of some kept ones.
pub(super) fn net_hunks(steps: &[Step], known: &BTreeMap<usize, Line>) -> Vec<Hunk> {
    let mut hunks: Vec<Hunk> = Vec::new();
    let mut open: Option<Hunk> = None;
    // Places in both files, and the known lines directly before them.
    let (mut old, mut new, mut before) = (0, 0, 0..0);
    for (at, step) in steps.iter().enumerate() {
        if let Step::Keep(range) = step {
            let is_followed = at + 1 < steps.len();
            if let Some(mut hunk) = open.take() {
                let shared = 2 * CONTEXT;
                let joins =
                    is_followed && range.len() <= shared && range.clone().all(|at| known.contains_key(&at));
                let most = if joins { shared } else { CONTEXT };
                let context = range.clone().take(most).map_while(|at| known.get(&at).cloned());
                hunk.edits.extend(context.map(Edit::Context));
                if joins { open = Some(hunk) } else { hunks.push(hunk) }
            }
            if is_followed {
                let context =
                    range.clone().rev().take(CONTEXT).take_while(|at| known.contains_key(at)).count();
                before = range.end - context..range.end;
                (old, new) = (range.end, new + range.len());
            }
            continue;
        }
        let hunk = open.get_or_insert_with(|| {
            let context = before.clone().filter_map(|at| known.get(&at).cloned()).map(Edit::Context);
            let lead = before.len();
            Hunk { old_start: old - lead, new_start: new - lead, edits: context.collect() }
        });
        match step {
            Step::Remove(place) => {
                hunk.edits.extend(known.get(place).cloned().map(Edit::Removed));
                old += 1;
            }
            Step::Add(line) => {
                hunk.edits.push(Edit::Added(Line::clone(line)));
                new += 1;
            }
            Step::Keep(_) => {}
        }
    }
    hunks.extend(open);
    hunks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        Line { text: text.to_owned(), has_line_feed: true }
    }

    fn printed(steps: &[Step], known: &[usize]) -> String {
        let known = known.iter().map(|at| (*at, line(&at.to_string()))).collect();
        let mut text = String::new();
        net_hunks(steps, &known).iter().for_each(|hunk| hunk.print(&mut text));
        text
    }

    #[test]
    fn hunks_have_three_lines_of_context_where_these_are_known() {
        let new = line("new");
        let (keep, add) = (|from, to| Step::Keep(from..to), || Step::Add(&new));
        let all: Vec<usize> = (0..20).collect();
        let table: [(&[Step], &[usize], &str); 5] = [
            (
                &[keep(0, 9), add(), keep(9, usize::MAX)],
                &all,
                "@@ -7,6 +7,7 @@\n 6\n 7\n 8\n+new\n 9\n 10\n 11\n",
            ),
            (
                &[keep(0, 9), Step::Remove(9), keep(10, usize::MAX)],
                &[6, 8, 9, 10, 12],
                "@@ -9,3 +9,2 @@\n 8\n-9\n 10\n",
            ),
            (&[add(), keep(0, usize::MAX)], &[], "@@ -0,0 +1 @@\n+new\n"),
            // Six known lines join two hunks; seven do not.
            (
                &[Step::Remove(0), keep(1, 7), Step::Remove(7), keep(8, usize::MAX)],
                &all[..8],
                "@@ -1,8 +1,6 @@\n-0\n 1\n 2\n 3\n 4\n 5\n 6\n-7\n",
            ),
            (
                &[Step::Remove(0), keep(1, 8), Step::Remove(8), keep(9, usize::MAX)],
                &all[..9],
                "@@ -1,4 +1,3 @@\n-0\n 1\n 2\n 3\n@@ -6,4 +5,3 @@\n 5\n 6\n 7\n-8\n",
            ),
        ];
        for (steps, known, expected) in table {
            assert_eq!(printed(steps, known), expected, "{steps:?}");
        }
    }
}
