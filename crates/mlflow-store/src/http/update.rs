//! Sends the changes of a trace whose session runs: its new spans, and with the root its information.

use super::exporter::{HttpExporter, root_last};
use super::spans::{self, Route};
use crate::exporter::{Delivered, ExportError, Result};
use crate::rest::stored_trace::{self, StoredTrace};
use crate::trace::Trace;

impl HttpExporter<'_> {
    /// None if the server keeps the spans as an artifact.
    pub(super) fn take_changes(&self, changes: &Trace) -> Result<Option<Delivered>> {
        changes.check_part()?;
        let sent = self.sent.get(&changes.id);
        if sent.is_some_and(|sent| sent.route == Route::Artifact) {
            return Ok(None);
        }
        let there = match sent {
            Some(_) if changes.root().is_none() => None,
            _ => Some(self.look_for_update(changes)?),
        };
        if there.as_ref().is_some_and(|there| !there.is_in_tracking_store()) {
            return Ok(None);
        }
        let experiment_id = there.as_ref().map(|there| &there.experiment_id);
        let experiment_id =
            experiment_id.or(sent.map(|sent| &sent.experiment_id)).cloned().unwrap_or_default();
        let spans = root_last(&changes.spans);
        if spans::send(&self.server, changes, &experiment_id, &spans)? == Route::Artifact {
            return Ok(None);
        }
        if let Some(there) = there.filter(|_| changes.root().is_some()) {
            let update = there.update(changes);
            stored_trace::remove_tags(&self.server, changes.id, &update.remove)?;
            // A cost that only the server knows follows with `export`: it is a sum over all spans.
            self.send_info(changes, &experiment_id, Some(&there), &update, None)?;
        }
        Ok(Some(Delivered { experiment_id, spans_sent: spans.len() }))
    }

    fn look_for_update(&self, changes: &Trace) -> Result<StoredTrace> {
        match StoredTrace::look(&self.server, changes.id)?.filter(StoredTrace::has_our_info) {
            Some(there) if there.is_archived() => Err(self.archived(changes)),
            Some(there) => Ok(there),
            None => Err(ExportError::Gone(format!("{} has no {}", self.server.address, changes.id))),
        }
    }
}
