//! Traces on Databricks: credentials, where the spans go, and what MLflow's own client reads.

mod again;
mod as_sdk;
mod clouds;
mod experiments;
mod faithful;
mod launched;
mod logins;
mod made;
