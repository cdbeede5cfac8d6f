//! Codex's session files: find, read, reduce to what happened.

pub mod rollout;
pub mod session;
pub mod thread;
