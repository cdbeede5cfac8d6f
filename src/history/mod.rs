//! What Codex did, traced or not: an index of the sessions in its home, and what `list` and `usage` ask of it.
//!
//! The index is a cache beside the traces, `$CODEX_HOME/mlflow/history.db`. The session files are the truth: each
//! question first brings the index up to date with the files that are new or changed.

mod changes;
mod facts;
mod folder_listing;
mod folder_scan;
pub mod index;
mod prices;
pub mod project;
mod roots;
pub mod sessions;
pub mod time_range;
pub mod update;
pub mod usage;
mod writer;
