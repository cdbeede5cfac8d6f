//! The probe, in the place of the native Codex, finds the same when codex-traced starts it as when npm's launcher does: the real
//! launchers, a package around the probe.

use super::child::{ALWAYS, LOG, OWN_TERMINAL};
use super::npm::{Between, nodes};
use super::twice::{Observation, Place, Stage, assert_none, compare, differing};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use support::probe::probe;
use support::real::{CODEX_BEFORE, CODEX_VERSION, npms_launcher};
use support::{End, Home, copy_program, run, write_program};

use crate::LAUNCHER;

const TARGET: (&str, &str) = match cfg!(target_arch = "aarch64") {
    true => ("codex-linux-arm64", "aarch64-unknown-linux-musl"),
    false => ("codex-linux-x64", "x86_64-unknown-linux-musl"),
};

/// A shell that ignores signals, has further descriptors, a low limit of files, and what another launcher left.
const ODD: &str = "trap '' HUP PIPE USR1 XFSZ; exec 5</dev/null 16</dev/null; ulimit -Sn 300; \
                   export CODEX_MANAGED_BY_BUN=1 PATH=$PATH::/nowhere";

/// A launcher of each text.
const VERSIONS: [&str; 8] =
    ["0.100.0", "0.131.0", "0.133.0", "0.138.0", "0.144.0", "0.153.0", CODEX_BEFORE, CODEX_VERSION];

/// The launcher in a package, as `npm install --prefix` makes it, with the probe as the native program.
fn package(home: &Home, launcher: &Path) -> PathBuf {
    let modules = home.root().join("prefix/lib/node_modules/@openai");
    let (name, target) = TARGET;
    let platform = modules.join("codex/node_modules/@openai").join(name);
    let bin = modules.join("codex/bin");
    fs::create_dir_all(&bin).expect("a package");
    copy_program(launcher, &bin.join("codex.js"));
    for (folder, text) in [(&modules.join("codex"), r#"{"type":"module"}"#), (&platform, "{}")] {
        fs::create_dir_all(folder).expect("a folder of a package");
        fs::write(folder.join("package.json"), text).expect("a package's description");
    }
    // Where older and newer launchers look.
    for place in ["bin", "codex"] {
        let folder = platform.join("vendor").join(target).join(place);
        fs::create_dir_all(&folder).expect("a folder of programs");
        copy_program(&probe(), &folder.join("codex"));
    }
    fs::create_dir_all(platform.join("vendor").join(target).join("path")).expect("a folder for PATH");
    let on_path = home.root().join("prefix/codex");
    symlink(bin.join("codex.js"), &on_path).expect("a link to the launcher");
    on_path
}

/// Those whose launcher replaces itself (0.166 and later).
const REPLACE_THEMSELVES: [&str; 2] = [CODEX_BEFORE, CODEX_VERSION];

/// pnpm's script around the same package: the text of pnpm's own, with other paths.
fn package_of_pnpm(home: &Home, launcher: &Path, text: &str) -> PathBuf {
    let on_path = package(home, launcher);
    let prefix = home.root().join("prefix");
    fs::write(prefix.join("lib/node_modules/.modules.yaml"), "").expect("pnpm's list of modules");
    let between = |before: &str, after: char| {
        let (_, rest) = text.split_once(before).expect("a path in pnpm's script");
        rest.split(after).next().expect("a path in pnpm's script").to_owned()
    };
    let (before, quote) = if text.contains("NODE_PATH='") {
        ("$basedir_abs\"/'", '\'')
    } else {
        ("$basedir/node\"  \"$basedir/", '"')
    };
    let text = text
        .replace(&between(&format!("export NODE_PATH={quote}"), quote), "/modules of/pnpm:/others")
        .replace(&between(before, quote), "../prefix/lib/node_modules/@openai/codex/bin/codex.js");
    fs::remove_file(&on_path).expect("remove npm's link");
    write_program(&on_path, &text);
    on_path
}

/// What the probe saw by npm's launcher and without it.
fn seen(stage: &Stage, place: Place, before: &str, words: &str) -> [Observation; 2] {
    let script = format!("{before}; codex {words}'see; exit 3'; exit $?");
    let seen = stage.observe(place, &script, |_| {});
    assert_eq!(seen[0]["end"], format!("{:?}", End::Code(3)), "{:?}", seen[0]);
    seen
}

#[test]
fn codex_finds_the_same_without_node() {
    let mut wrong = Vec::new();
    for version in VERSIONS {
        let Some(launcher) = npms_launcher(version) else { return };
        for (node, between) in nodes() {
            let stage = Stage::of(|home| package(home, &launcher));
            let odd = format!("PATH={}:$PATH; {ODD}", node.display());
            let cases = [
                (Place::Pipes, odd.clone(), "exec "),
                (Place::Pipes, format!("{odd}; exec 0<&- 2>&-"), "exec "),
                (Place::Terminal, odd.clone(), "exec "),
                (Place::Terminal, odd, ""),
            ];
            for (place, before, words) in cases {
                let [plain, traced] = seen(&stage, place, &before, words);
                let case = format!("{version}, {place:?}: {before}; codex {words}");
                assert_eq!(traced["parent's name"], "codex", "{case}: {traced:?}");
                wrong.extend(compare(&case, &[plain, traced], &allowed(version, between, words)));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn codex_finds_the_same_without_pnpms_script() {
    let Some(launcher) = npms_launcher(CODEX_VERSION) else { return };
    let mut wrong = Vec::new();
    for pnpm in ["9", "10", "12"] {
        let text = fs::read_to_string(format!("tests/fixtures/pnpm/codex-{pnpm}")).expect("pnpm's script");
        let stage = Stage::of(|home| package_of_pnpm(home, &launcher, &text));
        for before in ["export NODE_PATH=/earlier", ":"] {
            let [plain, traced] = seen(&stage, Place::Pipes, before, "exec ");
            let case = format!("pnpm {pnpm}: {before}");
            assert_eq!(plain["variable CODEX_MANAGED_BY_PNPM"], "1", "{case}: {plain:?}");
            assert_eq!(traced["parent's name"], "codex", "{case}: {traced:?}");
            let between = if plain["parent's name"] == "node" { Between::Node } else { Between::Nothing };
            wrong.extend(compare(&case, &[plain, traced], &allowed(CODEX_VERSION, between, "exec ")));
        }
    }
    assert_none(&wrong);
}

/// A `node` that changes what it starts, and variables that change Node: then npm's launcher starts Codex.
#[test]
fn where_node_would_do_more_npms_launcher_runs() {
    let Some(launcher) = npms_launcher(CODEX_VERSION) else { return };
    let stage = Stage::of(|home| package(home, &launcher));
    let adds = stage.home.root().join("node-that-adds");
    fs::create_dir(&adds).expect("a folder");
    write_program(&adds.join("node"), "#!/bin/sh\nADDED=1 exec \"$REAL\" \"$@\"\n");
    let (real, between) = nodes().pop().expect("a Node");
    let cases = [
        "export NODE_OPTIONS=--no-warnings".to_owned(),
        "export NODE_V8_COVERAGE=coverage".to_owned(),
        "export ODD=$'\\xff'".to_owned(),
        format!("export PATH={}:$PATH", adds.display()),
    ];
    for case in cases {
        let before = format!("export PATH={0}:$PATH REAL={0}/node; {case}", real.display());
        let seen = seen(&stage, Place::Pipes, &before, "exec ");
        let differing = differing(&seen);
        let ours = ["variable CODEX_TRACED_DEPTH", "variables in order", "parent's name"];
        assert!(differing.iter().all(|name| ours.contains(&&name[..])), "{case}: {differing:?}");
        if between == Between::Node {
            assert_eq!(seen[1]["parent's name"], "node", "{case}");
        }
        let is_odd = case.contains("ODD");
        assert!(
            is_odd || seen[1].contains_key("variable ADDED") == case.contains("that-adds"),
            "{case}: {seen:?}"
        );
    }
}

fn allowed(version: &str, between: Between, words: &str) -> Vec<&'static str> {
    let mut allowed = ALWAYS.to_vec();
    if words.is_empty() {
        allowed.extend(LOG.iter().chain(&OWN_TERMINAL));
    }
    // A newer launcher replaces itself by Codex where Node can, and leaves SIGPIPE ignored, as Codex then does itself.
    if between == Between::Nothing && REPLACE_THEMSELVES.contains(&version) {
        allowed.push("SigIgn");
    }
    allowed
}

#[test]
fn codex_needs_no_node_where_the_launchers_text_is_known() {
    let Some(launcher) = npms_launcher(CODEX_VERSION) else { return };
    let stage = Stage::of(|home| package(home, &launcher));
    let launcher = stage.home.root().join("prefix/codex");
    let empty = stage.home.root().join("empty");
    fs::create_dir(&empty).expect("an empty folder");
    let start = |direct: &str| {
        let mut command = stage.home.traced(LAUNCHER, &launcher);
        command.env("PATH", &empty).env("CODEX_TRACED_DIRECT", direct);
        run(command.args(["exec", "say it runs; exit 3"]))
    };
    let runs = |direct| {
        let outcome = start(direct);
        assert_eq!(outcome.stdout.contains("it runs"), outcome.end == End::Code(3), "{outcome:?}");
        outcome.end == End::Code(3)
    };
    assert!(runs("") && runs("1"));
    assert!(!runs("0"), "switched off");
    let text = fs::canonicalize(&launcher).expect("the launcher");
    let mut changed = fs::read(&text).expect("the launcher's text");
    changed.push(b'\n');
    fs::write(&text, changed).expect("change the launcher");
    assert!(!runs(""), "of an unknown text");
}
