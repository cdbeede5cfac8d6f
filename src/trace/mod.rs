//! From a session to its trace: spans, ids, attributes, metadata, prices.

pub(crate) mod agent;
pub(crate) mod attributes;
pub mod build;
mod chat;
pub mod continuation;
pub mod draft;
pub mod ids;
pub mod launch_facts;
pub(crate) mod outcome;
pub mod price;
pub mod price_book;
pub(crate) mod price_catalogue;
pub(crate) mod price_change;
pub(crate) mod price_list;
mod spans;
pub(crate) mod thread_facts;
mod tree;
