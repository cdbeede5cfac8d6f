//! HTTP requests as Codex and MLflow's clients write them, and the event stream as Codex reads it.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

/// Server-sent events, each written to the socket as it is made.
pub(crate) struct Events<'a> {
    stream: &'a TcpStream,
    sequence: u64,
}

impl<'a> Events<'a> {
    pub(crate) fn on(stream: &'a TcpStream) -> Events<'a> {
        Events { stream, sequence: 0 }
    }

    pub(crate) fn send(&mut self, kind: &str, fields: Value) -> io::Result<()> {
        let mut event = json!({"type": kind, "sequence_number": self.sequence});
        self.sequence += 1;
        if let (Value::Object(event), Value::Object(fields)) = (&mut event, fields) {
            event.extend(fields);
        }
        self.stream.write_all(format!("event: {kind}\ndata: {event}\n\n").as_bytes())
    }

    pub(crate) fn send_item(&mut self, place: usize, item: &Value) -> io::Result<()> {
        let id = &item["id"];
        let mut added = item.clone();
        match item["type"].as_str() {
            Some("message") => {
                added["content"] = json!([]);
                added["status"] = json!("in_progress");
            }
            Some("reasoning") => added["summary"] = json!([]),
            _ => {}
        }
        self.send("response.output_item.added", json!({"output_index": place, "item": added}))?;
        if let Some(text) = item["content"][0]["text"].as_str()
            && item["type"] == "message"
        {
            let delta = json!({"item_id": id, "output_index": place, "content_index": 0, "delta": text});
            self.send("response.output_text.delta", delta)?;
        }
        if let Some(text) = item["summary"][0]["text"].as_str() {
            let part = |more: Value| {
                let mut fields = json!({"item_id": id, "output_index": place, "summary_index": 0});
                if let (Value::Object(fields), Value::Object(more)) = (&mut fields, more) {
                    fields.extend(more);
                }
                fields
            };
            let empty = json!({"part": {"type": "summary_text", "text": ""}});
            self.send("response.reasoning_summary_part.added", part(empty))?;
            self.send("response.reasoning_summary_text.delta", part(json!({"delta": text})))?;
            self.send("response.reasoning_summary_text.done", part(json!({"text": text})))?;
        }
        self.send("response.output_item.done", json!({"output_index": place, "item": item}))
    }
}

pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// What comes before a request's body.
pub(crate) struct Head {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    /// Of the body, in bytes.
    pub(crate) length: usize,
}

/// None when the connection was closed without a request, as our own waking call does.
pub(crate) fn read_request(mut stream: &TcpStream) -> io::Result<Option<Request>> {
    let Some(head) = read_head(stream)? else { return Ok(None) };
    let mut body = vec![0; head.length];
    stream.read_exact(&mut body)?;
    let text = |(name, value): (String, Vec<u8>)| (name, String::from_utf8_lossy(&value).trim().to_owned());
    let headers: BTreeMap<String, String> = head.headers.into_iter().map(text).collect();
    Ok(Some(Request { method: head.method, path: head.path, headers, body }))
}

/// Takes no byte of the body off the stream.
pub(crate) fn read_head(mut stream: &TcpStream) -> io::Result<Option<Head>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte)? == 0 {
            return Ok(None);
        }
        head.push(byte[0]);
    }
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut headers);
    parsed.parse(&head).map_err(io::Error::other)?;
    let headers: Vec<_> = parsed
        .headers
        .iter()
        .map(|header| (header.name.to_ascii_lowercase(), header.value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.and_then(|(_, value)| std::str::from_utf8(value).ok()?.trim().parse().ok());
    Ok(Some(Head {
        method: parsed.method.unwrap_or_default().to_owned(),
        path: parsed.path.unwrap_or_default().to_owned(),
        length: length.unwrap_or(0),
        headers,
    }))
}
