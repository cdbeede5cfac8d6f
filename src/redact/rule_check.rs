//! Checks beyond a pattern: that a value is no filler, no variable's name, and no word of a language.

use super::placeholder::PREFIX;
use serde::Deserialize;

/// The check that a pattern's match must pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RuleCheck {
    /// The pattern is enough.
    Any,
    /// No filler such as `xxxxxxxx`.
    #[default]
    Filler,
    /// Letters and digits in random order.
    Mixed,
    /// As `mixed`, and neither words nor names of a program.
    Random,
    /// A good password that a person may have chosen.
    Chosen,
    /// Any password that a person may have chosen, except references and examples of documentation.
    Password,
    /// The credentials of an HTTP header.
    Header,
    /// The value assigned to a name in a program or a file.
    Assignment,
}

/// The text around a value.
pub(super) struct Context<'a> {
    /// All text before the value.
    pub(super) name: &'a [u8],
    /// Offset of the match in `name`.
    pub(super) name_start: usize,
    pub(super) after: Option<u8>,
    pub(super) is_quoted: bool,
}

/// Minimum bytes of a person's password.
const SHORTEST_PASSWORD: usize = 8;

/// Bytes. A longer random value may contain a word by chance.
const LONGEST_WITH_WORDS: usize = 64;

/// Parts of example values.
const EXAMPLE_PARTS: [&str; 16] = [
    "your",
    "example",
    "changeme",
    "change_me",
    "change-me",
    "placeholder",
    "xxxx",
    "dummy",
    "replace",
    "redacted",
    "insert",
    "todo",
    "sample",
    "_here",
    "-here",
    "secret_key_value",
];

/// Parts of names whose values are no secrets.
const HARMLESS_NAMES: [&str; 12] =
    ["page", "next", "contin", "cursor", "cancel", "public", "max", "eos", "bos", "pad_", "count", "expir"];

impl RuleCheck {
    pub(super) fn holds(self, value: &[u8], context: &Context) -> bool {
        // A placeholder of an earlier redaction.
        if value.starts_with(PREFIX.as_bytes()) {
            return false;
        }
        match self {
            RuleCheck::Any => true,
            RuleCheck::Filler => is_not_filler(value),
            RuleCheck::Mixed => is_mixed(value) && entropy(value) >= 3.0,
            RuleCheck::Random => {
                is_mixed(value) && entropy(value) >= 3.0 && !is_example(value) && !is_made_of_words(value)
            }
            RuleCheck::Chosen => {
                let is_varied = is_mixed(value) || has_symbol(value);
                value.len() >= 6 && is_varied && RuleCheck::Password.holds(value, context)
            }
            RuleCheck::Password => !is_example(value) && !is_reference(value) && !is_number(value),
            RuleCheck::Header => {
                let is_varied = is_mixed(value) || (value.ends_with(b"=") && has_both_cases(value));
                is_varied
                    && entropy(value) >= 2.5
                    && !is_example(value)
                    && !is_reference(value)
                    && !is_made_of_words(value)
            }
            RuleCheck::Assignment => is_assigned(value, context),
        }
    }
}

fn is_assigned(value: &[u8], context: &Context) -> bool {
    let is_call = context.after == Some(b'(');
    let is_option = value[0] == b'-';
    if is_call
        || is_option
        || is_example(value)
        || is_reference(value)
        || is_number(value)
        || is_path_or_url(value)
    {
        return false;
    }
    let before = &context.name[..context.name_start];
    let word =
        before.iter().rev().take(40).take_while(|b| b.is_ascii_alphanumeric() || b"_-".contains(b)).count();
    let name = context.name[before.len() - word..].to_ascii_lowercase();
    let name = &String::from_utf8_lossy(&name);
    if HARMLESS_NAMES.iter().any(|harmless| name.contains(harmless)) {
        return false;
    }
    let is_password = ["pass", "pwd", "_pw"].iter().any(|mark| name.contains(mark));
    let is_varied =
        is_mixed(value) || (has_both_cases(value) && (has_symbol(value) || entropy(value) >= 3.6));
    match is_password {
        true => value.len() >= SHORTEST_PASSWORD && is_varied && entropy(value) >= 2.5 && !is_dotted(value),
        false => {
            let is_long = value.len() >= if context.is_quoted { 8 } else { 10 };
            is_long && is_varied && entropy(value) >= 2.9 && !is_made_of_words(value) && !is_dotted(value)
        }
    }
}

fn is_mixed(value: &[u8]) -> bool {
    value.iter().any(u8::is_ascii_alphabetic) && value.iter().any(u8::is_ascii_digit)
}

fn has_both_cases(value: &[u8]) -> bool {
    value.iter().any(u8::is_ascii_lowercase) && value.iter().any(u8::is_ascii_uppercase)
}

fn has_symbol(value: &[u8]) -> bool {
    value.iter().any(|byte| byte.is_ascii_punctuation() && !b"_-./:,".contains(byte))
}

fn is_number(value: &[u8]) -> bool {
    value.iter().all(|byte| byte.is_ascii_digit() || b".,_-+:".contains(byte))
}

/// Shannon entropy, in bits per byte.
fn entropy(value: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    value.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let length = value.len() as f64;
    let of = |count: &u32| f64::from(*count) / length;
    counts.iter().filter(|count| **count > 0).map(of).map(|share| -share * share.log2()).sum()
}

/// Checks the last 20 bytes: all secrets of a kind begin with the same prefix.
fn is_not_filler(value: &[u8]) -> bool {
    let end = &value[value.len() - value.len().min(20)..];
    entropy(end) >= 2.2 && !is_example(value)
}

fn is_example(value: &[u8]) -> bool {
    if value.len() > LONGEST_WITH_WORDS {
        return false;
    }
    let lower = String::from_utf8_lossy(value).to_ascii_lowercase();
    let is_mask = value.iter().all(|byte| b"*.xX#-_?".contains(byte));
    let is_one_of_few =
        ["password", "passw0rd", "secret", "token", "apikey", "api_key", "hunter2"].contains(&&*lower);
    is_mask || is_one_of_few || lower.contains("...") || EXAMPLE_PARTS.iter().any(|word| lower.contains(word))
}

/// Whether the value refers to a variable, a template or a file.
fn is_reference(value: &[u8]) -> bool {
    let marks = [&b"${"[..], b"$(", b"{{", b"<%", b"%{", b"%(", b"#{", b"@{"];
    marks.iter().any(|mark| value.windows(mark.len()).any(|part| part == *mark))
        || (value[0] == b'$' && is_identifier(&value[1..]))
        || (value[0] == b'%' && value.ends_with(b"%"))
        || value[0] == b'<'
        || value[0] == b'{'
}

/// Whether the value is a path or a URL.
fn is_path_or_url(value: &[u8]) -> bool {
    let is_path =
        value[0] == b'/' || value.starts_with(b"./") || value.starts_with(b"../") || value.starts_with(b"~/");
    let is_plain = value
        .iter()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"/._-~".contains(byte));
    (is_path && (is_plain || value.iter().filter(|byte| **byte == b'/').count() > 1))
        || value.windows(3).any(|part| part == b"://")
}

/// Whether the value is a dotted name, such as `settings.API_KEY2`.
fn is_dotted(value: &[u8]) -> bool {
    let parts: Vec<&[u8]> = value.split(|byte| *byte == b'.').collect();
    parts.len() > 1 && parts.iter().all(|part| is_identifier(part) && is_made_of_words(part))
}

fn is_identifier(part: &[u8]) -> bool {
    part.first().is_some_and(|first| first.is_ascii_alphabetic() || *first == b'_')
        && part.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// Whether the value consists of words, as names do: `my-app-v2`, `oauth2_token`, `Base64Decoder`.
fn is_made_of_words(value: &[u8]) -> bool {
    let is_short = |part: &[u8]| {
        let letters = part.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        part.len() <= 3 && part[letters..].iter().all(u8::is_ascii_digit)
    };
    let is_number = |part: &[u8]| part.len() <= 4 && part.iter().all(u8::is_ascii_digit);
    let mut parts = value.split(|byte| !byte.is_ascii_alphanumeric()).filter(|part| !part.is_empty());
    parts.all(|part| is_short(part) || is_number(part) || camel_case_words(part).into_iter().all(is_word))
}

/// Pronounceable letters with a few digits after them, such as `oauth2`.
fn is_word(part: &[u8]) -> bool {
    let letters = part.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let digits = &part[letters..];
    let is_pronounceable = part[..letters].iter().any(|letter| b"aeiouyAEIOUY".contains(letter));
    let longest_cluster =
        part[..letters].split(|letter| b"aeiouyAEIOUY".contains(letter)).map(<[u8]>::len).max();
    // "lengths" has five consonants in a row.
    let is_pronounceable = is_pronounceable && longest_cluster.unwrap_or(0) <= 5;
    letters >= 3 && is_pronounceable && digits.len() <= 3 && digits.iter().all(u8::is_ascii_digit)
}

/// Splits a camel-case name into words.
fn camel_case_words(word: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut from = 0;
    for at in 1..word.len() {
        let is_start = word[at].is_ascii_uppercase() && !word[at - 1].is_ascii_uppercase()
            || (word[at].is_ascii_alphabetic() && word[at - 1].is_ascii_digit());
        if is_start {
            parts.push(&word[from..at]);
            from = at;
        }
    }
    parts.push(&word[from..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_names_and_references_differ_from_random_values() {
        let wordy =
            ["my-app-v2", "oauth2_token", "Base64Decoder", "sha256", "v1", "2024-01-02", "utf8-general"];
        let random = ["a8f3k2m9d0s1", "Xk29dLq0Zt71", "9f86d081884c7d65"];
        assert_eq!(wordy.map(|word| is_made_of_words(word.as_bytes())), [true; 7]);
        assert_eq!(random.map(|word| is_made_of_words(word.as_bytes())), [false; 3]);
        assert!(entropy(b"aaaaaaaa") < 0.1 && (entropy(b"abcdefgh") - 3.0).abs() < 1e-9);
        let references = ["${A}", "$TOKEN", "%TOKEN%", "<token>", "{{ x }}", "$(cat x)"];
        assert_eq!(references.map(|text| is_reference(text.as_bytes())), [true; 6]);
        assert!(!is_reference(b"$ecret99!"));
    }
}
