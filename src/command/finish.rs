//! `mlflow finish`: internal; spawned by the launcher. Makes and delivers the traces of a launch after Codex's end.

use super::CommandError;
use crate::base::world::World;
use crate::cli::Finish;
use crate::finish;

pub(super) fn run(asked: &Finish, world: &World) -> Result<(), CommandError> {
    std::panic::set_hook(Box::new(|panic| tracing::error!("a defect of ours: {panic}")));
    finish::finisher(&asked.launch, world);
    Ok(())
}
