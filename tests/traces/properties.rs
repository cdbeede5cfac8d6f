//! What holds of every file, damaged or hostile: reading is total, ids never change, spans form a tree.
//!
//! `PROPTEST_CASES=10000 EVERY_PREFIX=1 cargo test --release --test traces properties::` looks at many more.

use codex_session::rollout::reader::Lines;
use codex_session::session::model::Session;
use codex_session::session::reducer::SessionReducer;
use codex_traced::claim::thread_record::ThreadRecord;
use codex_traced::trace::build::{TraceSource, build_family};
use codex_traced::trace::price_book::PriceBook;
use mlflow_store::ids::SpanId;
use mlflow_store::trace::{Span, Trace};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::LazyLock;

/// Larger files repeat the same lines; every case would be slow.
const LARGE: usize = 150_000;

/// The files of the corpus, by lines without their LF.
static CORPUS: LazyLock<Vec<Vec<Vec<u8>>>> = LazyLock::new(|| {
    let files = corpus_files().into_iter().filter(|bytes| bytes.len() < LARGE);
    files.map(|bytes| lines_of(&bytes)).collect()
});

fn corpus_files() -> Vec<Vec<u8>> {
    let below = |folder: &Path| {
        let entries = fs::read_dir(folder).expect("the corpus");
        entries.map(|entry| entry.expect("a file of the corpus").path()).collect::<Vec<_>>()
    };
    let mut paths: Vec<_> =
        below(Path::new("tests/corpus")).iter().flat_map(|version| below(version)).collect();
    paths.sort();
    paths.into_iter().map(|path| fs::read(path).expect("a file of the corpus")).collect()
}

fn lines_of(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.trim_ascii_end().split(|b| *b == b'\n').map(<[u8]>::to_vec).collect()
}

/// A `Read` that gives what it likes, as a pipe does.
struct Chunks<'a> {
    left: &'a [u8],
    sizes: std::iter::Cycle<std::slice::Iter<'a, usize>>,
}

impl Read for Chunks<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let size = self.sizes.next().copied().unwrap_or(1).min(into.len()).min(self.left.len());
        let (now, later) = self.left.split_at(size);
        into[..size].copy_from_slice(now);
        self.left = later;
        Ok(size)
    }
}

fn session_of(source: impl Read) -> Session {
    let mut lines = Lines::new(source);
    let mut reducer = SessionReducer::default();
    while let Some(line) = lines.next_line().expect("memory can be read") {
        reducer.observe(line);
    }
    reducer.finish()
}

fn trace_of(session: &Session) -> Option<Trace> {
    let surroundings =
        TraceSource { rollout: Path::new("rollout.jsonl"), user: None, prices: PriceBook::built_in() };
    build_family(&session.clone().into(), &ThreadRecord::default(), surroundings)
}

fn ids_of(session: &Session) -> BTreeSet<SpanId> {
    trace_of(session).iter().flat_map(|trace| &trace.spans).map(|span| span.id).collect()
}

fn joined(lines: &[Vec<u8>]) -> Vec<u8> {
    lines.join(&b'\n')
}

/// What an exporter relies on.
fn assert_tree(trace: &Trace) {
    let mut seen: HashMap<SpanId, &Span> = HashMap::new();
    for (index, span) in trace.spans.iter().enumerate() {
        assert_ne!(span.id, SpanId([0; 8]), "{} has no id", span.name);
        assert!(span.ended_at >= span.started_at, "{} ends before it starts", span.name);
        assert!(
            span.started_at >= trace.started_at && span.ended_at <= trace.ended_at,
            "{} sticks out",
            span.name
        );
        match span.parent {
            None => assert_eq!(index, 0, "{} is a second root", span.name),
            Some(parent) => {
                // Also not its own parent: it is added below.
                let parent =
                    seen.get(&parent).unwrap_or_else(|| panic!("{} has no parent before it", span.name));
                assert!(parent.started_at <= span.started_at, "{} starts before {}", span.name, parent.name);
            }
        }
        assert!(seen.insert(span.id, span).is_none(), "{} has an id of another", span.name);
    }
    let root = &trace.spans[0];
    assert_eq!((root.started_at, root.ended_at), (trace.started_at, trace.ended_at));
}

/// Reads, builds, and checks all that holds of any bytes; gives the session for more.
fn assert_total(bytes: &[u8]) -> Session {
    let session = session_of(bytes);
    let trace = trace_of(&session);
    trace.iter().for_each(assert_tree);
    let json = |trace: &Option<Trace>| serde_json::to_vec(trace).expect("a trace is JSON");
    assert_eq!(json(&trace), json(&trace_of(&session_of(bytes))), "the same bytes gave another trace");
    session
}

/// Numbers, times and texts that no Codex writes.
fn hostile_value() -> impl Strategy<Value = &'static str> {
    select(vec![
        "null",
        "true",
        "0",
        "-1",
        "1.5",
        "1e308",
        "18446744073709551615",
        "9223372036854775807",
        "-9223372036854775808",
        "99999999999999999999999999",
        "\"\"",
        "\"\\u0000\"",
        "\"-009999-01-01T00:00:00Z\"",
        "\"9999-12-31T23:59:59.999999999Z\"",
        "\"ä€😀\\u2028\"",
        "[]",
        "[[]]",
        "{}",
        "{\"text\":7}",
    ])
}

/// One way to damage the lines of a file.
#[derive(Clone, Debug)]
enum Damage {
    Swap(Index, Index),
    Repeat(Index, Index),
    Lose(Index),
    /// A crash in the middle of a write.
    CutShort(Index, Index),
    /// Two writers at once.
    Splice(Index, Index, Index),
    Put(Index, Index, &'static [u8]),
    /// A field, found by its colon, has another value.
    Replace(Index, Index, &'static str),
}

fn damage() -> impl Strategy<Value = Damage> {
    let strange = select(vec![
        &b"\0"[..],
        b"\r",
        b"\r\n",
        b"\n",
        "\u{2028}".as_bytes(),
        b"\xff\xfe",
        b"\"",
        b"{",
        b"}",
    ]);
    let place = any::<Index>;
    prop_oneof![
        1 => (place(), place()).prop_map(|(a, b)| Damage::Swap(a, b)),
        1 => (place(), place()).prop_map(|(a, b)| Damage::Repeat(a, b)),
        1 => place().prop_map(Damage::Lose),
        1 => (place(), place()).prop_map(|(a, b)| Damage::CutShort(a, b)),
        1 => (place(), place(), place()).prop_map(|(a, b, c)| Damage::Splice(a, b, c)),
        1 => (place(), place(), strange).prop_map(|(a, b, bytes)| Damage::Put(a, b, bytes)),
        3 => (place(), place(), hostile_value()).prop_map(|(a, b, value)| Damage::Replace(a, b, value)),
    ]
}

fn apply(damage: &Damage, lines: &mut Vec<Vec<u8>>) {
    if lines.is_empty() {
        return;
    }
    let count = lines.len();
    let at = |index: &Index| index.index(count);
    match damage {
        Damage::Swap(a, b) => lines.swap(at(a), at(b)),
        Damage::Repeat(a, b) => lines.insert(at(b), lines[at(a)].clone()),
        Damage::Lose(a) => drop(lines.remove(at(a))),
        Damage::CutShort(a, place) => {
            let line = &mut lines[at(a)];
            line.truncate(place.index(line.len() + 1));
        }
        Damage::Splice(a, b, place) => {
            let tail = lines[at(b)].clone();
            let line = &mut lines[at(a)];
            line.truncate(place.index(line.len() + 1));
            line.extend(tail);
        }
        Damage::Put(a, place, bytes) => {
            let line = &mut lines[at(a)];
            let place = place.index(line.len() + 1);
            line.splice(place..place, bytes.iter().copied());
        }
        Damage::Replace(a, place, value) => replace_field(&mut lines[at(a)], place, value),
    }
}

/// Only a number, a word or a simple text is replaced, so that the line stays JSON.
fn replace_field(line: &mut Vec<u8>, place: &Index, value: &str) {
    let colons: Vec<usize> = (1..line.len()).filter(|at| line[at - 1..=*at] == *b"\":").collect();
    if colons.is_empty() {
        return;
    }
    let from = colons[place.index(colons.len())] + 1;
    let text = line.get(from) == Some(&b'"');
    let body = &line[from + usize::from(text)..];
    let end =
        if text { body.iter().position(|b| *b == b'"') } else { body.iter().position(|b| b",}".contains(b)) };
    if let Some(length) = end {
        let to = from + length + 2 * usize::from(text);
        line.splice(from..to, value.bytes());
    }
}

fn damaged_file() -> impl Strategy<Value = Vec<Vec<u8>>> {
    (any::<Index>(), vec(damage(), 1..12)).prop_map(|(file, damages)| {
        let mut lines = CORPUS[file.index(CORPUS.len())].clone();
        damages.iter().for_each(|damage| apply(damage, &mut lines));
        lines
    })
}

/// Lines of all files in any order.
fn mixed_lines() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec((any::<Index>(), any::<Index>()), 0..60).prop_map(|places| {
        let line = |(file, line): (Index, Index)| {
            let lines = &CORPUS[file.index(CORPUS.len())];
            lines[line.index(lines.len())].clone()
        };
        // Without a thread there is no trace to look at.
        std::iter::once(CORPUS[0][0].clone()).chain(places.into_iter().map(line)).collect()
    })
}

proptest! {
    // A failure prints the smallest input that shows it, which helps more than a file of seeds.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_give_a_session(bytes in vec(any::<u8>(), 0..2000)) {
        assert_total(&bytes);
    }

    #[test]
    fn a_damaged_file_gives_a_session_and_a_tree(lines in damaged_file()) {
        assert_total(&joined(&lines));
    }

    #[test]
    fn lines_in_any_order_give_a_session_and_a_tree(lines in mixed_lines()) {
        assert_total(&joined(&lines));
    }

    #[test]
    fn the_size_of_a_read_does_not_matter(
        lines in damaged_file(),
        sizes in vec(1..5000usize, 1..8),
    ) {
        let bytes = joined(&lines);
        let chunks = Chunks { left: &bytes, sizes: sizes.iter().cycle() };
        prop_assert_eq!(session_of(chunks), session_of(&*bytes));
    }

    #[test]
    fn a_line_that_is_not_known_changes_only_its_count(
        file in any::<Index>(),
        places in vec(any::<Index>(), 1..5),
        kind in "[a-z_]{1,12}_of_tomorrow",
        payload in hostile_value(),
    ) {
        let known = &CORPUS[file.index(CORPUS.len())];
        let mut lines = known.clone();
        let shapes = [
            format!(r#"{{"timestamp":"2026-11-22T10:04:49.835Z","type":"{kind}","payload":{payload}}}"#),
            format!(r#"{{"type":"event_msg","payload":{{"type":"{kind}","info":{payload}}}}}"#),
            format!(r#"{{"type":"response_item","payload":{{"type":"{kind}","info":{payload}}}}}"#),
            format!(r#"{{"type":"event_msg","payload":{{"type":"item_completed","item":{{"type":"{kind}"}}}}}}"#),
        ];
        for (index, place) in places.iter().enumerate() {
            lines.insert(1 + place.index(lines.len()), shapes[index % shapes.len()].clone().into_bytes());
        }
        let mut session = session_of(&*joined(&lines));
        prop_assert_eq!(session.unknown_lines.values().sum::<u64>(), places.len() as u64);
        let expected = session_of(&*joined(known));
        session.unknown_lines.clear();
        // A line without meaning yields only the time of its writing.
        (session.first_line_at, session.last_line_at) = (expected.first_line_at, expected.last_line_at);
        prop_assert_eq!(session, expected);
    }

    #[test]
    fn a_prefix_of_a_damaged_file_has_no_id_that_the_whole_has_not(lines in damaged_file(), end in any::<Index>()) {
        // Who the thread is must be known: without, another thread's ids are made.
        let meta = CORPUS[0][0].clone();
        let lines: Vec<_> = std::iter::once(meta).chain(lines).collect();
        let prefix = &lines[..=end.index(lines.len())];
        let (part, whole) = (ids_of(&session_of(&*joined(prefix))), ids_of(&session_of(&*joined(&lines))));
        prop_assert!(part.is_subset(&whole), "{:?}", part.difference(&whole).collect::<Vec<_>>());
    }
}

/// Of a large file only some prefixes are tried, unless `EVERY_PREFIX` is set: each is a whole trace.
fn stride(bytes: usize) -> usize {
    if bytes < LARGE || std::env::var_os("EVERY_PREFIX").is_some() { 1 } else { 100 }
}

#[test]
fn every_prefix_of_every_file_has_only_ids_of_the_whole_and_the_tokens_that_codex_counted() {
    let files = corpus_files();
    assert!(files.len() >= 90, "only {} files", files.len());
    for bytes in files {
        let lines = lines_of(&bytes);
        let whole = ids_of(&session_of(&*bytes));
        let mut reducer = SessionReducer::default();
        let mut before = BTreeSet::new();
        for (index, line) in lines.iter().enumerate() {
            reducer.observe(line);
            if index % stride(bytes.len()) > 0 && index + 1 < lines.len() {
                continue;
            }
            let session = reducer.snapshot();
            assert_ne!(session.tokens_reconcile(), Some(false), "after {}", String::from_utf8_lossy(line));
            let trace = trace_of(&session);
            trace.iter().for_each(assert_tree);
            let ids: BTreeSet<SpanId> =
                trace.iter().flat_map(|trace| &trace.spans).map(|span| span.id).collect();
            assert!(ids.is_subset(&whole), "{:?}", ids.difference(&whole).collect::<Vec<_>>());
            assert!(before.is_subset(&ids), "an id was taken back");
            before = ids;
        }
        assert_eq!(before, whole);
    }
}

#[test]
fn a_session_of_thousands_of_spans_is_a_tree() {
    let copies = |times: usize| -> Vec<Vec<u8>> {
        let basic =
            lines_of(&fs::read("tests/corpus/0.169.0/exec-basic.jsonl").expect("a file of the corpus"));
        let (head, turn) = basic.split_at(1);
        let again = (0..times).flat_map(|n| {
            turn.iter().map(move |line| {
                String::from_utf8_lossy(line).replace(":\"call_", &format!(":\"call_{n}_")).into_bytes()
            })
        });
        head.iter().cloned().chain(again).collect()
    };
    let trace = trace_of(&session_of(&*joined(&copies(1000)))).unwrap();
    assert_tree(&trace);
    assert!(trace.spans.len() > 5000, "{} spans", trace.spans.len());
}
