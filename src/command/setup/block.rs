//! The lines that setup adds to a startup file of the user, between two marks.

use std::ops::Range;

const BEGIN: &str = "# >>> codex-traced, written by `codex-traced mlflow setup`; its --undo removes it >>>\n";
const END: &str = "# <<< codex-traced <<<\n";

/// The lines between their marks.
pub(super) fn of(code: &str) -> String {
    format!("{BEGIN}{code}{END}")
}

/// The file's content with this block at its end, in place of one that is there.
pub(super) fn added(content: &[u8], block: &str) -> Vec<u8> {
    let mut content = removed(content, false);
    if !content.is_empty() && !content.ends_with(b"\n") {
        content.push(b'\n');
    }
    content.extend_from_slice(block.as_bytes());
    content
}

/// The content without the block. `had_no_newline`: the user's last line had none before the block came.
pub(super) fn removed(content: &[u8], had_no_newline: bool) -> Vec<u8> {
    let mut content = content.to_vec();
    while let Some(place) = place(&content) {
        let was_last = place.end == content.len();
        content.drain(place);
        // A line that the user has added since must not join the last one of before.
        if was_last && had_no_newline && content.ends_with(b"\n") {
            content.pop();
        }
    }
    content
}

/// Where a block is, marks included. None also where one of the marks is missing.
pub(super) fn place(content: &[u8]) -> Option<Range<usize>> {
    let start = position(content, BEGIN.as_bytes())?;
    let end = start + position(&content[start..], END.as_bytes())? + END.len();
    Some(start..end)
}

/// Whether a mark is there without the other one.
pub(super) fn is_torn(content: &[u8]) -> bool {
    let has = |mark: &str| position(content, mark.trim_end().as_bytes()).is_some();
    place(content).is_none() && (has(BEGIN) || has(END))
}

fn position(content: &[u8], text: &[u8]) -> Option<usize> {
    content.windows(text.len()).position(|window| window == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_comes_and_goes_and_leaves_the_users_bytes() {
        let block = of("function codex { :; }\n");
        for before in [&b"PS1=x\n"[..], b"PS1=x", b"\xff\n", b"fi\n}\n", b""] {
            let had_no_newline = !before.is_empty() && !before.ends_with(b"\n");
            let content = added(before, &block);
            assert_eq!(added(&content, &block), content, "twice is once");
            assert_eq!(removed(&content, had_no_newline), before);
            assert_eq!(removed(before, had_no_newline), before, "without a block");
            // What the user adds later is a line of its own.
            let later = [&content[..], b"later\n"].concat();
            let gap: &[u8] = if had_no_newline { b"\n" } else { b"" };
            assert_eq!(removed(&later, had_no_newline), [before, gap, b"later\n"].concat());
        }
    }

    #[test]
    fn another_block_replaces_the_one_that_is_there_though_the_user_has_changed_it() {
        let old = added(b"a\n", &of("old\n"));
        let edited = String::from_utf8(old).unwrap().replace("old", "older");
        assert_eq!(added(edited.as_bytes(), &of("new\n")), added(b"a\n", &of("new\n")));
    }

    #[test]
    fn a_block_without_its_end_is_left_to_the_user() {
        let content = of("x\n").replace(END, "");
        assert!(is_torn(content.as_bytes()) && place(content.as_bytes()).is_none());
        assert_eq!(removed(content.as_bytes(), false), content.as_bytes());
        assert!(!is_torn(of("x\n").as_bytes()) && !is_torn(b"x\n"));
    }
}
