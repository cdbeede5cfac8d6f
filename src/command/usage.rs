//! `mlflow usage`.

use super::CommandError;
use crate::base::world::World;
use crate::cli::Usage;
use launch::exit::ChildExit;

pub(super) fn run(_: &Usage, _: &World) -> Result<ChildExit, CommandError> {
    Err("not there yet".into())
}
