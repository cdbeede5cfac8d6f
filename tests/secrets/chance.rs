//! Chance that is the same in every run.

pub(crate) const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
pub(crate) const HEX: &str = "0123456789abcdef";
pub(crate) const DIGITS: &str = "0123456789";
pub(crate) const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
pub(crate) const BASE32: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
pub(crate) const ALNUM: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
pub(crate) const BASE64: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
pub(crate) const URL64: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn of(seed: u64) -> Chance {
        Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xd1b5_4a32_d192_ed03)
    }

    /// Steele, Lea and Flood's SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// So many characters of these.
    pub(crate) fn of_class(&mut self, count: usize, class: &str) -> String {
        let characters: Vec<char> = class.chars().collect();
        (0..count).map(|_| characters[self.below(characters.len())]).collect()
    }

    pub(crate) fn hex(&mut self, count: usize) -> String {
        self.of_class(count, HEX)
    }

    pub(crate) fn alnum(&mut self, count: usize) -> String {
        self.of_class(count, ALNUM)
    }

    pub(crate) fn base64(&mut self, count: usize) -> String {
        self.of_class(count, BASE64)
    }

    pub(crate) fn url64(&mut self, count: usize) -> String {
        self.of_class(count, URL64)
    }

    pub(crate) fn uuid(&mut self) -> String {
        [8, 4, 4, 4, 12].map(|count| self.hex(count)).join("-")
    }

    /// Lines of 64, as keys are written.
    pub(crate) fn lines(&mut self, count: usize) -> String {
        (0..count).map(|_| self.base64(64) + "\n").collect::<String>() + &self.base64(44) + "\n"
    }

    /// As a person with a password manager has them.
    pub(crate) fn password(&mut self) -> String {
        let length = 10 + self.below(10);
        let mut word =
            self.of_class(length, "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789!*+._-");
        word.insert(3, '7');
        word.insert(5, 'q');
        word.insert(0, 'K');
        word
    }
}
