//! `mlflow forget`: removes a session's trace from store, spool and records, and lists where else it is.

use super::text_layout::counted;
use super::{CommandError, print, trace_argument};
use crate::base::world::World;
use crate::cli::Forget;
use crate::finish::removal::{Removal, RemovalError, remove_session};
use common::printable::clean;
use mlflow_store::ids::TraceId;
use std::fmt::Write;

pub(super) fn run(asked: &Forget, world: &World) -> Result<(), CommandError> {
    let context = super::context(world)?;
    let paths = &context.paths;
    crate::base::log::begin(paths.log());
    let (trace, thread) = trace_argument::trace(&asked.what, paths)?;
    let settings = context.settings();
    let further = settings.further.iter().map(|one| &one.target);
    let targets: Vec<_> = further.chain([&settings.target.value]).collect();
    let removal = remove_session(trace, thread, &targets, paths)
        .map_err(|why| format!("nothing was removed: {why}\n  hint: {}", hint(&why)))?;
    if removal.is_nothing() {
        return Err(format!(
            "nothing is known of {trace}\n  hint: `codex-traced mlflow status` shows the newest traces"
        ));
    }
    print(&report(trace, &removal));
    match &removal.failures[..] {
        [] => Ok(()),
        [first, ..] => Err(format!(
            "not all of it is gone: {}\n  hint: put that right, and forget it again",
            clean(first)
        )),
    }
}

fn hint(why: &RemovalError) -> &'static str {
    match why {
        RemovalError::UnderWay => "end that Codex first, then forget its session",
        RemovalError::Unfinished => "`codex-traced mlflow sync` finishes it; then forget the session",
        RemovalError::LaterRecord(_) => "forget the session with the later codex-traced",
        RemovalError::Busy => "try again in a moment",
        RemovalError::Lock(_) => "look at the permissions of $CODEX_HOME/mlflow/spool",
    }
}

fn report(trace: TraceId, removal: &Removal) -> String {
    let mut text = format!("{trace}\n");
    let mut line = |what: &str, words: String| _ = writeln!(text, "  {what:<11}  {words}");
    for store in &removal.stores {
        line("removed", format!("from {}", clean(store)));
    }
    if removal.spooled > 0 {
        line("removed", format!("{} of the spool", counted(removal.spooled, "entry", "entries")));
    }
    if removal.records > 0 {
        line("removed", format!("{} of ours", counted(removal.records, "record", "records")));
    }
    for (target, experiment) in &removal.elsewhere {
        line("still there", format!("{}, experiment {}: delete it there", clean(target), clean(experiment)));
    }
    for rollout in &removal.rollouts {
        line("still there", format!("{}, Codex's own file", clean(rollout.display())));
    }
    if !removal.rollouts.is_empty() {
        line("", "(an import, or a resumed session, makes its trace anew)".to_owned());
    }
    for failure in &removal.failures {
        line("still there", clean(failure));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlflow_store::target::Target;

    #[test]
    fn the_output_lists_everything_that_is_left() {
        let removal = Removal {
            stores: vec![Target::Sqlite("/x.db".into())],
            spooled: 2,
            records: 1,
            elsewhere: vec![(Target::Http("https://host".into()), "3\u{1b}[2J".into())],
            rollouts: vec!["/sessions/rollout-x.jsonl".into()],
            failures: vec!["/y.db: database is locked".into()],
        };
        let expected = "tr-07070707070707070707070707070707
  removed      from sqlite:////x.db
  removed      2 entries of the spool
  removed      1 record of ours
  still there  https://host, experiment 3\\u{1b}[2J: delete it there
  still there  /sessions/rollout-x.jsonl, Codex's own file
               (an import, or a resumed session, makes its trace anew)
  still there  /y.db: database is locked
";
        assert_eq!(report(TraceId([7; 16]), &removal), expected);
    }
}
