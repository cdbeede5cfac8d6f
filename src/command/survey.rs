//! The facts that both `mlflow status` and `mlflow doctor` print.

mod sessions;

use super::text::conceal;
use super::{place, ui};
use crate::base::paths::Paths;
use crate::claim::launch_record;
use crate::claim::unclaimed::Unclaimed;
use crate::codex::home::CodexHome;
use crate::config::access::Access;
use crate::config::settings::Settings;
use crate::env::World;
use crate::export::mlflow::page;
use crate::export::receipt::Receipt;
use crate::queue::history::unclaimed_sessions;
use crate::queue::{receipts, spool};
use crate::spool::list::{Listed, Standing};
use crate::trace::ids::TraceId;
use crate::trace::redact::LazyRedactor;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
pub(super) use sessions::Sessions;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(super) struct Survey {
    /// Why Codex refuses its home.
    pub(super) home_problem: Option<String>,
    pub(super) settings: Settings,
    pub(super) access: Access,
    /// The answer of the settings' target.
    pub(super) target: Result<Checked, ExportError>,
    pub(super) waiting: Vec<Listed>,
    /// Quarantined entries.
    pub(super) set_aside: Vec<Listed>,
    /// Launches that ended before the finisher made their traces.
    pub(super) launches_to_finish: usize,
    /// Sessions that a launch may have written, but that no launch claims.
    pub(super) unclaimed: Vec<Left>,
    /// The newest first.
    pub(super) sent: Vec<SentTrace>,
}

/// The source of a value, as text: `default`, `file`, `folder` or `environment:NAME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct From(pub(super) Source);

impl Serialize for From {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Source::Default => serializer.serialize_str("default"),
            Source::File => serializer.serialize_str("file"),
            Source::Folder => serializer.serialize_str("folder"),
            Source::Environment(name) => serializer.collect_str(&format_args!("environment:{name}")),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Named {
    Name(String),
    Id(String),
}

#[derive(Debug, Serialize)]
pub(super) struct Configuration {
    pub(super) path: PathBuf,
    pub(super) state: FileState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FileState {
    Valid,
    Missing,
    Broken,
    Unreadable,
}

#[derive(Debug, Serialize)]
pub(super) struct SetVariable {
    pub(super) name: &'static str,
    /// None for secrets.
    pub(super) value: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Reached {
    pub(super) reachable: bool,
    /// Why it is not reachable.
    pub(super) problem: Option<String>,
    pub(super) version: Option<String>,
    pub(super) experiment_id: Option<String>,
    /// The command for a database whose path has no URI that all MLflow versions read alike.
    #[serde(skip)]
    pub(super) opened_by: Option<String>,
}

/// A trace in the spool or in quarantine.
#[derive(Debug, Serialize)]
pub(super) struct StoredReceipt {
    /// As `mlflow sync --list` names it.
    pub(super) id: String,
    pub(super) trace_id: String,
    pub(super) tracking_uri: Option<String>,
    pub(super) workspace: Option<String>,
    /// Why it is not delivered; None before the first try.
    pub(super) reason: Option<String>,
    /// None for entries that are not tried any more.
    pub(super) tries: Option<u32>,
    pub(super) last_try_at: Option<Timestamp>,
}

/// A session that no launch claims.
#[derive(Debug, Serialize)]
pub(super) struct Left {
    pub(super) thread_id: String,
    /// The start of the launch that may have written it.
    pub(super) launched_at: Timestamp,
    pub(super) reason: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Sent {
    pub(super) trace_id: String,
    pub(super) sent_at: Timestamp,
    pub(super) tracking_uri: String,
    pub(super) workspace: Option<String>,
    pub(super) experiment_id: String,
    /// How many secrets were removed, by rule.
    pub(super) redactions: BTreeMap<String, u64>,
    /// Its address on MLflow's page; None for a local store.
    pub(super) link: Option<String>,
}

impl Survey {
    pub(super) fn gather(world: &World, home: &CodexHome, state: &State) -> Survey {
        let settings = Settings::read(world, home);
        let paths = Paths::new(home);
        let redactor = LazyRedactor::new(home.config(), paths.salt());
        let access = Access::of(world);
        let conceal = |text: &str| conceal(text).into_owned();
        let (set_aside, waiting) = spool(&paths)
            .list()
            .into_iter()
            .partition::<Vec<_>, _>(|one| matches!(one.state, EntryState::Quarantined(_)));
        let [waiting, set_aside] = [waiting, set_aside].map(|all| all.into_iter().map(kept).collect());
        Survey {
            version: VERSION,
            codex_traced: env!("CARGO_PKG_VERSION"),
            enabled: settings.tracing.value == Tracing::On,
            enabled_source: From(settings.tracing.source),
            tracking_uri: conceal(&settings.target.value.uri()),
            tracking_uri_source: From(settings.target.source),
            workspace: workspace(&settings.target.value),
            experiment: match &settings.experiment.value {
                Experiment::Name(name) => Named::Name(name.clone()),
                Experiment::Id(id) => Named::Id(id.clone()),
            },
            experiment_source: From(settings.experiment.source),
            content: settings.content.value,
            content_source: From(settings.content.source),
            granularity: settings.granularity.value,
            granularity_source: From(settings.granularity.source),
            config_file: Configuration { path: home.config(), state: file_state(&home.config()) },
            environment: environment(world),
            problems: missing_home(world, home)
                .iter()
                .chain(&settings.problems)
                .chain(&redactor.problems())
                .map(|problem| conceal(problem))
                .collect(),
            target: reached(&settings.target.value, &settings.experiment.value, world),
            sessions: Sessions::of(home, &settings),
            waiting,
            set_aside,
            launches_to_finish: launch_record::left_behind(&paths.launches()).len(),
            unclaimed: unclaimed_sessions(&paths).iter().map(left).collect(),
            sent: receipts(&paths)
                .recent(SENT)
                .iter()
                .map(|(trace, receipt)| sent(*trace, receipt, &access))
                .collect(),
        }
    }
}

/// Codex creates ~/.codex, but refuses a missing folder in `CODEX_HOME`.
pub(super) fn missing_home(world: &World, home: &CodexHome) -> Option<String> {
    let is_missing = world.variables.os("CODEX_HOME").is_some() && !home.path().is_dir();
    is_missing.then(|| format!("CODEX_HOME names {}, which is no folder", home.path().display()))
}

pub(super) fn file_state(path: &Path) -> FileState {
    match ConfigFile::read(path) {
        Ok(_) if path.exists() => FileState::Valid,
        Ok(_) => FileState::Missing,
        Err(ConfigError::Broken(..)) => FileState::Broken,
        Err(ConfigError::Io(..)) => FileState::Unreadable,
    }
}

fn environment(world: &World) -> Vec<SetVariable> {
    let set = reference::all().filter_map(|variable| {
        let value = world.variables.os(variable.name)?.to_string_lossy();
        let value = (variable.visibility == Visibility::Open).then(|| conceal(&value).into_owned());
        Some(SetVariable { name: variable.name, value })
    });
    set.collect()
}

fn reached(target: &Target, experiment: &Experiment, world: &World) -> Reached {
    let opened_by = target.only_within().map(|_| ui::command_line(target));
    match place::check(target, experiment, world) {
        Ok(checked) => Reached {
            opened_by,
            reachable: true,
            problem: None,
            version: checked.version,
            experiment_id: checked.experiment_id,
        },
        Err(error) => Reached {
            opened_by,
            reachable: false,
            problem: Some(conceal(&error.to_string()).into_owned()),
            version: None,
            experiment_id: None,
        },
    }
}

fn kept(listed: Listed) -> StoredReceipt {
    let (tries, last_try_at, reason) = match listed.state {
        EntryState::Waits => (Some(0), None, None),
        EntryState::Paused(pause) => (Some(pause.failures), Some(pause.since), Some(pause.reason)),
        EntryState::Unreadable(reason) | EntryState::Quarantined(reason) => (None, None, Some(reason)),
    };
    StoredReceipt {
        id: listed.id,
        trace_id: listed.trace.to_string(),
        tracking_uri: listed.target.as_ref().map(|target| conceal(&target.uri()).into_owned()),
        workspace: listed.target.as_ref().and_then(workspace),
        reason: reason.map(|reason| conceal(&reason).into_owned()),
        tries,
        last_try_at,
    }
}

fn left(unclaimed: &Unclaimed) -> Left {
    Left {
        thread_id: unclaimed.thread.to_string(),
        launched_at: unclaimed.launched_at,
        reason: unclaimed.why(),
    }
}

fn workspace(target: &Target) -> Option<String> {
    target.workspace().map(|workspace| conceal(workspace).into_owned())
}

fn sent(trace: TraceId, receipt: &Receipt, access: &Access) -> Sent {
    Sent {
        trace_id: trace.to_string(),
        sent_at: receipt.delivered_at,
        tracking_uri: conceal(&receipt.target.uri()).into_owned(),
        workspace: workspace(&receipt.target),
        experiment_id: receipt.experiment_id.clone(),
        redactions: receipt.redactions.clone(),
        link: page::of_trace(&receipt.target, &receipt.experiment_id, trace, access),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_exist_for_every_target_with_a_page_and_hold_no_credentials() {
        let access = Access {
            variables: [("DATABRICKS_HOST", "https://w.example"), ("DATABRICKS_TOKEN", "x")].into(),
            ..Access::default()
        };
        let of = |target: Target| {
            let receipt = Receipt::from_spans(target, "3".into(), Timestamp::UNIX_EPOCH, &[]);
            sent(TraceId([7; 16]), &receipt, &access).link
        };
        let shown = "experiments/3/traces?selectedEvaluationId=tr-07070707070707070707070707070707";
        let table = [
            (Target::Http("http://ada:secret@host:5000".into()), Some("http://host:5000/#/")),
            (Target::Databricks { profile: None }, Some("https://w.example/ml/")),
            (Target::Sqlite("/x.db".into()), None),
        ];
        for (target, page) in table {
            assert_eq!(of(target), page.map(|page| format!("{page}{shown}")));
        }
    }
}
