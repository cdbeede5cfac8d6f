//! `mlflow export`: what the three formats hold, where a session is found, and that nothing in it acts.

use crate::situation::Situation;
use pulldown_cmark::{Event, Options, Parser, Tag};
use regex::Regex;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use support::{End, run};

const AGENTS: [&str; 2] = ["0.169.0/subagent-trace-1", "0.169.0/subagent-trace-2"];

fn recorded(scenario: &str) -> String {
    fs::read_to_string(corpus(scenario)).expect("a recorded session")
}

fn corpus(scenario: &str) -> PathBuf {
    Path::new("tests/corpus").join(format!("{scenario}.jsonl")).canonicalize().expect("a recorded session")
}

/// Writes the session where Codex keeps it, and returns its id.
fn keep(situation: &Situation, session: &str) -> String {
    let first: Value = serde_json::from_str(session.lines().next().expect("a line")).expect("JSON");
    let id = first["payload"]["id"].as_str().expect("an id").to_owned();
    let folder = situation.home.codex().join("sessions/2026/11/22");
    fs::create_dir_all(&folder).expect("a folder of sessions");
    let name = format!("rollout-2026-11-22T10-00-00-{id}.jsonl");
    fs::write(folder.join(name), session).expect("keep a session");
    id
}

/// The lines of an export may be wider than those of other commands.
#[track_caller]
fn exported(situation: &Situation, what: &str, format: &str) -> String {
    run(&mut situation.command(&["export", what, "--format", format])).ended(End::Code(0)).stdout
}

fn exported_from(scenario: &str, format: &str) -> String {
    let situation = Situation::fresh();
    exported(&situation, corpus(scenario).to_str().expect("a path in Unicode"), format)
}

fn review(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots/commands");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// The page without its style.
fn body(html: &str) -> &str {
    html.split_once("</style>").expect("a style").1
}

#[test]
fn a_session_of_two_turns_is_a_markdown_document() {
    review("export_md", &exported_from("0.137.0/exec-tools", "md"));
}

#[test]
fn a_session_with_a_sub_agent_is_one_page() {
    let situation = Situation::fresh();
    let ids = AGENTS.map(|scenario| keep(&situation, &recorded(scenario)));
    let html = exported(&situation, &ids[0], "html");
    review("export_html", body(&html));
    assert_eq!(exported(&situation, &ids[0], "html"), html, "an export depends on its session only");
}

#[test]
fn changes_of_files_are_a_coloured_diff() {
    let html = exported_from("0.169.0/exec-basic", "html");
    for line in [
        "<span class=\"hunk\">@@ -1 +1 @@\n",
        "<span class=\"removed\">-hello\n",
        "<span class=\"added\">+line2\n",
    ] {
        assert!(html.contains(line), "{line} is not in {html}");
    }
    let markdown = exported_from("0.169.0/exec-basic", "md");
    assert!(markdown.contains("\n```diff\n@@ -1 +1 @@\n-hello\n+hello world\n```\n"), "{markdown}");
}

#[test]
fn json_is_what_show_prints() {
    let situation = Situation::fresh();
    let path = corpus("0.169.0/codemode");
    let path = path.to_str().expect("a path in Unicode");
    let shown = run(&mut situation.command(&["show", path, "--json"])).ended(End::Code(0)).stdout;
    assert_eq!(exported(&situation, path, "json"), shown);
}

#[test]
fn a_stored_trace_and_its_session_file_give_the_same_document() {
    let situation = Situation::fresh();
    let id = keep(&situation, &recorded("0.169.0/exec-basic"));
    let from_file = exported(&situation, &id, "md");
    run(&mut situation.command(&["import", &id])).ended(End::Code(0));
    let trace = format!("tr-{}", id.replace('-', ""));
    assert_eq!([&id, &trace].map(|what| exported(&situation, what, "md") == from_file), [true, true]);
}

#[test]
fn rules_that_were_added_since_apply_to_a_stored_trace() {
    let situation = Situation::fresh();
    let session = recorded("0.169.0/exec-basic").replace("please list", &format!("please list {}", secret()));
    let id = keep(&situation, &session);
    run(&mut situation.command(&["import", &id])).ended(End::Code(0));
    let before = exported(&situation, &id, "json");
    let rules = r#"{"redaction": {"rules": [{"name": "edits", "pattern": "files and edit"}]}}"#;
    fs::write(situation.config(), rules).expect("rules");
    for format in ["md", "html", "json"] {
        let text = exported(&situation, &id, format);
        assert!(!text.contains("files and edit") && text.contains("edits:"), "{text}");
    }
    let after = exported(&situation, &id, "json");
    let placeholder = Regex::new(r"\[redacted:github-token:[0-9a-f]+\]").expect("a pattern");
    let of = |text: &str| placeholder.find_iter(text).map(|one| one.as_str().to_owned()).collect::<Vec<_>>();
    assert!(!of(&before).is_empty());
    assert_eq!(of(&after), of(&before));
}

#[test]
fn a_file_is_written_for_its_owner_only() {
    let situation = Situation::fresh();
    let id = keep(&situation, &recorded("0.169.0/exec-basic"));
    let file = situation.home.root().join("session.html");
    fs::write(&file, "what was there").expect("a file");
    let path = file.to_str().expect("a path in Unicode");
    let outcome = run(&mut situation.command(&["export", &id, "--format", "html", "-o", path]));
    let trace = format!("tr-{}", id.replace('-', ""));
    assert_eq!(outcome.ended(End::Code(0)).stdout, format!("{trace} is in {path}\n"));
    assert_eq!(fs::read_to_string(&file).expect("the export"), exported(&situation, &id, "html"));
    assert_eq!(fs::metadata(&file).expect("the export").permissions().mode() & 0o777, 0o600);

    let missing = situation.home.root().join("missing/session.html");
    let path = missing.to_str().expect("a path in Unicode");
    let outcome = run(&mut situation.command(&["export", &id, "-o", path])).ended(End::Code(1));
    let sentence = format!("codex-traced: cannot write {path}: ");
    assert!(
        outcome.stderr.starts_with(&sentence) && outcome.stderr.contains("\n  hint: "),
        "{}",
        outcome.stderr
    );
    assert!(!missing.parent().expect("a folder").exists());
}

#[test]
fn only_figures_are_exported_where_settings_or_a_folder_ask_for_metadata() {
    let texts = ["please list", "All done", "a.txt", "ls -la"];
    let session = recorded("0.169.0/exec-basic");
    let of_settings = Situation::fresh().with("CODEX_TRACED_CONTENT", "metadata");
    let of_folder = Situation::fresh();
    let folder = of_folder.home.work();
    let rules = folder.join(".codex/mlflow_config.json");
    fs::create_dir_all(rules.parent().expect("a folder")).expect("a folder of rules");
    fs::write(&rules, r#"{"environment": {"CODEX_TRACED_CONTENT": "metadata"}}"#).expect("rules");
    let session =
        session.replace("/srv/recordings/x/corpus/0.169.0/exec-basic/work", folder.to_str().expect("a path"));
    for situation in [&of_settings, &of_folder] {
        let id = keep(situation, &session);
        for format in ["md", "html", "json"] {
            let outcome =
                run(&mut situation.command(&["export", &id, "--format", format])).ended(End::Code(0));
            assert_eq!(
                outcome.stderr,
                "codex-traced: the export holds figures only, because settings or a folder ask for metadata\n"
            );
            for text in texts {
                assert!(!outcome.stdout.contains(text), "{text} is in {}", outcome.stdout);
            }
            assert!(outcome.stdout.contains(if format == "json" { "\"gpt-5.5\"" } else { "23,500 in" }));
        }
    }
    fs::write(&rules, r#"{"environment": {"MLFLOW_CODEX_TRACING_ENABLED": "false"}}"#).expect("rules");
    let id = keep(&of_folder, &session);
    let outcome = run(&mut of_folder.command(&["export", &id])).ended(End::Code(1));
    assert!(outcome.stderr.contains("switches tracing off"), "{}", outcome.stderr);
    assert_eq!(outcome.stdout, "");
}

/// A token as GitHub makes them, which is in no file of the repository.
fn secret() -> String {
    ["ghp_", "Zk3vT9wQ1xR7", "bN5mJ2cL8pF4", "hD6sG0yA3eU9"].concat()
}

/// What a model, a program or a repository may plant.
fn planted() -> String {
    format!(
        "<script>alert(1)</script> <img src=x onerror=alert(2)> [a](javascript:alert(3)) ![b](http://127.0.0.1:9/b.png) \
         {} \u{1b}[31m\u{7}\u{202e}\u{2028}</pre></details></style>\"' onclick=\"alert(4) ``` <svg/onload=alert(5)>",
        secret()
    )
}

/// A recorded session with the planted text in its prompt, answer, reasoning, command, output and file names.
fn hostile() -> String {
    let planted = planted();
    let name = format!("/<b onmouseover=alert(6)>{} \u{1b}\u{202e}\n.txt", secret());
    let table = [
        ("please list files and edit", planted.as_str()),
        ("All done.", &planted),
        ("I'll look at the files.", &planted),
        ("I should list.", &planted),
        ("echo err >&2; sleep 0.3; exit 3", &planted),
        ("err\n", &planted),
        ("line2", &planted),
        ("/new.txt", &name),
    ];
    let lines = recorded("0.169.0/exec-basic");
    let changed = lines.lines().map(|line| {
        let mut value: Value = serde_json::from_str(line).expect("JSON");
        replace(&mut value, &table);
        value.to_string() + "\n"
    });
    changed.collect()
}

fn replace(value: &mut Value, table: &[(&str, &str)]) {
    let replaced = |text: &str| table.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    match value {
        // A function's arguments are JSON within a text.
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(mut inner) if inner.is_object() => {
                replace(&mut inner, table);
                *text = inner.to_string();
            }
            _ => *text = replaced(text),
        },
        Value::Array(values) => values.iter_mut().for_each(|value| replace(value, table)),
        Value::Object(fields) => {
            let old = std::mem::take(fields);
            fields.extend(old.into_iter().map(|(name, mut value)| {
                replace(&mut value, table);
                (replaced(&name), value)
            }));
        }
        _ => {}
    }
}

#[track_caller]
fn assert_clean(text: &str) {
    assert!(!text.contains(&secret()) && text.contains("[redacted:"), "{text}");
    let unsafe_one = |c: &char| *c != '\n' && *c != '\t' && common::printable::is_unsafe(*c);
    assert_eq!(text.chars().find(unsafe_one), None);
    assert!(!text.contains('\u{2028}'));
}

/// The elements of the page's writer, and those of the renderer of answers.
const ELEMENTS: &str = "html head meta title style body header main footer nav section details summary h1 h2 h3 h4 h5 h6 \
    p dl div dt dd span b code pre ol ul li a strong em del table thead tbody tr th td blockquote hr br";

/// Every `<` begins or ends one of these elements, with harmless attributes, and each element that is open ends.
#[track_caller]
fn assert_harmless(html: &str) {
    let attribute = r#" (?:class|id|lang|charset|http-equiv|content|name|href|rel|open)(?:="[^"<>]*")?"#;
    let tag = Regex::new(&format!("^<(/?)([a-z0-9]+)((?:{attribute})*)(?: /)?>")).expect("a pattern");
    let address = Regex::new(r#"href="([^"]*)""#).expect("a pattern");
    let html = html.strip_prefix("<!doctype html>\n").expect("a document type");
    let mut open = Vec::new();
    for (at, _) in html.match_indices('<') {
        let rest = &html[at..];
        let start: String = rest.chars().take(60).collect();
        let found = tag.captures(rest).unwrap_or_else(|| panic!("no element of ours: {start}"));
        let name = found[2].to_owned();
        assert!(ELEMENTS.split_whitespace().any(|element| element == name), "{start}");
        for address in address.captures_iter(&found[3]) {
            assert!(
                ["#turn-", "http://", "https://", "mailto:"]
                    .iter()
                    .any(|begin| address[1].starts_with(begin)),
                "{start}"
            );
        }
        match (&found[1], name.as_str()) {
            ("/", _) => assert_eq!(open.pop().as_deref(), Some(name.as_str()), "{start}"),
            (_, "meta" | "hr" | "br") => {}
            _ => open.push(name),
        }
    }
    assert_eq!(open, [""; 0]);
    let policy = "http-equiv=\"Content-Security-Policy\" content=\"default-src &#39;none&#39;; style-src &#39;unsafe-inline&#39;; img-src data:\"";
    assert!(html.contains(policy));
    assert!(!html.contains("url(") && !html.contains("@import"), "a style that loads");
}

#[test]
fn nothing_planted_acts_on_the_page() {
    let situation = Situation::fresh();
    let id = keep(&situation, &hostile());
    let html = exported(&situation, &id, "html");
    assert_clean(&html);
    assert_harmless(&html);
    // It is there as text: in the prompt, the answers, the reasoning, the command, the output, and the changes.
    assert!(html.matches("&lt;script&gt;alert(1)&lt;/script&gt;").count() >= 7, "{html}");
    assert!(html.contains("&lt;b onmouseover=alert(6)&gt;"), "{html}");
    let sub_agents = AGENTS.map(|scenario| keep(&situation, &recorded(scenario)));
    assert_harmless(&exported(&situation, &sub_agents[0], "html"));
}

/// Without blocks of code, whose fences are of backticks.
fn outside_of_code(markdown: &str) -> String {
    let (mut fence, mut outside) = (None, Vec::new());
    for line in markdown.lines() {
        match fence {
            Some(end) if line == end => fence = None,
            Some(_) => {}
            None if line.starts_with("```") => fence = Some(line.trim_end_matches(char::is_alphabetic)),
            None => outside.push(line),
        }
    }
    outside.join("\n")
}

#[test]
fn nothing_planted_acts_in_the_markdown() {
    let situation = Situation::fresh();
    let id = keep(&situation, &hostile());
    let markdown = exported(&situation, &id, "md");
    assert_clean(&markdown);
    assert!(!outside_of_code(&markdown).contains("<svg"), "{markdown}");
    let (mut html, mut texts) = (String::new(), String::new());
    for event in Parser::new_ext(&markdown, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH) {
        match event {
            Event::Html(text) | Event::InlineHtml(text) => html += &text,
            Event::Text(text) | Event::Code(text) => texts += &text,
            Event::Start(Tag::Image { dest_url, .. }) => panic!("an image: {dest_url}"),
            Event::Start(Tag::Link { dest_url, .. }) => {
                assert!(dest_url.starts_with("http://"), "a link to {dest_url}");
            }
            _ => {}
        }
    }
    let tag = Regex::new(r"^</?(details|details open|summary|b|code)>").expect("a pattern");
    for (at, _) in html.match_indices('<') {
        assert!(tag.is_match(&html[at..]), "no element of ours: {}", &html[at..]);
    }
    let count = |tag: &str| html.matches(tag).count();
    assert_eq!(count("<details"), count("</details>"));
    assert!(texts.matches("<script>alert(1)</script>").count() >= 6, "{markdown}");
}

#[test]
fn what_names_no_session_is_an_error_with_a_hint() {
    let situation = Situation::fresh();
    for what in ["nothing", "tr-01a202bef4f171f2962f7fdf8c314e81", "01a202be-f4f1-71f2-962f-7fdf8c314e81"] {
        let outcome = run(&mut situation.command(&["export", what])).ended(End::Code(1));
        assert!(outcome.stderr.contains(what.trim_start_matches("tr-").split('-').next().expect("a part")));
        assert!(outcome.stderr.contains("\n  hint: "), "{}", outcome.stderr);
        assert_eq!(outcome.stdout, "");
    }
}
