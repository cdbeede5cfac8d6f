//! What to show of a session: the trace, its spans, and how both are made.

pub mod build;
pub mod ids;
mod limits;
pub mod model;
pub mod price;
pub mod redact;
mod spans;
