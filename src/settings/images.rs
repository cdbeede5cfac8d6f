//! Whether a trace holds small images, or only a note about each.

pub const IMAGES: &str = "CODEX_TRACED_IMAGES";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImageMode {
    /// A note holds the image's type, size and SHA-256.
    #[default]
    AsNotes,
    /// In addition to its note, as MLflow's page displays it.
    Shown,
}

impl ImageMode {
    /// None for an unknown word.
    pub fn parse(word: &str) -> Option<ImageMode> {
        match word.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(ImageMode::Shown),
            "false" | "0" | "no" | "off" => Some(ImageMode::AsNotes),
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
            ("true", Some(ImageMode::Shown)),
            (" True ", Some(ImageMode::Shown)),
            ("0", Some(ImageMode::AsNotes)),
            ("all", None),
        ] {
            assert_eq!(ImageMode::parse(word), images, "{word}");
        }
    }
}
