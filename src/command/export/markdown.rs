//! A session as Markdown, as GitHub shows it: tool calls are folded, and changes of files are diffs.

use super::diff::FileChange;
use super::document::{Document, Part, Response, State, Step};
use super::markdown_answer::{answer, prompt};
use super::markdown_text::{fenced, in_html, inline, literal};
use super::page::FIGURES_ONLY;
use super::tool::{Block, Tool};

pub(super) fn render(document: &Document) -> String {
    let mut text = Paragraphs::default();
    text.add(format!("# {}", literal(&document.title)));
    let mut facts = vec![format!("- **Status:** {}", literal(&document.status))];
    facts.extend(document.facts.iter().map(|fact| format!("- **{}:** {}", fact.name, literal(&fact.value))));
    text.add(facts.join("\n"));
    if document.has_figures_only {
        text.add(FIGURES_ONLY.to_owned());
    }
    for turn in &document.turns {
        text.add(format!("## {}", literal(&turn.name)));
        text.add(format!("*{}*", literal(&turn.facts.join(" · "))));
        text.part(turn);
    }
    text.steps(&document.others);
    text.0.join("\n\n") + "\n"
}

/// An empty line is between each two.
#[derive(Default)]
struct Paragraphs(Vec<String>);

impl Paragraphs {
    fn add(&mut self, text: String) {
        self.0.push(text);
    }

    fn part(&mut self, part: &Part) {
        if let Some(text) = &part.prompt {
            self.add(prompt(text));
        }
        self.steps(&part.steps);
        self.error(part.error.as_deref());
    }

    fn steps(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Response(step) => self.response(step),
                Step::Tool(step) => self.tool(step),
                Step::Part(step) => self.agent(step),
                Step::Note(text) => self.add(format!("*{}*", literal(text))),
            }
        }
    }

    fn response(&mut self, response: &Response) {
        if let Some(figures) = &response.figures {
            self.add(format!("*Model response: {}*", literal(figures)));
        }
        if let Some(reasoning) = &response.reasoning {
            self.within_details("<details>", &inline(&response.reasoning_title()), |text| {
                text.add(answer(reasoning))
            });
        }
        if let Some(markdown) = &response.answer {
            self.add(answer(markdown));
        }
        self.error(response.error.as_deref());
    }

    fn agent(&mut self, agent: &Part) {
        let name = inline(&agent.name);
        let summary = format!("{} <b>{name}</b> {}", sign(agent.state), inline(&agent.facts.join(" · ")));
        self.within_details("<details open>", &summary, |text| text.part(agent));
    }

    fn tool(&mut self, tool: &Tool) {
        let mut summary = format!("{} <b>{}</b>", sign(tool.state), inline(&tool.name));
        if !tool.headline.is_empty() {
            summary += &format!(" <code>{}</code>", in_html(&tool.headline));
        }
        summary += &format!(" {}", inline(&tool.facts.join(" · ")));
        if let Some(error) = &tool.error {
            summary += &format!(" <b>{}</b>", inline(error));
        }
        let begin = if tool.is_unfolded() { "<details open>" } else { "<details>" };
        self.within_details(begin, &summary, |text| {
            tool.inputs.iter().for_each(|it| text.block(it));
            tool.changes.iter().for_each(|it| text.change(it));
            text.steps(&tool.steps);
            tool.outputs.iter().for_each(|it| text.block(it));
        });
    }

    fn block(&mut self, block: &Block) {
        self.add(format!("{}:", literal(&block.name)));
        self.add(fenced(&block.text, block.language));
    }

    fn change(&mut self, change: &FileChange) {
        let path = literal(&change.path);
        let FileChange { added, removed, .. } = change;
        let what = format!("{path} {}, +{added} −{removed}:", literal(&change.what));
        self.add(what.trim_start().to_owned());
        let mut lines: Vec<&str> = change.lines.iter().map(|line| &*line.text).collect();
        let left_out = format!("… {} lines left out …", change.left_out);
        if change.left_out > 0 {
            lines.push(&left_out);
        }
        self.add(fenced(&lines.join("\n"), "diff"));
    }

    fn error(&mut self, error: Option<&str>) {
        if let Some(error) = error {
            self.add("**✗ failed:**".to_owned());
            self.add(fenced(error, ""));
        }
    }

    /// Markdown within HTML needs empty lines around it.
    fn within_details(&mut self, begin: &str, summary: &str, content: impl FnOnce(&mut Paragraphs)) {
        self.add(format!("{begin}<summary>{summary}</summary>"));
        content(self);
        self.add("</details>".to_owned());
    }
}

fn sign(state: State) -> &'static str {
    match state {
        State::Done => "✓",
        State::Failed => "✗",
        State::Running => "…",
    }
}

#[cfg(test)]
mod tests;
