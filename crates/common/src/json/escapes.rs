//! JSON escapes of characters that no store can keep: U+0000 and unpaired surrogates.

/// Hexadecimal digits of the replacements: U+2400 (symbol for NUL) and U+FFFD (replacement character).
const NUL_ESCAPED: &str = "2400";
const HALF_ESCAPED: &str = "fffd";

/// The JSON with these escapes replaced, so that a reader sees that something was there. None if it has none.
pub fn mended(json: &str) -> Option<String> {
    let has = |escape: &&str| json.contains(*escape);
    if !has(&"\\u") || !["\\u0000", "\\ud", "\\uD"].iter().any(has) {
        return None;
    }
    let (mut kept, mut at, mut rest) = (String::new(), 0, json);
    while let Some(escape) = rest.find('\\') {
        let here = json.len() - rest.len() + escape;
        let (length, instead) = match unit(&json[here..]) {
            Some(0) => (6, Some(NUL_ESCAPED)),
            Some(0xd800..=0xdbff) => match unit(&json[here + 6..]) {
                Some(0xdc00..=0xdfff) => (12, None),
                _ => (6, Some(HALF_ESCAPED)),
            },
            Some(0xdc00..=0xdfff) => (6, Some(HALF_ESCAPED)),
            Some(_) => (6, None),
            // An escaped character, even a backslash, starts no other escape.
            None => (1 + json[here + 1..].chars().next().map_or(0, char::len_utf8), None),
        };
        if let Some(instead) = instead {
            kept.push_str(&json[at..here]);
            kept.push_str("\\u");
            kept.push_str(instead);
            at = here + length;
        }
        rest = &json[here + length..];
    }
    (at > 0).then(|| kept + &json[at..])
}

/// The UTF-16 unit of a `\u` escape at the start of the text.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
}
