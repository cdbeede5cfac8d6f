//! A session as an export shows it, for each format: plain texts in the order of reading.

use super::facts::{self, Fact, Figures};
use super::plain;
use super::tool::Tool;
use crate::command::tree::{duration, is_running};
use common::json::value::Value;
use mlflow_store::ids::SpanId;
use mlflow_store::trace::{Span, SpanStatus, SpanType, Trace};
use std::collections::HashMap;

/// Characters of the title.
const TITLE: usize = 120;

/// Bytes of a prompt, an answer, or a summary of reasoning.
const LONGEST_MESSAGE: usize = 256 << 10;

pub(super) struct Document {
    /// The first line of the first prompt.
    pub(super) title: String,
    /// Codex's word for how the last turn ended.
    pub(super) status: String,
    pub(super) state: State,
    pub(super) facts: Vec<Fact>,
    pub(super) has_figures_only: bool,
    pub(super) turns: Vec<Part>,
    /// Agents that no turn started.
    pub(super) others: Vec<Step>,
}

/// A turn, an agent, or a turn of an agent.
pub(super) struct Part {
    pub(super) name: String,
    pub(super) state: State,
    /// Duration, tokens, cost, and how it ended if not as usual.
    pub(super) facts: Vec<String>,
    pub(super) prompt: Option<String>,
    pub(super) steps: Vec<Step>,
    pub(super) error: Option<String>,
}

pub(super) enum Step {
    Response(Response),
    Tool(Tool),
    Part(Part),
    Note(String),
}

pub(super) struct Response {
    pub(super) reasoning: Option<String>,
    /// In Markdown.
    pub(super) answer: Option<String>,
    pub(super) error: Option<String>,
    /// Only where the trace holds figures only: else the turn has them in sum.
    pub(super) figures: Option<String>,
}

impl Response {
    /// The first line of the reasoning, mostly a heading, for the line that folds it.
    pub(super) fn reasoning_title(&self) -> String {
        let title = title_of(self.reasoning.as_deref().unwrap_or_default());
        match title.replace("**", "").trim_matches(['*', '#', ' ']) {
            "" => "Reasoning".to_owned(),
            title => format!("Reasoning: {title}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Done,
    Failed,
    Running,
}

impl State {
    pub(super) fn from_span(span: &Span) -> State {
        match span.status {
            SpanStatus::Error { .. } => State::Failed,
            _ if is_running(span) => State::Running,
            SpanStatus::Ok | SpanStatus::Unset => State::Done,
        }
    }
}

impl Document {
    pub(super) fn from_trace(trace: &Trace) -> Document {
        let has_figures_only = trace.is_metadata_only();
        let mut children: HashMap<SpanId, Vec<&Span>> = HashMap::with_capacity(trace.spans.len());
        for span in &trace.spans {
            if let Some(parent) = span.parent {
                children.entry(parent).or_default().push(span);
            }
        }
        children.values_mut().for_each(|spans| spans.sort_by_key(|span| span.started_at));
        let folder = trace.metadata.get("mlflow.trace.working_directory").map(String::as_str);
        let reader = Reader { children, folder, has_figures_only };
        let Some(root) = trace.root() else {
            let title = "Codex session".to_owned();
            let status = trace.state.as_str().to_owned();
            let (facts, turns, others) = (Vec::new(), Vec::new(), Vec::new());
            return Document { title, status, state: State::Done, facts, has_figures_only, turns, others };
        };
        let (turns, others) = reader.turns(root);
        let title = text(&root.inputs, "prompt").map(title_of);
        let status = text(&root.outputs, "status").unwrap_or(trace.state.as_str());
        Document {
            title: title.filter(|title| !title.is_empty()).unwrap_or_else(|| "Codex session".to_owned()),
            status: plain::line(status, TITLE),
            state: State::from_span(root),
            facts: facts::of_trace(trace, root),
            has_figures_only,
            turns,
            others,
        }
    }
}

struct Reader<'t> {
    children: HashMap<SpanId, Vec<&'t Span>>,
    folder: Option<&'t str>,
    has_figures_only: bool,
}

impl Reader<'_> {
    fn children(&self, span: &Span) -> &[&Span] {
        self.children.get(&span.id).map_or(&[], Vec::as_slice)
    }

    /// The turns of a session, and what it started besides. A single turn shares the session's span.
    fn turns(&self, root: &Span) -> (Vec<Part>, Vec<Step>) {
        let is_turn = |span: &&&Span| number_of(span).is_some();
        if !self.children(root).iter().any(|span| is_turn(&span)) {
            let number = root.attributes.get("codex.turn").and_then(Value::as_u64).unwrap_or(1);
            return (vec![self.part(root, format!("Turn {number}"))], Vec::new());
        }
        let (turns, others): (Vec<&Span>, Vec<&Span>) = self.children(root).iter().partition(is_turn);
        let turn = |span: &Span| self.part(span, heading(span));
        (
            turns.into_iter().map(turn).collect(),
            others.into_iter().filter_map(|span| self.step(span)).collect(),
        )
    }

    fn part(&self, span: &Span, name: String) -> Part {
        let mut steps: Vec<Step> = self.children(span).iter().filter_map(|child| self.step(child)).collect();
        // Old session files hold an answer that belongs to no response.
        let answer = message(&span.outputs, "response");
        let is_shown = |step: &Step| match step {
            Step::Response(response) => response.answer.is_some(),
            // A session of several turns has its last answer there.
            Step::Part(part) => part.name.starts_with("Turn "),
            Step::Tool(_) | Step::Note(_) => false,
        };
        if let Some(answer) = answer.filter(|_| !steps.iter().any(is_shown)) {
            let (reasoning, error, figures) = (None, None, None);
            steps.push(Step::Response(Response { reasoning, answer: Some(answer), error, figures }));
        }
        // The last response of a failed turn has failed for the same reason.
        let has_shown = |error: &String| matches!(steps.last(), Some(Step::Response(last)) if last.error.as_ref() == Some(error));
        let error =
            message(&span.outputs, "error").or_else(|| error_of(span)).filter(|error| !has_shown(error));
        Part {
            name,
            state: State::from_span(span),
            facts: self.facts(span),
            prompt: message(&span.inputs, "prompt"),
            steps,
            error,
        }
    }

    fn facts(&self, span: &Span) -> Vec<String> {
        let mut figures = Figures::default();
        self.add_figures(span, &mut figures);
        let lasted = match State::from_span(span) {
            State::Running => "running".to_owned(),
            State::Done | State::Failed => duration(span.started_at, span.ended_at),
        };
        let status =
            text(&span.outputs, "status").filter(|status| !matches!(*status, "completed" | "running"));
        let taken_back = span.attributes.contains_key("codex.taken_back").then(|| "taken back".to_owned());
        let status = status.map(|status| plain::line(status, TITLE));
        [Some(lasted), figures.tokens(), figures.cost(), status, taken_back].into_iter().flatten().collect()
    }

    fn add_figures(&self, span: &Span, sum: &mut Figures) {
        for child in self.children(span) {
            sum.add(Figures::from_span(child));
            self.add_figures(child, sum);
        }
    }

    /// None for a response that only called tools: the calls follow.
    fn step(&self, span: &Span) -> Option<Step> {
        match span.span_type {
            SpanType::Llm => self.response(span).map(Step::Response),
            SpanType::Tool => {
                let steps = self.children(span).iter().filter_map(|child| self.step(child)).collect();
                Some(Step::Tool(Tool::from_span(span, self.folder, steps)))
            }
            SpanType::Agent => Some(Step::Part(self.part(span, heading(span)))),
            SpanType::Chain => Some(Step::Note(note(span))),
        }
    }

    fn response(&self, span: &Span) -> Option<Response> {
        let spoken = &span.outputs["choices"][0]["message"];
        let figures = self.has_figures_only.then(|| {
            let figures = Figures::from_span(span);
            let lasted = Some(duration(span.started_at, span.ended_at));
            let facts = [lasted, figures.tokens(), figures.cost()];
            facts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
        });
        let response = Response {
            reasoning: message(spoken, "reasoning"),
            answer: message(&span.outputs, "response"),
            error: error_of(span),
            figures,
        };
        let Response { reasoning, answer, error, figures } = &response;
        let is_empty = reasoning.is_none() && answer.is_none() && error.is_none() && figures.is_none();
        (!is_empty).then_some(response)
    }
}

/// The first line of a prompt, or of reasoning.
fn title_of(prompt: &str) -> String {
    plain::line(prompt.trim_start().lines().next().unwrap_or_default(), TITLE)
}

/// The number of a turn's span.
fn number_of(span: &Span) -> Option<u64> {
    let number = span.name.strip_prefix("turn_").filter(|_| span.span_type == SpanType::Agent)?;
    number.parse().ok()
}

fn heading(span: &Span) -> String {
    if let Some(number) = number_of(span) {
        return format!("Turn {number}");
    }
    match span.name.strip_prefix("subagent_") {
        Some(name) => format!("Sub-agent {}", plain::line(name, TITLE)),
        None if span.name == "review" => "Review".to_owned(),
        // Where a trace holds figures only, an agent has no name.
        None if span.name == "subagent" => "Sub-agent".to_owned(),
        None => plain::line(&span.name, TITLE),
    }
}

/// A compaction, the only span of type CHAIN.
fn note(span: &Span) -> String {
    let count = |key| span.attributes.get(key).and_then(Value::as_u64).map(crate::command::tree::grouped);
    let before = count("codex.context_tokens_before");
    match before.zip(count("codex.context_tokens_after")) {
        Some((before, after)) => format!("Codex compacted its context: {before} tokens became {after}"),
        None => "Codex compacted its context".to_owned(),
    }
}

fn error_of(span: &Span) -> Option<String> {
    match &span.status {
        SpanStatus::Error { message } => Some(plain::excerpt(message.trim_end(), plain::LONGEST)),
        SpanStatus::Ok | SpanStatus::Unset => None,
    }
}

fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key)?.as_str()
}

/// A text that a person or the model wrote; None for an empty one.
fn message(value: &Value, key: &str) -> Option<String> {
    let written = text(value, key)?.trim_end();
    (!written.trim().is_empty()).then(|| plain::excerpt(written, LONGEST_MESSAGE))
}
