//! `mlflow show`: prints one trace from a local store, the spool, or a session file.

mod common_lines;
mod intervals;
mod net_changes;
mod net_hunks;
mod patch_text;
mod patched_file;
mod span_details;
#[cfg(test)]
mod test_trace;
mod time_use;
mod turn;
mod unified_diff;
mod view;
mod waterfall;

use super::{CommandError, named_trace};
use crate::base::world::World;
use crate::cli::Show;

pub(super) fn run(show: &Show, world: &World) -> Result<(), CommandError> {
    let context = super::context(world)?;
    let (trace, from) = named_trace::find(show.what.as_deref(), &context)?;
    view::print_view(show, trace, &from, world)
}
