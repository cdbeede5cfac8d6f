//! Token usage, as Codex counts it.

use crate::rollout::fields::Usage;
use std::ops::AddAssign;

/// Tokens of one response or of many. Cached is part of input, and reasoning is part of output: neither is added
/// again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenUsage {
    pub input: u64,
    pub cached_input: u64,
    pub cache_write_input: u64,
    pub output: u64,
    pub reasoning_output: u64,
}

impl TokenUsage {
    pub fn total(self) -> u64 {
        self.input.saturating_add(self.output)
    }

    /// None where one of the numbers is no count.
    pub fn from_usage(usage: Usage) -> Option<TokenUsage> {
        Some(TokenUsage {
            input: usage.input_tokens.0?,
            cached_input: usage.cached_input_tokens.0?,
            cache_write_input: usage.cache_write_input_tokens.0?,
            output: usage.output_tokens.0?,
            reasoning_output: usage.reasoning_output_tokens.0?,
        })
    }

    /// None where a count would fall below zero: the counter restarted.
    pub fn minus(self, other: TokenUsage) -> Option<TokenUsage> {
        self.with(other, u64::checked_sub)
    }

    /// Each number with the same one of `other`; None where one of the results is None.
    fn with(self, other: TokenUsage, combined: fn(u64, u64) -> Option<u64>) -> Option<TokenUsage> {
        Some(TokenUsage {
            input: combined(self.input, other.input)?,
            cached_input: combined(self.cached_input, other.cached_input)?,
            cache_write_input: combined(self.cache_write_input, other.cache_write_input)?,
            output: combined(self.output, other.output)?,
            reasoning_output: combined(self.reasoning_output, other.reasoning_output)?,
        })
    }
}

impl AddAssign for TokenUsage {
    /// Saturating: a damaged file may hold any number.
    fn add_assign(&mut self, other: TokenUsage) {
        *self = self.with(other, |own, added| Some(own.saturating_add(added))).unwrap_or_default();
    }
}
