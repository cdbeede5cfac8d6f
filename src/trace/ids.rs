//! The ids of traces and spans, derived from thread ids and keys, so that they never change.

use mlflow_store::ids::{SpanId, TraceId};

/// The thread's own UUID, so that the Codex session id gives the trace id.
/// A thread id that is no UUID is hashed; no known Codex version writes one.
pub fn trace_of_thread(thread: &str) -> TraceId {
    let uuid = format!("tr-{}", thread.replace('-', ""));
    uuid.parse().unwrap_or_else(|_| TraceId::from_parts(&[thread]))
}

/// Id of a continuation: a trace of turns after the target archived the previous trace. `number` counts from 1.
pub fn trace_of_continuation(thread: &str, number: usize) -> TraceId {
    TraceId::from_parts(&[thread, &continuation(number)])
}

/// Id of one turn's trace, where each turn has a trace. `turn` counts from 1.
pub fn trace_of_turn(thread: &str, turn: usize) -> TraceId {
    TraceId::from_parts(&[thread, &format!("turn:{turn}")])
}

/// From the thread and a key that no later line of the session file changes: the span's kind and index, or the
/// call id.
pub fn span_of_key(thread: &str, key: &str) -> SpanId {
    SpanId::from_parts(&[thread, key])
}

/// Id of the root span of a continuation.
pub fn span_of_continuation(thread: &str, number: usize) -> SpanId {
    span_of_key(thread, &continuation(number))
}

fn continuation(number: usize) -> String {
    format!("continued:{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_keep_the_values_of_earlier_releases() {
        let thread = "01a202b6-a73e-7ee3-8243-251c871b1d4f";
        let ids = [
            (trace_of_thread(thread), "tr-01a202b6a73e7ee38243251c871b1d4f"),
            (trace_of_thread("no uuid"), "tr-c5743688f245f127e012f941b1c8e960"),
            (trace_of_continuation(thread, 1), "tr-69b8de08f6b020d4ee64d744f570d991"),
            (trace_of_turn(thread, 1), "tr-559d14a72b6a223ad26f922148ca279c"),
        ];
        for (id, expected) in ids {
            assert_eq!(id.to_string(), expected);
        }
        assert_eq!(span_of_key(thread, "root").to_string(), "1fc08800a12e24dc");
        assert_eq!(span_of_continuation(thread, 1).to_string(), "69b8de08f6b020d4");
    }
}
