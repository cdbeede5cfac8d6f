//! What writes no session is codex itself: one execve, and before it nothing of Codex's is touched.

use crate::LAUNCHER;
use std::path::Path;
use support::real::CODEX_VERSION;
use support::{End, Home, ModelServer, Script, codex, run};

/// Every system call of the launcher that names a file, up to and without the one that starts codex.
fn calls_before_codex(home: &Home, codex: &Path, words: &[&str]) -> Vec<String> {
    let log = home.root().join("calls");
    let mut strace = home.traced("strace", codex);
    strace.args(["-qq", "-e", "trace=%file", "-s", "4096", "-o"]).arg(&log).arg(LAUNCHER).args(words);
    run(&mut strace);
    let log =
        std::fs::read_to_string(&log).expect("strace wrote its log (install it: apt-get install strace)");
    let start = format!("execve(\"{}\"", codex.display());
    let before: Vec<String> =
        log.lines().take_while(|line| !line.starts_with(&start)).map(str::to_owned).collect();
    assert!(before.len() < log.lines().count(), "codex was never started:\n{log}");
    before
}

fn of_home<'a>(calls: &'a [String], home: &Home) -> Vec<&'a String> {
    let home = home.codex().display().to_string();
    calls.iter().filter(|call| call.contains(&home)).collect()
}

fn that_write(calls: &[String]) -> Vec<&String> {
    let reads =
        ["execve(", "access(", "faccessat", "readlink", "stat", "newfstatat(", "lstat", "statx(", "getcwd("];
    let opens_for_reading = |call: &str| {
        call.starts_with("open") && !["O_WRONLY", "O_RDWR", "O_CREAT"].iter().any(|flag| call.contains(flag))
    };
    calls
        .iter()
        .filter(|call| !reads.iter().any(|read| call.starts_with(read)) && !opens_for_reading(call))
        .collect()
}

#[test]
fn a_command_without_a_session_is_codex_itself() {
    let Some(codex) = codex() else { return };
    let home = Home::new(&ModelServer::start(Script::new()).url());
    for words in [&["--version"][..], &["login", "status"], &["mcp", "list"]] {
        let calls = calls_before_codex(&home, &codex.native, words);
        assert_eq!(of_home(&calls, &home), [""; 0], "{words:?} touched codex's home");
        assert_eq!(that_write(&calls), [""; 0], "{words:?} wrote something");
    }
    assert!(!home.state().exists());
}

#[test]
fn with_tracing_off_only_the_configuration_is_read() {
    let Some(codex) = codex() else { return };
    let home = Home::new(&ModelServer::start(Script::new()).url());
    let config = home.codex().join("mlflow_config.json");
    std::fs::write(&config, r#"{"environment": {"MLFLOW_CODEX_TRACING_ENABLED": "false"}}"#).expect("write");
    let calls = calls_before_codex(&home, &codex.native, &["exec", "--no-such-option"]);
    let touched = of_home(&calls, &home);
    assert!(touched.iter().all(|call| call.contains(&*config.to_string_lossy())), "{touched:#?}");
    assert!(!touched.is_empty(), "the configuration was read");
    assert_eq!(that_write(&calls), [""; 0]);
    assert!(!home.state().exists());
}

#[test]
fn what_it_prints_and_how_it_ends_is_codexs() {
    let Some(codex) = codex() else { return };
    let home = Home::new(&ModelServer::start(Script::new()).url());
    for words in
        [&["--version"][..], &["--help"], &["exec", "--help"], &["mcp", "list"], &["features", "--bogus"]]
    {
        let plain = run(home.command(&codex.native).args(words));
        let traced = run(home.traced(LAUNCHER, &codex.native).args(words));
        assert_eq!(plain.normalised(), traced.normalised(), "{words:?}");
    }
    let version = run(home.traced(LAUNCHER, &codex.native).arg("--version")).ended(End::Code(0));
    assert_eq!(version.stdout, format!("codex-cli {CODEX_VERSION}\n"));
}
