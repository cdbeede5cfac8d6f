//! Exports traces to an MLflow server over http or https.
//!
//! Order of calls, tested with eight server versions: spans with the root last, then the trace's information,
//! whose totals are final. In the reverse order, servers count tokens twice or never. The exporter sends an
//! artifact only if the server does not keep the spans itself.

mod check;
mod cost;
mod credentials;
mod exporter;
mod otlp;
mod present;
pub mod refusal;
mod server;
mod settings;
mod spans;
mod version;

pub use check::check;
pub use exporter::HttpExporter;
pub use present::lost;
pub use version::newest_tried_before;
