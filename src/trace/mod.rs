//! From a session to its trace: spans, ids, attributes, metadata, prices.

mod agent;
mod attributes;
pub mod build;
mod chat;
pub mod continuation;
pub mod draft;
pub mod ids;
pub mod launch_facts;
mod outcome;
pub mod price;
mod price_list;
mod spans;
mod thread_facts;
mod tree;
