//! The switch for tracing, and the words of every switch.

pub const ENABLED: &str = "MLFLOW_CODEX_TRACING_ENABLED";

/// None for an unknown word.
pub(super) fn parse(word: &str) -> Option<bool> {
    match word.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_are_read_in_all_spellings() {
        for (word, expected) in
            [("true", Some(true)), (" True ", Some(true)), ("0", Some(false)), ("all", None)]
        {
            assert_eq!(parse(word), expected, "{word}");
        }
    }
}
