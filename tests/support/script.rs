//! The replies of the model server, one by one.

use std::collections::VecDeque;
use std::ops::AddAssign;

use serde_json::{Value, json};

use crate::gate::Gate;

/// Replies in the order in which they are given; a routed one waits for the request it is meant for.
#[derive(Clone, Debug, Default)]
pub struct Script {
    replies: VecDeque<(Option<String>, Reply)>,
}

impl Script {
    pub fn new() -> Script {
        Script::default()
    }

    pub fn reply(mut self, reply: Reply) -> Script {
        self.replies.push_back((None, reply));
        self
    }

    /// A reply kept for a request whose body (JSON as sent) contains `needle`, as for sub-agents.
    pub fn reply_to(mut self, needle: &str, reply: Reply) -> Script {
        self.replies.push_back((Some(needle.to_owned()), reply));
        self
    }

    pub fn then(mut self, more: Script) -> Script {
        self.replies.extend(more.replies);
        self
    }

    pub fn is_empty(&self) -> bool {
        self.replies.is_empty()
    }

    /// The first reply kept for this request, else the first that is for anyone.
    pub(crate) fn next(&mut self, body: &str) -> Option<Reply> {
        let routed =
            |(needle, _): &(Option<String>, Reply)| needle.as_ref().is_some_and(|n| body.contains(n));
        let place = self.replies.iter().position(routed);
        let place = place.or_else(|| self.replies.iter().position(|(needle, _)| needle.is_none()))?;
        self.replies.remove(place).map(|(_, reply)| reply)
    }
}

/// One answer of the model. By default it ends well and reports `Usage::USUAL`.
#[derive(Clone, Debug)]
pub struct Reply {
    pub(crate) items: Vec<Item>,
    pub(crate) usage: Option<Usage>,
    pub(crate) ending: Ending,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) gate_at_start: Option<Gate>,
    pub(crate) gate_at_end: Option<Gate>,
}

#[derive(Clone, Debug)]
pub(crate) enum Ending {
    Completed,
    Failed {
        code: String,
        message: String,
    },
    Incomplete {
        reason: String,
    },
    /// The socket closes after so many items, without a last event.
    Dropped {
        after: usize,
    },
    /// No stream at all: a plain HTTP answer.
    Http {
        status: u16,
        body: Value,
    },
}

impl Default for Reply {
    fn default() -> Reply {
        Reply {
            items: Vec::new(),
            usage: Some(Usage::USUAL),
            ending: Ending::Completed,
            headers: Vec::new(),
            gate_at_start: None,
            gate_at_end: None,
        }
    }
}

impl Reply {
    pub fn new() -> Reply {
        Reply::default()
    }

    pub fn item(mut self, item: Item) -> Reply {
        self.items.push(item);
        self
    }

    pub fn reasoning(self, summary: &str) -> Reply {
        self.item(Item::reasoning(summary))
    }

    /// Text of the model while it works.
    pub fn commentary(self, text: &str) -> Reply {
        self.item(Item::message(text).phase("commentary"))
    }

    /// The last text of the model in a turn.
    pub fn answer(self, text: &str) -> Reply {
        self.item(Item::message(text).phase("final_answer"))
    }

    /// A function call; `Item::call` takes an id and a namespace too.
    pub fn call(self, tool: &str, arguments: Value) -> Reply {
        self.item(Item::call(tool, arguments))
    }

    /// A custom tool call: free text in, as `apply_patch` and code mode's `exec` take it.
    pub fn custom(self, tool: &str, input: &str) -> Reply {
        self.item(Item::custom(tool, input))
    }

    pub fn web_search(self, query: &str) -> Reply {
        self.item(Item::web_search(query))
    }

    /// Tokens as the API counts them: cached is part of input, reasoning is part of output.
    pub fn usage(mut self, input: u64, cached: u64, output: u64, reasoning: u64) -> Reply {
        self.usage = Some(Usage { input, cached, output, reasoning });
        self
    }

    pub fn no_usage(mut self) -> Reply {
        self.usage = None;
        self
    }

    /// Ends with `response.failed`.
    pub fn failed(mut self, code: &str, message: &str) -> Reply {
        self.ending = Ending::Failed { code: code.to_owned(), message: message.to_owned() };
        self
    }

    /// Ends with `response.incomplete`.
    pub fn incomplete(mut self, reason: &str) -> Reply {
        self.ending = Ending::Incomplete { reason: reason.to_owned() };
        self
    }

    /// Closes the socket after so many items.
    pub fn drop_after(mut self, items: usize) -> Reply {
        self.ending = Ending::Dropped { after: items };
        self
    }

    pub fn http_error(mut self, status: u16, message: &str) -> Reply {
        let body = json!({"error": {"message": message, "type": "stand_in_error", "code": null}});
        self.ending = Ending::Http { status, body };
        self
    }

    pub fn http(mut self, status: u16, body: Value) -> Reply {
        self.ending = Ending::Http { status, body };
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Reply {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Not a byte before the gate opens.
    pub fn stall_at_start(mut self, gate: &Gate) -> Reply {
        self.gate_at_start = Some(gate.clone());
        self
    }

    /// All items, but no last event before the gate opens. A gate that stays closed hangs until the client leaves.
    pub fn stall_at_end(mut self, gate: &Gate) -> Reply {
        self.gate_at_end = Some(gate.clone());
        self
    }
}

/// One output item of a reply. Ids that are not given follow from the request's number and the item's place,
/// so the same script gives the same ids.
#[derive(Clone, Debug)]
pub struct Item(pub(crate) Value);

impl Item {
    /// An empty summary gives an item with none, as the API does when it keeps its reasoning to itself.
    pub fn reasoning(summary: &str) -> Item {
        let parts =
            if summary.is_empty() { json!([]) } else { json!([{"type": "summary_text", "text": summary}]) };
        Item(
            json!({"type": "reasoning", "summary": parts, "encrypted_content": format!("gAAAAAB{}", "x".repeat(64))}),
        )
    }

    pub fn message(text: &str) -> Item {
        let content = json!([{"type": "output_text", "annotations": [], "text": text}]);
        Item(json!({"type": "message", "role": "assistant", "status": "completed", "content": content}))
    }

    pub fn call(tool: &str, arguments: Value) -> Item {
        let arguments = match arguments {
            Value::String(text) => text,
            other => other.to_string(),
        };
        Item(json!({"type": "function_call", "name": tool, "status": "completed", "arguments": arguments}))
    }

    pub fn custom(tool: &str, input: &str) -> Item {
        Item(json!({"type": "custom_tool_call", "name": tool, "status": "completed", "input": input}))
    }

    pub fn web_search(query: &str) -> Item {
        let action = json!({"type": "search", "query": query, "queries": [query]});
        Item(json!({"type": "web_search_call", "status": "completed", "action": action}))
    }

    /// Any item, byte for byte; only a missing `id` is added.
    pub fn raw(item: Value) -> Item {
        Item(item)
    }

    pub fn phase(self, phase: &str) -> Item {
        self.with("phase", phase)
    }

    pub fn call_id(self, id: &str) -> Item {
        self.with("call_id", id)
    }

    pub fn namespace(self, namespace: &str) -> Item {
        self.with("namespace", namespace)
    }

    fn with(mut self, key: &str, value: &str) -> Item {
        self.0[key] = json!(value);
        self
    }

    /// The item with the ids it goes out with.
    pub(crate) fn named(&self, request: usize, place: usize) -> Value {
        let mut item = self.0.clone();
        let tail = format!("{request:012x}{place:012x}");
        let (prefix, is_call) = match item["type"].as_str() {
            Some("reasoning") => ("rs", false),
            Some("message") => ("msg", false),
            Some("function_call") => ("fc", true),
            Some("custom_tool_call") => ("ctc", true),
            Some("web_search_call") => ("ws", false),
            _ => ("item", false),
        };
        if item.get("id").is_none() {
            item["id"] = json!(format!("{prefix}_{tail}"));
        }
        if is_call && item.get("call_id").is_none() {
            item["call_id"] = json!(format!("call_{tail}"));
        }
        item
    }
}

/// Tokens as the API reports them: cached is part of input, reasoning is part of output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub input: u64,
    pub cached: u64,
    pub output: u64,
    pub reasoning: u64,
}

impl Usage {
    /// The usage of a reply that sets none.
    pub const USUAL: Usage = Usage { input: 1000, cached: 500, output: 50, reasoning: 20 };

    pub fn total(&self) -> u64 {
        self.input + self.output
    }

    pub(crate) fn as_sent(&self) -> Value {
        json!({
            "input_tokens": self.input,
            "input_tokens_details": {"cached_tokens": self.cached},
            "output_tokens": self.output,
            "output_tokens_details": {"reasoning_tokens": self.reasoning},
            "total_tokens": self.total(),
        })
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, more: Usage) {
        self.input += more.input;
        self.cached += more.cached;
        self.output += more.output;
        self.reasoning += more.reasoning;
    }
}
