//! `mlflow prices`.

use super::CommandError;
use crate::base::world::World;
use crate::cli::Prices;

pub(super) fn run(_: &Prices, _: &World) -> Result<(), CommandError> {
    Err("not there yet".into())
}
