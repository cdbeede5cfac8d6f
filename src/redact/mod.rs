//! Removes secrets from a finished trace, before any part of it is written.
//!
//! The spool takes only redacted traces, and every delivery goes through the spool. A secret becomes
//! `[redacted:<rule>:<hash>]`: the rule is its kind, and the hash, salted per installation, distinguishes secrets.

mod check;
mod content;
mod find;
mod inline_files;
mod lazy;
mod limits;
mod multiline;
mod placeholder;
mod redactor;
mod rules;
mod salt;
mod secrets;
mod small_images;
mod storable;
#[cfg(test)]
mod tests;
mod texts;

pub use find::Finder;
pub use lazy::{LazyRedactor, problems};
pub use multiline::text_of;
pub use redactor::{Redacted, Redactor};
pub use rules::{Rule, Rules};
pub use salt::Salt;
pub use small_images::SmallImages;
