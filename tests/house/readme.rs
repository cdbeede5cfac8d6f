//! What the documents promise about commands, variables, links and the licence is so.

use codex_traced::settings::variable_reference::{self, Variable};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{End, run};

/// Read by the tests, not by the program.
const OF_THE_TESTS: &str = "CODEX_TRACED_TEST_OFFLINE";

/// Tests set it for a debug build; a release build does not read it.
const OF_DEBUG_BUILDS: &[&str] = &["CODEX_TRACED_TEST_PORTABLE"];

/// Looks like a variable, but is MLflow's word for the location of a trace.
const OF_MLFLOW: &str = "MLFLOW_EXPERIMENT";

/// Variables of Databricks logins that this program lacks. An error message names them when they are set.
const NOTICED: &[&str] = &[
    "DATABRICKS_USERNAME",
    "DATABRICKS_PASSWORD",
    "DATABRICKS_OIDC_TOKEN_ENV",
    "DATABRICKS_OIDC_TOKEN_FILEPATH",
    "DATABRICKS_GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_CREDENTIALS",
    "DATABRICKS_AZURE_RESOURCE_ID",
    "ARM_USE_MSI",
    "ARM_CLIENT_ID",
    "ARM_CLIENT_SECRET",
    "ARM_TENANT_ID",
    "DATABRICKS_METADATA_SERVICE_URL",
];

/// Codex's own variables. The launcher reads them, so that it keeps a session log that the user asked for.
const OF_CODEX: &[&str] = &["CODEX_TUI_RECORD_SESSION", "CODEX_TUI_SESSION_LOG_PATH"];

/// Variables that the program sets: the depth for nested launches, the switch for MLflow in `ui`, and what npm's launcher
/// sets for Codex.
const SET_BY_US: &[&str] = &[
    "CODEX_TRACED_DEPTH",
    "MLFLOW_ALLOW_FILE_STORE",
    "CODEX_MANAGED_BY_BUN",
    "CODEX_MANAGED_BY_NPM",
    "CODEX_MANAGED_BY_PNPM",
    "CODEX_MANAGED_BY_VITE_PLUS",
    "CODEX_MANAGED_PACKAGE_ROOT",
];

/// Which variables there are, and what they mean.
const CONFIGURATION: &str = "docs/configuration.md";

/// A README that is read in two minutes.
const LONGEST_README: usize = 8 * 1024;

fn at(path: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: impl AsRef<Path>) -> String {
    let path = at(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every Markdown file of the folder, not of those in it.
fn documents_in(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(at(folder)).unwrap_or_else(|error| panic!("{folder}: {error}")).flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut paths: Vec<String> =
        names.filter(|name| name.ends_with(".md")).map(|name| format!("{folder}/{name}")).collect();
    paths.sort();
    paths
}

/// For users: what they promise of commands and variables is tested.
fn for_users() -> Vec<String> {
    let others = ["README.md", "SECURITY.md", "shims/README.md"].map(str::to_owned);
    others.into_iter().chain(documents_in("docs")).collect()
}

fn all_documents() -> Vec<String> {
    let mut paths: Vec<String> = [".", "docs", "docs/design", "shims"].map(documents_in).concat();
    paths.iter_mut().for_each(|path| *path = path.trim_start_matches("./").to_owned());
    paths
}

/// The anchors that GitHub makes of a document's headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| -> String {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = words.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
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

/// The source of the program and of its crates.
fn program() -> String {
    ["src", "crates"].map(at).iter().filter(|folder| folder.is_dir()).map(|folder| sources(folder)).collect()
}

/// The blocks of shell commands, line by line.
fn commands(text: &str) -> Vec<Vec<&str>> {
    let blocks = text.split("```sh\n").skip(1);
    blocks.filter_map(|block| Some(block.split_once("```")?.0.lines().collect())).collect()
}

/// Words that look like a variable of codex-traced or of MLflow.
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
    assert_eq!(commands[0], ["cargo run --profile demo --example demo"]);
    assert_eq!(commands[1], ["cargo test"]);
    assert!(at("tests/support/examples/demo.rs").is_file());
}

#[test]
fn the_readme_is_short() {
    let length = read("README.md").len();
    assert!(length <= LONGEST_README, "{length} bytes");
}

#[test]
fn every_variable_in_a_document_for_users_occurs_in_the_source() {
    let sources = program();
    let known = variables(&sources);
    for document in for_users() {
        let text = read(&document);
        let invented: Vec<&str> = variables(&text).difference(&known).copied().collect();
        assert_eq!(invented, [""; 0], "{document}");
    }
}

#[test]
fn the_variable_of_the_tests_is_read_by_them() {
    assert!(read("CONTRIBUTING.md").contains(&format!("{OF_THE_TESTS}=1 cargo test")));
    assert!(read("tests/support/real.rs").contains(OF_THE_TESTS));
}

/// A Markdown table for docs/configuration.md.
fn markdown(variables: &[Variable]) -> String {
    let rows = variables.iter().map(|Variable { name, meaning, default, .. }| match *default {
        "" => format!("| `{name}` | {meaning} | |\n"),
        default => format!("| `{name}` | {meaning} | {default} |\n"),
    });
    std::iter::once("| variable | meaning | default |\n|---|---|---|\n".to_owned()).chain(rows).collect()
}

#[test]
fn the_document_has_a_row_for_each_variable_that_the_code_reads_word_for_word() {
    let document = read(CONFIGURATION);
    use variable_reference::{OF_COLLECTORS, OF_DATABRICKS, OF_SERVERS, OURS};
    for variables in [OURS, OF_SERVERS, OF_COLLECTORS, OF_DATABRICKS] {
        let table = markdown(variables);
        assert!(document.contains(&table), "the table should be\n{table}");
    }
    let names = document.split("\n| `").skip(1).filter_map(|row| row.split('`').next());
    let listed: Vec<&str> = names.filter(|name| is_variable(name)).collect();
    let read: Vec<&str> = variable_reference::all().map(|variable| variable.name).collect();
    assert_eq!(listed, read, "a row that is in no table");
}

/// A variable that the code reads is a string of its own; a name within a sentence is only text.
#[test]
fn every_variable_that_the_code_reads_is_in_the_reference() {
    let listed: Vec<&str> = variable_reference::all().map(|variable| variable.name).collect();
    let known = [&listed, OF_CODEX, SET_BY_US, NOTICED, OF_DEBUG_BUILDS].concat();
    let sources = program().replace(&read("src/settings/variable_reference.rs"), "");
    let strings: BTreeSet<&str> = sources.split('"').filter(|text| is_variable(text)).collect();
    let unlisted: Vec<&str> = strings.iter().filter(|name| !known.contains(name)).copied().collect();
    assert_eq!(unlisted, [""; 0]);
    let unread: Vec<&str> = known.into_iter().filter(|name| !strings.contains(name)).collect();
    assert_eq!(unread, [""; 0]);
}

/// Variables of Codex, MLflow, Databricks and TLS libraries, and a few of the desktop.
fn is_variable(text: &str) -> bool {
    /// Words of MLflow's API.
    const OTHERS: [&str; 2] = ["MLFLOW_EXPERIMENT", "AWS_PRESIGNED_URL"];
    let families = [
        "CODEX_",
        "MLFLOW_",
        "DATABRICKS_",
        "AWS_",
        "ARM_",
        "GOOGLE_",
        "OTEL_",
        "SSL_",
        "REQUESTS_",
        "CURL_",
        "TRACEPARENT",
        "TRACESTATE",
    ];
    if OTHERS.contains(&text) {
        return false;
    }
    let is_name =
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    is_name
        && (["BROWSER", "CI", "CODEX_TRACED", "DISPLAY", "NO_COLOR", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"]
            .contains(&text)
            || families.iter().any(|family| text.starts_with(family))
            || text.ends_with("_PROXY"))
}

#[test]
fn every_variable_of_a_ci_job_that_the_code_reads_is_in_its_document() {
    let (source, document) = (read("src/settings/ci_job.rs"), read("docs/ci.md"));
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let is_name =
        |text: &&str| text.contains('_') && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    let names: BTreeSet<&str> = code.split('"').filter(is_name).collect();
    assert!(names.len() > 30, "{names:?}");
    let unlisted: Vec<&str> =
        names.into_iter().filter(|name| !document.contains(&format!("`{name}`"))).collect();
    assert_eq!(unlisted, [""; 0]);
}

#[test]
fn every_variable_in_the_source_is_in_the_document() {
    let (text, sources) = (read(CONFIGURATION), program());
    let mut used = variables(&sources);
    assert!(used.remove(OF_MLFLOW));
    assert!(OF_DEBUG_BUILDS.iter().all(|name| used.remove(name)));
    let missing: Vec<&str> = used.difference(&variables(&text)).copied().collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn every_link_of_a_document_leads_to_a_file_and_a_heading() {
    for document in all_documents() {
        let text = read(&document);
        let folder = Path::new(&document).parent().expect("a folder");
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.starts_with("http")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { PathBuf::from(&document) } else { folder.join(file) };
            assert!(at(&target).exists(), "{document}: {link}");
            let is_there = anchor.is_empty() || anchors(&read(&target)).contains(anchor);
            assert!(is_there, "{document}: {link}");
        }
    }
}

/// What `codex-traced mlflow --help` prints.
fn help() -> String {
    let mut ours = Command::new(env!("CARGO_BIN_EXE_codex-traced"));
    run(ours.args(["mlflow", "--help"])).ended(End::Code(0)).stdout
}

#[test]
fn every_command_of_ours_in_a_document_is_one() {
    let help = help();
    let is_listed = |command: &str| help.lines().any(|line| line.trim_start().starts_with(command));
    for document in for_users() {
        let text = read(&document);
        let named = text.split("codex-traced mlflow ").skip(1);
        let named: BTreeSet<&str> =
            named.filter_map(|rest| rest.split(['`', ' ', '\n', '"', ')']).next()).collect();
        let unknown: Vec<&str> =
            named.into_iter().filter(|command| !command.starts_with('-') && !is_listed(command)).collect();
        assert_eq!(unknown, [""; 0], "{document}");
    }
}

#[test]
fn the_guide_has_a_row_for_each_command_of_ours() {
    let (guide, help) = (read("docs/guide.md"), help());
    let (_, list) = help.split_once("Commands:\n").expect("the commands");
    let names = list.lines().take_while(|line| !line.is_empty());
    let names: Vec<&str> = names.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.contains(&"enable"), "{names:?}");
    for name in names {
        assert!(guide.contains(&format!("\n| `codex-traced mlflow {name}` |")), "{name}");
    }
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
