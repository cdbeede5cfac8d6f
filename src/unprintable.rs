//! Characters that are unsafe to print: a terminal obeys them, or they change the order of text.

/// Control characters, and marks that change the direction of text.
pub(crate) fn is_unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_direction_marks_are_unprintable() {
        for c in ['\0', '\n', '\u{1b}', '\u{7f}', '\u{9b}', '\u{200e}', '\u{202e}', '\u{2066}', '\u{2069}'] {
            assert!(is_unprintable(c), "{c:?}");
        }
        for c in [' ', 'é', '✗', '\u{200d}', '\u{2028}', '\u{fffd}', '😀'] {
            assert!(!is_unprintable(c), "{c:?}");
        }
    }
}
