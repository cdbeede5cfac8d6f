//! What to show of a session: the trace, its spans, and how both are made.

pub mod build;
pub mod ids;
pub mod model;
pub mod price;
mod spans;
