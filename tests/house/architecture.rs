//! Data flows one way through the folders of `src/`, and the house rules hold in every file.

use std::fs;
use std::path::Path;

/// Each stage knows only those before it.
const FLOW: [&str; 9] = ["cli", "launch", "codex", "claim", "rollout", "session", "trace", "spool", "export"];

/// Open to every stage.
const BASE: [&str; 3] = ["env", "disk", "unprintable"];

/// Past this, two meanings live in one file.
const MOST_LINES: usize = 350;

/// Where the kernel is talked to without a safe form.
const MAY_BE_UNSAFE: [&str; 2] = ["src/launch/", "src/claim/"];

/// What a module of the crate may use of its siblings; None: everything but the stories themselves.
fn may_use(module: &str) -> Option<Vec<&'static str>> {
    let beside: &[&str] = match module {
        "main" => &["app", "env"],
        // A launch is of any command, and knows nothing of Codex.
        "lib" | "disk" | "launch" => &[],
        "env" => &["launch"],
        "log" | "notice" => &BASE,
        "config" => &["env", "disk", "codex"],
        "app" | "command" | "finish" | "state" | "summary" => return None,
        stage => {
            let place = FLOW.iter().position(|known| *known == stage)?;
            let before = FLOW[..place].iter().copied().chain(BASE);
            // Where a launch's traces go is a setting.
            return Some(match stage {
                "claim" | "spool" | "export" => before.chain(["config"]).collect(),
                _ => before.collect(),
            });
        }
    };
    Some(beside.to_vec())
}

/// One sentence for each rule that a file breaks. Paths are as in `src/claim/observer.rs`.
fn violations(files: &[(&str, &str)]) -> Vec<String> {
    files.iter().flat_map(|(path, text)| violations_of(path, text)).collect()
}

fn violations_of(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut say = |sentence: String| found.push(format!("{path}: {sentence}"));
    if !text.lines().next().is_some_and(|line| line.starts_with("//!")) {
        say("its first line does not say what it is".into());
    }
    let lines = text.lines().count();
    if lines > MOST_LINES {
        say(format!("{lines} lines, more than {MOST_LINES}"));
    }
    let tokens = tokens_of(text);
    if tokens.contains(&"unsafe") && !MAY_BE_UNSAFE.iter().any(|folder| path.starts_with(folder)) {
        say("unsafe outside of launch and claim".into());
    }
    let allows =
        |window: &[&str]| window[2] == "allow" && window[1] == "[" && ["#", "!"].contains(&window[0]);
    if tokens.windows(3).any(allows) {
        say("#[allow] instead of #[expect(…, reason)]".into());
    }
    let here = module_of(path);
    let from = here.first().map_or(if path == "src/main.rs" { "main" } else { "lib" }, |name| name);
    let mut used = siblings_used(&tokens, &here);
    used.sort_unstable();
    used.dedup();
    for to in used {
        let fits = match may_use(from) {
            _ if to == from => true,
            Some(allowed) => allowed.contains(&to),
            // One door: the program's first word decides between the story and our own commands.
            None => to != "app" && (to != "command" || from == "app"),
        };
        if !fits {
            say(format!("{from} uses {to}"));
        }
    }
    found
}

/// `src/claim/observer.rs` is `[claim, observer]`; the crate's root is `[]`.
fn module_of(path: &str) -> Vec<&str> {
    let inner = path.strip_prefix("src/").and_then(|rest| rest.strip_suffix(".rs")).expect("a path in src/");
    let mut names: Vec<&str> = inner.split('/').collect();
    if names == ["lib"] || names == ["main"] || names.last() == Some(&"mod") {
        names.pop();
    }
    names
}

/// The modules at the crate's root that the source names.
fn siblings_used<'a>(tokens: &[&'a str], here: &[&'a str]) -> Vec<&'a str> {
    let mut used = Vec::new();
    let mut module = here.to_vec();
    // For every open brace, whether it opened a module.
    let mut braces = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at] {
            "{" => {
                let opens_module = at >= 2 && tokens[at - 2] == "mod";
                if opens_module {
                    module.push(tokens[at - 1]);
                }
                braces.push(opens_module);
            }
            "}" if braces.pop() == Some(true) => {
                module.pop();
            }
            "crate" | "super" | "self" | "codex_traced" if at == 0 || tokens[at - 1] != "::" => {
                at = walk_path(tokens, at, &module, &mut used);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    used
}

/// Follows a path, or a tree of paths, from its first segment on; returns where it ended.
fn walk_path<'a>(tokens: &[&'a str], mut at: usize, prefix: &[&'a str], used: &mut Vec<&'a str>) -> usize {
    let token = |at: usize| tokens.get(at).copied().unwrap_or(";");
    let mut path = prefix.to_vec();
    loop {
        match token(at) {
            "crate" | "codex_traced" => path.clear(),
            "self" => {}
            "super" => {
                path.pop();
            }
            "{" => {
                at += 1;
                while !["}", ";"].contains(&token(at)) {
                    at = walk_path(tokens, at, &path, used);
                    // Renames, commas, whatever stands between two paths.
                    while !["}", ";", ","].contains(&token(at)) {
                        at += 1;
                    }
                    at += usize::from(token(at) == ",");
                }
                return at + 1;
            }
            name => path.push(name),
        }
        at += 1;
        if token(at) != "::" {
            break;
        }
        at += 1;
    }
    // `crate` alone is a visibility; with `as` it would hide what is used.
    match path.first() {
        Some(first) => used.push(first),
        None if token(at) == "as" => used.push("everything"),
        None => {}
    }
    at
}

/// Identifiers, `::` and single characters; comments, strings and characters left out.
fn tokens_of(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let is_word = |at: usize| bytes.get(at).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = string_literal(rest) {
            length
        } else if is_word(at) {
            let length = (at..).take_while(|at| is_word(*at)).count();
            tokens.push(&rest[..length]);
            length
        } else if rest.starts_with("::") {
            tokens.push("::");
            2
        } else {
            let length = rest.chars().next().map_or(1, char::len_utf8);
            if !rest.starts_with(char::is_whitespace) {
                tokens.push(&rest[..length]);
            }
            length
        };
        at += length;
    }
    tokens
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let step = &rest.as_bytes()[at..];
        match step {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The length of a string, raw string or character that begins here; a lifetime is none of them.
fn string_literal(rest: &str) -> Option<usize> {
    let quoted = |start: usize, quote: char| {
        let mut escaped = false;
        rest[start..].char_indices().find_map(|(at, c)| match c {
            _ if escaped => {
                escaped = false;
                None
            }
            '\\' => {
                escaped = true;
                None
            }
            c if c == quote => Some(start + at + 1),
            _ => None,
        })
    };
    let unprefixed = rest.trim_start_matches(['b', 'c', 'r']);
    let prefix = rest.len() - unprefixed.len();
    if prefix <= 2 && rest[..prefix].ends_with('r') {
        let hashes = unprefixed.len() - unprefixed.trim_start_matches('#').len();
        let end = format!("\"{}", "#".repeat(hashes));
        let body = unprefixed[hashes..].strip_prefix('"')?;
        return Some(prefix + hashes + 1 + body.find(&end)? + end.len());
    }
    if prefix <= 1 && unprefixed.starts_with('"') {
        return quoted(prefix + 1, '"');
    }
    let inner = rest.strip_prefix('\'')?;
    let mut characters = inner.chars();
    match (characters.next()?, characters.next()?) {
        ('\\', _) => quoted(1, '\''),
        (first, '\'') => Some(1 + first.len_utf8() + 1),
        _ => None,
    }
}

fn sources(folder: &Path, into: &mut Vec<(String, String)>) {
    let entries = fs::read_dir(folder).expect("a folder of src/");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a file of src/").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            into.push((path.to_string_lossy().into_owned(), text));
        }
    }
}

fn tree() -> Vec<(String, String)> {
    let mut files = Vec::new();
    // `cargo test` runs in the package's folder.
    sources(Path::new("src"), &mut files);
    files
}

/// What a file at `path` whose code is `code` breaks.
fn planted(path: &str, code: &str) -> Vec<String> {
    let text = format!("//! A file.\n{code}\n");
    let prefix = format!("{path}: ");
    violations(&[(path, &text)]).iter().map(|found| found.replacen(&prefix, "", 1)).collect()
}

#[test]
fn the_house_follows_its_plan() {
    let files = tree();
    assert!(files.len() > 40, "only {} files found", files.len());
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (&**path, &**text)).collect();
    assert_eq!(violations(&files), Vec::<String>::new());
}

#[test]
fn every_module_at_the_root_has_its_place_in_the_plan() {
    let stories = ["app", "command", "finish", "state", "summary"];
    for (path, _) in tree() {
        let module = module_of(&path);
        if let Some(name) = module.first() {
            assert!(may_use(name).is_some() || stories.contains(name), "{name} stands nowhere in the flow");
        }
    }
}

#[test]
fn an_arrow_that_points_back_is_found_in_every_shape() {
    let table = [
        ("plain", "src/rollout/line.rs", "use crate::session::model::Session;", "rollout uses session"),
        ("public", "src/session/mod.rs", "pub use crate::trace::ids::TraceId;", "session uses trace"),
        ("for the crate", "src/trace/mod.rs", "pub(crate) use crate::spool::Spool;", "trace uses spool"),
        (
            "nested braces",
            "src/claim/mod.rs",
            "use crate::{codex::{home::Home, command_line}, launch, spool::{self, Entry}};",
            "claim uses spool",
        ),
        ("braces around all", "src/claim/mod.rs", "use {std::fs, crate::export};", "claim uses export"),
        ("a path in an expression", "src/codex/home.rs", "fn f() { crate::claim::go() }", "codex uses claim"),
        ("a path in a type", "src/spool/mod.rs", "type T = Vec<crate::export::E>;", "spool uses export"),
        ("within a function", "src/trace/build.rs", "fn f() { use crate::export::E; }", "trace uses export"),
        ("super", "src/session/mod.rs", "use super::trace::ids;", "session uses trace"),
        ("super of super", "src/session/tools.rs", "use super::super::trace::ids;", "session uses trace"),
        (
            "super within braces",
            "src/session/tools.rs",
            "use super::{super::trace, model};",
            "session uses trace",
        ),
        (
            "super in a module of tests",
            "src/session/mod.rs",
            "mod tests { use super::super::trace::ids; }",
            "session uses trace",
        ),
        (
            "after a module of tests",
            "src/session/mod.rs",
            "mod t { } use super::trace;",
            "session uses trace",
        ),
        ("all", "src/session/mod.rs", "use crate::*;", "session uses *"),
        ("another name for the root", "src/session/mod.rs", "use crate as root;", "session uses everything"),
        (
            "in a macro",
            "src/session/mod.rs",
            "macro_rules! m { () => { $crate::trace::f() } }",
            "session uses trace",
        ),
        ("over two lines", "src/session/mod.rs", "use crate::\n    /* a */ trace;", "session uses trace"),
    ];
    for (shape, path, code, sentence) in table {
        assert_eq!(planted(path, code), [sentence], "{shape}");
    }
}

#[test]
fn the_exceptions_of_the_plan_are_only_those() {
    let table = [
        ("src/launch/mode.rs", "use crate::codex::command_line;", "launch uses codex"),
        ("src/config/target.rs", "use crate::launch::exit;", "config uses launch"),
        ("src/session/mod.rs", "use crate::config::target;", "session uses config"),
        ("src/export/mod.rs", "use crate::log;", "export uses log"),
        ("src/env.rs", "use crate::disk;", "env uses disk"),
        ("src/notice.rs", "use crate::cli;", "notice uses cli"),
        ("src/command/mod.rs", "use crate::app;", "command uses app"),
        ("src/state.rs", "use crate::command;", "state uses command"),
        ("src/state.rs", "use crate::app;", "state uses app"),
        ("src/export/mod.rs", "use crate::state;", "export uses state"),
        ("src/main.rs", "use codex_traced::claim;", "main uses claim"),
        ("src/lib.rs", "use crate::claim::x;", "lib uses claim"),
    ];
    for (path, code, sentence) in table {
        assert_eq!(planted(path, code), [sentence], "{path}");
    }
}

#[test]
fn what_the_plan_permits_is_no_violation() {
    let table = [
        ("src/claim/observer.rs", "use crate::launch::companion::Companion;"),
        ("src/session/tools.rs", "use super::model::Session; use crate::rollout::event;"),
        ("src/session/tools.rs", "fn f() { super::model::f(); self::g(); crate::session::h() }"),
        ("src/session/mod.rs", "pub(crate) fn f(&self) { self.trace.export() }"),
        ("src/session/mod.rs", "// use crate::trace;\n/* crate::trace /* crate::spool */ crate::trace */"),
        (
            "src/session/mod.rs",
            r###"const A: &str = "crate::trace \" crate::spool"; const B: &str = r#"crate::trace""#;"###,
        ),
        ("src/session/mod.rs", r#"const A: char = '"'; fn f<'a>(b: &'a str) { g('\'', b"crate::trace") }"#),
        ("src/export/mod.rs", "use crate::{config::target, spool, trace::{model, ids}};"),
        ("src/app.rs", "use crate::{command, state, export};"),
        ("src/main.rs", "fn main() { codex_traced::app::run() }"),
    ];
    for (path, code) in table {
        assert_eq!(planted(path, code), [""; 0], "{code}");
    }
}

#[test]
fn a_file_that_does_not_say_what_it_is_is_found() {
    for text in ["", "use std::fs;\n//! Late.\n", "// A comment.\n", "\n//! Late.\n"] {
        assert_eq!(violations(&[("src/x.rs", text)]), ["src/x.rs: its first line does not say what it is"]);
    }
}

#[test]
fn a_file_of_two_meanings_is_found_by_its_length() {
    let of = |lines: usize| format!("//! A file.\n{}", "\n".repeat(lines - 1));
    assert_eq!(violations(&[("src/env.rs", &of(350))]), [""; 0]);
    assert_eq!(violations(&[("src/env.rs", &of(351))]), ["src/env.rs: 351 lines, more than 350"]);
}

#[test]
fn unsafe_code_is_found_outside_of_launch_and_claim() {
    let code = "fn f() { unsafe { g() } }";
    assert_eq!(planted("src/spool/mod.rs", code), ["unsafe outside of launch and claim"]);
    assert_eq!(
        planted("src/disk.rs", "unsafe extern \"C\" { fn g(); }"),
        ["unsafe outside of launch and claim"]
    );
    assert_eq!(planted("src/launch/pty.rs", code), [""; 0]);
    assert_eq!(planted("src/claim/macos.rs", code), [""; 0]);
    assert_eq!(planted("src/disk.rs", "#[expect(unsafe_code, reason = \"unsafe\")]"), [""; 0]);
}

#[test]
fn a_lint_that_is_waved_through_is_found() {
    for code in ["#[allow(dead_code)] fn f() {}", "#![allow(dead_code)]", "# [ allow ( dead_code ) ]"] {
        assert_eq!(planted("src/env.rs", code), ["#[allow] instead of #[expect(…, reason)]"], "{code}");
    }
    assert_eq!(planted("src/env.rs", "#[expect(dead_code, reason = \"later\")] fn allow() {}"), [""; 0]);
}
