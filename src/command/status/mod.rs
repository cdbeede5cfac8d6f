//! `mlflow status`: prints the settings with their sources, the target's answer, and the traces.

mod report;

use super::CommandError;
use super::survey::Survey;
use super::text_layout::{Colours, DOUBTFUL, GOOD, NAME, QUIET, WIDTH, WRONG, counted, wrap};
use crate::base::notice::HINT;
use crate::base::world::World;
use crate::cli::Report;
use crate::settings::Source;
use crate::settings::file::FileState;
use crate::settings::modes::Content;
use common::printable::{clean, escaped};
use jiff::tz::TimeZone;
use mlflow_store::target::Experiment;
use report::{FurtherReport, Sessions, StatusReport, TargetAnswer};
use std::fmt::Write;

/// Columns for the longest label and a space.
const LABEL: usize = 15;

pub(super) fn run(options: &Report, world: &World) -> Result<(), CommandError> {
    let context = super::context(world)?;
    let report = StatusReport::new(Survey::gather(&context), &context);
    match options.json {
        true => super::print_json(&report),
        false => super::print(&text(&report, Colours::choose(world))),
    }
    Ok(())
}

fn text(report: &StatusReport, colours: Colours) -> String {
    let mut page = Page { text: String::new(), colours };
    let why = match report.enabled_source {
        Source::Default => "nothing says otherwise".to_owned(),
        Source::File => "the configuration file says so".to_owned(),
        Source::Folder => "a file in this folder or above it says so".to_owned(),
        Source::Environment(name) => format!("{name} in the environment says so"),
    };
    let (ink, word) = if report.enabled { (GOOD, "on") } else { (DOUBTFUL, "off") };
    let _ = writeln!(page.text, "Tracing is {}: {why}.", colours.paint(ink, word));
    if !report.enabled && !matches!(report.enabled_source, Source::Environment(_)) {
        page.text.push_str("To switch it on: `codex-traced mlflow enable`.\n");
    }
    settings(&mut page, report);
    page.heading("Target");
    target(&mut page, &report.target);
    for further in &report.further_targets {
        further_target(&mut page, further);
    }
    sessions(&mut page, &report.sessions);
    traces(&mut page, report);
    page.text
}

fn settings(page: &mut Page, report: &StatusReport) {
    page.heading("Settings");
    page.sourced("tracking URI", &report.tracking_uri, report.tracking_uri_source);
    if let Some(workspace) = &report.workspace {
        page.field("workspace", &clean(workspace));
    }
    let experiment = experiment_text(&report.experiment);
    if !report.target.is_collector {
        page.sourced("experiment", &experiment, report.experiment_source);
    }
    if report.content != Content::Full || report.content_source != Source::Default {
        page.sourced("content", report.content.as_str(), report.content_source);
    }
    if report.granularity_source != Source::Default {
        page.sourced("one trace per", report.granularity.as_str(), report.granularity_source);
    }
    page.sourced("sessions", &report.sessions.folder.display().to_string(), report.sessions.folder_source);
    let state = match report.config_file.state {
        FileState::Valid => "",
        FileState::Missing => " (not there)",
        FileState::Broken(_) => " (broken; `codex-traced mlflow enable` keeps it aside and writes a new one)",
        FileState::Unreadable(_) => " (cannot be read)",
    };
    page.field("file", &format!("{}{state}", clean(report.config_file.path.display())));
    for problem in &report.problems {
        let problem = page.colours.paint(DOUBTFUL, &clean(problem.replace(HINT, "; ")));
        page.field("problem", &problem);
    }
    for variable in &report.environment {
        let value = variable.value.as_ref().map_or("set, not shown".to_owned(), clean);
        page.field("environment", &format!("{}={value}", variable.name));
    }
}

fn further_target(page: &mut Page, further: &FurtherReport) {
    page.heading("Further target");
    page.field("tracking URI", &clean(&further.tracking_uri));
    if let Some(workspace) = &further.workspace {
        page.field("workspace", &clean(workspace));
    }
    if !further.target.is_collector {
        page.field("traces go to", &clean(experiment_text(&further.experiment)));
    }
    page.field("content", further.content.as_str());
    target(page, &further.target);
}

fn experiment_text(experiment: &Experiment) -> String {
    match experiment {
        Experiment::Name(name) => name.clone(),
        Experiment::Id(id) => format!("id {id}"),
    }
}

fn target(page: &mut Page, target: &TargetAnswer) {
    if let Some(problem) = &target.problem {
        let no = page.colours.paint(WRONG, "no");
        page.field("reachable", &format!("{no}: {}", clean(problem)));
        return;
    }
    let yes = page.colours.paint(GOOD, "yes");
    if target.is_collector {
        page.field("reachable", &format!("{yes} (a collector: each turn is a trace)"));
        return;
    }
    let what = match &target.version {
        Some(version) => format!(" ({})", clean(version)),
        None if target.experiment_id.is_none() => {
            " (nothing is there yet; the first trace makes it)".to_owned()
        }
        None => String::new(),
    };
    page.field("reachable", &format!("{yes}{what}"));
    let experiment = match &target.experiment_id {
        Some(id) => format!("there, id {}", clean(id)),
        None => "made with the first trace".to_owned(),
    };
    page.field("experiment", &experiment);
    if let Some(command) = &target.opened_by {
        page.field("opened by", &format!("{} (MLflows differ in how they read such a path)", clean(command)));
    }
}

fn sessions(page: &mut Page, sessions: &Sessions) {
    page.heading("Sessions");
    let own = sessions.codex_folder.as_ref().zip(sessions.codex_files);
    if let Some((folder, files)) = own {
        let text = format!("{} in {}", counted(files, "file", "files"), clean(folder.display()));
        page.field("Codex's own", &text);
    }
    if sessions.files > 0 {
        let text =
            format!("{} in {}", counted(sessions.files, "file", "files"), clean(sessions.folder.display()));
        page.field("session files", &text);
        return;
    }
    page.field("session files", &format!("No session files found in {}", clean(sessions.folder.display())));
    for check in [
        "Check that",
        "- Codex runs with this home (CODEX_HOME, else ~/.codex);",
        "- a prompt was sent, and without --ephemeral;",
        "- the files are not elsewhere (`mlflow enable -s DIR`).",
    ] {
        page.field("", check);
    }
}

fn traces(page: &mut Page, report: &StatusReport) {
    page.heading("Traces");
    for (label, traces, todo) in [
        ("waiting", &report.waiting, "`codex-traced mlflow sync` delivers them"),
        ("set aside", &report.set_aside, "`codex-traced mlflow sync --list` shows them"),
    ] {
        match traces.len() {
            0 => page.field(label, "none"),
            count => page.field(label, &format!("{count}; {todo}")),
        }
        for one in traces {
            let target =
                one.tracking_uri.as_ref().map_or_else(String::new, |uri| format!(" for {}", clean(uri)));
            let workspace = one.workspace.as_ref().map(|name| format!(" (workspace {})", clean(name)));
            page.field("", &format!("{}{target}{}", one.trace_id, workspace.unwrap_or_default()));
            if let Some(reason) = &one.reason {
                page.field("", &clean(reason));
            }
        }
    }
    if report.launches_to_finish > 0 {
        let launches = counted(report.launches_to_finish, "launch", "launches");
        let text = format!(
            "{launches} ended before the traces were whole; `codex-traced mlflow sync` finishes those whose turns have \
             ended"
        );
        page.field("unfinished", &text);
    }
    if report.left_out > 0 {
        let sessions = counted(report.left_out, "session", "sessions");
        page.field(
            "left out",
            &format!(
                "{sessions}, by MLFLOW_TRACE_SAMPLING_RATIO; `codex-traced mlflow import ID` traces one"
            ),
        );
    }
    for (index, left) in report.unclaimed.iter().enumerate() {
        let text = format!("{}: {}", left.thread_id, left.reason);
        page.field(if index == 0 { "unclaimed" } else { "" }, &text);
    }
    if !report.unclaimed.is_empty() {
        page.field("", "`codex-traced mlflow import ID` brings in those that are yours");
    }
    if report.sent.is_empty() {
        page.field("sent", "none yet");
    }
    for (index, sent) in report.sent.iter().enumerate() {
        let when = sent.sent_at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string();
        page.field(if index == 0 { "sent" } else { "" }, &format!("{when}  {}", sent.trace_id));
        match &sent.link {
            Some(link) => page.field("", &escaped(link)),
            None if sent.is_in_collector => page.field("", &clean(&sent.tracking_uri)),
            None => page.field("", &format!("codex-traced mlflow show {}", sent.trace_id)),
        }
        if !sent.redactions.is_empty() {
            let rules: Vec<String> =
                sent.redactions.iter().map(|(rule, count)| format!("{count} {rule}")).collect();
            page.field("", &format!("redacted: {}", clean(rules.join(", "))));
        }
    }
}

struct Page {
    text: String,
    colours: Colours,
}

impl Page {
    fn heading(&mut self, text: &str) {
        let _ = writeln!(self.text, "\n{}", self.colours.paint(NAME, text));
    }

    /// Wraps the value at 80 columns.
    fn field(&mut self, label: &str, value: &str) {
        let _ = writeln!(self.text, "  {label:<LABEL$}{}", wrap(value, LABEL + 2));
    }

    /// Appends the source, on the next line if it does not fit.
    fn sourced(&mut self, label: &str, value: &str, source: Source) {
        let value = clean(value);
        let source = match source {
            Source::Default => "default".to_owned(),
            Source::File => "from the file".to_owned(),
            Source::Folder => "from a folder's file".to_owned(),
            Source::Environment(name) => format!("from {name}"),
        };
        let source = format!("({source})");
        let fits = LABEL + 2 + value.chars().count() + 1 + source.len() <= WIDTH;
        let between = if fits { " ".to_owned() } else { format!("\n{:indent$}", "", indent = LABEL + 2) };
        let _ =
            writeln!(self.text, "  {label:<LABEL$}{value}{between}{}", self.colours.paint(QUIET, &source));
    }
}
