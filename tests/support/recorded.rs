//! The content of a rollout, read without any of the project's own code.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::script::Usage;

/// The lines of a rollout.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub lines: Vec<Value>,
}

impl Recorded {
    #[track_caller]
    pub fn read(path: &Path) -> Recorded {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        Recorded { lines: text.split_terminator('\n').map(parse).collect() }
    }

    /// The thread's id, from the first line.
    #[track_caller]
    pub fn thread(&self) -> &str {
        self.lines[0]["payload"]["id"].as_str().expect("the first line is session_meta")
    }

    /// The payloads of one kind of `event_msg` or `response_item`.
    pub fn payloads<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.lines.iter().map(|line| &line["payload"]).filter(move |payload| payload["type"] == kind)
    }

    /// The usage of every model response, as Codex counted it.
    pub fn usage_each(&self) -> Vec<Usage> {
        let records = self.lines.iter().filter(|line| line["type"] == "token_usage_record");
        let usage = records.map(|line| {
            let tokens = |key: &str| line["payload"]["usage"][key].as_u64().unwrap_or_default();
            Usage {
                input: tokens("input_tokens"),
                cached: tokens("cached_input_tokens"),
                output: tokens("output_tokens"),
                reasoning: tokens("reasoning_output_tokens"),
            }
        });
        usage.collect()
    }
}
