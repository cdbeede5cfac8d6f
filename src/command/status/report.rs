//! The report of `mlflow status`, as JSON.

use crate::base::paths::CodexHome;
use crate::base::world::World;
use crate::claim::thread_record::count_left_out;
use crate::claim::unclaimed::Unclaimed;
use crate::command::survey::Survey;
use crate::command::ui;
use crate::finish::context::Context;
use crate::queue::receipts;
use crate::queue::spool::list::{EntryState, Listed};
use crate::queue::thread_history::unclaimed_sessions;
use crate::settings::file::FileState;
use crate::settings::further_targets::FurtherTarget;
use crate::settings::modes::{Content, Granularity, Live};
use crate::settings::{Settings, Source, Tracing, variable_reference};
use codex_session::rollout::path::files_below;
use common::printable::masked_with_queries;
use jiff::Timestamp;
use mlflow_store::exporter::{ExportError, Readiness};
use mlflow_store::ids::TraceId;
use mlflow_store::page_address;
use mlflow_store::receipt::Receipt;
use mlflow_store::target::access::Access;
use mlflow_store::target::{Experiment, Target};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The version of the JSON. It rises when a key changes its meaning.
const VERSION: u32 = 1;

/// How many delivered traces are listed.
const SENT: usize = 5;

/// docs/json.md documents the keys.
#[derive(Debug, Serialize)]
pub(super) struct StatusReport {
    pub(super) version: u32,
    pub(super) codex_traced: &'static str,
    pub(super) enabled: bool,
    pub(super) enabled_source: Source,
    pub(super) tracking_uri: String,
    pub(super) tracking_uri_source: Source,
    /// The server's workspace; None where no workspace is named.
    pub(super) workspace: Option<String>,
    pub(super) experiment: Experiment,
    pub(super) experiment_source: Source,
    pub(super) content: Content,
    pub(super) content_source: Source,
    pub(super) granularity: Granularity,
    pub(super) granularity_source: Source,
    pub(super) config_file: ConfigFileReport,
    /// The program's variables that are set in this environment, without the values of secrets.
    pub(super) environment: Vec<SetVariable>,
    /// Settings that cannot be followed.
    pub(super) problems: Vec<String>,
    pub(super) target: TargetAnswer,
    /// Targets that get traces too.
    pub(super) further_targets: Vec<FurtherReport>,
    pub(super) sessions: Sessions,
    pub(super) waiting: Vec<UndeliveredTrace>,
    /// Quarantined entries.
    pub(super) set_aside: Vec<UndeliveredTrace>,
    /// Launches that ended before the finisher made their traces.
    pub(super) launches_to_finish: usize,
    /// Sessions that sampling left out.
    pub(super) left_out: usize,
    /// Sessions that a launch may have written, but that no launch claims.
    pub(super) unclaimed: Vec<UnclaimedSession>,
    /// Newest first.
    pub(super) sent: Vec<DeliveredTrace>,
}

#[derive(Debug, Serialize)]
pub(super) struct ConfigFileReport {
    pub(super) path: PathBuf,
    #[serde(serialize_with = "state_name")]
    pub(super) state: FileState,
}

/// How many session files there are: in the folder that `import` reads, and in Codex's own.
#[derive(Debug, Serialize)]
pub(super) struct Sessions {
    pub(super) folder: PathBuf,
    pub(super) folder_source: Source,
    pub(super) files: usize,
    /// Codex's own folder, if it is another one.
    pub(super) codex_folder: Option<PathBuf>,
    pub(super) codex_files: Option<usize>,
}

#[derive(Debug, Serialize)]
pub(super) struct SetVariable {
    pub(super) name: &'static str,
    /// None for secrets.
    pub(super) value: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct TargetAnswer {
    pub(super) reachable: bool,
    /// Why it is not reachable.
    pub(super) problem: Option<String>,
    pub(super) version: Option<String>,
    pub(super) experiment_id: Option<String>,
    #[serde(skip)]
    pub(super) is_collector: bool,
    /// The command for a database whose path has no URI that all MLflow versions read alike.
    #[serde(skip)]
    pub(super) opened_by: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct FurtherReport {
    pub(super) tracking_uri: String,
    pub(super) workspace: Option<String>,
    pub(super) experiment: Experiment,
    pub(super) content: Content,
    pub(super) live: Live,
    pub(super) target: TargetAnswer,
}

/// A trace in the spool or in quarantine.
#[derive(Debug, Serialize)]
pub(super) struct UndeliveredTrace {
    /// The id in `mlflow sync --list`.
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
pub(super) struct UnclaimedSession {
    pub(super) thread_id: String,
    /// The start of the launch that may have written it.
    pub(super) launched_at: Timestamp,
    pub(super) reason: String,
}

#[derive(Debug, Serialize)]
pub(super) struct DeliveredTrace {
    pub(super) trace_id: String,
    pub(super) sent_at: Timestamp,
    pub(super) tracking_uri: String,
    pub(super) workspace: Option<String>,
    pub(super) experiment_id: String,
    /// How many secrets were removed, by rule.
    pub(super) redactions: BTreeMap<String, u64>,
    /// Its address on MLflow's page; None for a local store and for a collector.
    pub(super) link: Option<String>,
    #[serde(skip)]
    pub(super) is_in_collector: bool,
}

impl StatusReport {
    pub(super) fn new(survey: Survey, context: &Context) -> StatusReport {
        let Survey { home_problem, target, further, waiting, set_aside, launches_to_finish } = survey;
        let (settings, access) = (context.settings(), context.access());
        let [waiting, set_aside] = [waiting, set_aside].map(|all| all.into_iter().map(undelivered).collect());
        StatusReport {
            version: VERSION,
            codex_traced: env!("CARGO_PKG_VERSION"),
            enabled: settings.tracing.value == Tracing::On,
            enabled_source: settings.tracing.source,
            tracking_uri: masked(&settings.target.value.uri()),
            tracking_uri_source: settings.target.source,
            workspace: workspace(&settings.target.value),
            experiment_source: settings.experiment.source,
            content: settings.content.value,
            content_source: settings.content.source,
            granularity: settings.granularity.value,
            granularity_source: settings.granularity.source,
            environment: environment(context.world),
            problems: home_problem
                .iter()
                .chain(&settings.problems)
                .chain(&crate::redact::problems(&settings.file))
                .chain(context.price_problems())
                .map(|problem| masked(problem))
                .collect(),
            target: answer(&settings.target.value, target),
            further_targets: further.into_iter().map(|one| FurtherReport::new(one, settings)).collect(),
            sessions: Sessions::count(context.home(), settings),
            experiment: settings.experiment.value.clone(),
            config_file: ConfigFileReport {
                path: context.home().config(),
                state: settings.file_state.clone(),
            },
            waiting,
            set_aside,
            launches_to_finish,
            left_out: count_left_out(&context.paths.threads()),
            unclaimed: unclaimed_sessions(&context.paths).iter().map(unclaimed).collect(),
            sent: receipts(&context.paths)
                .recent(SENT)
                .iter()
                .map(|(trace, receipt)| delivered(*trace, receipt, &access))
                .collect(),
        }
    }
}

fn masked(text: &str) -> String {
    masked_with_queries(text).into_owned()
}

fn state_name<S: Serializer>(state: &FileState, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match state {
        FileState::Valid => "valid",
        FileState::Missing => "missing",
        FileState::Broken(_) => "broken",
        FileState::Unreadable(_) => "unreadable",
    })
}

fn environment(world: &World) -> Vec<SetVariable> {
    let set = variable_reference::all().filter_map(|variable| {
        let value = world.variables.os(variable.name)?.to_string_lossy();
        let value = (!variable.is_secret).then(|| masked(&value));
        Some(SetVariable { name: variable.name, value })
    });
    set.collect()
}

fn answer(target: &Target, checked: Result<Readiness, ExportError>) -> TargetAnswer {
    let problem = checked.as_ref().err().map(|error| masked(&error.to_string()));
    let (version, experiment_id) =
        checked.map_or((None, None), |checked| (checked.version, checked.experiment_id));
    let opened_by = target.only_within().map(|_| ui::command_line(target));
    let is_collector = target.is_append_only();
    TargetAnswer { reachable: problem.is_none(), problem, version, experiment_id, is_collector, opened_by }
}

impl FurtherReport {
    fn new(
        (further, checked): (FurtherTarget, Result<Readiness, ExportError>),
        settings: &Settings,
    ) -> FurtherReport {
        FurtherReport {
            tracking_uri: masked(&further.target.uri()),
            workspace: workspace(&further.target),
            content: settings.content.value.max(further.content),
            live: settings.live_for_further(&further),
            target: answer(&further.target, checked),
            experiment: further.experiment,
        }
    }
}

fn undelivered(listed: Listed) -> UndeliveredTrace {
    let (tries, last_try_at, reason) = match listed.state {
        EntryState::Waits => (Some(0), None, None),
        EntryState::Paused(rest) => (Some(rest.failures), Some(rest.since), Some(rest.reason)),
        EntryState::Unreadable(reason) | EntryState::Quarantined(reason) => (None, None, Some(reason)),
    };
    UndeliveredTrace {
        id: listed.id,
        trace_id: listed.trace.to_string(),
        tracking_uri: listed.target.as_ref().map(|target| masked(&target.uri())),
        workspace: listed.target.as_ref().and_then(workspace),
        reason: reason.map(|reason| masked(&reason)),
        tries,
        last_try_at,
    }
}

fn unclaimed(unclaimed: &Unclaimed) -> UnclaimedSession {
    UnclaimedSession {
        thread_id: unclaimed.thread.to_string(),
        launched_at: unclaimed.launched_at,
        reason: unclaimed.why(),
    }
}

fn workspace(target: &Target) -> Option<String> {
    target.workspace().map(masked)
}

fn delivered(trace: TraceId, receipt: &Receipt, access: &Access) -> DeliveredTrace {
    DeliveredTrace {
        trace_id: trace.to_string(),
        sent_at: receipt.delivered_at,
        tracking_uri: masked(&receipt.target.uri()),
        workspace: workspace(&receipt.target),
        experiment_id: receipt.experiment_id.clone(),
        redactions: receipt.redactions.clone(),
        link: page_address::trace_page(&receipt.target, &receipt.experiment_id, trace, access),
        is_in_collector: receipt.target.is_append_only(),
    }
}

impl Sessions {
    pub(super) fn count(home: &CodexHome, settings: &Settings) -> Sessions {
        let folder = settings.sessions_dir.value.clone();
        let codex_folder = Some(home.sessions()).filter(|own| *own != folder);
        Sessions {
            files: session_files(&folder),
            folder,
            folder_source: settings.sessions_dir.source,
            codex_files: codex_folder.as_deref().map(session_files),
            codex_folder,
        }
    }
}

/// The number of session files in the folder, at any depth.
fn session_files(folder: &Path) -> usize {
    let names = files_below([folder.to_path_buf()]).map(|entry| entry.file_name());
    names.filter(|name| is_session_file(&name.to_string_lossy())).count()
}

fn is_session_file(name: &str) -> bool {
    name.starts_with("rollout-") && [".jsonl", ".jsonl.zst", ".json"].iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests;
