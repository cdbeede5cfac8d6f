//! `setup` in bash, zsh and fish: what it asks and writes, that `codex` then runs codex-traced, and that `--undo` leaves
//! nothing.

use crate::LAUNCHER;
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use support::real::tool;
use support::{End, Home, Terminal, run, write_program};

const NO_MODEL: &str = "http://127.0.0.1:9";

/// codex-traced and Codex on PATH, in folders of their own, after `~/.local/bin`.
struct Machine {
    home: Home,
    shell: PathBuf,
}

impl Machine {
    fn new(shell: &Path) -> Machine {
        let home = Home::new(NO_MODEL);
        for name in ["bin", "npm"] {
            fs::create_dir(home.root().join(name)).expect("make a folder");
        }
        symlink(LAUNCHER, home.root().join("bin/codex-traced")).expect("link codex-traced");
        write_program(
            &home.root().join("npm/codex"),
            "#!/bin/sh\n[ \"$*\" = --version ] && echo codex-cli 0.171.0 || echo \"plain $*\"\n",
        );
        // Without a last newline.
        for name in [".bashrc", ".zshrc"] {
            fs::write(home.user().join(name), "MINE=1").expect("write a startup file");
        }
        Machine { home, shell: shell.to_owned() }
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = self.home.command(program);
        let at = |name: &str| self.home.root().join(name).display().to_string();
        let own = self.home.user().join(".local/bin").display().to_string();
        command.env("PATH", format!("{own}:{}:{}:/usr/bin:/bin", at("bin"), at("npm")));
        command.env("SHELL", &self.shell).env("COLUMNS", "80");
        command
    }

    fn setup(&self, words: &[&str]) -> Command {
        let mut command = self.command(LAUNCHER);
        command.args(["mlflow", "setup"]).args(words);
        command
    }

    /// What a new shell's `codex` prints.
    fn codex(&self) -> String {
        let mut shell = self.command(&self.shell);
        run(shell.args(["-ic", "codex mlflow --version"])).ended(End::Code(0)).stdout
    }

    /// What a script's `codex` prints.
    fn codex_of_scripts(&self) -> String {
        run(self.command("sh").args(["-c", "codex mlflow --version"])).ended(End::Code(0)).stdout
    }

    fn config(&self) -> String {
        fs::read_to_string(self.home.codex().join("mlflow_config.json")).expect("a configuration")
    }

    /// Every file and folder of the user, with the length and a digest of files.
    fn files(&self) -> BTreeMap<PathBuf, Option<(usize, u64)>> {
        let digest = |bytes: Vec<u8>| {
            let mut hasher = DefaultHasher::new();
            bytes.hash(&mut hasher);
            (bytes.len(), hasher.finish())
        };

        let mut found = BTreeMap::new();
        let mut folders = vec![self.home.user(), self.home.codex()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).expect("read").flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path.clone());
                }
                found.insert(path.clone(), fs::read(&path).ok().map(digest));
            }
        }
        found
    }

    /// Without what differs from run to run, and without what `doctor` prints.
    fn transcript(&self, printed: &str) -> String {
        let printed = printed.replace("\r\n", "\n").replace(&self.home.root().display().to_string(), "ROOT");
        let printed = printed.split("ok       codex").next().unwrap_or_default().to_owned();
        printed.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }
}

const OURS: &str = concat!("codex-traced mlflow ", env!("CARGO_PKG_VERSION"), "\n");

const PLAIN: &str = "plain mlflow --version\n";

#[track_caller]
fn review(name: &str, transcript: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots/commands");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, transcript));
}

/// Answers are typed, then `--undo` takes all of it back.
#[track_caller]
fn set_up_and_undo(shell: &str, answers: [&str; 3], name: &str) {
    let Some(shell) = tool(shell) else { return };
    let machine = Machine::new(&shell);
    // fish makes files of its own when it is started.
    assert_eq!((machine.codex(), machine.codex_of_scripts()), (PLAIN.to_owned(), PLAIN.to_owned()));
    let before = machine.files();
    let terminal = Terminal::start(&machine.setup(&[]));
    for (question, answer) in
        ["Where do traces go?", "What does the word `codex` run?", "What do traces hold?"].iter().zip(answers)
    {
        terminal.wait_for(question);
        let begun = terminal.text().find(question).expect("it is shown");
        support::wait_for("the question's end", support::run::LIMIT, || {
            terminal.text()[begun..].contains("[1] ")
        });
        terminal.type_keys(format!("{answer}\r"));
    }
    let seen = terminal.finish().ended(End::Code(0));
    let is_shim = answers[1] == "2";
    assert_eq!(machine.codex(), OURS);
    assert_eq!(machine.codex_of_scripts(), if is_shim { OURS } else { PLAIN });
    assert!(seen.text().contains("All is well."), "{}", seen.text());

    let undone = run(&mut machine.setup(&["--undo"])).ended(End::Code(0));
    let transcript = [seen.text(), "\n$ codex-traced mlflow setup --undo\n".to_owned(), undone.stdout];
    let transcript = transcript.map(|printed| machine.transcript(&printed)).concat();
    assert_eq!(machine.files(), before);
    assert_eq!((machine.codex(), machine.codex_of_scripts()), (PLAIN.to_owned(), PLAIN.to_owned()));
    review(name, &transcript);
}

#[test]
fn in_bash_a_function_runs_codex_traced_until_undo() {
    set_up_and_undo("bash", ["", "", ""], "setup in bash");
}

#[test]
fn in_zsh_the_shim_runs_codex_traced_until_undo() {
    set_up_and_undo("zsh", ["1", "2", "2"], "setup in zsh");
}

#[test]
fn in_fish_a_function_runs_codex_traced_until_undo() {
    set_up_and_undo("fish", ["", "1", ""], "setup in fish");
}

#[test]
fn a_wrong_answer_is_asked_again_and_an_interrupt_leaves_nothing() {
    let bash = tool("bash").expect("bash is needed for the tests");
    let machine = Machine::new(&bash);
    let before = machine.files();
    let terminal = Terminal::start(&machine.setup(&[]));
    terminal.wait_for("[1] ");
    terminal.type_keys("2\r");
    terminal.wait_for("\"2\" is no address");
    terminal.type_keys("ftp://nowhere\r");
    terminal.wait_for("not a tracking URI");
    terminal.type_keys("\r");
    terminal.wait_for("What does the word");
    terminal.type_keys("\u{3}");
    assert_eq!(terminal.finish().end, End::Signal(Signal::SIGINT as i32));
    assert_eq!(machine.files(), before);
    // The end of the input is no answer.
    let terminal = Terminal::start(&machine.setup(&[]));
    terminal.wait_for("[1] ");
    terminal.type_keys("\u{4}");
    let seen = terminal.finish().ended(End::Code(1));
    assert!(seen.text().contains("Nothing was written."), "{}", seen.text());
    assert_eq!(machine.files(), before);
}

#[test]
fn options_answer_without_a_terminal_and_setup_can_be_done_again() {
    let machine = Machine::new(&tool("bash").expect("bash is needed for the tests"));
    let before = machine.files();
    let said = run(&mut machine.setup(&[])).ended(End::Code(1));
    assert!(said.stderr.contains("there is no terminal to ask on"), "{}", said.stderr);
    let options = ["-u", "sqlite:///team.db", "--codex", "shim", "--content", "metadata"];
    run(&mut machine.setup(&[&options[..], &["--dry-run"]].concat())).ended(End::Code(0));
    assert_eq!(machine.files(), before);
    run(&mut machine.setup(&options)).ended(End::Code(0));
    assert_eq!((machine.codex(), machine.codex_of_scripts()), (OURS.to_owned(), OURS.to_owned()));
    // The second one replaces the shim, and keeps the target and what traces hold.
    run(&mut machine.setup(&["--yes"])).ended(End::Code(0));
    assert_eq!((machine.codex(), machine.codex_of_scripts()), (OURS.to_owned(), PLAIN.to_owned()));
    let config = machine.config();
    assert!(config.contains("\"metadata\"") && config.contains("team.db"), "{config}");
    run(&mut machine.setup(&["--undo"])).ended(End::Code(0));
    assert_eq!(machine.files(), before);
    let said = run(&mut machine.setup(&["--undo"])).ended(End::Code(0));
    assert!(said.stdout.contains("nothing to undo"), "{}", said.stdout);
}

#[test]
fn where_codex_is_an_alias_already_the_startup_file_still_works() {
    for (name, alias) in [("bash", "codex --search"), ("zsh", "codex-traced")] {
        let Some(shell) = tool(name) else { continue };
        let machine = Machine::new(&shell);
        let startup = machine.home.user().join(format!(".{name}rc"));
        fs::write(&startup, format!("alias codex='{alias}'\n")).expect("write a startup file");
        run(&mut machine.setup(&["--yes"])).ended(End::Code(0));
        let text = fs::read_to_string(&startup).expect("read") + "export LATER=1\n";
        fs::write(&startup, text).expect("write");
        let mut command = machine.command(&shell);
        let said = run(command.args(["-ic", "echo later=$LATER; type codex"])).ended(End::Code(0));
        assert!(
            said.stdout.contains("later=1\n") && !said.stderr.contains("parse error"),
            "{name}: {said:?}"
        );
    }
}

/// A link stays, an empty file stays, the user's own shim stays, and the settings get back what they were.
#[test]
fn what_the_user_had_comes_back_to_the_byte() {
    let machine = Machine::new(&tool("bash").expect("bash is needed for the tests"));
    let user = machine.home.user();
    let startup = user.join(".bashrc");
    let dotfiles = user.join("dotfiles");
    fs::create_dir(&dotfiles).expect("make a folder");
    fs::remove_file(&startup).expect("remove");
    let config = machine.home.codex().join("mlflow_config.json");
    fs::write(&config, "{\"environment\": {\"MLFLOW_TRACKING_URI\": \"sqlite:///old.db\"}, \"mine\": 1}")
        .expect("write");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).expect("chmod");
    symlink("dotfiles/bashrc", &startup).expect("link");
    for content in [None, Some(""), Some("alias a=1"), Some("alias a=1\n")] {
        let target = dotfiles.join("bashrc");
        match content {
            Some(content) => fs::write(&target, content).expect("write"),
            None => _ = fs::remove_file(&target),
        }
        let before = machine.files();
        run(&mut machine.setup(&["--yes", "-u", "sqlite:///new.db"])).ended(End::Code(0));
        assert_eq!(machine.codex(), OURS, "{content:?}");
        run(&mut machine.setup(&["--undo"])).ended(End::Code(0));
        assert_eq!(machine.files(), before, "{content:?}");
        assert!(fs::symlink_metadata(&startup).expect("there").is_symlink(), "{content:?}");
        assert_eq!(fs::metadata(&config).expect("there").permissions().mode() & 0o777, 0o644);
    }
    // A shim that the user has put there.
    let own = user.join(".local/bin");
    fs::create_dir_all(&own).expect("make a folder");
    fs::copy("shims/codex", own.join("codex")).expect("copy the shim");
    fs::set_permissions(own.join("codex"), fs::Permissions::from_mode(0o755)).expect("chmod");
    let before = machine.files();
    run(&mut machine.setup(&["--yes", "--codex", "shim"])).ended(End::Code(0));
    run(&mut machine.setup(&["--undo"])).ended(End::Code(0));
    assert_eq!(machine.files(), before);
}

#[test]
fn after_enable_and_disable_undo_gives_back_what_setup_changed() {
    let machine = Machine::new(&tool("bash").expect("bash is needed for the tests"));
    let config = machine.home.codex().join("mlflow_config.json");
    fs::write(&config, "{\"environment\": {\"MLFLOW_TRACKING_URI\": \"sqlite:///old.db\"}}").expect("write");
    run(&mut machine.setup(&["--yes", "-u", "sqlite:///new.db"])).ended(End::Code(0));
    run(machine.command(LAUNCHER).args(["mlflow", "disable"])).ended(End::Code(0));
    let said = run(&mut machine.setup(&["--undo"])).ended(End::Code(1));
    let in_a_line = said.stdout.replace('\n', " ");
    assert!(in_a_line.contains("was changed since setup wrote it"), "{in_a_line}");
    let text = machine.config();
    assert!(text.contains("old.db") && !text.contains("new.db") && text.contains("\"false\""), "{text}");
}

#[test]
fn a_second_setup_that_fails_leaves_the_first() {
    let machine = Machine::new(&tool("bash").expect("bash is needed for the tests"));
    run(&mut machine.setup(&["--yes", "-u", "sqlite:///team.db"])).ended(End::Code(0));
    let after_first = machine.files();
    // A folder in the place of a file.
    let functions = machine.home.user().join("elsewhere/fish/functions");
    fs::create_dir_all(functions.join(".codex-traced-setup.tmp/x")).expect("make a folder");
    let before = machine.files();
    let mut second = machine.setup(&["--yes"]);
    second.env("SHELL", "/usr/bin/fish").env("XDG_CONFIG_HOME", machine.home.user().join("elsewhere"));
    let said = run(&mut second).ended(End::Code(1));
    assert!(said.stderr.contains("all is as it was"), "{}", said.stderr);
    assert_eq!(machine.files(), before);
    assert!(after_first.keys().all(|path| before.contains_key(path)));
    assert_eq!(machine.codex(), OURS);
}

#[test]
fn without_a_shell_that_setup_knows_it_writes_the_settings_alone() {
    let machine = Machine::new(Path::new("/bin/sh"));
    let mut setup = machine.setup(&["--yes"]);
    setup.env("PATH", "/usr/bin:/bin");
    let said = run(&mut setup).ended(End::Code(2));
    assert!(said.stdout.contains("`codex-traced exec \"…\"` leaves a trace"), "{}", said.stdout);
    assert!(machine.config().contains("mlflow.db"));
    run(machine.setup(&["--yes", "--codex", "function"]).env_remove("SHELL")).ended(End::Code(1));
}

#[test]
fn a_target_that_takes_no_traces_and_a_file_of_the_user_stop_setup() {
    let fish = tool("fish").unwrap_or_else(|| "/usr/bin/fish".into());
    let machine = Machine::new(&fish);
    let function = machine.home.user().join(".config/fish/functions/codex.fish");
    fs::create_dir_all(function.parent().expect("a folder")).expect("make a folder");
    fs::write(&function, "function codex; end\n").expect("write a function");
    let before = machine.files();
    let said = run(&mut machine.setup(&["--yes"])).ended(End::Code(1));
    assert!(said.stderr.contains("codex.fish is there already"), "{}", said.stderr);
    let said = run(&mut machine.setup(&["--yes", "-u", NO_MODEL])).ended(End::Code(1));
    assert!(said.stderr.contains("127.0.0.1:9"), "{}", said.stderr);
    assert_eq!(machine.files(), before);
}
