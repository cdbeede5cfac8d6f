//! What may differ between two runs of the same script, and nothing else: ids and times.
//!
//! | replaced | by |
//! |---|---|
//! | UUIDs; the API's ids (`resp_`, `msg_`, `rs_`, `fc_`, `ctc_`, `ws_`, `call_`, `req_` and 16 or more hex digits); `Chunk ID: …` | `<id-N>`, N by first appearance, so that a swapped id is seen |
//! | dates with a time of day | `<time>` |
//! | durations where Codex prints its own: `in 12ms`, `in 1.20s`, `Wall time: 0.2 seconds`; on the screen `Working (3s • esc …`, `Worked for <1s •` | `<duration>` |
//! | the time of day after `Worked for <1s •` on the screen | `<time>` |
//!
//! Paths stay: two runs that are compared share one `Home`.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::run::{End, Outcome};

static VARIABLE: LazyLock<Regex> = LazyLock::new(|| {
    let uuid = r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b";
    let api = r"\b(?:resp|msg|rs|fc|ctc|ws|call|req)_[0-9a-f]{16,}\b";
    let time = r"\b\d{4}-\d\d-\d\dT\d\d[:-]\d\d[:-]\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?";
    let duration = r"\d+(?:\.\d+)?(?:ms|s|m \d\ds| seconds)";
    let printed =
        format!(r"(?P<before>^ (?:succeeded|exited -?\d+) in |\bWall time: )(?P<duration>{duration})");
    let working = r"(?P<working>^(?:• )?Working \()(?P<since>\d+s|\d+m \d\ds)";
    let worked =
        r"(?P<worked>^ +Worked for )(?P<lasted><?\d+s|\d+m \d\ds)(?P<until> • )(?P<clock>\d\d:\d\d)$";
    let pattern = format!(
        r"(?P<id>{uuid}|{api})|(?P<time>{time})|(?P<chunk>\bChunk ID: )(?P<piece>[0-9a-f]+)|{printed}|{working}|{worked}"
    );
    Regex::new(&format!("(?m){pattern}")).expect("the pattern is well formed")
});

/// Numbers ids through several texts of one run.
#[derive(Debug, Default)]
pub struct Normaliser {
    ids: HashMap<String, usize>,
}

impl Normaliser {
    pub fn normalise(&mut self, text: &str) -> String {
        VARIABLE.replace_all(text, |found: &Captures| self.replacement(found)).into_owned()
    }

    fn replacement(&mut self, found: &Captures) -> String {
        if let Some(id) = found.name("id") {
            self.placeholder(id.as_str())
        } else if let Some(piece) = found.name("piece") {
            format!("{}{}", &found["chunk"], self.placeholder(piece.as_str()))
        } else if found.name("duration").is_some() {
            format!("{}<duration>", &found["before"])
        } else if found.name("since").is_some() {
            format!("{}<duration>", &found["working"])
        } else if found.name("lasted").is_some() {
            format!("{}<duration>{}<time>", &found["worked"], &found["until"])
        } else {
            "<time>".to_owned()
        }
    }

    fn placeholder(&mut self, id: &str) -> String {
        let next = self.ids.len() + 1;
        let number = self.ids.entry(id.to_owned()).or_insert(next);
        format!("<id-{number}>")
    }
}

pub fn normalised(text: &str) -> String {
    Normaliser::default().normalise(text)
}

impl Outcome {
    /// Both streams with one numbering of ids.
    pub fn normalised(&self) -> Outcome {
        let mut normaliser = Normaliser::default();
        let stdout = normaliser.normalise(&self.stdout);
        let stderr = normaliser.normalise(&self.stderr);
        let end: End = self.end;
        Outcome { stdout, stderr, end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
session id: 01a204d3-8f4b-7922-96dd-2ba92edf6baf
/bin/bash -lc ls in /work
 succeeded in 12ms:
took 12ms
 exited 3 in 1.20s:
2026-11-22T09:54:22.408Z ERROR call_0000000000010000 failed
{\"thread_id\":\"01a204d3-8f4b-7922-96dd-2ba92edf6baf\",\"item\":\"item_0\",\"id\":\"resp_00000000000100000000\"}
Working (0s • esc to interrupt)
• Working (1m 02s • esc to interrupt)
  Worked for <1s • 18:43
  Worked for 2m 07s • 09:05
took <1s • 18:43
tokens used 6,126
";

    #[test]
    fn only_ids_and_times_are_replaced() {
        let expected = "\
session id: <id-1>
/bin/bash -lc ls in /work
 succeeded in <duration>:
took 12ms
 exited 3 in <duration>:
<time> ERROR <id-2> failed
{\"thread_id\":\"<id-1>\",\"item\":\"item_0\",\"id\":\"<id-3>\"}
Working (<duration> • esc to interrupt)
• Working (<duration> • esc to interrupt)
  Worked for <duration> • <time>
  Worked for <duration> • <time>
took <1s • 18:43
tokens used 6,126
";
        assert_eq!(normalised(TEXT), expected);
    }

    #[test]
    fn a_planted_difference_of_one_byte_still_shows() {
        let plain = normalised(TEXT);
        let groups = ["id", "time", "piece", "duration", "since", "lasted", "clock"];
        let replaced: Vec<_> = VARIABLE
            .captures_iter(TEXT)
            .flat_map(|found| groups.map(|group| found.name(group).map(|part| part.range())))
            .flatten()
            .collect();
        for place in (0..TEXT.len()).filter(|place| !replaced.iter().any(|range| range.contains(place))) {
            let mut planted = TEXT.as_bytes().to_vec();
            planted[place] ^= 1;
            // A bullet with another byte is no UTF-8 any more.
            let planted = String::from_utf8_lossy(&planted);
            assert_ne!(normalised(&planted), plain, "byte {place} of {TEXT}");
        }
    }

    #[test]
    fn a_swapped_id_shows() {
        let (one, other) = ("01a204d3-8f4b-7922-96dd-2ba92edf6baf", "01a204d3-910d-7e53-b828-bb796b9e88a8");
        let same = normalised(&format!("{one} {one}"));
        assert_eq!(same, normalised(&format!("{other} {other}")));
        assert_ne!(same, normalised(&format!("{one} {other}")));
    }

    #[test]
    fn ids_are_numbered_through_both_streams() {
        let id = "01a204d3-8f4b-7922-96dd-2ba92edf6baf";
        let outcome = Outcome { stdout: format!("a {id}"), stderr: format!("b {id}"), end: End::Code(0) };
        let expected = Outcome { stdout: "a <id-1>".into(), stderr: "b <id-1>".into(), end: End::Code(0) };
        assert_eq!(outcome.normalised(), expected);
    }
}
