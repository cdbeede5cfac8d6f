//! Exports traces to a Databricks workspace: information by its REST API, spans as a file in the cloud's
//! storage.

mod exporter;
mod login;
mod present;
mod profile;
mod refusal;
mod rest;
mod signed;
mod storage;
mod upload;
mod workspace;

pub use exporter::{DatabricksExporter, check};
pub use login::host;
pub use present::lost;
