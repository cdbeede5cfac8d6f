//! A trace that grows by updates, as the tracer sends them, is the trace that is made at the end.

use codex_session::session::Tail;
use codex_session::session::family::{self, Family};
use codex_traced::claim::thread_record::ThreadRecord;
use codex_traced::redact::{Redactor, Rules, Salt};
use codex_traced::settings::modes::Content;
use codex_traced::trace::build::{TraceSource, build_family, rebuild_family, rebuild_turns};
use codex_traced::trace::continuation::{Continuation, rebuild_continuation};
use codex_traced::trace::draft::{OutlinePrint, PartialTrace};
use codex_traced::trace::ids::trace_of_thread;
use codex_traced::trace::price_book::PriceBook;
use codex_traced::tracer::live_trace::{Changes, LiveTrace};
use mlflow_store::ids::{SpanId, TraceId};
use mlflow_store::target::Target;
use mlflow_store::trace::{Span, Trace};
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Of smaller files every line is a step.
const SMALL: usize = 100_000;

static CORPUS: LazyLock<Vec<(PathBuf, Vec<u8>)>> = LazyLock::new(|| {
    let below = |folder: &Path| -> Vec<PathBuf> {
        fs::read_dir(folder).expect("the corpus").map(|entry| entry.expect("an entry").path()).collect()
    };
    let mut paths: Vec<_> = below(Path::new("tests/corpus")).iter().flat_map(|of| below(of)).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).expect("a file of the corpus"))).collect()
});

static REDACTOR: LazyLock<Redactor> = LazyLock::new(|| Redactor::new(Rules::built_in(), Salt::new([0; 32])));

fn source() -> TraceSource<'static> {
    TraceSource { rollout: Path::new("rollout.jsonl"), user: None, prices: PriceBook::built_in() }
}

fn built(family: &Family, before: Option<&Family>) -> Option<PartialTrace> {
    rebuild_family(family, before, &ThreadRecord::default(), source())
}

/// What becomes of an update.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Arrives,
    Fails,
}

/// A session file that grows, its tracer, and a target that keeps what arrives.
struct Follow {
    _folder: tempfile::TempDir,
    file: File,
    tail: Tail,
    live: LiveTrace,
    before: Option<Family>,
    content: Content,
    now: Instant,
    info: Option<Trace>,
    spans: BTreeMap<SpanId, Span>,
    /// Every id that was ever sent.
    ids: BTreeSet<SpanId>,
}

impl Follow {
    fn new(content: Content) -> Follow {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("session.jsonl");
        Follow {
            file: File::create(&path).expect("the session file"),
            tail: Tail::new(&path),
            live: LiveTrace::new(&Target::Sqlite("/x.db".into()), None),
            before: None,
            content,
            now: Instant::now(),
            info: None,
            spans: BTreeMap::new(),
            ids: BTreeSet::new(),
            _folder: folder,
        }
    }

    fn grow(&mut self, bytes: &[u8], after: Duration, fate: Fate) {
        self.file.write_all(bytes).expect("write");
        self.tail.read().expect("read");
        self.now += after;
        self.update(fate);
    }

    fn changes(&mut self) -> Changes {
        let family = Family::from(self.tail.session());
        let Some(part) = built(&family, self.before.as_ref()) else { return Changes::None };
        let whole = || built(&family, None);
        let changes = self.live.changes(part, &whole, (self.content, &REDACTOR), self.now).expect("a tree");
        self.before = Some(family);
        changes
    }

    fn update(&mut self, fate: Fate) {
        let part = match self.changes() {
            Changes::None | Changes::Root(_) => return,
            Changes::Whole(trace) => {
                let whole = built(self.before.as_ref().expect("it was built"), None).expect("a trace");
                assert_eq!(trace.spans.len(), whole.span_count());
                Trace::from(trace)
            }
            Changes::Part(part) => Trace::from(part),
        };
        self.ids.extend(part.spans.iter().map(|span| span.id));
        match fate {
            Fate::Arrives => {
                self.spans.extend(part.spans.iter().map(|span| (span.id, span.clone())));
                if part.root().is_some() {
                    self.info = Some(Trace { spans: Vec::new(), ..part });
                }
                self.live.arrived("1".into());
            }
            Fate::Fails => self.live.failed(),
        }
    }

    /// What the target has at the end, and what a trace made at the end is.
    fn end(mut self) -> (Option<Trace>, Option<Trace>) {
        // The root waits for its time.
        self.now += Duration::from_secs(3600);
        self.update(Fate::Arrives);
        let made = build_family(&self.tail.session().into(), &ThreadRecord::default(), source());
        let made = made.map(|built| Trace::from(REDACTOR.redact(built, self.content)));
        let mut kept = self.info.take();
        if let (Some(kept), Some(made)) = (&mut kept, &made) {
            kept.spans = made.spans.iter().filter_map(|span| self.spans.remove(&span.id)).collect();
            let whole: BTreeSet<SpanId> = made.spans.iter().map(|span| span.id).collect();
            assert!(self.ids.is_subset(&whole), "an update had a span that the trace has not");
        }
        (kept, made)
    }
}

#[test]
fn every_line_of_a_small_session_is_an_update_and_the_sum_is_the_whole() {
    for (path, bytes) in CORPUS.iter().filter(|(_, bytes)| bytes.len() < SMALL) {
        let mut follow = Follow::new(Content::Full);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            follow.grow(line, Duration::from_secs(1), Fate::Arrives);
        }
        let (kept, made) = follow.end();
        assert_eq!(kept, made, "{}", path.display());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn any_steps_with_any_failures_give_the_whole(
        (path, bytes) in select(&**CORPUS),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0_u64..8, prop::bool::weighted(0.8)), 0..12),
        content in select(vec![Content::Full, Content::Metadata]),
    ) {
        let mut cuts: Vec<_> = cuts.iter().map(|(at, after, arrives)| (at.index(bytes.len() + 1), *after, *arrives)).collect();
        cuts.push((bytes.len(), 1, true));
        cuts.sort();
        let (mut follow, mut from) = (Follow::new(content), 0);
        for (to, after, arrives) in cuts {
            let fate = if arrives { Fate::Arrives } else { Fate::Fails };
            follow.grow(&bytes[from..to], Duration::from_secs(after), fate);
            from = to;
        }
        let (kept, made) = follow.end();
        prop_assert_eq!(kept, made, "{}", path.display());
    }
}

/// A session of one turn: each text is a command that the model asks for.
fn lines(commands: &[&str]) -> Vec<String> {
    let at = |second: usize| format!("2026-11-22T10:00:{second:02}.000Z");
    let line = |second, kind: &str, payload: serde_json::Value| {
        serde_json::json!({"timestamp": at(second), "type": kind, "payload": payload}).to_string() + "\n"
    };
    let mut lines = vec![
        line(
            0,
            "session_meta",
            serde_json::json!({"id": "01a202b6-a73e-7ee3-8243-251c871b1d4f", "timestamp": at(0), "cwd": "/w"}),
        ),
        line(1, "event_msg", serde_json::json!({"type": "task_started", "turn_id": "t"})),
        line(1, "event_msg", serde_json::json!({"type": "user_message", "message": "go"})),
    ];
    for (number, command) in commands.iter().enumerate() {
        let call = serde_json::json!({"type": "function_call", "name": "shell", "call_id": format!("c{number}"), "arguments": serde_json::json!({"command": command}).to_string()});
        lines.push(line(2 + number, "response_item", call));
        let output = serde_json::json!({"type": "function_call_output", "call_id": format!("c{number}"), "output": "done"});
        lines.push(line(2 + number, "response_item", output));
    }
    lines
}

#[test]
fn a_secret_that_becomes_known_later_is_replaced_in_spans_that_were_sent_before() {
    let secret = "hunter2-and-a-half-Kq7";
    let commands =
        [format!("echo {secret}"), "ls".into(), format!("export DB_PASSWORD={secret}"), "ls".into()];
    let mut follow = Follow::new(Content::Full);
    for line in lines(&commands.each_ref().map(String::as_str)) {
        follow.grow(line.as_bytes(), Duration::from_secs(1), Fate::Arrives);
    }
    let (kept, made) = follow.end();
    assert_eq!(kept, made);
    let text = serde_json::to_string(&kept).expect("JSON");
    assert!(text.contains("[redacted:") && !text.contains(secret), "{text}");
}

#[test]
fn an_update_has_only_what_changed() {
    let commands: Vec<String> = (0..50).map(|number| format!("echo {number}")).collect();
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    let lines = lines(&commands);
    let (last, before) = lines.split_last().expect("lines");
    let mut follow = Follow::new(Content::Full);
    follow.grow(before.concat().as_bytes(), Duration::ZERO, Fate::Arrives);
    follow.file.write_all(last.as_bytes()).expect("write");
    follow.tail.read().expect("read");
    match follow.changes() {
        Changes::Part(part) => {
            let names: Vec<&str> = part.spans.iter().map(|span| &*span.name).collect();
            assert_eq!(names, ["tool_shell"], "the last call, which has returned; the root waits");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_build_has_only_the_spans_of_steps_that_changed() {
    let commands: Vec<String> = (0..50).map(|number| format!("echo {number}")).collect();
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    let mut follow = Follow::new(Content::Full);
    let mut counts = Vec::new();
    for line in lines(&commands) {
        follow.file.write_all(line.as_bytes()).expect("write");
        follow.tail.read().expect("read");
        let family = Family::from(follow.tail.session());
        if let Some(built) = built(&family, follow.before.as_ref()) {
            counts.push(built.trace.spans.len());
        }
        follow.before = Some(family);
    }
    assert!(counts.len() > 100 && counts.iter().all(|count| *count <= 4), "{counts:?}");
}

/// The forms in which a session is traced.
fn forms(family: &Family, before: Option<&Family>) -> Vec<PartialTrace> {
    let record = ThreadRecord::default();
    let part = Continuation { number: 1, from: 1, continues: trace_of_thread("a thread") };
    let whole = rebuild_family(family, before, &record, source());
    let later = rebuild_continuation(family, before, part, &record, source());
    whole.into_iter().chain(later).chain(rebuild_turns(family, before, &record, source())).collect()
}

/// Builds a family at each moment as an update does, and compares it with a whole build.
#[derive(Default)]
struct Rebuilds {
    before: Option<Family>,
    known: BTreeMap<(TraceId, SpanId), Span>,
    /// Spans that were left out because they were as before.
    left_out: usize,
    /// Spans that were left out, and whose place shows that they are not as before.
    moved: usize,
}

impl Rebuilds {
    fn next(&mut self, family: Family, case: &str) {
        let builds = forms(&family, self.before.as_ref());
        let mut now = BTreeMap::new();
        for (part, whole) in builds.into_iter().zip(forms(&family, None)) {
            let id = whole.trace.id;
            assert_eq!((part.trace.id, part.span_count()), (id, whole.span_count()));
            now.extend(whole.trace.spans.into_iter().map(|span| ((id, span.id), span)));
            for span in &part.trace.spans {
                assert_eq!(Some(span), now.get(&(id, span.id)), "{case}");
            }
            for (span, place) in &part.unchanged {
                let before = self.known.get(&(id, *span));
                if before.is_some_and(|before| OutlinePrint::of(before) == *place) {
                    self.left_out += 1;
                    assert_eq!(before, now.get(&(id, *span)), "{case}");
                } else {
                    self.moved += 1;
                }
            }
        }
        (self.known, self.before) = (now, Some(family));
    }
}

#[test]
fn spans_that_a_build_leaves_out_are_as_they_were_or_their_places_differ() {
    let (mut left_out, mut moved) = (0, 0);
    for (path, bytes) in CORPUS.iter().filter(|(_, bytes)| bytes.len() < SMALL) {
        let (mut follow, mut rebuilds) = (Follow::new(Content::Full), Rebuilds::default());
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            follow.file.write_all(line).expect("write");
            follow.tail.read().expect("read");
            rebuilds.next(follow.tail.session().into(), &path.to_string_lossy());
        }
        left_out += rebuilds.left_out;
        moved += rebuilds.moved;
    }
    assert!(left_out > 5_000 && moved * 20 < left_out, "{left_out} and {moved}");
}

/// Lines of several files in the order of their times, with the number of their file.
fn lines_by_time(files: &[&[u8]]) -> Vec<(usize, Vec<u8>)> {
    let time = |line: &[u8]| -> String {
        let line: serde_json::Value = serde_json::from_slice(line).expect("JSON");
        line["timestamp"].as_str().unwrap_or_default().to_owned()
    };
    let lines = |(number, bytes): (usize, &&[u8])| -> Vec<_> {
        bytes.split_inclusive(|byte| *byte == b'\n').map(|line| (time(line), number, line.to_vec())).collect()
    };
    let mut all: Vec<_> = files.iter().enumerate().flat_map(lines).collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all.into_iter().map(|(_, number, line)| (number, line)).collect()
}

#[test]
fn sub_agents_and_files_of_a_rewind_are_built_again_as_the_whole_is() {
    for case in ["nested-agents", "review-exec", "subagent-trace", "subagent-v1", "rewind"] {
        let is_of_case = |path: &Path| {
            let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
            path.parent().is_some_and(|folder| folder.ends_with("0.169.0"))
                && name
                    .rsplit_once('-')
                    .is_some_and(|(of, number)| of == case && number.parse::<u8>().is_ok())
        };
        let files: Vec<&[u8]> =
            CORPUS.iter().filter(|(path, _)| is_of_case(path)).map(|(_, bytes)| &**bytes).collect();
        assert!(files.len() > 1, "{case}");
        let mut followed: Vec<Follow> = files.iter().map(|_| Follow::new(Content::Full)).collect();
        let mut rebuilds = Rebuilds::default();
        for (number, line) in lines_by_time(&files) {
            followed[number].file.write_all(&line).expect("write");
            followed[number].tail.read().expect("read");
            let begun = followed.iter().filter(|follow| follow.tail.position() > 0);
            let mut sessions: Vec<_> = begun.map(|follow| follow.tail.session()).collect();
            let family = match case {
                "rewind" => family::join(sessions).expect("a session").into(),
                _ => Family::gather(sessions.remove(0), |_| sessions.clone()),
            };
            rebuilds.next(family, case);
        }
        let members = rebuilds.before.map_or(0, |family| family.members.len());
        assert!(rebuilds.left_out > 0 && (members > 1 || case == "rewind"), "{case}: {members}");
    }
}
