//! MLflow's REST API, which MLflow's servers and Databricks workspaces share: requests with retries,
//! experiments, and what a target already has of a trace.

pub(crate) mod answer;
pub(crate) mod api;
pub(crate) mod client;
pub(crate) mod credential_mask;
pub(crate) mod experiments;
pub(crate) mod stored_trace;
pub(crate) mod variables;
