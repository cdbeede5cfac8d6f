//! Codex's session files: where they are, and their lines as Codex writes them. `session` gives the lines a meaning.

pub mod codex_index;
pub mod completed_item;
pub mod content;
pub mod event;
pub mod fields;
pub mod file_changes;
pub mod files;
mod legacy;
pub mod line;
pub mod path;
pub mod prompts;
pub mod reader;
pub mod rollout_item;
pub mod search;
pub mod session_meta;
pub mod thread_files;
pub mod usage;
