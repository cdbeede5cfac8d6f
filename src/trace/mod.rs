//! From a session to its trace: spans, ids, attributes, metadata, prices.

mod agent;
pub mod agent_attributes;
mod billing;
pub mod build;
mod chat;
pub mod continuation;
mod excerpt;
mod failure;
mod gen_ai;
pub mod ids;
mod launches;
mod outcome;
pub mod price;
mod price_list;
mod spans;
mod thread_scope;
mod totals;
mod tree;
