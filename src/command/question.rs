//! Questions to the user of a terminal.

use super::print;
use crate::base::world::World;
use std::io::{self, BufRead, Write};

/// Whether the user sees the question and can type an answer.
pub(super) fn can_be_asked(world: &World) -> bool {
    let [stdin, stdout, _] = world.terminals.0;
    stdin.is_some() && stdout.is_some()
}

/// The line that the user types, without spaces around it. None at the end of the input (Ctrl-D).
pub(super) fn ask(question: &str) -> Option<String> {
    print(question);
    let _ = io::stdout().flush();
    let mut line = String::new();
    let count = io::stdin().lock().read_line(&mut line).ok()?;
    (count > 0).then(|| line.trim().to_owned())
}
