//! Whether a trace holds small images, or only a note about each.

pub const IMAGES: &str = "CODEX_TRACED_IMAGES";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Images {
    /// A note holds the image's type, size and SHA-256.
    #[default]
    AsNotes,
    /// In addition to its note, as MLflow's page displays it.
    Shown,
}

impl Images {
    /// None for an unknown word.
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
    fn switches_are_read_in_all_spellings() {
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
