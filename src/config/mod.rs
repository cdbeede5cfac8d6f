//! What was asked for, and where each setting came from.

pub mod settings;
pub mod target;
