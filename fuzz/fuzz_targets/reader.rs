//! Any bytes split into the same lines, whatever the size of a read, and none of them is a panic to parse.
#![no_main]

use codex_session::rollout::line::RolloutLine;
use codex_session::rollout::reader::Lines;
use libfuzzer_sys::fuzz_target;
use std::io::Read;

/// Gives a few bytes at a time, as a slow pipe does.
struct Drops<'a>(&'a [u8]);

impl Read for Drops<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let size = self.0.len().min(into.len()).min(7);
        let (now, later) = self.0.split_at(size);
        into[..size].copy_from_slice(now);
        self.0 = later;
        Ok(size)
    }
}

fn lines_of(source: impl Read) -> Vec<Vec<u8>> {
    let mut lines = Lines::new(source);
    let mut all = Vec::new();
    while let Some(line) = lines.next_line().expect("memory can be read") {
        all.push(line.to_vec());
    }
    all
}

fuzz_target!(|bytes: &[u8]| {
    let lines = lines_of(bytes);
    assert_eq!(lines, lines_of(Drops(bytes)));
    for line in &lines {
        let _ = RolloutLine::parse(line);
    }
});
