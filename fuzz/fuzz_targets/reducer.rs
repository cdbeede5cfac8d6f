//! Any bytes become a session, and its trace is a tree whose ids are each its own.
#![no_main]

use codex_traced::claim::thread_record::ThreadRecord;
use codex_session::session::reducer::SessionReducer;
use codex_traced::trace::build::{TraceSource, build_family};
use codex_traced::trace::price_book::PriceBook;
use libfuzzer_sys::fuzz_target;
use std::collections::HashMap;
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    let mut reducer = SessionReducer::default();
    for line in bytes.split(|byte| *byte == b'\n') {
        reducer.observe(line);
    }
    let _ = reducer.snapshot();
    let session = reducer.finish();
    let surroundings = TraceSource { rollout: Path::new("rollout.jsonl"), user: None, prices: PriceBook::built_in() };
    let Some(trace) = build_family(&session.into(), &ThreadRecord::default(), surroundings) else { return };
    let mut seen = HashMap::new();
    for span in &trace.spans {
        assert!(span.ended_at >= span.started_at, "{} ends before it starts", span.name);
        match span.parent {
            None => assert!(seen.is_empty(), "{} is a second root", span.name),
            Some(parent) => {
                let began = *seen.get(&parent).expect("a parent before its child");
                assert!(began <= span.started_at, "{} starts before its parent", span.name);
            }
        }
        assert!(seen.insert(span.id, span.started_at).is_none(), "{} has an id of another", span.name);
    }
});
