//! Removes secrets from a finished trace, before any part of it is written.
//!
//! The spool takes only redacted traces, and every delivery goes through the spool. A secret becomes
//! `[redacted:<rule>:<hash>]`: the rule is its kind, and the hash, salted per installation, distinguishes secrets.

mod display_limits;
mod find;
mod inline_files;
mod metadata_only;
mod placeholder;
mod redactor;
mod rule_check;
mod rules;
mod secret_pass;
#[cfg(test)]
mod tests;
mod texts;

pub use display_limits::text_of;
pub use find::Finder;
pub use inline_files::SmallImages;
pub use placeholder::Salt;
pub use redactor::{Redacted, RedactionMemory, Redactor};
pub use rules::{Rule, Rules, problems};
