//! The user's answers: from options, from questions on a terminal, or the first of each.

use super::change::Change;
use super::codex_word::{ShimPlace, UserShell};
use crate::base::world::World;
use crate::cli::{CodexWord, Enable, Setup};
use crate::command::enable::{self, Changed, Refusal};
use crate::command::{CommandError, print, question};
use crate::settings::modes::{CONTENT, Content};
use common::disk;
use common::printable::clean;
use mlflow_store::target::TRACKING_URI;
use std::fmt::Write;

/// How often a question is asked before setup gives up.
const TRIES: usize = 3;

pub(super) struct Answers {
    settings: Changed,
    pub(super) word: CodexWord,
    content: Content,
}

/// The answer to a question.
enum Answer<T> {
    Given(T),
    /// What is wrong with it: the question is asked again.
    Wrong(String),
}

impl Answers {
    /// None where the user gave none.
    pub(super) fn gather(setup: &Setup, world: &World) -> Result<Option<Answers>, CommandError> {
        let asks = !setup.yes;
        let is_complete = setup.tracking_uri.is_some() && setup.codex.is_some() && setup.content.is_some();
        if asks && !is_complete && !question::can_be_asked(world) {
            return Err("there is no terminal to ask on\n  hint: add --yes, and options for answers other than the first".to_owned());
        }
        let settings = match &setup.tracking_uri {
            Some(uri) => Some(settings(Some(uri), world).map_err(refusal)?),
            None if asks => ask(&target_question(world)?, |answer| match answer {
                "" | "1" => Answer::from(settings(None, world)),
                uri => Answer::from(settings(Some(&uri.to_owned()), world)),
            }),
            None => Some(settings(None, world).map_err(refusal)?),
        };
        let Some(settings) = settings else { return Ok(None) };
        let words = words(world);
        let first = words.first().map_or(CodexWord::Nothing, |(word, _)| *word);
        let word = match setup.codex {
            Some(word) => Some(word),
            None if asks => ask(
                &options("What does the word `codex` run?", words.iter().map(|(_, text)| &**text)),
                |answer| chosen(answer, &words.iter().map(|(word, _)| *word).collect::<Vec<_>>()),
            ),
            None => Some(first),
        };
        let Some(word) = word else { return Ok(None) };
        let content = match setup.content {
            Some(content) => Some(content),
            None if asks => ask(&options("What do traces hold?", CONTENTS.map(|(_, text)| text)), |answer| {
                chosen(answer, &CONTENTS.map(|(content, _)| content))
            }),
            None => Some(Content::Full),
        };
        Ok(content.map(|content| Answers { settings, word, content }))
    }

    /// The configuration file as it becomes.
    pub(super) fn config(&self) -> Result<Vec<Change>, CommandError> {
        let edit = &self.settings.edit;
        let path = edit.home.config();
        let unreadable =
            |why: String| format!("{} {why}\n  hint: mend or remove it first", clean(path.display()));
        if edit.is_broken {
            return Err(unreadable("is not valid".to_owned()));
        }
        let before = super::change::read(&path).map_err(|error| unreadable(disk::reason(&error)))?;
        let before =
            before.map(String::from_utf8).transpose().map_err(|error| unreadable(error.to_string()))?;
        let mut file = edit.file.clone();
        let content = (self.content != Content::Full).then_some(self.content.as_str());
        file.set(CONTENT, content);
        let mut changes = Change::missing_folders(&path);
        changes.push(Change::File { path, mode: 0o600, before, text: file.written() });
        Ok(changes)
    }
}

impl From<Result<Changed, Refusal>> for Answer<Changed> {
    fn from(changed: Result<Changed, Refusal>) -> Answer<Changed> {
        match changed {
            Ok(changed) => Answer::Given(changed),
            Err(refused) => Answer::Wrong(refusal(refused)),
        }
    }
}

fn refusal(refusal: Refusal) -> CommandError {
    match refusal {
        Refusal::Usage(error) | Refusal::Target(error) | Refusal::File(error) => error,
    }
}

fn settings(uri: Option<&String>, world: &World) -> Result<Changed, Refusal> {
    let enable = Enable {
        tracking_uri: uri.cloned(),
        experiment_id: None,
        experiment_name: None,
        granularity: None,
        sessions_dir: None,
        no_check: false,
    };
    enable::changed(&enable, world)
}

const CONTENTS: [(Content, &str); 2] = [
    (Content::Full, "everything: prompts, answers, commands, outputs, patches"),
    (Content::Metadata, "figures only: times, tokens, cost, names of models and tools"),
];

/// The ways to run codex-traced by the word `codex` that this user has.
fn words(world: &World) -> Vec<(CodexWord, String)> {
    let mut words = Vec::new();
    if let Some(shell) = UserShell::from_world(world) {
        let file = clean(shell.function_file().display());
        words.push((CodexWord::Function, format!("codex-traced, in your shell: a function in {file}")));
    }
    if let Some(place) = ShimPlace::from_world(world) {
        let file = clean(place.file().display());
        words.push((CodexWord::Shim, format!("codex-traced, in scripts too: the program {file}")));
    }
    words.push((CodexWord::Nothing, "Codex, as before: you type codex-traced".to_owned()));
    words
}

fn target_question(world: &World) -> Result<String, CommandError> {
    let home = crate::command::home(world)?;
    let (file, _) = crate::settings::file::ConfigFile::read(&home.config());
    let first = match file.text(TRACKING_URI) {
        Some(uri) => format!("where they go now: {}", clean(uri)),
        None => format!("into a file that MLflow opens: {}", clean(home.state().join("mlflow.db").display())),
    };
    let text = "Where do traces go?\n";
    Ok(format!(
        "{text}  1  {first}\n  or type an address: http://HOST:PORT of an MLflow server, databricks\n[1] "
    ))
}

fn options<'a>(title: &str, texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut page = format!("{title}\n");
    for (number, text) in (1..).zip(texts) {
        let _ = writeln!(page, "  {number}  {text}");
    }
    page + "[1] "
}

fn chosen<T: Copy>(answer: &str, values: &[T]) -> Answer<T> {
    let number = if answer.is_empty() { Some(1) } else { answer.parse::<usize>().ok() };
    match number.and_then(|number| values.get(number.checked_sub(1)?)) {
        Some(value) => Answer::Given(*value),
        None => Answer::Wrong(format!("type a number from 1 to {}", values.len())),
    }
}

/// None at the end of the input, or after as many wrong answers as `TRIES`.
fn ask<T>(question: &str, mut judge: impl FnMut(&str) -> Answer<T>) -> Option<T> {
    for _ in 0..TRIES {
        let Some(answer) = question::ask(question) else {
            print("\n");
            return None;
        };
        match judge(&answer) {
            Answer::Given(value) => {
                print("\n");
                return Some(value);
            }
            Answer::Wrong(why) => print(&format!("{why}\n\n")),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_number_and_the_first_is_the_usual_one() {
        let table =
            [("", Some('a')), ("1", Some('a')), ("2", Some('b')), ("3", None), ("0", None), ("b", None)];
        for (answer, expected) in table {
            let given = match chosen(answer, &['a', 'b']) {
                Answer::Given(value) => Some(value),
                Answer::Wrong(_) => None,
            };
            assert_eq!(given, expected, "{answer:?}");
        }
    }
}
