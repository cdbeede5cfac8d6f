//! `watch --install` and `--uninstall` write and remove one file, and ask the service manager to start and stop it.

use crate::LAUNCHER;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::real::tool;
use support::{End, Home, Terminal, run, write_program};

const NO_MODEL: &str = "http://127.0.0.1:9";

/// A home whose `systemctl` notes its arguments, and ends with this code when it is asked for this.
struct Machine {
    home: Home,
}

impl Machine {
    fn new(refuses: &str) -> Machine {
        let home = Home::new(NO_MODEL);
        let folder = home.root().join("bin");
        fs::create_dir(&folder).expect("make a folder");
        let script = format!(
            "#!/bin/sh\necho \"$*\" >> {}\ncase \"$*\" in *{refuses}*) echo 'no bus' >&2; exit 1;; esac\n",
            home.root().join("asked").display()
        );
        write_program(&folder.join("systemctl"), script);
        Machine { home }
    }

    fn watch(&self, words: &[&str]) -> Command {
        let mut command = self.home.command(LAUNCHER);
        command.args(["mlflow", "watch"]).args(words);
        command.env("PATH", format!("{}:/usr/bin:/bin", self.home.root().join("bin").display()));
        command
    }

    fn unit(&self) -> PathBuf {
        self.home.user().join(".config/systemd/user/codex-traced-watch.service")
    }

    /// What `systemctl` was asked for since the last call.
    fn asked(&self) -> Vec<String> {
        let file = self.home.root().join("asked");
        let asked = fs::read_to_string(&file).unwrap_or_default();
        let _ = fs::remove_file(file);
        asked.lines().map(|line| line.trim_start_matches("--user ").to_owned()).collect()
    }
}

const START: [&str; 2] = ["daemon-reload", "enable --now codex-traced-watch.service"];
const STOP: [&str; 2] = ["disable --now codex-traced-watch.service", "daemon-reload"];

#[test]
fn with_yes_the_service_is_written_started_and_removed_again() {
    let machine = Machine::new("nothing");
    let said = run(&mut machine.watch(&["--install", "--yes"])).ended(End::Code(0));
    let unit = fs::read_to_string(machine.unit()).expect("the unit");
    let shown: String = unit.lines().map(|line| format!("  {line}\n")).collect();
    assert!(said.stdout.starts_with(&format!("{}\n\n{shown}", machine.unit().display())), "{}", said.stdout);
    assert!(
        said.stdout.contains("systemctl --user enable --now codex-traced-watch.service\n"),
        "{}",
        said.stdout
    );
    assert!(unit.contains(&format!("ExecStart=\"{LAUNCHER}\" mlflow watch\n")), "{unit}");
    assert!(
        unit.contains(&format!("Environment=\"CODEX_HOME={}\"\n", machine.home.codex().display())),
        "{unit}"
    );
    assert_eq!((machine.asked().as_slice(), said.stderr.as_str()), (START.map(str::to_owned).as_slice(), ""));
    // The same once more; then with another home, which a service that runs has to learn.
    run(&mut machine.watch(&["--install", "--yes"])).ended(End::Code(0));
    assert_eq!(machine.asked(), START);
    run(machine.watch(&["--install", "--yes"]).env_remove("CODEX_HOME")).ended(End::Code(0));
    assert_eq!(machine.asked(), [START.as_slice(), &["restart codex-traced-watch.service"]].concat());
    assert!(!fs::read_to_string(machine.unit()).expect("the unit").contains("CODEX_HOME"));
    run(&mut machine.watch(&["--uninstall", "--yes"])).ended(End::Code(0));
    assert_eq!(
        (machine.unit().exists(), machine.asked().as_slice()),
        (false, STOP.map(str::to_owned).as_slice())
    );
    let said = run(&mut machine.watch(&["--uninstall", "--yes"])).ended(End::Code(0));
    assert!(said.stdout.contains("There is no service to remove"), "{}", said.stdout);
    assert_eq!(machine.asked(), [""; 0]);
}

#[test]
fn without_a_terminal_and_without_yes_it_only_prints() {
    let machine = Machine::new("nothing");
    let said = run(&mut machine.watch(&["--install"])).ended(End::Code(1));
    assert!(
        said.stdout.contains("ExecStart=") && said.stdout.contains("Nothing was written"),
        "{}",
        said.stdout
    );
    assert!(!machine.unit().exists());
    run(&mut machine.watch(&["--install", "--yes"])).ended(End::Code(0));
    machine.asked();
    let said = run(&mut machine.watch(&["--uninstall"])).ended(End::Code(1));
    assert!(said.stdout.contains("Nothing was removed"), "{}", said.stdout);
    assert!(machine.unit().exists() && machine.asked().is_empty());
}

#[test]
fn on_a_terminal_the_user_is_asked() {
    let machine = Machine::new("nothing");
    for (answer, is_written) in [("n\r", false), ("\r", false), ("y\r", true)] {
        let terminal = Terminal::start(&machine.watch(&["--install"]));
        terminal.wait_for("Write this file and start the service? [y/N]");
        assert!(!machine.unit().exists(), "before the answer");
        terminal.type_keys(answer);
        terminal.finish().ended(End::Code(if is_written { 0 } else { 1 }));
        assert_eq!(machine.unit().exists(), is_written, "{answer:?}");
    }
    assert_eq!(machine.asked(), START);
}

#[test]
fn without_a_manager_the_user_reads_how_to_start_it() {
    let machine = Machine::new("daemon-reload");
    let said = run(&mut machine.watch(&["--install", "--yes"])).ended(End::Code(0));
    assert!(machine.unit().exists());
    let expected = "It is not started: `systemctl --user daemon-reload` failed (exit status: 1): no bus\n  hint: in a \
                    login session run `systemctl --user daemon-reload && systemctl --user enable --now \
                    codex-traced-watch.service`\n";
    assert!(said.stdout.ends_with(expected), "{}", said.stdout);
    run(&mut machine.watch(&["--uninstall", "--yes"])).ended(End::Code(0));
    assert!(!machine.unit().exists());
    let machine = Machine::new("enable");
    let said = run(&mut machine.watch(&["--install", "--yes"])).ended(End::Code(1));
    assert!(said.stderr.contains("enable --now codex-traced-watch.service` failed"), "{}", said.stderr);
}

#[test]
fn a_file_of_another_author_stays() {
    let machine = Machine::new("nothing");
    let folder = machine.unit().parent().map(Path::to_path_buf).expect("a folder");
    fs::create_dir_all(folder).expect("make the folder");
    fs::write(machine.unit(), "[Unit]\n").expect("write a file");
    for word in ["--install", "--uninstall"] {
        let said = run(&mut machine.watch(&[word, "--yes"])).ended(End::Code(1));
        assert!(
            said.stderr.contains("was not written by codex-traced, and stays as it is"),
            "{}",
            said.stderr
        );
    }
    assert_eq!(fs::read_to_string(machine.unit()).expect("the file"), "[Unit]\n");
    assert_eq!(machine.asked(), [""; 0]);
}

#[test]
fn systemd_finds_no_fault_in_the_unit() {
    let Some(analyze) = tool("systemd-analyze") else { return };
    let machine = Machine::new("nothing");
    let odd = machine.home.root().join("a home, 100%");
    fs::create_dir(&odd).expect("make a folder");
    run(machine.watch(&["--install", "--yes"]).env("CODEX_HOME", &odd)).ended(End::Code(0));
    let mut verify = machine.home.command(analyze);
    verify.args(["verify", "--user"]).arg(machine.unit()).env("XDG_RUNTIME_DIR", machine.home.temporary());
    let said = run(&mut verify);
    let ours = format!("{}{}", said.stdout, said.stderr);
    assert_eq!((said.end, ours.as_str()), (End::Code(0), ""));
}
