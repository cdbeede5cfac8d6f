//! What hunks make of the region of a file that they change. The file stays as it is until all of them fit.

use super::{End, Misfit, OPEN, PatchedFile, Piece};
use crate::command::show::unified_diff::{Edit, Hunk, Line};
use std::ops::Range;
use std::rc::Rc;

#[derive(Debug)]
pub(super) struct Region {
    /// Pieces of the file that `pieces` take the place of. One on each side is joined to those.
    pub(super) replaces: Range<usize>,
    pub(super) pieces: Vec<Piece>,
    /// Lines of the original that the hunks show.
    pub(super) learned: Vec<(usize, Line)>,
    /// The lines of the original, where the hunks show its end.
    pub(super) length: Option<usize>,
}

/// The next line of the file.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    piece: usize,
    /// Lines of this piece before the next line.
    passed: usize,
    /// Lines of the file before the next line.
    line: usize,
}

struct Reader<'f> {
    file: &'f PatchedFile,
    next: Cursor,
    region: Region,
}

impl Region {
    /// The hunks name places of the file before, and are in order.
    pub(super) fn changed(file: &PatchedFile, hunks: &[Hunk], end: End) -> Result<Region, Misfit> {
        let region = Region { replaces: 0..0, pieces: Vec::new(), learned: Vec::new(), length: None };
        let Some(first) = hunks.first() else { return Ok(region) };
        let mut reader = Reader { file, next: Cursor::default(), region };
        reader.begin(first.old_start)?;
        let mut is_at_end = false;
        for hunk in hunks {
            if is_at_end {
                return Err(Misfit);
            }
            reader.copy_to(hunk.old_start)?;
            is_at_end = reader.apply(hunk)? || end == End::OfFile;
            if is_at_end {
                reader.end()?;
            }
        }
        Ok(reader.finish())
    }

    /// Appends a piece, and joins it to the one before.
    fn keep(&mut self, piece: Piece) {
        match (self.pieces.last_mut(), piece) {
            (Some(Piece::Kept(last)), Piece::Kept(next)) if last.end == next.start => last.end = next.end,
            (_, piece) => self.pieces.push(piece),
        }
    }
}

impl Reader<'_> {
    /// Starts the region at this line. The piece before it is a part of the region.
    fn begin(&mut self, line: usize) -> Result<(), Misfit> {
        while self.next.line < line {
            self.pass(line)?;
        }
        let Cursor { piece, passed, .. } = self.next;
        let first = if passed == 0 { piece.saturating_sub(1) } else { piece };
        self.region.replaces = first..first;
        match &self.file.pieces[first..] {
            [Piece::Kept(range), ..] if passed > 0 => {
                self.region.keep(Piece::Kept(range.start..range.start + passed));
            }
            [before, ..] if first < piece => self.region.keep(before.clone()),
            _ => {}
        }
        Ok(())
    }

    /// Leaves the lines before this one as they are.
    fn copy_to(&mut self, line: usize) -> Result<(), Misfit> {
        if self.next.line > line {
            return Err(Misfit);
        }
        while self.next.line < line {
            let piece = self.pass(line)?;
            self.region.keep(piece);
        }
        Ok(())
    }

    /// Passes what is left of the piece, up to this line.
    fn pass(&mut self, line: usize) -> Result<Piece, Misfit> {
        let most = line - self.next.line;
        match self.file.pieces.get(self.next.piece).ok_or(Misfit)? {
            Piece::New(there) => {
                self.advance(1, 1);
                Ok(Piece::New(Rc::clone(there)))
            }
            Piece::Kept(range) => {
                let from = range.start + self.next.passed;
                let count = most.min(range.end - from);
                self.advance(count, range.len());
                Ok(Piece::Kept(from..from + count))
            }
        }
    }

    fn advance(&mut self, count: usize, length: usize) {
        self.next.line += count;
        self.next.passed += count;
        if self.next.passed == length {
            (self.next.piece, self.next.passed) = (self.next.piece + 1, 0);
        }
    }

    /// Whether the file ends with this hunk. A line without its line feed is the last one of the file.
    fn apply(&mut self, hunk: &Hunk) -> Result<bool, Misfit> {
        let (mut is_old_at_end, mut is_new_at_end) = (self.is_after_last(), self.is_after_last());
        for edit in &hunk.edits {
            let (Edit::Context(line) | Edit::Removed(line) | Edit::Added(line)) = edit;
            let (is_of_old, is_of_new) = (!matches!(edit, Edit::Added(_)), !matches!(edit, Edit::Removed(_)));
            if is_of_old && is_old_at_end || is_of_new && is_new_at_end {
                return Err(Misfit);
            }
            is_old_at_end |= is_of_old && !line.has_line_feed;
            is_new_at_end |= is_of_new && !line.has_line_feed;
            let piece = match edit {
                Edit::Added(line) => Piece::New(Rc::new(line.clone())),
                Edit::Context(line) | Edit::Removed(line) => self.take_line(line)?,
            };
            if is_of_new {
                self.region.keep(piece);
            }
        }
        Ok(is_old_at_end || is_new_at_end)
    }

    /// Whether the line before lacks its line feed.
    fn is_after_last(&self) -> bool {
        let line = match self.region.pieces.last() {
            Some(Piece::New(line)) => Some(&**line),
            Some(Piece::Kept(range)) => range.end.checked_sub(1).and_then(|last| self.file.known.get(&last)),
            None => None,
        };
        line.is_some_and(|line| !line.has_line_feed)
    }

    /// Takes the next line, which must be this one.
    fn take_line(&mut self, line: &Line) -> Result<Piece, Misfit> {
        let piece = self.pass(self.next.line + 1)?;
        match &piece {
            Piece::New(there) if **there == *line => {}
            Piece::New(_) => return Err(Misfit),
            Piece::Kept(range) => match self.file.known.get(&range.start) {
                Some(there) if there == line => {}
                Some(_) => return Err(Misfit),
                None => self.region.learned.push((range.start, line.clone())),
            },
        }
        Ok(piece)
    }

    /// The file has no line after these. That must be possible for the rest.
    fn end(&mut self) -> Result<(), Misfit> {
        match self.file.pieces.get(self.next.piece) {
            None => Ok(()),
            Some(Piece::Kept(range)) if range.end == OPEN => {
                let end = range.start + self.next.passed;
                if self.file.known.range(end..).next().is_some() {
                    return Err(Misfit);
                }
                self.region.length = Some(end);
                (self.next.piece, self.next.passed) = (self.next.piece + 1, 0);
                Ok(())
            }
            Some(_) => Err(Misfit),
        }
    }

    /// The rest of the piece ends the region, or the next one.
    fn finish(mut self) -> Region {
        let after = match self.file.pieces.get(self.next.piece) {
            Some(Piece::Kept(range)) => Some(Piece::Kept(range.start + self.next.passed..range.end)),
            new => new.cloned(),
        };
        self.region.replaces.end = self.next.piece + usize::from(after.is_some());
        after.into_iter().for_each(|piece| self.region.keep(piece));
        self.region
    }
}
