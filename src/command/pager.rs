//! Long output on a terminal goes through a pager, as git's does.

use crate::base::world::World;
use launch::signals::SignalPipe;
use std::io::Write;
use std::process::{Command, Stdio};

/// Prints the text: through `PAGER`, else `less`, where stdout is a terminal.
pub(super) fn print(text: &str, world: &World) {
    let is_shown = world.stdout_is_terminal && page(text, &pager_of(world), world).is_some();
    if !is_shown {
        super::print(text);
    }
}

/// The command line of the pager; empty or `cat` for none.
fn pager_of(world: &World) -> String {
    let named = world.variables.os("PAGER").map(|pager| pager.to_string_lossy().into_owned());
    let is_dumb = world.variables.os("TERM").is_none_or(|term| term == "dumb");
    if is_dumb { String::new() } else { named.unwrap_or_else(|| "less".to_owned()) }
}

/// None if the pager did not start.
fn page(text: &str, pager: &str, world: &World) -> Option<()> {
    if pager.is_empty() || pager == "cat" {
        return None;
    }
    let mut command = Command::new("sh");
    command.args(["-c", pager]).stdin(Stdio::piped());
    // As git: quit if the text fits on the screen, keep colours, leave the text there.
    for (name, value) in [("LESS", "FRX"), ("LV", "-c")] {
        if world.variables.os(name).is_none() {
            command.env(name, value);
        }
    }
    let mut child = command.spawn().ok()?;
    // Ctrl-C is for the pager.
    let _signals = SignalPipe::with_ending_signals();
    let mut stdin = child.stdin.take()?;
    let written = stdin.write_all(text.as_bytes());
    drop(stdin);
    let ended = child.wait().ok()?;
    // 127: the shell found no such program.
    (written.is_ok() || ended.code() != Some(127)).then_some(()).filter(|()| ended.code() != Some(127))
}
