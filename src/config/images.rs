//! Whether a trace holds small images as such, or a note of each.

pub const IMAGES: &str = "CODEX_TRACED_IMAGES";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Images {
    /// Its type, size and SHA-256.
    #[default]
    AsNotes,
    /// Beside their notes, as MLflow's page shows them.
    Shown,
}

impl Images {
    /// None for a word that is neither yes nor no.
    pub fn parse(word: &str) -> Option<Images> {
        match word.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(Images::Shown),
            "false" | "0" | "no" | "off" => Some(Images::AsNotes),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yes_and_no_are_read_in_any_writing() {
        for (word, images) in [
            ("true", Some(Images::Shown)),
            (" True ", Some(Images::Shown)),
            ("0", Some(Images::AsNotes)),
            ("all", None),
        ] {
            assert_eq!(Images::parse(word), images, "{word}");
        }
    }
}
