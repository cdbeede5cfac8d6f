//! A session as one HTML file: without scripts, and without anything that a browser would load.

use super::answer::SafeHtml;
use super::diff::{DiffLine, FileChange, LineKind};
use super::document::{Document, Part, Response, State, Step};
use super::html::Html;
use super::plain;
use super::tool::{Block, Tool};

const STYLE: &str = include_str!("style.css");

/// The browser itself refuses whatever the page may still hold.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// Turns from which on the page begins with a list of them.
const MANY_TURNS: usize = 3;

/// Characters of a prompt in the list of turns.
const LISTED: usize = 80;

pub(super) const FIGURES_ONLY: &str = "This export holds figures only.";

pub(super) fn render(document: &Document) -> String {
    let mut html = Html::default();
    html.own("<!doctype html>\n");
    html.within_with("html", &[("lang", "en")], |html| {
        html.within("head", "", |html| head(html, &document.title));
        html.line();
        html.within("body", "", |html| {
            html.within("header", "", |html| header(html, document));
            html.within("main", "", |html| main(html, document));
            html.line();
            html.leaf(
                "footer",
                "",
                "Exported by codex-traced. Costs are list prices. Secrets that its rules find are removed.",
            );
        });
    });
    html.line();
    html.into_string()
}

fn head(html: &mut Html, title: &str) {
    let metas: [&[(&str, &str)]; 5] = [
        &[("charset", "utf-8")],
        &[("http-equiv", "Content-Security-Policy"), ("content", POLICY)],
        &[("name", "viewport"), ("content", "width=device-width, initial-scale=1")],
        &[("name", "color-scheme"), ("content", "light dark")],
        &[("name", "referrer"), ("content", "no-referrer")],
    ];
    for meta in metas {
        html.line();
        html.open("meta", meta);
    }
    html.line();
    html.leaf("title", "", title);
    html.line();
    html.within("style", "", |html| html.own(STYLE));
}

fn header(html: &mut Html, document: &Document) {
    html.within("p", "kind", |html| {
        html.text("Codex session ");
        html.leaf("span", badge(document), &document.status);
    });
    html.leaf("h1", "", &document.title);
    html.within("dl", "", |html| {
        for fact in &document.facts {
            html.line();
            html.within("div", "", |html| {
                html.leaf("dt", "", fact.name);
                html.leaf("dd", "", &fact.value);
            });
        }
    });
    if document.has_figures_only {
        html.leaf("p", "note", FIGURES_ONLY);
    }
}

fn main(html: &mut Html, document: &Document) {
    if document.turns.len() >= MANY_TURNS {
        html.line();
        html.within("nav", "", |html| {
            html.within("ol", "", |html| document.turns.iter().for_each(|turn| listed(html, turn)));
        });
    }
    for turn in &document.turns {
        html.line();
        html.within_with("section", &[("id", &id(turn))], |html| {
            html.within("h2", "", |html| {
                html.text(&turn.name);
                html.text(" ");
                html.leaf("span", "facts", &turn.facts.join(" · "));
            });
            part(html, turn);
        });
    }
    steps(html, &document.others);
}

fn listed(html: &mut Html, turn: &Part) {
    let prompt = turn.prompt.as_deref().map(|prompt| plain::line(prompt, LISTED));
    html.line();
    html.within("li", "", |html| {
        html.within_with("a", &[("href", &format!("#{}", id(turn)))], |html| {
            html.text(prompt.as_deref().unwrap_or(&turn.name));
        });
        if turn.state == State::Failed {
            html.leaf("span", "error", " ✗");
        }
    });
}

/// `turn-1`.
fn id(turn: &Part) -> String {
    turn.name.to_lowercase().replace(' ', "-")
}

fn part(html: &mut Html, part: &Part) {
    if let Some(prompt) = &part.prompt {
        html.line();
        html.leaf("div", "prompt", prompt);
    }
    steps(html, &part.steps);
    if let Some(error) = &part.error {
        html.line();
        html.leaf("div", "failure", error);
    }
}

fn steps(html: &mut Html, steps: &[Step]) {
    for step in steps {
        html.line();
        match step {
            Step::Response(step) => response(html, step),
            Step::Tool(step) => tool(html, step),
            Step::Part(step) => agent(html, step),
            Step::Note(text) => html.leaf("p", "note", text),
        }
    }
}

fn response(html: &mut Html, response: &Response) {
    if let Some(figures) = &response.figures {
        html.leaf("p", "note", &format!("Model response: {figures}"));
    }
    if let Some(reasoning) = &response.reasoning {
        html.within("details", "reasoning", |html| {
            html.leaf("summary", "", &response.reasoning_title());
            html.within("div", "written", |html| html.answer(&SafeHtml::from_markdown(reasoning)));
        });
    }
    if let Some(answer) = &response.answer {
        html.within("div", "answer written", |html| html.answer(&SafeHtml::from_markdown(answer)));
    }
    if let Some(error) = &response.error {
        html.leaf("div", "failure", error);
    }
}

fn agent(html: &mut Html, agent: &Part) {
    html.within_with("details", &[("class", "agent"), ("open", "")], |html| {
        html.within("summary", "", |html| {
            mark(html, agent.state);
            html.leaf("b", "", &agent.name);
            html.text(" ");
            html.leaf("span", "facts", &agent.facts.join(" · "));
        });
        part(html, agent);
    });
}

fn tool(html: &mut Html, tool: &Tool) {
    let class = if tool.state == State::Failed { "tool failed" } else { "tool" };
    let attributes = [("class", class), ("open", "")];
    html.within_with("details", if tool.is_unfolded() { &attributes } else { &attributes[..1] }, |html| {
        html.within("summary", "", |html| {
            mark(html, tool.state);
            html.leaf("b", "", &tool.name);
            html.text(" ");
            if !tool.headline.is_empty() {
                html.leaf("code", "", &tool.headline);
                html.text(" ");
            }
            html.leaf("span", "facts", &tool.facts.join(" · "));
            if let Some(error) = &tool.error {
                html.text(" ");
                html.leaf("span", "error", error);
            }
        });
        tool.inputs.iter().for_each(|it| block(html, it));
        tool.changes.iter().for_each(|it| change(html, it));
        steps(html, &tool.steps);
        tool.outputs.iter().for_each(|it| block(html, it));
    });
}

fn mark(html: &mut Html, state: State) {
    let (class, sign) = match state {
        State::Done => ("mark good", "✓"),
        State::Failed => ("mark bad", "✗"),
        State::Running => ("mark", "…"),
    };
    html.leaf("span", class, sign);
    html.text(" ");
}

fn badge(document: &Document) -> &'static str {
    match document.state {
        State::Failed => "badge bad",
        State::Done if document.status == "completed" => "badge good",
        State::Done | State::Running => "badge",
    }
}

fn block(html: &mut Html, block: &Block) {
    html.line();
    html.leaf("p", "label", &block.name);
    html.leaf("pre", "", &block.text);
}

fn change(html: &mut Html, change: &FileChange) {
    html.line();
    html.within("p", "label", |html| {
        if !change.path.is_empty() {
            html.leaf("code", "", &change.path);
            html.text(" ");
        }
        html.text(&change.what);
        html.text(" ");
        html.leaf("span", "good", &format!("+{}", change.added));
        html.text(" ");
        html.leaf("span", "bad", &format!("−{}", change.removed));
    });
    html.within("pre", "diff", |html| {
        change.lines.iter().for_each(|it| diff_line(html, it));
        if change.left_out > 0 {
            html.leaf("span", "hunk", &format!("… {} lines left out …\n", change.left_out));
        }
    });
}

fn diff_line(html: &mut Html, line: &DiffLine) {
    let class = match line.kind {
        LineKind::Header => "header",
        LineKind::Hunk => "hunk",
        LineKind::Added => "added",
        LineKind::Removed => "removed",
        LineKind::Context => "same",
    };
    html.leaf("span", class, &format!("{}\n", line.text));
}
