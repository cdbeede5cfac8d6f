//! `mlflow sync`: deliver what waits, finish what died.

use super::Failure;
use crate::codex::home::CodexHome;
use crate::env::World;
use crate::state::State;
use std::fmt::Write;

pub(super) fn run(world: &World) -> Result<(), Failure> {
    let home = CodexHome::of(world).ok_or("there is no home folder\n  hint: set CODEX_HOME")?;
    let state = State::of(&home);
    crate::log::begin(state.log());
    state.recover(world);
    let drained = state
        .deliver(world, None, &|| false)
        .map_err(|error| format!("nothing was delivered: {error}\n  hint: try again in a moment"))?;
    let mut said = format!("{} delivered, {} waiting\n", drained.delivered.len(), drained.waiting.len());
    for waiting in &drained.waiting {
        let _ = writeln!(said, "  {}: {}", waiting.path.display(), waiting.reason);
    }
    super::print(&said);
    Ok(())
}
