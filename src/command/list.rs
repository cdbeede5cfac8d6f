//! `mlflow list`.

use super::CommandError;
use crate::base::world::World;
use crate::cli::List;

pub(super) fn run(_: &List, _: &World) -> Result<(), CommandError> {
    Err("not there yet".into())
}
