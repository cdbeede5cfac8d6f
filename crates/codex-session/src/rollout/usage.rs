//! Tokens as Codex counts them.

use common::json::value::Value;
use serde::{Deserialize, Deserializer};
use std::ops::Add;

/// 2^53: above it, floating-point numbers skip whole numbers.
const LARGEST_EXACT: f64 = 9_007_199_254_740_992.0;

/// Cached is part of input, reasoning is part of output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Usage {
    pub input_tokens: Count,
    #[serde(deserialize_with = "part")]
    pub cached_input_tokens: Count,
    #[serde(deserialize_with = "part")]
    pub cache_write_input_tokens: Count,
    pub output_tokens: Count,
    #[serde(deserialize_with = "part")]
    pub reasoning_output_tokens: Count,
    pub total_tokens: Count,
}

/// A number of tokens. None for what is no count (a fraction, a negative, a word): unknown, and not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count(pub Option<u64>);

/// A count that a line does not name is zero.
impl Default for Count {
    fn default() -> Count {
        Count(Some(0))
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(field: D) -> Result<Count, D::Error> {
        Value::deserialize(field).map(|value| Count(whole(&value)))
    }
}

/// Old versions wrote null where a provider does not report cached or reasoning tokens.
fn part<'de, D: Deserializer<'de>>(field: D) -> Result<Count, D::Error> {
    let value = Value::deserialize(field)?;
    Ok(if value.is_null() { Count::default() } else { Count(whole(&value)) })
}

/// `1000`, and its other spellings: `1e3`, `1000.0`, `"1000"`.
fn whole(value: &Value) -> Option<u64> {
    let exact = |number: f64| number.fract() == 0.0 && (0.0..=LARGEST_EXACT).contains(&number);
    match value {
        Value::String(text) => text.trim().parse().ok(),
        // Checked to be whole and within range.
        number => number.as_u64().or_else(|| number.as_f64().filter(|it| exact(*it)).map(|it| it as u64)),
    }
}

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

impl Add for TokenUsage {
    type Output = TokenUsage;

    /// Saturating: a damaged file may hold any number.
    fn add(self, other: TokenUsage) -> TokenUsage {
        self.with(other, |own, added| Some(own.saturating_add(added))).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_a_whole_number_in_any_spelling_and_all_else_is_unknown() {
        let table = [
            ("12", Some(12)),
            ("12.0", Some(12)),
            ("1e3", Some(1000)),
            ("\"12\"", Some(12)),
            ("18446744073709551615", Some(u64::MAX)),
            ("1.5", None),
            ("-1", None),
            ("18446744073709551616", None),
            ("1e300", None),
            ("\"many\"", None),
            ("\"1.5\"", None),
            ("null", None),
            ("true", None),
            ("[1]", None),
        ];
        for (written, count) in table {
            assert_eq!(serde_json::from_str::<Count>(written).unwrap(), Count(count), "{written}");
        }
        let usage: Usage = serde_json::from_str(r#"{"input_tokens":3,"cached_input_tokens":null}"#).unwrap();
        assert_eq!(usage, Usage { input_tokens: Count(Some(3)), ..Usage::default() });
    }
}
