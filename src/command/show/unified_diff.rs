//! Unified diffs, as Codex records them: hunks of context, removed and added lines.

use std::fmt::Write;

/// Context lines of a patch that this program makes.
pub(super) const CONTEXT: usize = 3;

/// No file has more lines. A larger number in a damaged diff would overflow sums.
const MOST_LINES: usize = 1 << 30;

const NO_LINE_FEED: &str = "\\ No newline at end of file";

/// A line of a file. Only the last one may lack its line feed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) has_line_feed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Edit {
    Context(Line),
    Removed(Line),
    Added(Line),
}

/// Places count lines from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hunk {
    pub(super) old_start: usize,
    pub(super) new_start: usize,
    pub(super) edits: Vec<Edit>,
}

/// The lines of a file. A carriage return is a part of its line.
pub(super) fn lines_of(content: &str) -> Vec<Line> {
    let lines = content.split_inclusive('\n');
    lines
        .map(|line| {
            let text = line.strip_suffix('\n');
            Line { text: text.unwrap_or(line).to_owned(), has_line_feed: text.is_some() }
        })
        .collect()
}

/// None where the text is no unified diff of one file, or where lines are missing.
pub(super) fn parse(text: &str) -> Option<Vec<Hunk>> {
    let mut lines = text.split_terminator('\n').peekable();
    while lines.next_if(|line| line.starts_with("--- ") || line.starts_with("+++ ")).is_some() {}
    let mut hunks = Vec::new();
    while let Some(header) = lines.next() {
        let (old, new) = header.strip_prefix("@@ -")?.split_once(" @@")?.0.split_once(" +")?;
        let ((old_start, mut old_left), (new_start, mut new_left)) = (range(old)?, range(new)?);
        let mut edits = Vec::new();
        while old_left > 0 || new_left > 0 {
            let line = lines.next()?;
            let (sign, rest) = (line.as_bytes().first(), line.get(1..));
            let has_line_feed = lines.next_if(|line| line.starts_with('\\')).is_none();
            let line = Line { text: rest.unwrap_or_default().to_owned(), has_line_feed };
            let (of_old, of_new) = match sign {
                // Some programs strip the space of an empty line.
                Some(b' ') | None => (1, 1),
                Some(b'-') => (1, 0),
                Some(b'+') => (0, 1),
                Some(_) => return None,
            };
            edits.push(match (of_old, of_new) {
                (1, 1) => Edit::Context(line),
                (1, _) => Edit::Removed(line),
                _ => Edit::Added(line),
            });
            old_left = old_left.checked_sub(of_old)?;
            new_left = new_left.checked_sub(of_new)?;
        }
        hunks.push(Hunk { old_start, new_start, edits });
    }
    Some(hunks)
}

/// `START[,COUNT]` as start from 0 and count. An empty range names the line before it.
fn range(text: &str) -> Option<(usize, usize)> {
    let (start, count) = text.split_once(',').unwrap_or((text, "1"));
    let (start, count) = (start.parse::<usize>().ok()?, count.parse::<usize>().ok()?);
    if start.max(count) > MOST_LINES {
        return None;
    }
    let start = if count == 0 { start } else { start.checked_sub(1)? };
    Some((start, count))
}

impl Hunk {
    pub(super) fn print(&self, text: &mut String) {
        let count = |is_counted: fn(&Edit) -> bool| self.edits.iter().filter(|edit| is_counted(edit)).count();
        let old = range_text(self.old_start, count(|edit| !matches!(edit, Edit::Added(_))));
        let new = range_text(self.new_start, count(|edit| !matches!(edit, Edit::Removed(_))));
        let _ = writeln!(text, "@@ -{old} +{new} @@");
        for edit in &self.edits {
            let (sign, line) = match edit {
                Edit::Context(line) => (' ', line),
                Edit::Removed(line) => ('-', line),
                Edit::Added(line) => ('+', line),
            };
            let _ = writeln!(text, "{sign}{}", line.text);
            if !line.has_line_feed {
                let _ = writeln!(text, "{NO_LINE_FEED}");
            }
        }
    }
}

fn range_text(start: usize, count: usize) -> String {
    match count {
        0 => format!("{start},0"),
        1 => format!("{}", start + 1),
        _ => format!("{},{count}", start + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_is_printed_as_it_was_read() {
        let table = [
            "@@ -1 +1 @@\n-hello\n+hello world\n",
            "@@ -0,0 +1,2 @@\n+a\n+b\n",
            "@@ -2,3 +2,2 @@\n a\n-b\n c\n@@ -9 +8,2 @@\n x\n+\n",
            "@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+b\n",
            "@@ -4,2 +3,0 @@\n-a\r\n-b\r\n",
            "",
        ];
        for diff in table {
            let mut text = String::new();
            parse(diff).unwrap().iter().for_each(|hunk| hunk.print(&mut text));
            assert_eq!(text, diff);
        }
        assert_eq!(parse("--- a/x\n+++ b/x\n@@ -1 +0,0 @@ fn f()\n-a\n").unwrap().len(), 1);
    }

    #[test]
    fn a_diff_without_all_of_its_lines_is_none() {
        let table = [
            "@@ -1,2 +1,2 @@\n a\n",
            "@@ -1,2 +1 @@\n a\n[… 9 of 20 bytes cut …]\n",
            "@@ -0 +1 @@\n a\n",
            "@@ -1 @@\n-a\n",
            "@@ -18446744073709551615,0 +1 @@\n+a\n",
            "@@ -1 +1 @@\n-a\n-b\n+c\n",
            "not a diff",
        ];
        for diff in table {
            assert_eq!(parse(diff), None, "{diff}");
        }
    }
}
