//! The keys of metadata, tags and attributes to which MLflow gives a meaning.

/// The session that a trace belongs to.
pub const SESSION: &str = "mlflow.trace.session";
/// JSON of the whole trace's tokens.
/// The user whose session it is.
pub const USER: &str = "mlflow.trace.user";
pub const TOKEN_USAGE: &str = "mlflow.trace.tokenUsage";
/// JSON of the whole trace's cost, in US dollars.
pub const COST: &str = "mlflow.trace.cost";
/// The metadata that MLflow 3.17 and later keeps in columns.
pub const TOTALS: [&str; 3] = [SESSION, TOKEN_USAGE, COST];
/// Marks the trace's totals as final for MLflow 3.14 and later, so that no span adds to them.
pub const FINALIZED: &str = "mlflow.trace.infoFinalized";

pub const TRACE_NAME: &str = "mlflow.traceName";
/// Where MLflow looks for the spans; without it, it looks for an artifact.
pub const SPANS_LOCATION: &str = "mlflow.trace.spansLocation";
/// The value of `SPANS_LOCATION` that means the `spans` table.
pub const IN_TRACKING_STORE: &str = "TRACKING_STORE";
/// The value of `SPANS_LOCATION` for a trace that MLflow 3.18 has archived.
pub const IN_ARCHIVE: &str = "ARCHIVE_REPO";
pub const ARTIFACT_LOCATION: &str = "mlflow.artifactLocation";

pub const SPAN_TRACE_ID: &str = "mlflow.traceRequestId";
pub const SPAN_TYPE: &str = "mlflow.spanType";
pub const SPAN_INPUTS: &str = "mlflow.spanInputs";
pub const SPAN_OUTPUTS: &str = "mlflow.spanOutputs";
pub const SPAN_MODEL: &str = "mlflow.llm.model";
pub const SPAN_PROVIDER: &str = "mlflow.llm.provider";
pub const SPAN_COST: &str = "mlflow.llm.cost";
pub const SPAN_TOKEN_USAGE: &str = "mlflow.chat.tokenUsage";

/// What a tokenUsage object may hold, in MLflow's order, except what only other agents have.
pub const TOKEN_KEYS: [&str; 5] = [
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
];
/// What a cost object may hold, in MLflow's order.
pub const COST_KEYS: [&str; 3] = ["input_cost", "output_cost", "total_cost"];

/// Metadata about users and their work; a trace in the content mode `metadata` has none of it.
pub const PERSONAL: [&str; 9] = [
    "session_file",
    USER,
    "mlflow.user",
    "mlflow.trace.working_directory",
    "mlflow.source.git.commit",
    "mlflow.source.git.branch",
    "mlflow.source.git.repoURL",
    "mlflow.traceInputs",
    "mlflow.traceOutputs",
];

/// The longest metadata value that MLflow's own clients send.
pub const METADATA_WIDTH: usize = 250;
/// The longest tag value that MLflow takes.
pub const TAG_WIDTH: usize = 4096;

/// Attribute of a root span: how long the agent worked, in whole milliseconds.
pub const ACTIVE_MS: &str = "codex.active_ms";
/// Attribute of a root span whose trace holds metadata only.
pub const CONTENT: &str = "codex.content";
/// How many secrets each rule found; JSON in the trace's metadata and on its root.
pub const REDACTIONS: &str = "codex.redactions";
