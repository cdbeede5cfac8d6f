//! A real bash in a real terminal emulator, for what only a shell with job control shows.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::daemon_release::link_daemon_release;
use crate::home::Home;
use crate::run::{End, LIMIT, run, wait_for};

/// Between two looks at the screen: each starts a tmux, and a test that only looks leaves Codex no core.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

static WINDOWS: AtomicUsize = AtomicUsize::new(0);

/// One window of a tmux server of its own, which ends when it is dropped.
#[derive(Debug)]
pub struct Tmux<'a> {
    home: &'a Home,
    socket: PathBuf,
}

impl Tmux<'_> {
    /// A bash in the home's work folder that has these variables and knows no start files.
    pub fn start<'a>(home: &'a Home, variables: &[(&str, &str)]) -> Tmux<'a> {
        link_daemon_release(&home.codex());
        // One home may have several windows open.
        let number = WINDOWS.fetch_add(1, Ordering::Relaxed);
        let socket = home.root().join(format!("tmux-{number}"));
        let tmux = Tmux { home, socket };
        let mut command = tmux.command();
        // No configuration of the machine's; the server takes its environment from this first command.
        command.args(["-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30"]);
        command.args(["bash", "--noprofile", "--norc", "-i"]);
        command.env("PS1", "bash$ ").env("TERM", "xterm-256color").envs(variables.iter().copied());
        run(&mut command).ended(End::Code(0));
        tmux.wait_for("bash$");
        tmux
    }

    fn command(&self) -> Command {
        let mut command = self.home.command("tmux");
        command.arg("-S").arg(&self.socket);
        command
    }

    pub fn type_line(&self, line: &str) {
        self.type_text(line);
        self.press("Enter");
    }

    /// Types into Codex's interface and sends it, until the screen shows what follows. What is typed this fast
    /// looks pasted, and the Enter after it may be taken for a part of it: then it is pressed again.
    #[track_caller]
    pub fn submit(&self, text: &str, what_follows: &str) {
        self.type_text(text);
        self.wait_for(text);
        let until = Instant::now() + LIMIT;
        while Instant::now() < until {
            self.press("Enter");
            let pressed = Instant::now();
            while pressed.elapsed() < Duration::from_secs(20) {
                if self.screen().contains(what_follows) {
                    return;
                }
                sleep(LOOK_AGAIN);
            }
        }
        panic!("tmux never showed {what_follows:?} after {text:?}; it shows:\n{}", self.screen());
    }

    /// Types a prompt into Codex's interface, until its turn has ended: before that commands are refused.
    #[track_caller]
    pub fn ask(&self, prompt: &str, answer: &str) {
        self.submit(prompt, answer);
        self.wait_until("the turn's end", |screen| {
            screen.rsplit(answer).next().is_some_and(|after| after.contains("Worked for"))
        });
    }

    pub fn type_text(&self, text: &str) {
        run(self.command().args(["send-keys", "-l", "--", text])).ended(End::Code(0));
    }

    /// By tmux's names: `C-z`, `Enter`.
    pub fn press(&self, key: &str) {
        run(self.command().args(["send-keys", key])).ended(End::Code(0));
    }

    pub fn resize(&self, columns: u16, rows: u16) {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        run(self.command().args(["resize-window", "-x", &columns, "-y", &rows])).ended(End::Code(0));
    }

    /// What can be read now, without empty lines at the end.
    pub fn screen(&self) -> String {
        let shown = run(self.command().args(["capture-pane", "-p"])).stdout;
        shown.trim_end().to_owned()
    }

    /// What tmux knows of the pane, such as `alternate_on`.
    pub fn state(&self, format: &str) -> String {
        run(self.command().args(["display-message", "-p", format])).stdout.trim().to_owned()
    }

    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        self.wait_until(text, |screen| screen.contains(text));
    }

    #[track_caller]
    pub fn wait_until(&self, what: &str, mut holds: impl FnMut(&str) -> bool) {
        let mut screen = String::new();
        let until = Instant::now() + LIMIT;
        while Instant::now() < until {
            screen = self.screen();
            if holds(&screen) {
                return;
            }
            sleep(LOOK_AGAIN);
        }
        panic!("tmux never showed {what:?}; it shows:\n{screen}");
    }

    pub fn close_window(&self) {
        run(self.command().arg("kill-pane")).ended(End::Code(0));
    }
}

impl Drop for Tmux<'_> {
    fn drop(&mut self) {
        let _ = self.command().arg("kill-server").output();
        if !std::thread::panicking() {
            wait_for("tmux to end", LIMIT, || {
                !self.command().arg("list-sessions").output().is_ok_and(|output| output.status.success())
            });
        }
    }
}
