//! What the README says about commands, variables and the licence is so.

use codex_traced::config::reference;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{End, run};

/// Read by the tests, not by the program.
const OF_THE_TESTS: &str = "CODEX_TRACED_TEST_OFFLINE";

/// Looks like a variable, but is MLflow's word for a kind of place.
const OF_MLFLOW: &str = "MLFLOW_EXPERIMENT";

fn at(path: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: impl AsRef<Path>) -> String {
    let path = at(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The text of every Rust file in the folder, one after the other.
fn sources(folder: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let texts = entries.flatten().map(|entry| entry.path()).map(|path| match path.extension() {
        _ if path.is_dir() => sources(&path),
        Some(ending) if ending == "rs" => read(&path),
        _ => String::new(),
    });
    texts.collect()
}

/// The blocks that are to be typed, line by line.
fn commands(text: &str) -> Vec<Vec<&str>> {
    let blocks = text.split("```sh\n").skip(1);
    blocks.filter_map(|block| Some(block.split_once("```")?.0.lines().collect())).collect()
}

/// Words that look like one of our variables, or of MLflow's.
fn variables(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
    words.filter(|word| *word == "CODEX_TRACED" || is_prefixed(word)).collect()
}

fn is_prefixed(word: &str) -> bool {
    ["CODEX_TRACED_", "MLFLOW_"].iter().any(|prefix| word.len() > prefix.len() && word.starts_with(prefix))
}

#[test]
fn the_first_two_commands_are_the_demo_and_the_tests() {
    let text = read("README.md");
    let commands = commands(&text);
    assert_eq!(commands[0], ["cargo run --release --example demo"]);
    assert_eq!(commands[1], ["cargo test"]);
    assert!(at("examples/demo.rs").is_file());
}

#[test]
fn every_variable_in_the_readme_occurs_in_the_source() {
    let sources = sources(&at("src"));
    let mut known = variables(&sources);
    assert!(read("tests/support/real.rs").contains(OF_THE_TESTS));
    known.insert(OF_THE_TESTS);
    let text = read("README.md");
    let invented: Vec<&str> = variables(&text).difference(&known).copied().collect();
    assert_eq!(invented, [""; 0]);
}

#[test]
fn the_readme_has_a_row_for_each_variable_that_the_code_reads_word_for_word() {
    let readme = read("README.md");
    for variables in [reference::OURS, reference::OF_SERVERS, reference::OF_DATABRICKS] {
        let table = reference::markdown(variables);
        assert!(readme.contains(&table), "the table should be\n{table}");
    }
    let names = readme.split("\n| `").skip(1).filter_map(|row| row.split('`').next());
    let told: Vec<&str> = names.filter(|name| is_variable(name)).collect();
    let read: Vec<&str> = reference::all().map(|variable| variable.name).collect();
    assert_eq!(told, read, "a row that is in no table");
}

/// A variable that is read stands in a string of its own; a name within a sentence is only spoken of.
#[test]
fn every_variable_that_the_code_reads_is_in_the_reference() {
    let listed: Vec<&str> = reference::all().map(|variable| variable.name).collect();
    let known = [&listed, reference::OF_CODEX, reference::SET_BY_US, reference::NOTICED].concat();
    let sources = sources(&at("src")).replace(&read("src/config/reference.rs"), "");
    let strings: BTreeSet<&str> = sources.split('"').filter(|text| is_variable(text)).collect();
    let unlisted: Vec<&str> = strings.iter().filter(|name| !known.contains(name)).copied().collect();
    assert_eq!(unlisted, [""; 0]);
    let unread: Vec<&str> = known.into_iter().filter(|name| !strings.contains(name)).collect();
    assert_eq!(unread, [""; 0]);
}

/// Variables of the programs that we deal with, and the few that are everybody's.
fn is_variable(text: &str) -> bool {
    /// Words of MLflow's API.
    const OTHERS: [&str; 2] = ["MLFLOW_EXPERIMENT", "AWS_PRESIGNED_URL"];
    let families =
        ["CODEX_", "MLFLOW_", "DATABRICKS_", "AWS_", "ARM_", "GOOGLE_", "SSL_", "REQUESTS_", "CURL_"];
    if OTHERS.contains(&text) {
        return false;
    }
    let is_name =
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    is_name
        && (["BROWSER", "CI", "CODEX_TRACED", "DISPLAY", "NO_COLOR", "WAYLAND_DISPLAY"].contains(&text)
            || families.iter().any(|family| text.starts_with(family))
            || text.ends_with("_PROXY"))
}

#[test]
fn every_variable_in_the_source_is_in_the_readme() {
    let (text, sources) = (read("README.md"), sources(&at("src")));
    let mut used = variables(&sources);
    assert!(used.remove(OF_MLFLOW));
    let untold: Vec<&str> = used.difference(&variables(&text)).copied().collect();
    assert_eq!(untold, [""; 0]);
}

#[test]
fn every_file_that_the_readme_links_to_is_there() {
    let text = read("README.md");
    let links = text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap());
    for link in links.filter(|link| !link.starts_with("http") && !link.starts_with('#')) {
        assert!(at(link).exists(), "{link}");
    }
}

#[test]
fn every_command_of_ours_in_the_readme_is_one() {
    let text = read("README.md");
    let named = text.split("codex-traced mlflow ").skip(1);
    let named: BTreeSet<&str> = named.map(|rest| rest.split(['`', ' ', '\n']).next().unwrap()).collect();
    let mut ours = Command::new(env!("CARGO_BIN_EXE_codex-traced"));
    let help = run(ours.args(["mlflow", "--help"])).ended(End::Code(0)).stdout;
    let listed = |command: &str| help.lines().any(|line| line.trim_start().starts_with(command));
    let unknown: Vec<&str> =
        named.into_iter().filter(|command| !command.starts_with('-') && !listed(command)).collect();
    assert_eq!(unknown, [""; 0]);
}

#[test]
fn the_licence_is_apache_2_in_file_readme_and_manifest() {
    let licence = read("LICENSE");
    assert!(licence.contains("Apache License") && licence.contains("Version 2.0, January 2004"));
    assert!(licence.contains("END OF TERMS AND CONDITIONS"));
    assert_eq!(env!("CARGO_PKG_LICENSE"), "Apache-2.0");
    assert!(read("README.md").contains("[Apache-2.0](LICENSE)"));
}

#[test]
fn ci_runs_the_test_command_that_the_readme_gives() {
    let lines = read("README.md");
    assert_eq!(lines.lines().filter(|line| *line == "cargo test").count(), 1);
    assert!(read(".ci/run").contains("grep -x 'cargo test' README.md"));
}
