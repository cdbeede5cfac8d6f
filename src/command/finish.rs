//! `mlflow finish`, which the launcher starts and nobody types: a launch's work after its end.

use super::Failure;
use crate::cli::Finish;
use crate::env::World;
use crate::finish;

pub(super) fn run(asked: &Finish, world: &World) -> Result<(), Failure> {
    std::panic::set_hook(Box::new(|panic| tracing::error!("a defect of ours: {panic}")));
    finish::finisher(&asked.launch, world);
    Ok(())
}
