//! A file whose original content is unknown except where patches show it, and what patches made of it.

use super::common_lines::common_lines;
use super::net_hunks::{Step, net_hunks};
use super::unified_diff::{Edit, Hunk, Line};
use region::Region;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

mod region;

/// End of an original whose number of lines is unknown.
const OPEN: usize = usize::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Absent,
    Present,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// Lines of the original, counted from 0.
    Kept(Range<usize>),
    /// Shared: a change copies the pieces of its region.
    New(Rc<Line>),
}

/// What the last line of a hunk is the end of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    OfHunk,
    OfFile,
}

/// The change does not fit the file: something else changed it in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Misfit;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PatchedFile {
    before: Presence,
    now: Presence,
    /// The lines of the original that a patch has shown.
    known: BTreeMap<usize, Line>,
    /// The lines of the original, once its end is known.
    length: Option<usize>,
    pieces: Vec<Piece>,
}

impl PatchedFile {
    /// A file that a patch adds.
    pub(super) fn from_added(content: Vec<Line>) -> PatchedFile {
        PatchedFile {
            before: Presence::Absent,
            now: Presence::Present,
            known: BTreeMap::new(),
            length: Some(0),
            pieces: content.into_iter().map(|line| Piece::New(Rc::new(line))).collect(),
        }
    }

    /// A file that was there before, with any content.
    pub(super) fn from_unknown() -> PatchedFile {
        PatchedFile {
            before: Presence::Present,
            now: Presence::Present,
            known: BTreeMap::new(),
            length: None,
            pieces: vec![Piece::Kept(0..OPEN)],
        }
    }

    pub(super) fn before(&self) -> Presence {
        self.before
    }

    pub(super) fn now(&self) -> Presence {
        self.now
    }

    pub(super) fn update(&mut self, hunks: &[Hunk]) -> Result<(), Misfit> {
        if self.now == Presence::Absent {
            return Err(Misfit);
        }
        let region = Region::changed(self, hunks, End::OfHunk)?;
        self.commit(region);
        Ok(())
    }

    /// Removes the file. `content` is what it held, where that is recorded.
    pub(super) fn delete(&mut self, content: Option<Vec<Line>>) -> Result<(), Misfit> {
        if self.now == Presence::Absent {
            return Err(Misfit);
        }
        if self.before == Presence::Present {
            let content = content.or_else(|| self.content()).ok_or(Misfit)?;
            let edits = content.into_iter().map(Edit::Removed).collect();
            let region = Region::changed(self, &[Hunk { old_start: 0, new_start: 0, edits }], End::OfFile)?;
            self.commit(region);
        }
        self.pieces.clear();
        self.now = Presence::Absent;
        Ok(())
    }

    /// Replaces the whole content. What it replaces must be known.
    pub(super) fn write(&mut self, content: Vec<Line>) -> Result<(), Misfit> {
        if self.now == Presence::Present && self.content().is_none() {
            return Err(Misfit);
        }
        self.pieces = content.into_iter().map(|line| Piece::New(Rc::new(line))).collect();
        self.now = Presence::Present;
        Ok(())
    }

    /// None where a line is unknown.
    fn content(&self) -> Option<Vec<Line>> {
        let mut lines = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::New(line) => lines.push(Line::clone(line)),
                Piece::Kept(range) => {
                    for place in range.clone() {
                        lines.push(self.known.get(&place)?.clone());
                    }
                }
            }
        }
        Some(lines)
    }

    fn commit(&mut self, region: Region) {
        self.pieces.splice(region.replaces, region.pieces);
        self.known.extend(region.learned);
        self.length = region.length.or(self.length);
    }

    /// The way from the original to the file as it is now.
    pub(super) fn hunks(&self) -> Vec<Hunk> {
        net_hunks(&self.steps(), &self.known)
    }

    fn steps(&self) -> Vec<Step<'_>> {
        let mut steps = Vec::new();
        let mut added: Vec<&Line> = Vec::new();
        let mut old = 0;
        for piece in &self.pieces {
            match piece {
                Piece::New(line) => added.push(line),
                Piece::Kept(range) => {
                    self.replace(old..range.start, &added, &mut steps);
                    added.clear();
                    keep(range.clone(), &mut steps);
                    old = range.end;
                }
            }
        }
        self.replace(old..self.length.unwrap_or(old).max(old), &added, &mut steps);
        steps
    }

    /// Lines of the original that others replaced. A line that was removed and added again is kept.
    fn replace<'l>(&'l self, removed: Range<usize>, added: &[&'l Line], steps: &mut Vec<Step<'l>>) {
        let before: Vec<&Line> = removed.clone().filter_map(|place| self.known.get(&place)).collect();
        let (mut old, mut new) = (removed.start, 0);
        for (kept_old, kept_new) in common_lines(&before, added) {
            let kept_old = removed.start + kept_old;
            steps.extend((old..kept_old).map(Step::Remove));
            steps.extend(added[new..kept_new].iter().copied().map(Step::Add));
            keep(kept_old..kept_old + 1, steps);
            (old, new) = (kept_old + 1, kept_new + 1);
        }
        steps.extend((old..removed.end).map(Step::Remove));
        steps.extend(added[new..].iter().copied().map(Step::Add));
    }
}

/// Appends kept lines, and joins them to those before.
fn keep(range: Range<usize>, steps: &mut Vec<Step>) {
    match steps.last_mut() {
        _ if range.is_empty() => {}
        Some(Step::Keep(last)) if last.end == range.start => last.end = range.end,
        _ => steps.push(Step::Keep(range)),
    }
}

#[cfg(test)]
mod tests;
