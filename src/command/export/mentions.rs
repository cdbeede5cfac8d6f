//! What GitHub would act on in a text: `@name` notifies a person, `#12` and `GH-12` refer to an issue and may close it.

/// Renders as nothing. GitHub knows no name and no number across it.
pub(super) const NOTHING: &str = "<!-- -->";

/// How far back an address begins.
const LONGEST_ADDRESS: usize = 400;

/// Whether a name or a number follows the character at this place of Markdown. An entity may spell its beginning.
pub(super) fn is_mention(markdown: &str, at: usize) -> bool {
    let sign = markdown.as_bytes()[at];
    if !matches!(sign, b'@' | b'#' | b'-') {
        return false;
    }
    let (before, after) = (&markdown[..at], markdown[at + 1..].chars().next());
    let is_one = match sign {
        // Within a word it is an address for mail.
        b'@' => {
            after.is_some_and(|c| c.is_ascii_alphanumeric() || c == '&')
                && !before.ends_with(|c: char| c.is_ascii_alphanumeric())
        }
        b'#' => after.is_some_and(|c| c.is_ascii_digit() || c == '&'),
        _ => {
            let prefix = at.checked_sub(2).and_then(|begin| markdown.get(begin..at));
            after.is_some_and(|c| c.is_ascii_digit() || c == '&')
                && prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case("gh"))
        }
    };
    is_one && !is_in_address(before)
}

/// Whether the text ends within an address that GitHub makes a link of. Any doubt is a no.
fn is_in_address(before: &str) -> bool {
    let before = &before[before.floor_char_boundary(before.len().saturating_sub(LONGEST_ADDRESS))..];
    let word = before.rsplit(char::is_whitespace).next().unwrap_or_default();
    let rest = word.strip_prefix("https://").or_else(|| word.strip_prefix("http://"));
    let Some((host, path)) = rest.and_then(|rest| rest.split_once('/')) else { return false };
    let is_label =
        |label: &str| !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let is_of_path = |c: char| c.is_ascii_alphanumeric() || "/._~%?=+,:;@#-".contains(c);
    host.contains('.') && host.split('.').all(is_label) && path.chars().all(is_of_path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_github_acts_on_is_known_by_its_sign() {
        let table = [
            ("@name", true),
            ("a @name", true),
            ("(@name", true),
            ("_@name", true),
            ("a/@name", true),
            ("@&#110;ame", true),
            ("a@b.example", false),
            ("@ name", false),
            ("@", false),
            ("https://a.example/@name", false),
            ("http://a.example/b/@name/c", false),
            ("https://@name", true),
            ("https://a_b/@name", true),
            ("https://a.example/](x)@name", true),
            ("ä https://a.example @name", true),
        ];
        for (text, expected) in table {
            assert_eq!(is_mention(text, text.rfind('@').unwrap()), expected, "{text}");
        }
        let table = [
            ("fixes #12", '#', true),
            ("o/r#12", '#', true),
            ("#&amp;", '#', true),
            ("# 12", '#', false),
            ("https://a.example/b#12", '#', false),
            ("GH-12", '-', true),
            ("gh-12", '-', true),
            ("a-12", '-', false),
            ("-1", '-', false),
            ("ä-1", '-', false),
        ];
        for (text, sign, expected) in table {
            assert_eq!(is_mention(text, text.rfind(sign).unwrap()), expected, "{text}");
        }
    }
}
