//! The shims: they run codex-traced, else the real codex, and hand on every argument as it came.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{End, Outcome, copy_program, run, write_program};
use tempfile::TempDir;

/// Prints each argument in brackets, so that no content can blur them.
const FAKE: &str = "#!/bin/sh\nprintf 'codex'\nfor word; do printf '<%s>' \"$word\"; done\n";

const WORDS: [&str; 6] = ["exec", "two words", "", "line\nfeed", "$HOME `x` \"q\" 'a'", "*"];
const SAID: &str = "codex<exec><two words><><line\nfeed><$HOME `x` \"q\" 'a'><*>";

const SHELLS: [&str; 2] = ["sh", "bash"];

/// A machine with folders on PATH, earliest first: `shim`, `ours`, `real`.
struct Machine {
    root: TempDir,
}

impl Machine {
    /// The shim comes before a fake codex in PATH; codex-traced is not installed.
    fn new() -> Machine {
        let machine = Machine { root: tempfile::tempdir().expect("make a temporary folder") };
        for folder in ["shim", "ours", "real", "home"] {
            fs::create_dir(machine.at(folder)).expect("make a folder of the machine");
        }
        machine.install_shim("shim");
        machine.program("real/codex", FAKE);
        machine
    }

    fn with_codex_traced(self) -> Machine {
        symlink(env!("CARGO_BIN_EXE_codex-traced"), self.at("ours/codex-traced")).expect("link codex-traced");
        self
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn install_shim(&self, folder: &str) {
        copy_program(&shims().join("codex"), &self.at(folder).join("codex"));
    }

    fn program(&self, path: &str, text: &str) {
        write_program(&self.at(path), text);
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let folders = ["shim", "ours", "real"].map(|folder| self.at(folder));
        let usual = ["/usr/bin", "/bin"].map(PathBuf::from);
        let path = std::env::join_paths(folders.into_iter().chain(usual)).expect("no folder has a colon");
        command.env_clear().env("PATH", path);
        command.env("HOME", self.at("home")).env("CODEX_HOME", self.at("home/.codex"));
        command.current_dir(self.root.path());
        command
    }

    /// The shim under this shell.
    fn shim(&self, shell: &str) -> Outcome {
        run(self.command(shell).arg(self.at("shim/codex")).args(WORDS))
    }
}

fn shims() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("shims")
}

fn said(stdout: &str) -> Outcome {
    Outcome { stdout: stdout.into(), stderr: String::new(), end: End::Code(0) }
}

#[test]
fn the_shim_runs_codex_traced_which_passes_the_shim_by_and_finds_the_real_codex() {
    let machine = Machine::new().with_codex_traced();
    // Only codex-traced sets the variable of the depth.
    machine.program("real/codex", &FAKE.replace("'codex'", "'%s:codex' \"$CODEX_TRACED_DEPTH\""));
    for shell in SHELLS {
        assert_eq!(machine.shim(shell), said(&format!("1:{SAID}")), "{shell}");
    }
}

#[test]
fn without_codex_traced_the_shim_runs_the_next_codex() {
    for shell in SHELLS {
        assert_eq!(Machine::new().shim(shell), said(SAID), "{shell}");
    }
}

#[test]
fn the_shim_becomes_the_program_and_leaves_no_process_between() {
    let machine = Machine::new();
    machine.program("real/codex", "#!/bin/sh\necho $$; exit 7\n");
    let running = support::start(&mut machine.command(machine.at("shim/codex")));
    let id = running.pid();
    let outcome = running.finish(support::run::LIMIT);
    assert_eq!(outcome, Outcome { stdout: format!("{id}\n"), stderr: String::new(), end: End::Code(7) });
}

#[test]
fn two_copies_of_the_shim_do_not_run_each_other() {
    let machine = Machine::new();
    machine.install_shim("ours");
    for shell in SHELLS {
        assert_eq!(machine.shim(shell), said(SAID), "{shell}");
    }
}

#[test]
fn a_codex_traced_that_is_the_shim_itself_is_not_run() {
    let machine = Machine::new();
    symlink(machine.at("shim/codex"), machine.at("ours/codex-traced")).unwrap();
    for shell in SHELLS {
        assert_eq!(machine.shim(shell), said(SAID), "{shell}");
    }
}

#[test]
fn without_any_codex_the_shim_prints_a_hint() {
    let machine = Machine::new();
    fs::remove_file(machine.at("real/codex")).unwrap();
    let told = "codex: neither codex-traced nor codex was found on PATH\n  \
                hint: install Codex with `npm install -g @openai/codex`\n";
    for shell in SHELLS {
        let expected = Outcome { stdout: String::new(), stderr: told.into(), end: End::Code(127) };
        let shim = machine.at("shim/codex");
        // The machine that runs this test may have a codex of its own in a usual folder.
        let mut command = machine.command(which::which(shell).unwrap());
        command.env("PATH", std::env::join_paths([machine.at("shim"), machine.at("ours")]).unwrap());
        assert_eq!(run(command.arg(shim).args(WORDS)), expected, "{shell}");
    }
}

#[test]
fn the_functions_for_shells_run_codex_traced_and_without_it_the_real_codex() {
    for (shell, file) in [("bash", "codex.bash"), ("zsh", "codex.zsh"), ("fish", "codex.fish")] {
        if which::which(shell).is_err() {
            assert_ne!(shell, "bash", "bash is needed for this test");
            continue;
        }
        let script = match shell {
            "fish" => "source $argv[1]; codex $argv[2..]",
            _ => "source \"$1\"; shift; codex \"$@\"",
        };
        let function = |machine: &Machine| {
            let mut command = machine.command(which::which(shell).unwrap());
            command.args(["-c", script]);
            if shell != "fish" {
                command.arg(shell);
            }
            run(command.arg(shims().join(file)).args(WORDS))
        };
        let machine = Machine::new();
        fs::remove_file(machine.at("shim/codex")).unwrap();
        assert_eq!(function(&machine), said(SAID), "{shell}");
        machine.program("ours/codex-traced", &FAKE.replace("'codex'", "'traced:codex'"));
        assert_eq!(function(&machine), said(&format!("traced:{SAID}")), "{shell}");
    }
}
