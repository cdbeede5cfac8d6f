//! Runs the real `codex`, invisibly, and leaves an MLflow trace of every session it wrote.
//!
//! Data flows one way, and each room knows only those before it:
//!
//! `settings → codex → claim → trace → redact → queue → finish → history → command`
//!
//! [`launcher`] is a launch, [`finish`] what follows it, [`command`] the commands `codex-traced mlflow …`. [`base`] is what
//! every room uses. Three crates know nothing of codex-traced: `launch` runs a command, `codex-session` reads Codex's
//! files, `mlflow-store` writes to MLflow.

pub mod base;
pub mod claim;
pub mod cli;
pub mod codex;
pub mod command;
pub mod finish;
pub mod history;
pub mod launcher;
pub mod queue;
pub mod redact;
pub mod settings;
pub mod trace;
pub mod tracer;

use ::launch::exit::ChildExit;
#[cfg(target_env = "musl")]
use ::launch::first_block::FirstBlock;
use base::world::World;

/// musl's own allocator is slow for large sessions, and mimalloc slow to start.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: FirstBlock<mimalloc::MiMalloc> = FirstBlock::new(mimalloc::MiMalloc);

/// Runs a command of codex-traced, or a launch. Returns the end of the process.
pub fn run(world: &World) -> ChildExit {
    match codex::command_line::own_command(&world.args) {
        Some(words) => command::run(words, world),
        None => launcher::run(world),
    }
}
