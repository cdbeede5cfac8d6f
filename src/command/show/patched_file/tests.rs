//! Patches compose to one: tables, and random changes of random files.

use super::super::unified_diff::{lines_of, parse};
use super::*;
use proptest::prelude::*;
use proptest::sample::Index;

const CHANGED: &str = "a change that the file does not fit";

fn net(file: &PatchedFile) -> String {
    let mut text = String::new();
    file.hunks().iter().for_each(|hunk| hunk.print(&mut text));
    text
}

/// The net patch of several patches.
fn composed(diffs: &[&str]) -> String {
    let mut file = PatchedFile::from_unknown();
    for diff in diffs {
        if file.update(&parse(diff).unwrap()).is_err() {
            return CHANGED.to_owned();
        }
    }
    net(&file)
}

#[test]
fn patches_compose_to_one() {
    let far = "@@ -90,3 +90,3 @@\n x\n-y\n+Y\n z\n";
    let table: [(&[&str], &str); 19] = [
        (&["@@ -1 +1 @@\n-a\n+b\n"], "@@ -1 +1 @@\n-a\n+b\n"),
        (&["@@ -1 +1 @@\n-a\n+b\n", "@@ -1 +1 @@\n-b\n+c\n"], "@@ -1 +1 @@\n-a\n+c\n"),
        // Back to what it was.
        (&["@@ -1,2 +1,2 @@\n-a\n+b\n c\n", "@@ -1,2 +1,2 @@\n-b\n+a\n c\n"], ""),
        // A line above moves the lines below.
        (
            &["@@ -1 +1,2 @@\n+new\n a\n", "@@ -91,3 +91,3 @@\n x\n-y\n+Y\n z\n"],
            "@@ -1 +1,2 @@\n+new\n a\n@@ -90,3 +91,3 @@\n x\n-y\n+Y\n z\n",
        ),
        (
            &[far, "@@ -1,2 +1 @@\n-gone\n a\n"],
            "@@ -1,2 +1 @@\n-gone\n a\n@@ -90,3 +89,3 @@\n x\n-y\n+Y\n z\n",
        ),
        // Two places with known lines between them are one hunk.
        (
            &["@@ -1,3 +1,3 @@\n-a\n+A\n b\n c\n", "@@ -3,2 +3,2 @@\n c\n-d\n+D\n"],
            "@@ -1,4 +1,4 @@\n-a\n+A\n b\n c\n-d\n+D\n",
        ),
        // Added lines are changed, and removed in part.
        (
            &["@@ -2,2 +2,4 @@\n a\n+1\n+2\n b\n", "@@ -3,2 +3 @@\n-1\n-2\n+3\n"],
            "@@ -2,2 +2,3 @@\n a\n+3\n b\n",
        ),
        // Only one of two changes is taken back.
        (
            &["@@ -1,3 +1,3 @@\n-a\n-b\n+A\n+B\n c\n", "@@ -1,2 +1,2 @@\n-A\n+a\n B\n"],
            "@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n",
        ),
        // The end of a file without a line feed.
        (
            &[
                "@@ -5 +5 @@\n-a\n\\ No newline at end of file\n+b\n",
                "@@ -5 +5,2 @@\n b\n+c\n\\ No newline at end of file\n",
            ],
            "@@ -5 +5,2 @@\n-a\n\\ No newline at end of file\n+b\n+c\n\\ No newline at end of file\n",
        ),
        // Something else changed the file.
        (&["@@ -1 +1 @@\n-a\n+b\n", "@@ -1 +1 @@\n-x\n+y\n"], CHANGED),
        (&["@@ -2,2 +2 @@\n a\n-b\n", "@@ -2 +2 @@\n-x\n+y\n"], CHANGED),
        (&["@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+b\n", "@@ -9 +9 @@\n-x\n+y\n"], CHANGED),
        (&[far, "@@ -3 +3 @@\n-a\n\\ No newline at end of file\n+b\n"], CHANGED),
        // Only the last line lacks its line feed: in a hunk, and before one.
        (&["@@ -1 +1,2 @@\n x\n\\ No newline at end of file\n+y\n"], CHANGED),
        (&["@@ -1 +1,2 @@\n+x\n\\ No newline at end of file\n y\n"], CHANGED),
        (&["@@ -1 +1 @@\n-w\n+x\n\\ No newline at end of file\n", "@@ -1,0 +2 @@\n+y\n"], CHANGED),
        (&["@@ -1 +1 @@\n-a\n+x\n\\ No newline at end of file\n@@ -2 +2 @@\n-b\n+c\n"], CHANGED),
        // Hunks that are not in order.
        (&["@@ -5 +5 @@\n-a\n+b\n@@ -1 +1 @@\n-a\n+b\n"], CHANGED),
        // Kept lines are one again, up to the end of the file.
        (
            &[
                "@@ -2,2 +2,3 @@\n a\n+b\n c\n",
                "@@ -3 +3,0 @@\n-b\n",
                "@@ -4 +4 @@\n-d\n\\ No newline at end of file\n+e\n",
            ],
            "@@ -2,3 +2,3 @@\n a\n c\n-d\n\\ No newline at end of file\n+e\n",
        ),
    ];
    for (diffs, expected) in table {
        assert_eq!(composed(diffs), expected, "{diffs:#?}");
    }
}

#[test]
fn a_change_that_does_not_fit_changes_nothing() {
    let mut file = PatchedFile::from_unknown();
    file.update(&parse("@@ -1,2 +1,2 @@\n-a\n+b\n c\n").unwrap()).unwrap();
    let before = file.clone();
    let misfits =
        ["@@ -1 +1 @@\n-b\n+x\n@@ -9 +9 @@\n-new\n+y\n@@ -9 +9 @@\n-z\n+y\n", "@@ -2 +2 @@\n-z\n+y\n"];
    for diff in misfits {
        assert_eq!(file.update(&parse(diff).unwrap()), Err(Misfit), "{diff}");
        assert_eq!(file, before, "{diff}");
    }
}

/// A clone of the file for each update would take seconds.
#[test]
fn many_updates_of_a_long_file_compose() {
    let content: String = (0..4_000).map(|number| format!("{number}\n")).collect();
    let mut file = PatchedFile::from_added(lines_of(&content));
    for number in 0..4_000 {
        let diff = format!("@@ -{0} +{0} @@\n-{number}\n+new\n", number + 1);
        assert_eq!(file.update(&parse(&diff).unwrap()), Ok(()));
    }
    assert_eq!(file.content(), Some(lines_of(&"new\n".repeat(4_000))));
}

#[test]
fn files_are_added_deleted_and_written_again() {
    let update = || parse("@@ -2 +2 @@\n-b\n+B\n").unwrap();
    let mut added = PatchedFile::from_added(lines_of("a\nb\n"));
    added.update(&update()).unwrap();
    assert_eq!((added.before(), net(&added)), (Presence::Absent, "@@ -0,0 +1,2 @@\n+a\n+B\n".to_owned()));
    added.delete(None).unwrap();
    assert_eq!((added.now(), net(&added)), (Presence::Absent, String::new()));

    let mut deleted = PatchedFile::from_unknown();
    deleted.update(&update()).unwrap();
    assert_eq!(deleted.delete(Some(lines_of("x\nb\n"))), Err(Misfit));
    assert_eq!(deleted.delete(None), Err(Misfit), "its first line is unknown");
    assert_eq!(deleted.write(Vec::new()), Err(Misfit));
    deleted.delete(Some(lines_of("a\nB\nc\n"))).unwrap();
    assert_eq!(net(&deleted), "@@ -1,3 +0,0 @@\n-a\n-b\n-c\n");
    assert_eq!(deleted.update(&update()), Err(Misfit));
    deleted.write(lines_of("a\nnew\nc\n")).unwrap();
    assert_eq!((deleted.before(), deleted.now()), (Presence::Present, Presence::Present));
    assert_eq!(net(&deleted), "@@ -1,3 +1,3 @@\n a\n-b\n+new\n c\n");
}

/// A recorded patch of a whole file: each place is replaced by some lines, with this much context.
fn recorded(lines: &mut Vec<Line>, edits: &[(Index, usize, Vec<Line>)], context: usize) -> Vec<Hunk> {
    let mut hunks: Vec<Hunk> = Vec::new();
    let mut next = lines.clone();
    let mut starts: Vec<_> = edits.iter().map(|(at, ..)| at.index(lines.len() + 1)).collect();
    starts.sort_unstable();
    let (mut free, mut grown) = (0, 0_isize);
    for (start, (_, count, added)) in starts.into_iter().zip(edits) {
        let removed = start..(start + count).min(lines.len());
        let from = removed.start.saturating_sub(context);
        if from < free || (removed.is_empty() && added.is_empty()) {
            continue;
        }
        let to = (removed.end + context).min(lines.len());
        let edits = lines[from..removed.start].iter().cloned().map(Edit::Context);
        let edits = edits.chain(lines[removed.clone()].iter().cloned().map(Edit::Removed));
        let edits = edits.chain(added.iter().cloned().map(Edit::Added));
        let edits = edits.chain(lines[removed.end..to].iter().cloned().map(Edit::Context)).collect();
        let place = removed.start.checked_add_signed(grown).unwrap();
        next.splice(place..place + removed.len(), added.iter().cloned());
        grown += isize::try_from(added.len()).unwrap() - isize::try_from(removed.len()).unwrap();
        hunks.push(Hunk { old_start: from, new_start: 0, edits });
        free = to;
    }
    *lines = next;
    hunks
}

/// As `patch` without fuzz: each line must be at its place.
fn patched(original: &[Line], hunks: &[Hunk]) -> Vec<Line> {
    let (mut new, mut at) = (Vec::new(), 0);
    for hunk in hunks {
        new.extend_from_slice(&original[at..hunk.old_start]);
        at = hunk.old_start;
        assert_eq!(new.len(), hunk.new_start);
        for edit in &hunk.edits {
            match edit {
                Edit::Added(line) => new.push(line.clone()),
                Edit::Context(line) | Edit::Removed(line) => {
                    assert_eq!(&original[at], line);
                    at += 1;
                    if matches!(edit, Edit::Context(_)) {
                        new.push(line.clone());
                    }
                }
            }
        }
    }
    new.extend_from_slice(&original[at..]);
    new
}

/// Few different texts, so that lines repeat and are taken back.
fn lines(most: usize) -> impl Strategy<Value = Vec<Line>> {
    let line = "[abc]".prop_map(|text| Line { text, has_line_feed: true });
    prop::collection::vec(line, 0..most)
}

proptest! {
    #[test]
    fn the_net_patch_gives_the_last_file(
        original in lines(40),
        steps in prop::collection::vec(
            prop::collection::vec((any::<Index>(), 0..4_usize, lines(4)), 1..4), 1..8),
        context in 0..4_usize,
    ) {
        let mut lines = original.clone();
        let mut file = PatchedFile::from_unknown();
        for step in &steps {
            let hunks = recorded(&mut lines, step, context);
            prop_assert_eq!(file.update(&hunks), Ok(()));
        }
        let text = net(&file);
        let hunks = parse(&text).expect("a unified diff");
        prop_assert_eq!(&patched(&original, &hunks), &lines);
        // Nothing is left where everything was taken back, and no line is both removed and added at one place.
        for hunk in &hunks {
            let changes = |edit: &&Edit| !matches!(edit, Edit::Context(_));
            prop_assert!(hunk.edits.iter().any(|edit| changes(&edit)));
        }
        file.delete(Some(lines)).unwrap();
        let hunks = file.hunks();
        prop_assert_eq!(patched(&original, &hunks), Vec::<Line>::new());
    }

    /// Changes that fit or do not: never a panic, and never a patch that contradicts its own counts.
    #[test]
    fn any_patches_compose_or_do_not_fit(
        patches in prop::collection::vec(
            prop::collection::vec((0..30_usize, prop::collection::vec((0..3_u8, "[ab]", any::<bool>()), 1..5)), 1..3),
            1..6),
    ) {
        let mut file = PatchedFile::from_unknown();
        for patch in patches {
            let hunk = |(old_start, edits): (usize, Vec<(u8, String, bool)>)| {
                let edit = |(kind, text, has_line_feed)| {
                    let line = Line { text, has_line_feed };
                    match kind {
                        0 => Edit::Context(line),
                        1 => Edit::Removed(line),
                        _ => Edit::Added(line),
                    }
                };
                Hunk { old_start, new_start: 0, edits: edits.into_iter().map(edit).collect() }
            };
            let _ = file.update(&patch.into_iter().map(hunk).collect::<Vec<_>>());
            prop_assert_eq!(parse(&net(&file)), Some(file.hunks()));
            for hunk in file.hunks() {
                let new = hunk.edits.iter().filter(|edit| !matches!(edit, Edit::Removed(_)));
                let open = |edit: &&Edit| matches!(edit, Edit::Context(line) | Edit::Added(line) if !line.has_line_feed);
                prop_assert!(new.clone().rev().skip(1).find(open).is_none(), "{}", net(&file));
            }
        }
        let _ = file.delete(None);
        let _ = file.write(Vec::new());
        prop_assert_eq!(parse(&net(&file)), Some(file.hunks()));
    }
}
