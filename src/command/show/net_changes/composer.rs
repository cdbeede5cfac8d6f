//! Changes become parts: what became of one file, as far as the records compose.

use super::order::Ends;
use super::{ChangeKind, Note};
use crate::command::recorded_change::RecordedChange;
use crate::command::show::patched_file::{Misfit, PatchedFile, Presence};
use crate::command::show::unified_diff::{lines_of, parse};
use std::collections::HashMap;

#[derive(Debug)]
pub(super) struct Part {
    /// Before the first change of this part.
    pub(super) old_path: String,
    pub(super) path: String,
    pub(super) notes: Vec<Note>,
    pub(super) content: Content,
    /// When the file left its old path first.
    left_at: Option<usize>,
    /// When the file took its path.
    came_at: usize,
}

#[derive(Debug)]
pub(super) enum Content {
    File(PatchedFile),
    /// What is recorded, of a change that is not composed.
    Recorded(ChangeKind, String),
    /// Another file took its place.
    Replaced,
}

/// What is known of a path.
#[derive(Clone, Copy, Debug)]
enum State {
    /// Further changes belong to this part.
    Part(usize),
    /// The file has another path now.
    Moved,
    /// A change is not composed: any content, and the original may have the file.
    NotComposed,
}

/// Paths are in their normal form.
#[derive(Debug, Default)]
pub(super) struct Composer {
    parts: Vec<Part>,
    states: HashMap<String, State>,
    /// The changes until now.
    time: usize,
}

impl Composer {
    pub(super) fn into_parts(self) -> Vec<Part> {
        self.parts
    }

    /// `to` is the path after a move.
    pub(super) fn add(&mut self, path: &str, to: Option<&str>, change: RecordedChange) {
        self.time += 1;
        let to = to.filter(|to| *to != path);
        if change.is_cut() {
            return self.record(path, to, change, Note::NotComposed);
        }
        match change {
            RecordedChange::Add { content } => self.write(path, content),
            RecordedChange::Delete { content } => {
                let delete = |file: &mut PatchedFile| file.delete(content.map(lines_of));
                match self.change(path, delete) {
                    Ok(part) => self.parts[part].leave(self.time),
                    Err(Misfit) => self.record(path, None, change, Note::ContentNotRecorded),
                }
            }
            RecordedChange::Update { diff, .. } => {
                let hunks = parse(diff);
                let update = |file: &mut PatchedFile| file.update(hunks.as_deref().ok_or(Misfit)?);
                match (self.change(path, update), to) {
                    (Ok(part), Some(to)) => self.rename(part, path, to),
                    (Ok(_), None) => {}
                    (Err(Misfit), to) => self.record(path, to, change, Note::NotComposed),
                }
            }
        }
    }

    fn write(&mut self, path: &str, content: &str) {
        let lines = lines_of(content);
        let note = match self.states.get(path) {
            Some(State::Part(part)) => {
                if self.parts[*part].change(|file| file.write(lines.clone())) == Ok(()) {
                    return;
                }
                Some(Note::ReplacesUnknown)
            }
            Some(State::NotComposed) => Some(Note::ReplacesUnknown),
            Some(State::Moved) | None => None,
        };
        self.begin(path, PatchedFile::from_added(lines), note);
    }

    /// Changes the file as it is known, or begins a part of a file that is unknown.
    fn change(
        &mut self,
        path: &str,
        change: impl Fn(&mut PatchedFile) -> Result<(), Misfit>,
    ) -> Result<usize, Misfit> {
        let note = match self.states.get(path) {
            Some(State::Part(part)) => {
                if self.parts[*part].change(&change) == Ok(()) {
                    return Ok(*part);
                }
                Some(Note::ChangedInBetween)
            }
            // Something else made a file of this path.
            Some(State::Moved) => Some(Note::ChangedInBetween),
            Some(State::NotComposed) | None => None,
        };
        let mut unknown = PatchedFile::from_unknown();
        change(&mut unknown)?;
        Ok(self.begin(path, unknown, note))
    }

    fn begin(&mut self, path: &str, file: PatchedFile, note: Option<Note>) -> usize {
        let part = self.push(path, path, Content::File(file), note);
        self.states.insert(path.to_owned(), State::Part(part));
        part
    }

    /// The next change of these paths begins a part.
    fn record(&mut self, path: &str, to: Option<&str>, change: RecordedChange, note: Note) {
        let kind = match (change, to) {
            (RecordedChange::Add { .. }, _) => ChangeKind::Added,
            (RecordedChange::Delete { .. }, _) => ChangeKind::Deleted,
            (RecordedChange::Update { .. }, Some(_)) => ChangeKind::Renamed,
            (RecordedChange::Update { .. }, None) => ChangeKind::Changed,
        };
        let content = Content::Recorded(kind, change.text().to_owned());
        let part = self.push(path, to.unwrap_or(path), content, Some(note));
        self.states.insert(path.to_owned(), State::NotComposed);
        if let Some(to) = to {
            self.take_place(part, to, State::NotComposed);
        }
    }

    fn push(&mut self, old_path: &str, path: &str, content: Content, note: Option<Note>) -> usize {
        self.parts.push(Part {
            old_path: old_path.to_owned(),
            path: path.to_owned(),
            notes: note.into_iter().collect(),
            content,
            left_at: None,
            came_at: self.time,
        });
        self.parts.len() - 1
    }

    fn rename(&mut self, moved: usize, from: &str, to: &str) {
        self.states.insert(from.to_owned(), State::Moved);
        let part = &mut self.parts[moved];
        part.leave(self.time);
        part.came_at = self.time;
        to.clone_into(&mut part.path);
        self.take_place(moved, to, State::Part(moved));
    }

    /// The part has this path now, and the file that had it is gone.
    fn take_place(&mut self, moved: usize, to: &str, state: State) {
        let notes = match self.states.insert(to.to_owned(), state) {
            Some(State::Part(replaced)) => self.parts[replaced].replace(),
            Some(State::NotComposed) => vec![Note::ReplacesUnknown],
            Some(State::Moved) | None => Vec::new(),
        };
        let part = &mut self.parts[moved];
        let new = notes.into_iter().filter(|note| !part.notes.contains(note)).collect::<Vec<_>>();
        part.notes.extend(new);
    }
}

impl Part {
    fn change(&mut self, change: impl Fn(&mut PatchedFile) -> Result<(), Misfit>) -> Result<(), Misfit> {
        match &mut self.content {
            Content::File(file) => change(file),
            Content::Recorded(..) | Content::Replaced => Err(Misfit),
        }
    }

    fn leave(&mut self, time: usize) {
        self.left_at.get_or_insert(time);
    }

    /// What the part that takes the place must note. A new file leaves nothing but its notes.
    fn replace(&mut self) -> Vec<Note> {
        match &self.content {
            Content::File(file) if file.now() == Presence::Present => match file.before() {
                Presence::Absent => {
                    self.content = Content::Replaced;
                    std::mem::take(&mut self.notes)
                }
                Presence::Present => vec![Note::ReplacesUnknown],
            },
            Content::File(_) | Content::Recorded(..) | Content::Replaced => Vec::new(),
        }
    }

    /// What is not composed changes no path.
    pub(super) fn ends(&self) -> Ends<'_> {
        let Content::File(file) = &self.content else { return Ends::default() };
        let is_moved = self.old_path != self.path;
        let (before, now) = (file.before(), file.now());
        let is_gone = before == Presence::Present && (now == Presence::Absent || is_moved);
        let is_new = now == Presence::Present && (before == Presence::Absent || is_moved);
        Ends {
            removes: self.left_at.filter(|_| is_gone).map(|time| (self.old_path.as_str(), time)),
            produces: is_new.then_some((self.path.as_str(), self.came_at)),
        }
    }
}
