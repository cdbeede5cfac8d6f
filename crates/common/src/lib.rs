//! What the other crates share, and nothing about Codex or MLflow.

pub mod disk;
pub mod json;
pub mod printable;
pub mod variables;
