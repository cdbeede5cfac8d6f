//! Every environment variable that the program reads: for docs/configuration.md, the manual page and `status`.

/// A variable that users may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    pub name: &'static str,
    /// Markdown for a table cell.
    pub meaning: &'static str,
    /// Markdown for a table cell; empty without a default.
    pub default: &'static str,
    /// `status` does not print the value.
    pub is_secret: bool,
}

const fn open(name: &'static str, meaning: &'static str, default: &'static str) -> Variable {
    Variable { name, meaning, default, is_secret: false }
}

const fn secret(name: &'static str, meaning: &'static str, default: &'static str) -> Variable {
    Variable { name, meaning, default, is_secret: true }
}

/// Variables that select what is traced, and where traces go.
pub const OURS: &[Variable] = &[
    open("CODEX_HOME", "Codex's home, as Codex reads it", "`~/.codex`"),
    open("CODEX_TRACED", "`0`: no trace; codex-traced becomes Codex", "trace"),
    open("CODEX_TRACED_CODEX_BIN", "path of the real codex", "first on `PATH`"),
    open(
        "CODEX_TRACED_DIRECT",
        "`0`: where `codex` is npm's launcher, it starts Codex by Node.js, as without codex-traced",
        "Codex starts without Node.js where the launcher's text is known",
    ),
    open(
        "CODEX_TRACED_PTY",
        "`always`: also `exec` and `review` get a terminal of their own; `never`: nothing does; only ever when \
         stdin, stdout and stderr are the same terminal",
        "`auto`: the full-screen interface does",
    ),
    open(
        "CODEX_TRACED_NOTICE",
        "`always` or `never`: whether codex-traced may print a line on stderr",
        "if stderr is a terminal; in CI only that a trace was left on disk",
    ),
    open(
        "CODEX_TRACED_WAIT",
        "how many seconds to wait for the delivery when Codex has ended; `0`: not at all",
        "on a terminal a moment, elsewhere and in CI 30",
    ),
    open(
        "CODEX_TRACED_SUMMARY",
        "file for the results of the launch's traces, as JSON, or a folder for a file of each launch; codex-traced waits for it",
        "none",
    ),
    open(
        "CODEX_TRACED_CONTENT",
        "`metadata`: a trace holds figures, and no text of a person, model or tool; see [Privacy](#privacy)",
        "`full`",
    ),
    open(
        "CODEX_TRACED_GRANULARITY",
        "`turn`: each turn is a trace of its own, grouped by session; a session keeps what it began with",
        "`session`: one trace each",
    ),
    open(
        "CODEX_TRACED_LIVE",
        "while Codex works, the trace is brought up to date: `on`: with every change; `turn`: when a turn ends; \
         `off`: only after Codex's end",
        "`on` for SQLite and servers, `turn` for file stores, Databricks and collectors",
    ),
    open(
        "CODEX_TRACED_IMAGES",
        "`true`: traces hold images of at most 256 KiB as well as their notes; no rule finds a secret that a picture shows",
        "`false`: notes alone",
    ),
    open(
        "MLFLOW_CODEX_TRACING_ENABLED",
        "`false`: no trace; `true`: codex-traced uses a server in `MLFLOW_TRACKING_URI`, and a collector in OpenTelemetry's variables",
        "trace, local",
    ),
    open("MLFLOW_TRACKING_URI", "where traces go", "`sqlite:///` and `$CODEX_HOME/mlflow/mlflow.db`"),
    open(
        "CODEX_TRACED_TAGS",
        "tags of the traces: `team=payments,pr=123`; they come before `tags` in the file",
        "",
    ),
    open(
        "MLFLOW_TRACE_SAMPLING_RATIO",
        "share of the sessions that are traced, from 0 to 1, as in MLflow; a session's id decides",
        "`1`",
    ),
    open("TRACEPARENT", "the span that started Codex, by W3C's Trace Context", ""),
    open("TRACESTATE", "passed on with it", ""),
    open(
        "CODEX_TRACED_OTLP_DIALECT",
        "names of a collector's attributes: `gen_ai` (OpenTelemetry's) or `openinference` (Arize's)",
        "`openinference` for Phoenix, which its host or port 6006 shows; `gen_ai` for others",
    ),
    open("MLFLOW_EXPERIMENT_NAME", "experiment, made when missing", "`codex-sessions`"),
    open("MLFLOW_EXPERIMENT_ID", "experiment, must exist; the name comes first", ""),
    open(
        "CI",
        "set, and neither `false` nor `0`: no person reads a line or waits for a prompt",
        "a person is there if the streams are terminals",
    ),
    open("BROWSER", "what `mlflow ui` opens a page with", "what the desktop opens addresses with"),
    open("DISPLAY", "set, or `WAYLAND_DISPLAY`: there is a desktop to open pages on (Linux)", ""),
    open("WAYLAND_DISPLAY", "the same", ""),
    open(
        "WSL_DISTRO_NAME",
        "set by Windows (WSL): pages open with `wslview`, and its disks' `codex` is not taken",
        "",
    ),
    open(
        "NO_COLOR",
        "set to anything: the commands print no colours",
        "colours on a terminal, unless `TERM` is `dumb`",
    ),
];

/// Variables for the access to a server: those of MLflow's client, and those that HTTP clients share.
pub const OF_SERVERS: &[Variable] = &[
    open("MLFLOW_TRACKING_USERNAME", "user name, with the password", "`~/.mlflow/credentials`"),
    secret("MLFLOW_TRACKING_PASSWORD", "password", "`~/.mlflow/credentials`"),
    secret("MLFLOW_TRACKING_TOKEN", "bearer token; user and password come first", ""),
    open("MLFLOW_TRACKING_AUTH", "a plugin of MLflow's in Python: refused: codex-traced has none", ""),
    open("MLFLOW_TRACKING_AWS_SIGV4", "signatures for AWS: refused: codex-traced cannot make them", ""),
    open(
        "MLFLOW_WORKSPACE",
        "workspace of the server (MLflow 3.10 and later), read when a launch begins",
        "",
    ),
    open("MLFLOW_TRACKING_SERVER_CERT_PATH", "certificates to trust, as PEM", "those of the system"),
    open("MLFLOW_TRACKING_CLIENT_CERT_PATH", "the client's certificate with its key, as PEM", ""),
    open("MLFLOW_TRACKING_INSECURE_TLS", "`true`: trust every certificate", "`false`"),
    open("MLFLOW_HTTP_REQUEST_TIMEOUT", "seconds for a request", "120"),
    open("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "tries after the first", "7"),
    open(
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR",
        "seconds before the second try, doubled from one to the next",
        "2",
    ),
    open("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "seconds that chance adds", "1"),
    secret("HTTP_PROXY", "proxy for http", ""),
    secret("HTTPS_PROXY", "proxy for https", ""),
    secret("ALL_PROXY", "proxy for both", ""),
    open("NO_PROXY", "hosts without a proxy", ""),
    open("REQUESTS_CA_BUNDLE", "certificates to trust, as Python's requests has it", ""),
    open("CURL_CA_BUNDLE", "the same, as curl has it", ""),
    open("SSL_CERT_FILE", "the same, as OpenSSL has it", ""),
    open("SSL_CERT_DIR", "a folder of them", ""),
];

/// Variables of OpenTelemetry's exporters. Each has a form for traces, `OTEL_EXPORTER_OTLP_TRACES_…`, which comes first.
pub const OF_COLLECTORS: &[Variable] = &[
    open(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "whole address of a collector's traces; it replaces the server, as in MLflow",
        "",
    ),
    open("OTEL_EXPORTER_OTLP_ENDPOINT", "the same without the path `/v1/traces`", ""),
    open(
        "MLFLOW_TRACE_ENABLE_OTLP_DUAL_EXPORT",
        "`true`: the collector of these variables gets traces too, and the server stays",
        "`false`",
    ),
    open(
        "MLFLOW_ENABLE_OTLP_EXPORTER",
        "`false`: the collector of these variables is for other programs",
        "`true`",
    ),
    open(
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        "`http/protobuf`; `grpc` is refused",
        "by the port: 4317 is gRPC's",
    ),
    open("OTEL_EXPORTER_OTLP_PROTOCOL", "the same", ""),
    secret(
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        "`key=value,key=value`, percent-encoded: keys of the collector",
        "",
    ),
    secret("OTEL_EXPORTER_OTLP_HEADERS", "the same", ""),
    open("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "seconds for a request; from 1000 on, milliseconds", "10"),
    open("OTEL_EXPORTER_OTLP_TIMEOUT", "the same", ""),
    open("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "`gzip` or `none`", "`gzip`"),
    open("OTEL_EXPORTER_OTLP_COMPRESSION", "the same", ""),
    open("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "certificates to trust, as PEM", "those of the system"),
    open("OTEL_EXPORTER_OTLP_CERTIFICATE", "the same", ""),
    open("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "the client's key, as PEM", ""),
    open("OTEL_EXPORTER_OTLP_CLIENT_KEY", "the same", ""),
    open("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "the client's certificate, as PEM", ""),
    open("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "the same", ""),
    open("OTEL_SERVICE_NAME", "`service.name` of the resource", "`codex`"),
    open("OTEL_RESOURCE_ATTRIBUTES", "further attributes of the resource: `key=value,key=value`", ""),
];

/// Variables for the access to a Databricks workspace, as databricks-sdk reads them.
pub const OF_DATABRICKS: &[Variable] = &[
    open("DATABRICKS_HOST", "address of the workspace", "the profile's"),
    secret("DATABRICKS_TOKEN", "personal access token", "the profile's"),
    open("DATABRICKS_CLIENT_ID", "service principal, with its secret", "the profile's"),
    secret("DATABRICKS_CLIENT_SECRET", "its secret", "the profile's"),
    open("DATABRICKS_CONFIG_PROFILE", "profile in the file", "`DEFAULT`"),
    open("DATABRICKS_CONFIG_FILE", "file of profiles", "`~/.databrickscfg`"),
    open("DATABRICKS_AUTH_TYPE", "`pat` or `oauth-m2m`, where both are set", ""),
    open("DATABRICKS_WORKSPACE_ID", "sent with every request", ""),
    open("DATABRICKS_ACCOUNT_ID", "for hosts of several workspaces", ""),
    open("DATABRICKS_DISCOVERY_URL", "where the addresses for OAuth are listed", ""),
];

pub fn all() -> impl Iterator<Item = &'static Variable> {
    [OURS, OF_SERVERS, OF_COLLECTORS, OF_DATABRICKS].into_iter().flatten()
}
