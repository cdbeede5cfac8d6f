//! Completions in real shells, and the manual page as `man` shows it.

use crate::LAUNCHER;
use crate::situation::{NOBODY, Situation};
use codex_traced::settings::variable_reference;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use support::real::tool;
use support::run::LIMIT;
use support::{End, Home, Terminal, codex, run, run_with_input, wait_for};

/// Where the shell finds codex-traced and the real codex.
fn machine(home: &Home, codex: &Path) -> String {
    let folder = home.root().join("bin");
    fs::create_dir(&folder).expect("make a folder");
    symlink(LAUNCHER, folder.join("codex-traced")).expect("link codex-traced");
    symlink(codex, folder.join("codex")).expect("link codex");
    format!("{}:/usr/bin:/bin", folder.display())
}

fn shell(home: &Home, path: &str, shell: &Path) -> Command {
    let mut command = home.command(shell);
    command.env("PATH", path);
    command
}

/// What is typed, and a word that has to be among what the shell offers.
const OFFERS: [(&str, &str); 8] = [
    ("codex-traced mlflow sta", "status"),
    ("codex-traced mlflow enable --tr", "--tracking-uri"),
    ("codex-traced mlflow completions fi", "fish"),
    ("codex-traced mlf", "mlflow"),
    ("codex-traced exe", "exec"),
    ("codex-traced exec resum", "resume"),
    ("codex mlflow doc", "doctor"),
    ("codex exe", "exec"),
];

#[test]
fn bash_completes_our_words_and_codexs() {
    let Some(codex) = codex() else { return };
    let home = Home::new(NOBODY);
    let path = machine(&home, &codex.native);
    let script = r#"
        eval "$(codex-traced mlflow completions bash)"
        while IFS= read -r line; do
            read -ra COMP_WORDS <<<"$line"
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
            how=$(complete -p "${COMP_WORDS[0]}") function=${how##*-F } function=${function%% *}
            "$function" "${COMP_WORDS[0]}" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
            echo " ${COMPREPLY[*]} "
        done
    "#;
    let typed = OFFERS.map(|(line, _)| line).join("\n") + "\n";
    let bash = tool("bash").expect("bash is needed for the tests");
    let mut command = shell(&home, &path, &bash);
    let said = run_with_input(command.args(["--norc", "-c", script]), typed.as_bytes()).ended(End::Code(0));
    assert_eq!(said.stderr, "");
    for ((line, offered), said) in OFFERS.iter().zip(said.stdout.lines()) {
        assert!(said.contains(&format!(" {offered} ")), "{line}: {said}");
    }
    assert_eq!(said.stdout.lines().count(), OFFERS.len());
}

#[test]
fn fish_completes_our_words_and_codexs() {
    let (Some(codex), Some(fish)) = (codex(), tool("fish")) else { return };
    let home = Home::new(NOBODY);
    let path = machine(&home, &codex.native);
    let script = "codex-traced mlflow completions fish | source; alias codex=codex-traced; \
                  while read line; complete -C \"$line\" | cut -f 1 | string join ' '; end";
    let typed = OFFERS.map(|(line, _)| line).join("\n") + "\n";
    let mut command = shell(&home, &path, &fish);
    let said =
        run_with_input(command.args(["--no-config", "-c", script]), typed.as_bytes()).ended(End::Code(0));
    for ((line, offered), said) in OFFERS.iter().zip(said.stdout.lines()) {
        assert!(said.split(' ').any(|word| word == *offered), "{line}: {said}");
    }
    assert_eq!(said.stdout.lines().count(), OFFERS.len());
}

/// zsh completes at a prompt only.
#[test]
fn zsh_completes_our_words_and_codexs() {
    let (Some(codex), Some(zsh)) = (codex(), tool("zsh")) else { return };
    let home = Home::new(NOBODY);
    let path = machine(&home, &codex.native);
    let start = "PS1='zsh$ '; autoload -Uz compinit; compinit -D -u; unsetopt BEEP; setopt NO_LIST_BEEP\n\
                 eval \"$(codex-traced mlflow completions zsh)\"; alias codex=codex-traced; echo read''y\n";
    fs::write(home.user().join(".zshrc"), start).expect("write");
    let steering = regex::Regex::new(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\x07]").expect("a pattern");
    let mut command = shell(&home, &path, &zsh);
    command.arg("-i").env("ZDOTDIR", home.user()).env("TERM", "xterm");
    for (line, offered) in OFFERS {
        let terminal = Terminal::start(&command);
        terminal.wait_for("ready");
        terminal.type_keys(format!("{line}\t"));
        // Completed in place, or, where several words begin so, listed below.
        let (before, _) = line.rsplit_once(' ').expect("several words");
        let (completed, listed) = (format!("{before} {offered}"), format!("\n{offered} "));
        wait_for(&format!("{line} to become {offered}"), LIMIT, || {
            let text = terminal.text();
            let shown = steering.replace_all(&text, "");
            shown.contains(&completed) || shown.contains(&listed)
        });
        terminal.close();
    }
}

#[test]
fn the_manual_page_is_whole_and_man_reports_no_error() {
    let Some(man) = tool("man") else { return };
    let situation = Situation::fresh();
    let page = run(&mut situation.command(&["man"])).ended(End::Code(0)).stdout;
    let file = situation.home.root().join("codex-traced-mlflow.1");
    fs::write(&file, page).expect("write");
    let mut command = situation.home.command(man);
    command.args(["--warnings", "-E", "UTF-8", "-l"]).arg(&file);
    command.env("MANWIDTH", "80").env("LANG", "C.UTF-8");
    let shown = run(&mut command).ended(End::Code(0));
    assert_eq!(shown.stderr, "");
    for command in ["enable", "disable", "status", "doctor", "show", "sync", "completions", "man"] {
        assert!(
            shown.stdout.contains(&format!("   codex-traced mlflow {command}")),
            "{command}\n{}",
            shown.stdout
        );
    }
    for variable in variable_reference::all() {
        assert!(shown.stdout.contains(variable.name), "{}", variable.name);
    }
    for line in shown.stdout.lines() {
        assert!(line.chars().count() <= 100, "too wide: {line}");
    }
    assert!(!shown.stdout.contains("finish <"), "a command that nobody types");
}
