//! Bytes without end in which no two places look alike, for the one who sends them and the one who checks them.

use std::io::Write;

/// A prime: no power of two brings the same bytes to the same place.
const PERIOD: usize = 1_048_573;

pub struct Pattern {
    /// Two periods, so that any piece of one is in one piece.
    bytes: Vec<u8>,
}

pub fn pattern() -> Pattern {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8
    };
    let one: Vec<u8> = (0..PERIOD).map(|_| next()).collect();
    Pattern { bytes: [one.clone(), one].concat() }
}

impl Pattern {
    /// Panics where the bytes that came from `at` on are others.
    #[track_caller]
    pub fn check(&self, at: usize, found: &[u8]) {
        let start = at % PERIOD;
        assert!(
            self.bytes[start..start + found.len()] == *found,
            "other bytes between {at} and {}",
            at + found.len()
        );
    }

    pub fn write(&self, to: &mut impl Write, size: usize) {
        let mut sent = 0;
        while sent < size {
            let start = sent % PERIOD;
            let count = (size - sent).min(1 << 16);
            to.write_all(&self.bytes[start..start + count]).expect("somebody takes it");
            sent += count;
        }
    }
}
