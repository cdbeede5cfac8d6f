//! What every room uses.

pub mod later_version;
pub mod log;
pub mod notice;
pub mod paths;
pub mod user_name;
pub mod world;
