//! `mlflow export`.

use super::CommandError;
use crate::base::world::World;
use crate::cli::Export;

pub(super) fn run(_: &Export, _: &World) -> Result<(), CommandError> {
    Err("not there yet".into())
}
