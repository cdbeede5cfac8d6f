//! The user's answers: from options, from questions on a terminal, or the first of each.

use super::codex_word;
use crate::base::world::World;
use crate::cli::{CodexWord, Enable, Setup};
use crate::command::enable::{self, Changed, Refusal};
use crate::command::{CommandError, print, question};
use crate::settings::file::ConfigFile;
use crate::settings::modes::{CONTENT, Content};
use common::printable::clean;
use mlflow_store::target::{TRACKING_URI, Target};
use std::fmt::Write;
use std::path::Path;

/// How often a question is asked before setup gives up.
const TRIES: usize = 3;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answers {
    /// None: where traces go now.
    uri: Option<String>,
    pub(super) word: CodexWord,
    pub(super) content: Content,
}

/// Checks a typed answer; the error is what is wrong with it.
type Answered<T> = Result<T, String>;

impl Answers {
    /// None where the user gave none.
    pub(super) fn gather(setup: &Setup, world: &World) -> Result<Option<Answers>, CommandError> {
        let asks = !setup.yes;
        let is_complete = setup.tracking_uri.is_some() && setup.codex.is_some() && setup.content.is_some();
        if asks && !is_complete && !question::can_be_asked(world) {
            return Err("there is no terminal to ask on\n  hint: add --yes; options give answers other than the first"
                .to_owned());
        }
        let (file, _) = ConfigFile::read(&crate::command::home(world)?.config());
        let uri = match &setup.tracking_uri {
            Some(uri) => Some(Some(uri.clone())),
            None if asks => ask(&target_question(&file, world)?, |answer| target(answer, world)),
            None => Some(None),
        };
        let Some(uri) = uri else { return Ok(None) };
        let ways = codex_word::ways(world);
        let word = match setup.codex {
            Some(word) => Some(word),
            None if asks => {
                ask(&options("What does the word `codex` run?", &ways), |answer| chosen(answer, &ways))
            }
            None => Some(ways[0].0),
        };
        let Some(word) = word else { return Ok(None) };
        let contents =
            contents(file.text(CONTENT).and_then(|word| Content::parse(&word)).unwrap_or_default());
        let content = match setup.content {
            Some(content) => Some(content),
            None if asks => {
                ask(&options("What do traces hold?", &contents), |answer| chosen(answer, &contents))
            }
            None => Some(contents[0].0),
        };
        Ok(content.map(|content| Answers { uri, word, content }))
    }

    /// The configuration file as it becomes, from the file as it is now.
    pub(super) fn settings(&self, world: &World) -> Result<Changed, CommandError> {
        let mut changed = settings(self.uri.as_deref(), world)?;
        let content = (self.content != Content::Full).then_some(self.content.as_str());
        changed.edit.file.set(CONTENT, content);
        Ok(changed)
    }
}

fn settings(uri: Option<&str>, world: &World) -> Result<Changed, CommandError> {
    let enable = Enable { tracking_uri: uri.map(str::to_owned), ..Enable::default() };
    enable::changed(&enable, world).map_err(|refusal| match refusal {
        Refusal::Usage(error) | Refusal::Target(error) | Refusal::File(error) => error,
    })
}

fn target_question(file: &ConfigFile, world: &World) -> Result<String, CommandError> {
    let home = crate::command::home(world)?;
    let here = world.cwd.as_deref().unwrap_or(home.path());
    // `enable` leaves a target that it does not understand.
    let now = file.text(TRACKING_URI).filter(|uri| Target::parse(uri, here).is_ok());
    let first = match now {
        Some(uri) => format!("where they go now: {}", clean(uri)),
        None => format!("into a file that MLflow opens: {}", clean(home.state().join("mlflow.db").display())),
    };
    Ok(format!(
        "Where do traces go?\n  1  {first}\n  or type an address: http://HOST:PORT of an MLflow server, databricks\n[1] "
    ))
}

/// The target is looked at, so that a wrong address is typed again.
fn target(answer: &str, world: &World) -> Answered<Option<String>> {
    let uri = address(answer, world.home.as_deref())?;
    settings(uri.as_deref(), world).map(|_| uri)
}

/// None for the first answer. A word alone would be a folder's name, which is rather a slip.
fn address(answer: &str, home: Option<&Path>) -> Answered<Option<String>> {
    match (answer, home) {
        ("" | "1", _) => Ok(None),
        ("databricks", _) => Ok(Some(answer.to_owned())),
        (_, Some(home)) if answer.starts_with("~/") => match home.join(&answer[2..]).to_str() {
            Some(path) => Ok(Some(path.to_owned())),
            None => Err(format!("{} cannot be written down", clean(home.display()))),
        },
        _ if answer.contains("://") || answer.starts_with(['/', '.']) => Ok(Some(answer.to_owned())),
        _ => Err(format!("\"{}\" is no address: type 1, or one like http://localhost:5000", clean(answer))),
    }
}

/// What the configuration has now comes first.
fn contents(now: Content) -> [(Content, String); 2] {
    let full = (Content::Full, "everything: prompts, answers, commands, outputs, patches".to_owned());
    let metadata =
        (Content::Metadata, "figures only: times, tokens, cost, names of models and tools".to_owned());
    match now {
        Content::Full => [full, metadata],
        Content::Metadata => [metadata, full],
    }
}

fn options<T>(title: &str, choices: &[(T, String)]) -> String {
    let mut page = format!("{title}\n");
    for (number, (_, text)) in (1..).zip(choices) {
        let _ = writeln!(page, "  {number}  {text}");
    }
    page + "[1] "
}

fn chosen<T: Copy>(answer: &str, choices: &[(T, String)]) -> Answered<T> {
    let number = if answer.is_empty() { Some(1) } else { answer.parse::<usize>().ok() };
    let choice = number.and_then(|number| choices.get(number.checked_sub(1)?));
    choice.map(|(value, _)| *value).ok_or_else(|| format!("type a number from 1 to {}", choices.len()))
}

/// None at the end of the input, or after as many wrong answers as `TRIES`.
fn ask<T>(question: &str, judge: impl Fn(&str) -> Answered<T>) -> Option<T> {
    for _ in 0..TRIES {
        let answer = question::ask(question);
        print("\n");
        match judge(&answer?) {
            Ok(value) => return Some(value),
            Err(wrong) => print(&format!("{wrong}\n\n")),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_number_and_the_first_is_the_usual_one() {
        let choices = [('a', String::new()), ('b', String::new())];
        for (answer, expected) in
            [("", Some('a')), ("1", Some('a')), ("2", Some('b')), ("3", None), ("0", None), ("b", None)]
        {
            assert_eq!(chosen(answer, &choices).ok(), expected, "{answer:?}");
        }
        assert_eq!(contents(Content::Metadata)[0].0, Content::Metadata);
    }

    #[test]
    fn an_address_is_no_word() {
        let table = [
            ("", Some(None)),
            ("1", Some(None)),
            ("http://a:5000", Some(Some("http://a:5000"))),
            ("databricks", Some(Some("databricks"))),
            ("~/x.db", Some(Some("/home/ada/x.db"))),
            ("./runs", Some(Some("./runs"))),
            ("2", None),
            ("y", None),
            ("mlflow.example.com", None),
        ];
        for (answer, expected) in table {
            let address = address(answer, Some(Path::new("/home/ada"))).ok();
            assert_eq!(address, expected.map(|uri| uri.map(str::to_owned)), "{answer}");
        }
    }
}
