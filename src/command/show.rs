//! `mlflow show`: prints one trace from a local store, the spool, or a session file.

use super::text_layout::Colours;
use super::tree::TreeStyle;
use super::{CommandError, named_trace, tree};
use crate::base::world::World;
use crate::cli::Show;
use common::printable::clean;

pub(super) fn run(show: &Show, world: &World) -> Result<(), CommandError> {
    let context = super::context(world)?;
    let (trace, from) = named_trace::find(show.what.as_deref(), &context)?;
    if show.json {
        // The JSON of this program's model. MLflow's clients print MLflow's form.
        super::print_json(&trace);
        return Ok(());
    }
    let text = tree::render(&trace, TreeStyle::of_a_stored_trace(Colours::choose(world)));
    super::print(&format!("{text}\n{} in {}\n", trace.id, clean(from)));
    Ok(())
}
