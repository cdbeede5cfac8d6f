//! What every room uses.

pub mod codex_home;
pub mod later_version;
pub mod log;
pub mod notice;
pub mod paths;
pub mod quiet;
pub mod user;
pub mod world;
