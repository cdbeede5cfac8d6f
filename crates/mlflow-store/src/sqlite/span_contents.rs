//! The JSON of spans (`spans.content`). For many spans another thread makes it while SQLite writes.

use crate::trace::Trace;
use crate::wire::{WireSpan, json};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

/// Fewer spans are not worth a thread.
const MANY: usize = 128;

/// Spans that are handed over at once.
const TOGETHER: usize = 32;

/// Hand-overs that may wait. They bound the memory.
const AHEAD: usize = 4;

/// The contents in the order of the traces and their spans.
pub(super) type Contents<'c> = dyn Iterator<Item = String> + 'c;

/// Calls `write` with the contents of all spans.
pub(super) fn with_contents<T>(traces: &[&Trace], write: impl FnOnce(&mut Contents) -> T) -> T {
    let spans: usize = traces.iter().map(|trace| trace.spans.len()).sum();
    if spans < MANY {
        return write(&mut contents(traces));
    }
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(AHEAD);
        let made = thread::Builder::new().spawn_scoped(scope, || send(traces, sender));
        match made {
            Ok(_) => write(&mut receiver.into_iter().flatten()),
            Err(_) => write(&mut contents(traces)),
        }
    })
}

fn contents<'t>(traces: &'t [&Trace]) -> impl Iterator<Item = String> + 't {
    traces.iter().flat_map(|trace| trace.spans.iter().map(|span| json(&WireSpan::from_span(trace, span))))
}

/// Ends early where the receiver does.
fn send(traces: &[&Trace], to: SyncSender<Vec<String>>) {
    let mut contents = contents(traces);
    loop {
        let some: Vec<String> = contents.by_ref().take(TOGETHER).collect();
        if some.is_empty() || to.send(some).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SpanId;
    use crate::tests::trace;

    /// The root, and spans below it.
    fn with_spans(count: u64) -> Trace {
        let mut trace = trace();
        let root = trace.spans[0].clone();
        let below = (1..count).map(|number| {
            let mut span = root.clone();
            (span.id, span.parent) = (SpanId(number.to_be_bytes()), Some(root.id));
            span
        });
        trace.spans = std::iter::once(root.clone()).chain(below).collect();
        trace
    }

    #[test]
    fn each_span_has_its_content_in_order() {
        let many = MANY as u64;
        for counts in [vec![1], vec![many - 1], vec![many], vec![3 * many + 1, 1, many]] {
            let traces: Vec<Trace> = counts.iter().map(|count| with_spans(*count)).collect();
            let traces: Vec<&Trace> = traces.iter().collect();
            let made = with_contents(&traces, |contents| contents.collect::<Vec<_>>());
            assert_eq!(made, contents(&traces).collect::<Vec<_>>(), "{counts:?}");
        }
    }

    #[test]
    fn a_write_that_fails_ends_the_thread() {
        let trace = with_spans(40 * MANY as u64);
        assert_eq!(with_contents(&[&trace], |contents| contents.take(3).count()), 3);
    }
}
