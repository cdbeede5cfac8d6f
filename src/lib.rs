//! Runs the real `codex`, invisibly, and leaves an MLflow trace of every session it wrote.

pub mod config;
pub mod export;
pub mod rollout;
pub mod session;
pub mod trace;
