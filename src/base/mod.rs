//! What every room uses.

pub mod paths;
pub mod quiet;
pub mod user;
