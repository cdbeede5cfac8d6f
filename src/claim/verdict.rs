//! Decides which threads a launch wrote, by all that is known of it. This is the only place of that decision.
//!
//! Strong evidence names threads: what the interface logged, what Codex held. Where it could be gathered it
//! decides alone, and threads that it does not name are not the launch's. Only where it could not be gathered,
//! two weaker kinds count: the thread that the command line named, and the only session of the time that can be
//! the launch's. Among several sessions none is guessed.

use codex_session::thread::ThreadId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A thread that a launch wrote, and the evidence that decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    pub thread: ThreadId,
    pub attribution: Attribution,
}

/// The strongest evidence for a claim, strongest first (design §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribution {
    /// The interface's own log names a prompt that the thread contains.
    TuiLog,
    /// Codex's own process held the thread's writer lock, or had its session open for writing.
    Held,
    /// The command line named the thread, and it was written to; the writer was not observed.
    Named,
    /// No other session of the time can be the launch's; the writer was not observed.
    Only,
    /// No evidence: the user asked for the trace of an existing session.
    Import,
}

impl Attribution {
    pub fn as_str(self) -> &'static str {
        match self {
            Attribution::TuiLog => "tui_log",
            Attribution::Held => "held",
            Attribution::Named => "named",
            Attribution::Only => "only",
            Attribution::Import => "import",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    pub logged: Vec<ThreadId>,
    pub held: Vec<ThreadId>,
    pub coverage: Coverage,
    /// The thread that the command line asked to resume.
    pub named: Option<ThreadId>,
}

/// Whether the observer would have seen every thread that the launch wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    Complete,
    /// The launcher died, or the system did not report it.
    Partial,
}

/// A root thread whose session was written to since the launch began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub thread: ThreadId,
    pub origin: Origin,
    /// Another launch claims it.
    pub is_anothers: bool,
}

/// Where a session was begun, and by which interface of Codex, as its file reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In the launch's folder, by the launch's interface.
    Ours,
    Another,
    /// Not reported (Codex before 0.35).
    Unsaid,
}

/// The claims of a launch, and the sessions that stay unclaimed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// In the order of their threads.
    pub claims: Vec<Claim>,
    /// They may belong to this launch or to another Codex.
    pub unclear: Vec<ThreadId>,
}

/// Calls `candidates` only if they count.
pub fn decide(evidence: &Evidence, candidates: impl FnOnce() -> Vec<Candidate>) -> Verdict {
    let strong = [(&evidence.logged, Attribution::TuiLog), (&evidence.held, Attribution::Held)];
    let mut claims: BTreeMap<&ThreadId, Attribution> = BTreeMap::new();
    for (threads, attribution) in strong {
        threads.iter().for_each(|thread| _ = claims.entry(thread).or_insert(attribution));
    }
    let claim =
        |(thread, attribution): (&ThreadId, Attribution)| Claim { thread: thread.clone(), attribution };
    if !claims.is_empty() || evidence.coverage == Coverage::Complete {
        return Verdict { claims: claims.into_iter().map(claim).collect(), ..Verdict::default() };
    }
    let mut candidates = candidates();
    candidates.retain(|candidate| !candidate.is_anothers);
    if let Some(named) = candidates.iter().find(|one| Some(&one.thread) == evidence.named.as_ref()) {
        return Verdict { claims: vec![claim((&named.thread, Attribution::Named))], unclear: Vec::new() };
    }
    candidates.retain(|candidate| candidate.origin != Origin::Another);
    match &candidates[..] {
        [only] if only.origin == Origin::Ours => {
            Verdict { claims: vec![claim((&only.thread, Attribution::Only))], ..Verdict::default() }
        }
        several => {
            Verdict { unclear: several.iter().map(|one| one.thread.clone()).collect(), ..Verdict::default() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Coverage::{Complete, Partial};
    use Origin::{Another, Ours, Unsaid};

    fn thread(letter: char) -> ThreadId {
        ThreadId::parse(&format!("01a202b6-a73e-7ee3-8243-00000000000{letter}")).unwrap()
    }

    fn threads(letters: &str) -> Vec<ThreadId> {
        letters.chars().map(thread).collect()
    }

    #[test]
    fn strong_evidence_decides_alone_and_weak_evidence_only_where_the_observer_was_blind() {
        type TableRow = (
            &'static str,
            (&'static str, &'static str, Coverage, &'static str),
            Vec<Candidate>,
            &'static str,
        );
        let one = |letter, origin| Candidate { thread: thread(letter), origin, is_anothers: false };
        let anothers = |letter| Candidate { is_anothers: true, ..one(letter, Ours) };
        let (a, b, c) = (one('a', Ours), one('b', Ours), one('c', Another));
        // Logged, held, coverage, named; what was written; claims, then `?` and what stays unclear.
        let table: Vec<TableRow> = vec![
            ("the log", ("a", "", Complete, ""), vec![a.clone()], "a tui_log"),
            ("a lock", ("", "a", Complete, ""), vec![a.clone(), b.clone()], "a held"),
            ("both: the stronger", ("a", "ab", Complete, ""), vec![], "a tui_log, b held"),
            ("several threads", ("ba", "", Complete, ""), vec![], "a tui_log, b tui_log"),
            ("saw nothing, with a neighbour", ("", "", Complete, ""), vec![a.clone()], ""),
            ("saw nothing, though one is named", ("", "", Complete, "a"), vec![a.clone()], ""),
            ("blind, but something was seen", ("", "a", Partial, "b"), vec![a.clone(), b.clone()], "a held"),
            ("blind: the only one", ("", "", Partial, ""), vec![a.clone()], "a only"),
            ("blind: the only one of ours", ("", "", Partial, ""), vec![a.clone(), c.clone()], "a only"),
            ("blind: two", ("", "", Partial, ""), vec![a.clone(), b.clone()], "? a b"),
            ("blind: none", ("", "", Partial, ""), vec![], ""),
            ("blind: only others' ", ("", "", Partial, ""), vec![c.clone()], ""),
            ("blind: another launch has it", ("", "", Partial, ""), vec![anothers('a')], ""),
            ("blind: one is left", ("", "", Partial, ""), vec![anothers('a'), b.clone()], "b only"),
            ("blind: named among two", ("", "", Partial, "b"), vec![a.clone(), b.clone()], "b named"),
            (
                "blind: named from another folder",
                ("", "", Partial, "c"),
                vec![a.clone(), c.clone()],
                "c named",
            ),
            ("blind: named, but another's", ("", "", Partial, "a"), vec![anothers('a')], ""),
            ("blind: named, but not written to", ("", "", Partial, "c"), vec![a.clone()], "a only"),
            ("blind: it says nothing", ("", "", Partial, ""), vec![one('a', Unsaid)], "? a"),
            ("blind: one says nothing", ("", "", Partial, ""), vec![a.clone(), one('d', Unsaid)], "? a d"),
        ];
        for (what, (logged, held, coverage, named), candidates, expected) in table {
            let named = named.chars().next().map(thread);
            let evidence = Evidence { logged: threads(logged), held: threads(held), coverage, named };
            let verdict = decide(&evidence, || candidates);
            let letter = |thread: &ThreadId| thread.as_str()[35..].to_owned();
            let claims: Vec<String> = verdict
                .claims
                .iter()
                .map(|claim| format!("{} {}", letter(&claim.thread), claim.attribution.as_str()))
                .collect();
            let unclear: Vec<String> = verdict.unclear.iter().map(letter).collect();
            let found =
                if unclear.is_empty() { claims.join(", ") } else { format!("? {}", unclear.join(" ")) };
            assert_eq!(found, expected, "{what}");
        }
    }

    #[test]
    fn strong_evidence_decides_without_a_search_for_candidates() {
        for (held, coverage) in [("", Complete), ("a", Complete), ("a", Partial)] {
            let evidence = Evidence { logged: Vec::new(), held: threads(held), coverage, named: None };
            decide(&evidence, || panic!("looked for"));
        }
    }
}
