//! The area that macOS fills for `KERN_PROCARGS2`: the number of arguments, the program's path, zeros, then the arguments and
//! the environment, each ended by a zero.

use std::mem::size_of;

/// The argument after the program's name. None where the area is too short.
pub(super) fn second(area: &[u8]) -> Option<&[u8]> {
    let (count, rest) = area.split_first_chunk::<{ size_of::<i32>() }>()?;
    if i32::from_ne_bytes(*count) < 2 {
        return None;
    }
    let program = rest.iter().position(|byte| *byte == 0)?;
    let words = &rest[program..];
    let begins = words.iter().position(|byte| *byte != 0)?;
    words[begins..].split(|byte| *byte == 0).nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(count: i32, text: &str) -> Vec<u8> {
        [&count.to_ne_bytes(), text.as_bytes()].concat()
    }

    #[test]
    fn the_second_argument_follows_the_programs_path_and_zeros() {
        let table = [
            (3, "/bin/codex\0\0\0\0codex\0app-server\0--stdio\0HOME=/h\0", Some("app-server")),
            (1, "/bin/codex\0\0codex\0HOME=/h\0", None),
            (2, "/bin/codex\0codex\0app-server", Some("app-server")),
            (2, "/bin/codex", None),
            (2, "/bin/codex\0\0\0", None),
        ];
        for (count, text, expected) in table {
            let area = area(count, text);
            let found = second(&area).map(|word| String::from_utf8_lossy(word).into_owned());
            assert_eq!(found.as_deref(), expected, "{text:?}");
        }
        assert_eq!(second(&[1, 0]), None);
    }
}
