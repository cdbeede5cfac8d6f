//! The random part of a pause after a failure.

use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

/// A number from 0 to 1, different for each process and each call: std's hash maps are seeded at random.
pub fn jitter() -> f64 {
    RandomState::new().hash_one(Instant::now()) as f64 / u64::MAX as f64
}
