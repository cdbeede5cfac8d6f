//! A tool call as an export shows it: one line, then inputs, changes of files, and outputs.

use super::diff::{self, FileChange};
use super::document::{State, Step};
use super::plain::{self, LONGEST};
use crate::command::tree::{duration, summary};
use crate::redact::text_of;
use common::json::value::{Map, Value};
use mlflow_store::trace::{Span, SpanStatus};

/// Characters of the text in the line of a tool call.
const HEADLINE: usize = 160;

/// Characters of an error in the line of a tool call.
const ERROR: usize = 200;

/// Inputs that the headline shows, if they are short enough.
const COMMANDS: [&str; 2] = ["cmd", "command"];

/// How Codex's list of changed files begins. The changes show it.
const PATCHED: &str = "Success. Updated the following files:";

pub(super) struct Tool {
    pub(super) name: String,
    /// The command, the changed files, or what else describes the call; may be empty.
    pub(super) headline: String,
    pub(super) state: State,
    /// Duration, exit code, folder.
    pub(super) facts: Vec<String>,
    pub(super) error: Option<String>,
    pub(super) inputs: Vec<Block>,
    pub(super) changes: Vec<FileChange>,
    pub(super) outputs: Vec<Block>,
    /// Calls that the call made, and agents that it started.
    pub(super) steps: Vec<Step>,
}

impl Tool {
    /// Short changes of files are read at once, and an agent is not hidden below the call that started it.
    pub(super) fn is_unfolded(&self) -> bool {
        let has_agent = self.steps.iter().any(|step| matches!(step, Step::Part(_)));
        (!self.changes.is_empty() && diff::is_short(&self.changes)) || has_agent
    }
}

/// A text with its name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) name: String,
    /// As Markdown names the language of code; empty for none.
    pub(super) language: &'static str,
    pub(super) text: String,
}

impl Tool {
    /// `folder`: the session's own.
    pub(super) fn from_span(span: &Span, folder: Option<&str>, steps: Vec<Step>) -> Tool {
        let name = span.attributes.get("tool_name").and_then(Value::as_str);
        let name = name.unwrap_or_else(|| span.name.strip_prefix("tool_").unwrap_or(&span.name));
        let recorded = span.outputs.get("changes");
        let mut changes = recorded.map(|value| diff::changes(value, folder)).unwrap_or_default();
        let patch = span.inputs.get("input").and_then(text_of).and_then(FileChange::from_patch);
        let is_patch = patch.is_some();
        if changes.is_empty() {
            changes.extend(patch);
        }
        let error = match &span.status {
            SpanStatus::Error { message } => Some(plain::line(message, ERROR)),
            SpanStatus::Ok | SpanStatus::Unset => None,
        };
        let headline = headline(span, &changes);
        let mut outputs = outputs(&span.outputs);
        if !changes.is_empty() && error.is_none() {
            outputs.retain(|block| !block.text.starts_with(PATCHED));
        }
        Tool {
            name: plain::line(name, HEADLINE),
            state: State::from_span(span),
            facts: facts(span, error.as_deref(), folder),
            inputs: inputs(&span.inputs, &[&[&*headline], &tasks(&steps)[..]].concat(), is_patch),
            outputs,
            headline,
            error,
            changes,
            steps,
        }
    }
}

fn headline(span: &Span, changes: &[FileChange]) -> String {
    let paths: Vec<&str> =
        changes.iter().map(|change| &*change.path).filter(|path| !path.is_empty()).collect();
    let text = match (paths.is_empty(), changes.first()) {
        (false, _) => paths.join(", "),
        // The headers of a patch name its files.
        (true, Some(patch)) => {
            let files = patch.lines.iter().filter_map(|line| line.text.split_once(" File: "));
            files.map(|(_, file)| file).collect::<Vec<_>>().join(", ")
        }
        (true, None) => summary(span).or_else(|| first_text(&span.inputs)).unwrap_or_default(),
    };
    plain::line(&text, HEADLINE)
}

/// The first short text of the inputs, such as the name of an agent.
fn first_text(inputs: &Value) -> Option<String> {
    let fields = inputs.as_object()?;
    fields.values().find_map(|value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned))
}

fn facts(span: &Span, error: Option<&str>, folder: Option<&str>) -> Vec<String> {
    let mut facts = vec![match State::from_span(span) {
        State::Running => "running".to_owned(),
        State::Done | State::Failed => duration(span.started_at, span.ended_at),
    }];
    let code =
        ["exit_code"].iter().find_map(|key| span.attributes.get(key).or_else(|| span.outputs.get(key)));
    let code = code.and_then(Value::as_number).map(|code| format!("exit code {code}"));
    facts.extend(code.filter(|code| error.is_none_or(|error| !error.contains(&**code))));
    let elsewhere = span.attributes.get("cwd").and_then(Value::as_str).filter(|cwd| Some(*cwd) != folder);
    facts.extend(elsewhere.map(|cwd| format!("in {}", diff::shown_path(cwd, folder))));
    facts
}

/// The prompts of the agents that a call started.
fn tasks(steps: &[Step]) -> Vec<&str> {
    let agents =
        steps.iter().filter_map(|step| if let Step::Part(agent) = step { Some(agent) } else { None });
    agents.filter_map(|agent| agent.prompt.as_deref()).collect()
}

/// Texts have a block each; the rest is one of JSON. What is shown elsewhere is left out.
fn inputs(inputs: &Value, elsewhere: &[&str], is_patch: bool) -> Vec<Block> {
    let Some(fields) = inputs.as_object() else { return block("input", inputs).into_iter().collect() };
    if let Some(plan) = fields.get("plan").and_then(plan) {
        return vec![plan];
    }
    let is_shown = |name: &str, value: &Value| {
        let is_elsewhere = text_of(value).is_some_and(|text| elsewhere.contains(&text.trim()));
        is_elsewhere || (name == "input" && is_patch) || name == "paths"
    };
    let (mut blocks, mut rest) = (Vec::new(), Map::new());
    for (name, value) in fields.iter().filter(|(name, value)| !is_shown(name, value)) {
        match text_of(value) {
            Some(text)
                if text.contains('\n') || text.len() > HEADLINE || COMMANDS.contains(&name.as_str()) =>
            {
                let language = if COMMANDS.contains(&name.as_str()) { "sh" } else { "" };
                blocks.push(Block::new(name, language, text));
            }
            _ => rest.insert(name.clone(), value.clone()),
        }
    }
    blocks.extend(json_block("arguments", rest));
    blocks
}

/// Codex's plan as a list of steps.
fn plan(plan: &Value) -> Option<Block> {
    let line = |step: &Value| {
        let mark = match step.get("status")?.as_str()? {
            "completed" => "[x]",
            "in_progress" => "[>]",
            _ => "[ ]",
        };
        Some(format!("{mark} {}", plain::line(step.get("step").and_then(text_of)?, ERROR)))
    };
    let lines: Vec<String> = plan.as_array()?.iter().map(line).collect::<Option<_>>()?;
    Some(Block::new("plan", "", &lines.join("\n")))
}

/// Without what the call's line or its changes show.
fn outputs(outputs: &Value) -> Vec<Block> {
    let Some(fields) = outputs.as_object() else { return block("output", outputs).into_iter().collect() };
    let (mut blocks, mut rest) = (Vec::new(), Map::new());
    for (name, value) in fields.iter() {
        match (name.as_str(), text_of(value)) {
            ("exit_code" | "changes" | "status", _) => {}
            ("result", Some(text)) if text.trim().is_empty() => {}
            ("result", Some(text)) => blocks.push(Block::new("output", "", text)),
            ("result", None) => blocks.extend(block("output", value)),
            _ => rest.insert(name.clone(), value.clone()),
        }
    }
    // The result of an MCP tool repeats its text with the protocol's frame.
    if blocks.is_empty() {
        blocks.extend(json_block("output", rest));
    }
    blocks
}

fn block(name: &str, value: &Value) -> Option<Block> {
    match text_of(value) {
        Some(text) => Some(Block::new(name, "", text)),
        None if value.is_null() => None,
        None => Some(Block::new(name, "json", &indented(value))),
    }
}

fn json_block(name: &str, fields: Map) -> Option<Block> {
    (!fields.is_empty()).then(|| Block::new(name, "json", &indented(&Value::Object(fields))))
}

fn indented(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("values with text keys always serialize")
}

impl Block {
    fn new(name: &str, language: &'static str, text: &str) -> Block {
        let text = plain::excerpt(text.trim_end(), LONGEST);
        Block { name: plain::line(name, HEADLINE), language, text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(blocks: &[Block]) -> Vec<(&str, &str)> {
        blocks.iter().map(|block| (&*block.name, &*block.text)).collect()
    }

    #[test]
    fn inputs_are_shown_once() {
        let table = [
            (json!({"cmd": "ls"}), "ls", vec![]),
            (json!({"cmd": {"text": "a\nb"}}), "a b", vec![("cmd", "a\nb")]),
            (json!({"cmd": "ls", "yield": 7}), "ls", vec![("arguments", "{\n  \"yield\": 7\n}")]),
            (
                json!({"plan": [{"step": "a", "status": "completed"}, {"step": "b", "status": "x"}]}),
                "",
                vec![("plan", "[x] a\n[ ] b")],
            ),
            (json!("text"), "", vec![("input", "text")]),
            (json!(null), "", vec![]),
        ];
        for (value, headline, expected) in table {
            assert_eq!(shown(&inputs(&value.clone().into(), &[headline], false)), expected, "{value}");
        }
    }

    #[test]
    fn outputs_are_shown_without_what_the_line_has() {
        let table = [
            (json!({"result": {"text": "a\nb\n"}, "exit_code": 0}), vec![("output", "a\nb")]),
            (json!({"result": " \n", "status": "running"}), vec![]),
            (json!({"result": "a", "mcp_result": {"content": []}}), vec![("output", "a")]),
            (json!({"mcp_result": {}}), vec![("output", "{\n  \"mcp_result\": {}\n}")]),
            (json!(null), vec![]),
        ];
        for (value, expected) in table {
            assert_eq!(shown(&outputs(&value.clone().into())), expected, "{value}");
        }
    }
}
