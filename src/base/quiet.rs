//! A defect of codex-traced must not disturb Codex.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// None when the work panics; the panic hook has logged it.
pub fn quietly<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}
