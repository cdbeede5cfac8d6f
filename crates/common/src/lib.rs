//! What the other crates share.

pub mod disk;
pub mod json;
pub mod keywords;
pub mod portable;
pub mod printable;
pub mod shared;
pub mod variables;
