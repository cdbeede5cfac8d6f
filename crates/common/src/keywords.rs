//! Finds words of a fixed list in texts, in capital and small letters.

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::dfa::DFA;
use aho_corasick::{Anchored, MatchKind};

/// Parts of a long text that are walked side by side. A step waits for the one before it, and a processor has room for
/// others in that time.
const LANES: usize = 4;

/// Bytes of a text for which that pays.
const LONG: usize = 256;

/// The words as one automaton, walked state by state. Most texts of a session are short: the set-up of aho-corasick's own
/// search would take longer than their bytes.
pub struct Keywords {
    automaton: DFA,
    start: StateID,
}

/// A word in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keyword {
    /// The word's place in the list.
    pub word: usize,
    pub start: usize,
    pub end: usize,
}

impl Keywords {
    /// Panics where the words are too many for an automaton: a few hundred short ones are not.
    pub fn new<W: AsRef<[u8]>>(words: impl IntoIterator<Item = W>) -> Keywords {
        let automaton = DFA::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .build(words)
            .expect("a few hundred short words make a small automaton");
        let start = automaton.start_state(Anchored::No).expect("a search may begin anywhere");
        Keywords { automaton, start }
    }

    /// Whether the text holds any of the words.
    #[inline(never)]
    pub fn any_in(&self, text: &str) -> bool {
        let mut state = self.start;
        text.bytes().any(|byte| {
            state = self.automaton.next_state(Anchored::No, state, byte);
            self.automaton.is_match(state)
        })
    }

    /// All words in the text, also those within others, by their ends.
    // In a caller that is compiled for size it would be compiled for size too.
    #[inline(never)]
    pub fn all_in(&self, text: &str) -> Vec<Keyword> {
        let bytes = text.as_bytes();
        let mut found = Vec::new();
        if bytes.len() < LONG {
            self.walk(self.start, bytes, 0, &mut found);
            return found;
        }
        let part = bytes.len() / LANES;
        let (mut states, mut others) = ([self.start; LANES], [const { Vec::new() }; LANES]);
        for (lane, state) in states.iter_mut().enumerate().skip(1) {
            // A word that ends in this part begins at most so far before it. Words before it are of the part before.
            let before = self.automaton.max_pattern_len().saturating_sub(1).min(lane * part);
            for byte in &bytes[lane * part - before..lane * part] {
                *state = self.automaton.next_state(Anchored::No, *state, *byte);
            }
        }
        let parts: [&[u8]; LANES] = std::array::from_fn(|lane| &bytes[lane * part..(lane + 1) * part]);
        let [first, second, third, fourth] = parts;
        for (at, (((a, b), c), d)) in first.iter().zip(second).zip(third).zip(fourth).enumerate() {
            for (lane, byte) in [*a, *b, *c, *d].into_iter().enumerate() {
                states[lane] = self.automaton.next_state(Anchored::No, states[lane], byte);
                if self.automaton.is_match(states[lane]) {
                    self.add(states[lane], lane * part + at + 1, &mut others[lane]);
                }
            }
        }
        found.extend(others.into_iter().flatten());
        let [.., last] = states;
        self.walk(last, &bytes[LANES * part..], LANES * part, &mut found);
        found
    }

    /// `offset`: the bytes before these.
    fn walk(&self, mut state: StateID, bytes: &[u8], offset: usize, found: &mut Vec<Keyword>) {
        for (at, byte) in bytes.iter().enumerate() {
            state = self.automaton.next_state(Anchored::No, state, *byte);
            if self.automaton.is_match(state) {
                self.add(state, offset + at + 1, found);
            }
        }
    }

    #[cold]
    fn add(&self, state: StateID, end: usize, found: &mut Vec<Keyword>) {
        for index in 0..self.automaton.match_len(state) {
            let word = self.automaton.match_pattern(state, index);
            let start = end - self.automaton.pattern_len(word);
            found.push(Keyword { word: word.as_usize(), start, end });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_within_others_and_in_any_case() {
        let keywords = Keywords::new(["token", "api_token", "key"]);
        let table: [(&str, &[(usize, &str)]); 4] = [
            ("an API_Token, a kEy", &[(0, "Token"), (1, "API_Token"), (2, "kEy")]),
            ("tokentoken", &[(0, "token"), (0, "token")]),
            ("toke\u{e4}k ey", &[]),
            ("", &[]),
        ];
        for (text, expected) in table {
            let mut all = keywords.all_in(text);
            all.sort_by_key(|found| (found.end, found.word));
            let all: Vec<_> = all.iter().map(|found| (found.word, &text[found.start..found.end])).collect();
            assert_eq!(all, expected, "{text}");
            assert_eq!(keywords.any_in(text), !expected.is_empty(), "{text}");
        }
    }

    #[test]
    fn a_long_text_has_the_words_of_its_parts_and_those_across() {
        assert_eq!(Keywords::new([""; 0]).all_in(&"key ".repeat(LONG)), []);
        let keywords = Keywords::new(["token", "api_token", "key", "y a"]);
        let text = "an api_token, a key and no tok".repeat(40);
        for length in LONG - 1..text.len() {
            let mut expected = Vec::new();
            keywords.walk(keywords.start, &text.as_bytes()[..length], 0, &mut expected);
            assert_eq!(keywords.all_in(&text[..length]), expected, "{length}");
        }
    }
}
