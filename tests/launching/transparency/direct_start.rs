//! The probe, in the place of the native Codex, finds the same when codex-traced starts it as when npm's launcher does: the real
//! launchers, a package around the probe.

use super::child::{ALWAYS, LOG, OWN_TERMINAL};
use super::npm::{Between, nodes};
use super::twice::{Observation, Place, Stage, assert_none, compare};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use support::probe::probe;
use support::real::{CODEX_BEFORE, CODEX_VERSION};
use support::{Codex, End, Home, codex, copy_program, older_codex, run};

use crate::LAUNCHER;

const TARGET: (&str, &str) = match cfg!(target_arch = "aarch64") {
    true => ("codex-linux-arm64", "aarch64-unknown-linux-musl"),
    false => ("codex-linux-x64", "x86_64-unknown-linux-musl"),
};

/// A shell that ignores signals, has one more descriptor, a low limit of files, and what another launcher left.
const ODD: &str =
    "trap '' HUP PIPE USR1 XFSZ; exec 5</dev/null; ulimit -Sn 300; export CODEX_MANAGED_BY_BUN=1";

/// Launchers of each kind, of those that the tests fetch: PATH and npm or bun; the package's folder; pnpm; Vite+.
const VERSIONS: [&str; 5] = ["0.130.0", "0.142.5", "0.150.0", CODEX_BEFORE, CODEX_VERSION];

/// The launcher of the package, installed as `npm install --prefix` does it, with the probe as the native program.
fn package(home: &Home, codex: &Codex) -> PathBuf {
    let real = fs::canonicalize(&codex.launcher).expect("npm's launcher");
    let modules = home.root().join("prefix/lib/node_modules/@openai");
    let (name, target) = TARGET;
    let platform = modules.join("codex/node_modules/@openai").join(name);
    let bin = modules.join("codex/bin");
    fs::create_dir_all(&bin).expect("a package");
    copy_program(&real, &bin.join("codex.js"));
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

/// What the probe saw by npm's launcher and without it.
fn seen(stage: &Stage, place: Place, node: &Path, words: &str) -> [Observation; 2] {
    let script = format!("PATH={}:$PATH; {ODD}; codex {words}'see; exit 3'; exit $?", node.display());
    let seen = stage.observe(place, &script, |_| {});
    assert_eq!(seen[0]["end"], format!("{:?}", End::Code(3)), "{:?}", seen[0]);
    seen
}

#[test]
fn codex_finds_the_same_without_node() {
    let mut wrong = Vec::new();
    for version in VERSIONS {
        let Some(codex) = older_codex(version) else { return };
        for (node, between) in nodes() {
            let stage = Stage::of(|home| package(home, &codex));
            for (place, words) in [(Place::Pipes, "exec "), (Place::Terminal, "exec "), (Place::Terminal, "")]
            {
                let [plain, traced] = seen(&stage, place, &node, words);
                let case = format!("{version}, {}, {place:?}, codex {words}", node.display());
                assert_eq!(traced["parent's name"], "codex", "{case}: {traced:?}");
                wrong.extend(compare(&case, &[plain, traced], &allowed(version, between, words)));
            }
        }
    }
    assert_none(&wrong);
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
    let Some(codex) = codex() else { return };
    let stage = Stage::of(|home| package(home, &codex));
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
