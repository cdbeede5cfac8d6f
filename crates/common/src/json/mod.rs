//! JSON without loss: order, numbers and text as they were written.

mod conversion;
pub mod escapes;
pub mod text;
pub mod value;
