//! Long output on a terminal goes through a pager, as git's does.

use crate::base::world::World;
use launch::signals::SignalPipe;
use std::io::Write;
use std::process::{Command, Stdio};

/// The exit code of a shell that finds no such program.
const NOT_FOUND: i32 = 127;

/// Prints the text: through `PAGER`, else `less`, where stdout is a terminal.
pub(super) fn print(text: &str, world: &World) {
    let pager = pager_of(world).filter(|_| world.stdout_is_terminal);
    if pager.and_then(|pager| page(text, &pager, world)).is_none() {
        super::print(text);
    }
}

/// The command line of the pager; None without one. As for git, an empty `PAGER` is none.
fn pager_of(world: &World) -> Option<String> {
    let named = world.variables.os("PAGER").map(|pager| pager.to_string_lossy().into_owned());
    let is_dumb = world.variables.os("TERM").is_none_or(|term| term == "dumb");
    let usual = || which::which("less").is_ok().then(|| "less".to_owned());
    let is_wanted = !is_dumb && !world.variables.is_empty("PAGER");
    named.or_else(usual).filter(|pager| is_wanted && pager != "cat")
}

/// None if the pager did not start.
fn page(text: &str, pager: &str, world: &World) -> Option<()> {
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
    // The user may leave the pager before the end of the text.
    let _ = stdin.write_all(text.as_bytes());
    drop(stdin);
    let ended = child.wait().ok()?;
    (ended.code() != Some(NOT_FOUND)).then_some(())
}
