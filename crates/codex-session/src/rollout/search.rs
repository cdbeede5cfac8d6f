//! Searches a session file for a text: in prompts, answers, commands and outputs.
//!
//! Most lines are never parsed: a part of the text that no JSON escapes is looked for in the file's bytes first.

use super::line::RolloutLine;
use super::path;
use super::reader::{self, LONGEST_LINE};
use super::rollout_item::{ResponseItem, RolloutItem};
use crate::session::is_context;
use memchr::{memchr, memrchr};
use regex::bytes::{Regex, RegexBuilder};
use serde_json::Value;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Bytes that are searched at once.
const BLOCK: usize = 1 << 20;

/// Fields of an event or a call that hold what people, models and tools wrote.
const FIELDS: [&str; 18] = [
    "action",
    "aggregated_output",
    "arguments",
    "changes",
    "cmd",
    "command",
    "content",
    "formatted_output",
    "input",
    "item",
    "last_agent_message",
    "message",
    "output",
    "query",
    "result",
    "stderr",
    "stdout",
    "text",
];

/// What is looked for. Letters of ASCII match in both cases.
#[derive(Debug)]
pub struct SearchText {
    whole: Regex,
    /// A part that is in a file's bytes wherever the text is in its lines.
    part: Regex,
}

impl SearchText {
    /// None for an empty text.
    pub fn new(text: &str) -> Option<SearchText> {
        let is_escaped = |c: char| c == '"' || c == '\\' || c.is_control();
        let part = text.split(is_escaped).max_by_key(|part| part.len())?;
        let regex = |text: &str| {
            let pattern = regex::escape(text);
            RegexBuilder::new(&pattern).unicode(false).case_insensitive(true).build().ok()
        };
        (!text.is_empty()).then_some(SearchText { whole: regex(text)?, part: regex(part)? })
    }

    /// The first place where a file holds the text: what a person, a model or a tool wrote there. `block` is memory that
    /// searches share, one after the other.
    pub fn find_in(&self, file: &Path, block: &mut SearchBlock) -> io::Result<Option<String>> {
        if path::is_compressed(file) || path::may_be_document(file) {
            return self.find_in_lines(file);
        }
        match self.find_in_blocks(File::open(file)?, &mut block.0)? {
            Searched::Text(found) => Ok(found),
            Searched::OtherEncoding => self.find_in_lines(file),
        }
    }

    /// Of a compressed file, and of one in another encoding.
    fn find_in_lines(&self, file: &Path) -> io::Result<Option<String>> {
        let mut lines = reader::open(file)?;
        while let Some(line) = lines.next_line()? {
            if let Some(found) = self.find_in_line(line) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn find_in_blocks(&self, mut file: impl Read, block: &mut Vec<u8>) -> io::Result<Searched> {
        let (mut kept, mut is_begin) = (0, true);
        loop {
            if kept == block.len() {
                // The line is longer than the block.
                block.resize((block.len() * 2).min(LONGEST_LINE), 0);
            }
            let read = match file.read(&mut block[kept..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            let filled = kept + read;
            if is_begin && matches!(block[..filled], [0xff, 0xfe, ..] | [0xfe, 0xff, ..]) {
                return Ok(Searched::OtherEncoding);
            }
            is_begin &= filled < 2;
            let is_last = read == 0;
            let whole = match memrchr(b'\n', &block[..filled]) {
                Some(end) if !is_last => end + 1,
                None if !is_last && filled < LONGEST_LINE => 0,
                _ => filled,
            };
            let found = self.find_in_block(&block[..whole]);
            if found.is_some() || is_last {
                return Ok(Searched::Text(found));
            }
            block.copy_within(whole..filled, 0);
            kept = filled - whole;
        }
    }

    /// `lines`: whole lines.
    fn find_in_block(&self, lines: &[u8]) -> Option<String> {
        let mut at = 0;
        while let Some(hit) = self.part.find_at(lines, at) {
            let start = memrchr(b'\n', &lines[..hit.start()]).map_or(0, |end| end + 1);
            let end = memchr(b'\n', &lines[hit.start()..]).map_or(lines.len(), |length| hit.start() + length);
            if let Some(found) = self.find_in_line(&lines[start..end]) {
                return Some(found);
            }
            at = end + 1;
            if at >= lines.len() {
                break;
            }
        }
        None
    }

    fn find_in_line(&self, line: &[u8]) -> Option<String> {
        self.part.find(line)?;
        texts_of(line).into_iter().find(|text| self.whole.is_match(text.as_bytes()))
    }

    /// The byte range of the text in one that holds it.
    pub fn place_in(&self, text: &str) -> Option<std::ops::Range<usize>> {
        self.whole.find(text.as_bytes()).map(|hit| hit.range())
    }
}

enum Searched {
    Text(Option<String>),
    /// UTF-16.
    OtherEncoding,
}

/// Memory for a search.
#[derive(Debug)]
pub struct SearchBlock(Vec<u8>);

impl Default for SearchBlock {
    fn default() -> SearchBlock {
        SearchBlock(vec![0; BLOCK])
    }
}

/// What a person, a model or a tool wrote in a line.
fn texts_of(line: &[u8]) -> Vec<String> {
    let Some(parsed) = RolloutLine::parse(line) else { return Vec::new() };
    let is_listed = match &parsed.item {
        RolloutItem::ResponseItem(ResponseItem::Message(message)) => {
            &*message.role == "assistant" || &*message.role == "user" && !is_context(&message.content.0)
        }
        RolloutItem::ResponseItem(item) => !matches!(item, ResponseItem::Reasoning(_)),
        RolloutItem::Event(_) => true,
        _ => false,
    };
    let Some(line) = serde_json::from_slice::<Value>(line).ok().filter(|_| is_listed) else {
        return Vec::new();
    };
    let mut texts = Vec::new();
    // A bare line is its own payload.
    add_texts(line.get("payload").unwrap_or(&line), false, &mut texts);
    texts
}

fn add_texts(value: &Value, is_wanted: bool, texts: &mut Vec<String>) {
    match value {
        Value::String(text) if is_wanted => match serde_json::from_str::<Value>(text) {
            // The arguments of a call are JSON as text; so were its outputs.
            Ok(inner @ (Value::Object(_) | Value::Array(_))) => add_texts(&inner, true, texts),
            _ => texts.push(text.clone()),
        },
        Value::Array(list) => list.iter().for_each(|one| add_texts(one, is_wanted, texts)),
        Value::Object(fields) => {
            for (name, value) in fields {
                let is_text = is_wanted && !matches!(&**name, "type" | "id" | "call_id" | "image_url");
                add_texts(value, is_text || FIELDS.contains(&&**name), texts);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(payload: &str) -> String {
        let kind = if payload.contains("exec_command_end") { "event_msg" } else { "response_item" };
        format!("{{\"timestamp\":\"2026-11-22T10:33:23.449Z\",\"type\":\"{kind}\",\"payload\":{payload}}}")
    }

    #[test]
    fn a_text_is_found_where_a_person_a_model_or_a_tool_wrote_it() {
        let user = r#"{"type":"message","role":"user","content":[{"type":"input_text","text":"Say \"hello\" to Ünal\n\ttwice"}]}"#;
        let developer =
            r#"{"type":"message","role":"developer","content":[{"type":"input_text","text":"hello"}]}"#;
        let context = r#"{"type":"message","role":"user","content":[{"type":"input_text","text":"<environment_context>hello</environment_context>"}]}"#;
        let call = r#"{"type":"function_call","call_id":"hello","name":"hello","arguments":"{\"cmd\":\"echo \\\"hello\\\"\"}"}"#;
        let output = r#"{"type":"function_call_output","call_id":"c","output":"{\"output\":\"hello\\n\",\"metadata\":{}}"}"#;
        let table = [
            (user, "HELLO", true),
            (user, "say \"hello\"", true),
            (user, "Ünal\n\ttwice", true),
            (user, "goodbye", false),
            (user, "input_text", false),
            (user, "message", false),
            (developer, "hello", false),
            (context, "hello", false),
            (call, "echo \"hello\"", true),
            (call, "echo \\\"hello", false),
            (output, "hello\n", true),
        ];
        for (payload, text, is_found) in table {
            let search = SearchText::new(text).unwrap();
            let line = line(payload);
            assert_eq!(search.find_in_line(line.as_bytes()).is_some(), is_found, "{text} {payload}");
            let many = format!("{{}}\n{line}\n{{\"hello\":1}}");
            for size in [8, 100, BLOCK] {
                let found = search.find_in_blocks(many.as_bytes(), &mut vec![0; size]).unwrap();
                assert!(
                    matches!(found, Searched::Text(found) if found.is_some() == is_found),
                    "{text} {payload} {size}"
                );
            }
        }
        assert!(SearchText::new("").is_none());
    }

    #[test]
    fn every_kind_of_file_is_searched() {
        let folder = tempfile::tempdir().unwrap();
        let name = "rollout-2026-11-22T10-04-14-01a202b6-a73e-7ee3-8243-251c871b1d4f.jsonl";
        let text = line(
            r#"{"type":"message","role":"assistant","content":[{"type":"output_text","text":"found"}]}"#,
        );
        let level = ruzstd::encoding::CompressionLevel::Fastest;
        let utf16: Vec<u8> =
            [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        let files = [
            (name.to_owned(), text.clone().into_bytes()),
            (format!("{name}.zst"), ruzstd::encoding::compress_to_vec(text.as_bytes(), level)),
            ("utf16.jsonl".to_owned(), utf16),
        ];
        for (name, bytes) in files {
            let file = folder.path().join(name);
            std::fs::write(&file, bytes).unwrap();
            let found =
                SearchText::new("Found").unwrap().find_in(&file, &mut SearchBlock::default()).unwrap();
            assert_eq!(found.as_deref(), Some("found"), "{}", file.display());
        }
    }
}
