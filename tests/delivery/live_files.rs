//! Codex rewrites, rolls back, compacts, forks, archives or compresses a session that is followed live: the store has
//! in the end what a launch leaves that no tracer follows.

use crate::live_stage::{Exit, Launched, Recording, Stage, assert_alike, comparable};
use jiff::Timestamp;
use mlflow_store::sqlite;
use mlflow_store::trace::TraceState;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use support::run::LIMIT;
use support::{Oracle, each_in_parallel, wait_for};

/// A launch, followed or not, of which a script plays Codex.
struct Scene<'s> {
    stage: &'s Stage,
    launch: Launched<'s>,
    is_followed: bool,
}

impl Scene<'_> {
    fn write(&self, recording: &Recording, from: usize, to: usize) {
        self.stage.write(&recording.name(), &recording.lines[from..to]);
    }

    /// In the middle: the store has so many of the model's responses.
    #[track_caller]
    fn is_seen(&self, recording: &Recording, responses: usize) {
        if self.is_followed {
            self.stage.wait_until_stored(recording.trace(), responses);
        }
    }

    /// As `codex migrate-rollouts --apply` does: another file in its place.
    fn replace(&self, recording: &Recording, lines: &[String]) {
        let (file, new) = (self.stage.file(&recording.name()), self.stage.file("new"));
        fs::write(&new, lines.concat()).expect("write the new file");
        fs::rename(new, file).expect("put it in the old one's place");
    }
}

type Play = fn(&mut Scene, &[Recording]);

/// The sessions, the first of which is open from the start; and what Codex does.
const TABLE: [(&str, &[&str], Play); 10] = [
    ("migrated", &["0.98.0/exec-tools.jsonl", "0.169.0/legacy-mig.jsonl"], |scene, of| {
        scene.write(&of[0], 0, 34);
        scene.is_seen(&of[0], 4);
        scene.replace(&of[0], &of[1].lines[..39]);
        scene.write(&of[1], 39, 48);
        scene.is_seen(&of[0], 5);
    }),
    ("migrated at the end", &["0.98.0/exec-tools.jsonl", "0.169.0/legacy-mig.jsonl"], |scene, of| {
        scene.write(&of[0], 0, 44);
        scene.is_seen(&of[0], 5);
        scene.replace(&of[0], &of[1].lines);
    }),
    ("rewritten with fewer lines", &["0.169.0/exec-basic.jsonl"], |scene, of| {
        scene.write(&of[0], 0, 37);
        scene.is_seen(&of[0], 4);
        // Without the second response and its calls.
        scene.replace(&of[0], &[&of[0].lines[..18], &of[0].lines[25..]].concat());
    }),
    ("rewritten with fewer lines, and another turn", &["0.169.0/exec-json-resume-1.jsonl"], |scene, of| {
        scene.write(&of[0], 0, 33);
        scene.is_seen(&of[0], 3);
        scene.replace(&of[0], &[&of[0].lines[..13], &of[0].lines[18..33]].concat());
        scene.write(&of[0], 33, 57);
        scene.is_seen(&of[0], 4);
    }),
    ("rolled back", &["0.169.0/rewind-1.jsonl", "0.169.0/rewind-2.jsonl"], |scene, of| {
        scene.write(&of[0], 0, 28);
        scene.is_seen(&of[0], 2);
        let day = Timestamp::now().strftime("sessions/%Y/%m/%d").to_string();
        let folder = scene.stage.home.codex().join(day);
        fs::create_dir_all(&folder).expect("make the folder of today");
        let name = format!(
            "rollout-2026-11-25T13-19-14-{}_01a212dc-42c1-7000-8000-000000000001.jsonl",
            of[0].thread
        );
        fs::write(folder.join(name), of[1].lines.concat()).expect("begin another file");
        scene.is_seen(&of[0], 3);
    }),
    ("compacted", &["0.169.0/two-compactions.jsonl"], |scene, of| {
        scene.write(&of[0], 0, 17);
        scene.is_seen(&of[0], 2);
        scene.write(&of[0], 17, 28);
        scene.is_seen(&of[0], 3);
        scene.write(&of[0], 28, 44);
        scene.is_seen(&of[0], 5);
    }),
    ("forked", &["0.169.0/fork-of-a-fork-1.jsonl", "0.169.0/fork-of-a-fork-2.jsonl"], |scene, of| {
        scene.write(&of[0], 0, 14);
        scene.is_seen(&of[0], 1);
        scene.launch.hold(&of[1].thread);
        scene.write(&of[1], 0, 10);
        scene.is_seen(&of[1], 1);
        scene.write(&of[1], 10, 12);
    }),
    ("archived", &["0.169.0/exec-json-resume-1.jsonl"], |scene, of| {
        scene.write(&of[0], 0, 20);
        scene.is_seen(&of[0], 1);
        let archive = scene.stage.home.codex().join("archived_sessions");
        fs::create_dir_all(&archive).expect("make the folder");
        fs::rename(scene.stage.file(&of[0].name()), archive.join(of[0].name())).expect("archive it");
    }),
    ("archived and brought back", &["0.169.0/exec-json-resume-1.jsonl"], |scene, of| {
        scene.write(&of[0], 0, 23);
        scene.is_seen(&of[0], 2);
        let archive = scene.stage.home.codex().join("archived_sessions");
        fs::create_dir_all(&archive).expect("make the folder");
        let (here, there) = (scene.stage.file(&of[0].name()), archive.join(of[0].name()));
        fs::rename(&here, &there).expect("archive it");
        fs::rename(&there, &here).expect("bring it back");
        scene.write(&of[0], 23, 57);
        scene.is_seen(&of[0], 5);
    }),
    ("compressed", &["0.169.0/exec-json-resume-1.jsonl"], |scene, of| {
        scene.write(&of[0], 0, 30);
        scene.is_seen(&of[0], 2);
        let file = scene.stage.file(&of[0].name());
        let level = ruzstd::encoding::CompressionLevel::Fastest;
        let text = fs::read(&file).expect("read the session");
        fs::write(file.with_extension("jsonl.zst"), ruzstd::encoding::compress_to_vec(&*text, level))
            .expect("write");
        fs::remove_file(file).expect("remove the plain file");
    }),
];

/// What each thread's trace is in the end.
fn played(
    oracle: &Oracle,
    (name, sessions, play): (&str, &[&str], Play),
    is_followed: bool,
) -> BTreeMap<String, Value> {
    let stage = Stage::new();
    // Files of one thread have one id.
    let is_same = name != "forked";
    let mut of: Vec<Recording> = (1..)
        .zip(sessions)
        .map(|(number, path)| Recording::new(path, if is_same { 1 } else { number }))
        .collect();
    Recording::rename_each_other(&mut of);
    let launch =
        stage.launch(&of[0].thread, &[("CODEX_TRACED_LIVE", if is_followed { "on" } else { "off" })]);
    let mut scene = Scene { stage: &stage, launch, is_followed };
    play(&mut scene, &of);
    assert_eq!(scene.launch.end().stderr, "", "{name}");
    assert_eq!((stage.home.launches(), stage.home.spooled()), (vec![], vec![]), "{name}");
    assert!(!stage.log().contains("WARN") && !stage.log().contains("ERROR"), "{name}: {}", stage.log());
    let thread_of = |trace: &support::Trace| {
        of.iter()
            .find(|one| one.trace().to_string() == trace.trace_id)
            .expect("a thread of ours")
            .thread
            .clone()
    };
    let traces = oracle.traces(&stage.home.database()).into_iter();
    traces
        .map(|trace| (thread_of(&trace), comparable(&trace, &stage.home, &thread_of(&trace), Exit::Known)))
        .collect()
}

#[test]
fn whatever_becomes_of_a_session_file_while_live_the_trace_is_the_one_made_at_the_end() {
    let Some(oracle) = Oracle::newest() else { return };
    each_in_parallel(TABLE.to_vec(), |row| {
        let (expected, found) = (played(&oracle, row, false), played(&oracle, row, true));
        assert_eq!(expected.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>(), "{}", row.0);
        for (thread, expected) in &expected {
            assert_alike(expected, &found[thread], row.0);
        }
        println!("{}: {} traces", row.0, expected.len());
    });
}

/// A session with a sub-agent that starts another one, under their recorded ids: their times tell who works when.
const NESTED: [&str; 3] = ["nested-agents-1.jsonl", "nested-agents-2.jsonl", "nested-agents-3.jsonl"];

/// The session's trace in the end, and the names of its agents' spans while the inner sub-agent works.
fn with_sub_agents(oracle: &Oracle, is_followed: bool) -> (Value, Vec<String>) {
    let stage = Stage::new();
    let of: Vec<Recording> =
        NESTED.iter().map(|name| Recording::unchanged(&format!("0.169.0/{name}"))).collect();
    let (root, agents) = of.split_first().expect("three files");
    let launch = stage.launch(&root.thread, &[("CODEX_TRACED_LIVE", if is_followed { "on" } else { "off" })]);
    let (begun, ended) = root.lines.split_at(root.lines.len() - 2);
    stage.write_on_its_day(root, begun);
    let (last, before) = agents[1].lines.split_last().expect("lines");
    stage.write_on_its_day(&agents[0], &agents[0].lines);
    stage.write_on_its_day(&agents[1], before);
    let mut seen = Vec::new();
    if is_followed {
        wait_for("the sub-agents in the store", LIMIT, || {
            let trace = sqlite::read(&stage.home.database(), root.trace()).ok().flatten();
            let trace = trace.filter(|trace| trace.state == TraceState::InProgress);
            let spans = trace.into_iter().flat_map(|trace| trace.spans);
            seen = spans.map(|span| span.name).filter(|name| name.starts_with("subagent_")).collect();
            seen.len() == agents.len()
        });
    }
    stage.write_on_its_day(&agents[1], std::slice::from_ref(last));
    stage.write_on_its_day(root, ended);
    assert_eq!(launch.end().stderr, "");
    let trace = oracle.trace_of(&stage.home.database(), &root.trace().to_string());
    (comparable(&trace, &stage.home, &root.thread, Exit::Known), seen)
}

#[test]
fn sub_agents_are_seen_while_they_work_and_the_trace_is_the_one_made_at_the_end() {
    let Some(oracle) = Oracle::newest() else { return };
    let (expected, _) = with_sub_agents(&oracle, false);
    let (found, seen) = with_sub_agents(&oracle, true);
    assert_eq!(seen, ["subagent_outer", "subagent_inner"]);
    assert_alike(&expected, &found, "sub-agents");
}
