//! MLflow's REST API, which MLflow's servers and Databricks workspaces share: requests with retries,
//! experiments, and what a target already has of a trace.

pub mod answer;
pub mod api;
pub mod client;
pub mod experiments;
mod failure;
pub mod proxies;
pub mod roots;
pub mod secrets;
pub mod stored;
pub mod variables;
