//! Traces on Databricks: who may deliver, where the spans go, what MLflow's own client says of it.

mod again;
mod as_sdk;
mod clouds;
mod experiments;
mod faithful;
mod launched;
mod logins;
mod made;
