//! From a session to its trace: spans, ids, attributes, metadata, prices.

pub mod about;
mod agent;
mod billing;
pub mod build;
pub mod continued;
mod conversation;
mod failure;
mod files;
mod gen_ai;
pub mod ids;
pub mod images;
mod limits;
pub mod lines;
pub mod model;
mod outcome;
pub mod price;
mod price_list;
pub mod redact;
mod spans;
mod tree;
mod verdict;
