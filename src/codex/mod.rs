//! What we know about the program that we run.

pub mod args;
pub mod asked;
pub mod home;
pub mod locate;
pub mod thread;
pub mod tui_log;
pub mod version;
