//! Recorded changes become one patch for each file.

use super::super::test_trace::{span, trace};
use super::*;
use mlflow_store::trace::SpanStatus;
use serde_json::json;

/// A trace whose calls recorded these changes, in order.
fn changed(records: &[serde_json::Value]) -> Trace {
    let mut spans = vec![span(1, 0, "codex_cli_session", 0, 100)];
    for (number, changes) in (2..).zip(records) {
        let mut call = span(number, 1, "tool_apply_patch", 0, number.into());
        call.outputs = Value::from(json!({"changes": changes}));
        spans.push(call);
    }
    trace(spans)
}

/// The patches with their notes, as text.
fn net(trace: &Trace) -> String {
    let part = |change: &NetChange| {
        let notes = change.notes.iter().map(|note| format!("# {note:?}\n"));
        notes.chain([change.patch.clone()]).collect::<String>()
    };
    net_changes(trace).iter().map(part).collect()
}

fn update(diff: &str) -> serde_json::Value {
    json!({"type": "update", "unified_diff": diff, "move_path": null})
}

const A_TO_B: &str = "@@ -1 +1 @@\n-a\n+b\n";
const B_TO_C: &str = "@@ -1 +1 @@\n-b\n+c\n";
const HEADER: &str = "diff --git a/x b/x\n--- a/x\n+++ b/x\n";
const NEW: &str = "diff --git a/x b/x\nnew file mode 100644\n";

#[test]
fn each_file_has_its_net_effect() {
    let add = |content: &str| json!({"type": "add", "content": content});
    let delete = |content: &str| json!({"type": "delete", "content": content});
    let moved = |diff: &str| json!({"type": "update", "unified_diff": diff, "move_path": "/w/y"});
    let table = [
        ("an update", vec![json!({"/w/x": update(A_TO_B)})], format!("{HEADER}{A_TO_B}")),
        (
            "two updates",
            vec![json!({"/w/x": update(A_TO_B)}), json!({"/w/x": update(B_TO_C)})],
            format!("{HEADER}@@ -1 +1 @@\n-a\n+c\n"),
        ),
        (
            "added, then updated",
            vec![json!({"/w/x": add("a\n")}), json!({"/w/x": update(A_TO_B)})],
            format!("{NEW}--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+b\n"),
        ),
        ("an empty file", vec![json!({"/w/x": add("")})], NEW.to_owned()),
        (
            "added, then deleted",
            vec![json!({"/w/x": add("a\n")}), json!({"/w/x": delete("a\n")})],
            String::new(),
        ),
        (
            "deleted",
            vec![json!({"/w/x": delete("a\n")})],
            "diff --git a/x b/x\ndeleted file mode 100644\n--- a/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n"
                .to_owned(),
        ),
        (
            "deleted, then added",
            vec![json!({"/w/x": delete("a\n")}), json!({"/w/x": add("b\n")})],
            format!("{HEADER}{A_TO_B}"),
        ),
        (
            "renamed, then updated",
            vec![json!({"/w/x": moved("")}), json!({"/w/y": update(A_TO_B)})],
            format!("diff --git a/x b/y\nrename from x\nrename to y\n--- a/x\n+++ b/y\n{A_TO_B}"),
        ),
        (
            "added, then renamed",
            vec![json!({"/w/x": add("a\n")}), json!({"/w/x": moved(A_TO_B)})],
            "diff --git a/y b/y\nnew file mode 100644\n--- /dev/null\n+++ b/y\n@@ -0,0 +1 @@\n+b\n"
                .to_owned(),
        ),
        (
            "a new file takes the place of another new one",
            vec![json!({"/w/y": add("old\n")}), json!({"/w/x": add("a\n")}), json!({"/w/x": moved(A_TO_B)})],
            "diff --git a/y b/y\nnew file mode 100644\n--- /dev/null\n+++ b/y\n@@ -0,0 +1 @@\n+b\n"
                .to_owned(),
        ),
        (
            "a path outside",
            vec![json!({"/tmp/x": update(A_TO_B)})],
            "# OutsideOfFolder\n# diff --git a/tmp/x b/tmp/x\n# --- a/tmp/x\n# +++ b/tmp/x\n\
             # @@ -1 +1 @@\n# -a\n# +b\n"
                .to_owned(),
        ),
    ];
    for (what, records, expected) in table {
        assert_eq!(net(&changed(&records)), expected, "{what}");
    }
}

#[test]
fn a_part_ends_where_something_else_changed_the_file() {
    let other = update("@@ -1 +1 @@\n-z\n+a\n");
    let records = [
        json!({"/w/x": update(A_TO_B)}),
        json!({"/w/x": other}),
        json!({"/w/x": update(A_TO_B)}),
        json!({"/w/x": {"delete": {}}}),
    ];
    let expected =
        format!("{HEADER}{A_TO_B}# ChangedInBetween\n{HEADER}@@ -1 +1 @@\n-z\n+b\n# ContentNotRecorded\n");
    assert_eq!(net(&changed(&records)), expected);
    let replaced = [json!({"/w/x": update(A_TO_B)}), json!({"/w/x": {"type": "add", "content": "n\n"}})];
    let expected =
        format!("{HEADER}{A_TO_B}# ReplacesUnknown\n{NEW}--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+n\n");
    assert_eq!(net(&changed(&replaced)), expected);
}

#[test]
fn a_cut_change_and_one_with_a_placeholder_are_no_patch() {
    let cut = "@@ -1,9 +1,9 @@\n-a\n[… 9 of 20 bytes cut …]\n+b\n";
    let records =
        [json!({"/w/x": update(A_TO_B)}), json!({"/w/x": update(cut)}), json!({"/w/x": update(A_TO_B)})];
    let quoted = "# @@ -1,9 +1,9 @@\n# -a\n# [… 9 of 20 bytes cut …]\n# +b\n";
    let expected = format!("{HEADER}{A_TO_B}# NotComposed\n{quoted}# FollowsComment\n{HEADER}{A_TO_B}");
    assert_eq!(net(&changed(&records)), expected);
    let secret = "@@ -1 +1 @@\n-a\n+[redacted:openai:0123]\n";
    // In an added line git would write the placeholder.
    assert_eq!(
        net(&changed(&[json!({"/w/x": update(secret)})])),
        format!("# HoldsPlaceholder\n{}", comment(&format!("{HEADER}{secret}")))
    );
}

#[test]
fn calls_that_failed_do_not_count_and_ends_decide_the_order() {
    let mut trace = changed(&[json!({"/w/x": update(B_TO_C)}), json!({"/w/x": update(A_TO_B)})]);
    (trace.spans[1].ended_at, trace.spans[2].ended_at) = (trace.spans[2].ended_at, trace.spans[1].ended_at);
    assert_eq!(net(&trace), format!("{HEADER}@@ -1 +1 @@\n-a\n+c\n"));
    trace.spans[1].status = SpanStatus::Error { message: "denied".into() };
    assert_eq!(net(&trace), format!("{HEADER}{A_TO_B}"));
    trace.spans[2].outputs = Value::Null;
    assert_eq!((net(&trace), without_record(&trace)), (String::new(), 1));
}

#[test]
fn a_comment_keeps_each_line() {
    for (text, expected) in [("", ""), ("a", "# a\n"), ("-a\r\n\n+b\n", "# -a\r\n# \n# +b\n")] {
        assert_eq!(comment(text), expected);
    }
}

/// Each change with its kind, paths and notes.
fn listed(records: &[serde_json::Value]) -> Vec<String> {
    let text = |change: &NetChange| {
        let old = change.old_path.as_ref().map(|old| format!("{old}=>")).unwrap_or_default();
        let hidden = if change.patch.starts_with("# ") { "#" } else { "" };
        format!("{hidden}{:?} {old}{} {:?}", change.change, change.path, change.notes)
    };
    net_changes(&changed(records)).iter().map(text).collect()
}

#[test]
fn moves_and_unknown_files_have_their_order_and_their_notes() {
    let add = |path: &str| json!({path: {"type": "add", "content": "a\n"}});
    let delete = |path: &str, content: &str| json!({path: {"type": "delete", "content": content}});
    let change = |path: &str| json!({path: update(A_TO_B)});
    let moved = |from: &str, diff: &str, to: &str| json!({from: {"type": "update", "unified_diff": diff, "move_path": to}});
    let cut = "@@ -1,9 +1,9 @@\n-a\n[… 9 of 20 bytes cut …]\n+b\n";
    let (a, b, n) = ("/w/a", "/w/b", "/w/n");
    let table: [(&str, Vec<serde_json::Value>, &[&str]); 15] = [
        (
            "a changed file takes the place of a deleted one",
            vec![change(a), delete(b, "2\n"), moved(a, "", b)],
            &["Deleted b []", "Renamed a=>b []"],
        ),
        (
            "a new file takes the place of a deleted one",
            vec![add(n), delete(b, "2\n"), moved(n, "", b)],
            &["Deleted b []", "Added b []"],
        ),
        (
            "two files change places",
            vec![moved(a, "", n), moved(b, "", a), moved(n, "", b)],
            &["Renamed b=>a []", "Renamed a=>b []"],
        ),
        (
            "a move that is not composed",
            vec![moved(a, cut, b), change(b)],
            &["#Renamed a=>b [NotComposed]", "Changed b [FollowsComment]"],
        ),
        (
            "a new file after a move that is not composed",
            vec![moved(a, cut, b), add(a)],
            &["#Renamed a=>b [NotComposed]", "Added a [ReplacesUnknown]"],
        ),
        (
            "a move that is not composed takes the place of a new file",
            vec![add(b), moved(a, cut, b)],
            &["#Renamed a=>b [NotComposed]"],
        ),
        (
            "added after a change that is not composed",
            vec![json!({a: update(cut)}), add(a)],
            &["#Changed a [NotComposed]", "Added a [ReplacesUnknown]"],
        ),
        (
            "added after a deletion of unknown content",
            vec![json!({a: {"type": "delete"}}), add(a)],
            &["Deleted a [ContentNotRecorded]", "Added a [ReplacesUnknown]"],
        ),
        (
            "moved to a place of unknown content",
            vec![json!({b: update(cut)}), moved(a, "", b)],
            &["#Changed b [NotComposed]", "Renamed a=>b [ReplacesUnknown]"],
        ),
        (
            "a rename adds a note to an earlier one",
            vec![change(a), change(a), change(b), moved(a, "", b)],
            &["Changed a []", "Renamed a=>b [ChangedInBetween, ReplacesUnknown]", "Changed b []"],
        ),
        (
            "a change of a file that moved away",
            vec![moved(a, "", b), change(a)],
            &["Renamed a=>b []", "Changed a [ChangedInBetween]"],
        ),
        (
            "a path that leaves the folder",
            vec![change("/w/../etc/x"), change("/w/s/../x")],
            &["#Changed /etc/x [OutsideOfFolder]", "Changed x []"],
        ),
        ("moved out of the folder", vec![moved(a, "", "/tmp/a")], &["#Renamed a=>/tmp/a [OutsideOfFolder]"]),
        ("no path", vec![change("")], &["#Changed /w [OutsideOfFolder]"]),
        ("one file, two spellings", vec![add("x"), change("/w/./x")], &["Added x []"]),
    ];
    for (what, records, expected) in table {
        assert_eq!(listed(&records), expected, "{what}");
    }
}
