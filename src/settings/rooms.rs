//! The settings, and the source of each: environment, configuration file, a folder's file, or default.

pub mod access;
pub mod address;
pub mod content;
pub mod file;
pub mod file_uri;
pub mod granularity;
pub mod http_target;
pub mod images;
pub mod reference;
pub mod secret;
pub mod settings;
mod sqlite_uri;
pub mod switch;
pub mod target;
pub mod wait;
pub mod workspace;
