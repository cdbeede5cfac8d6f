//! Codex's session files: where they are, and their lines as Codex writes them. `session` gives the lines a meaning.

mod bare;
pub mod changes;
pub mod content;
mod envelope;
pub mod event;
pub mod files;
pub mod index;
pub mod inline;
pub mod item;
mod legacy;
pub mod line;
pub mod path;
mod payload;
pub mod prompts;
pub mod reader;
pub mod response_item;
pub mod rollout_item;
pub mod root;
pub mod session_meta;
pub mod settings;
pub mod thread_files;
pub mod usage;
pub mod walk;
