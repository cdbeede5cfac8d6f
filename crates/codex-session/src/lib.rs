//! Codex's session files: find, read, reduce to what happened. Nothing about MLflow.

pub mod rollout;
pub mod session;
pub mod thread;
