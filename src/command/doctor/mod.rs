//! `mlflow doctor`: prints problems and their remedies. It changes nothing, except that it fills columns that MLflow's
//! upgrade of a database left empty.

mod files;
mod program;
mod sessions;
mod target;

use super::CommandError;
use super::survey::Survey;
use super::text_layout::{Colours, DOUBTFUL, GOOD, NAME, WRONG, counted, wrap};
use crate::base::world::World;
use crate::cli::Report;
use common::printable::{clean, masked_with_queries};
use launch::exit::ChildExit;
use serde::Serialize;
use std::fmt::Write;

/// The version of the JSON. It rises when a key changes its meaning.
const VERSION: u32 = 1;

/// Ordered by severity. The number of the worst one is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    Ok = 0,
    Warning = 1,
    Error = 2,
}

/// The result of one check. docs/json.md documents the keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    check: &'static str,
    level: Level,
    found: String,
    /// What the user should do, if anything.
    todo: Option<String>,
}

#[derive(Debug, Serialize)]
struct Diagnosis {
    version: u32,
    codex_traced: &'static str,
    worst: Level,
    findings: Vec<Finding>,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Finding {
        Finding { check, level: Level::Ok, found: found.into(), todo: None }
    }

    /// No problem, but a hint.
    fn note(check: &'static str, found: impl Into<String>, todo: impl Into<String>) -> Finding {
        Finding { check, level: Level::Ok, found: found.into(), todo: Some(todo.into()) }
    }

    fn warning(check: &'static str, found: impl Into<String>, todo: impl Into<String>) -> Finding {
        Finding { check, level: Level::Warning, found: found.into(), todo: Some(todo.into()) }
    }

    fn error(check: &'static str, found: impl Into<String>, todo: impl Into<String>) -> Finding {
        Finding { check, level: Level::Error, found: found.into(), todo: Some(todo.into()) }
    }
}

pub(super) fn run(report: &Report, world: &World) -> Result<ChildExit, CommandError> {
    let context = super::context(world)?;
    let survey = Survey::gather(&context);
    let mut findings = program::check(world, context.home());
    findings.extend(files::check(&survey, &context));
    findings.extend(target::check(&survey, &context));
    findings.extend(sessions::check(&survey, &context.paths));
    for finding in &mut findings {
        finding.found = masked_with_queries(&finding.found).into_owned();
    }
    let worst = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
    let diagnosis = Diagnosis { version: VERSION, codex_traced: env!("CARGO_PKG_VERSION"), worst, findings };
    match report.json {
        true => super::print_json(&diagnosis),
        false => super::print(&text(&diagnosis, Colours::choose(world))),
    }
    Ok(ChildExit::Code(worst as i32))
}

/// One line per finding: level, check, what was found. The remedy is on the next line.
fn text(diagnosis: &Diagnosis, colours: Colours) -> String {
    const FOUND: usize = 23;
    let mut text = String::new();
    for finding in &diagnosis.findings {
        let (word, ink) = match finding.level {
            Level::Ok => ("ok", GOOD),
            Level::Warning => ("warning", DOUBTFUL),
            Level::Error => ("error", WRONG),
        };
        let found = wrap(&clean(&finding.found), FOUND);
        let _ = writeln!(text, "{}  {:<14}{found}", colours.paint(ink, &format!("{word:<7}")), finding.check);
        if let Some(todo) = &finding.todo {
            let todo = wrap(&format!("→ {}", clean(todo)), FOUND + 2);
            let _ = writeln!(text, "{:FOUND$}{}", "", colours.paint(NAME, &todo));
        }
    }
    let count = |level| diagnosis.findings.iter().filter(|finding| finding.level == level).count();
    let (warnings, errors) = (count(Level::Warning), count(Level::Error));
    let verdict = match (errors, warnings) {
        (0, 0) => "All is well.".to_owned(),
        (0, _) => format!("{}.", counted(warnings, "warning", "warnings")),
        (_, 0) => format!("{}.", counted(errors, "error", "errors")),
        _ => format!("{}, {}.", counted(errors, "error", "errors"), counted(warnings, "warning", "warnings")),
    };
    let _ = writeln!(text, "\n{verdict}");
    text
}
