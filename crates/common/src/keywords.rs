//! Finds words of a fixed list in texts, in capital and small letters.

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::dfa::DFA;
use aho_corasick::{Anchored, MatchKind};

/// The words as one automaton. It is walked here, state by state: most texts of a session are so short that the set-up of
/// aho-corasick's own search takes longer than their bytes.
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
    pub fn any_in(&self, text: &str) -> bool {
        let mut state = self.start;
        text.bytes().any(|byte| {
            state = self.automaton.next_state(Anchored::No, state, byte);
            self.automaton.is_match(state)
        })
    }

    /// All words in the text, also those within others, by their ends.
    pub fn all_in(&self, text: &str) -> Vec<Keyword> {
        let (mut state, mut found) = (self.start, Vec::new());
        for (at, byte) in text.bytes().enumerate() {
            state = self.automaton.next_state(Anchored::No, state, byte);
            if self.automaton.is_match(state) {
                self.add(state, at + 1, &mut found);
            }
        }
        found
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
}
