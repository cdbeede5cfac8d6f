//! An MLflow server over http or https.

pub mod client;
