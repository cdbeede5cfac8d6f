//! The data of a try to deliver a job: what is sent, how it went, and what is not known yet.

use crate::queue::receipts::StoredReceipt;
use crate::queue::spool::entry::Entry;
use crate::queue::spool::policy::DeliveryJob;
use mlflow_store::exporter::{Delivered, ExportError};
use std::path::PathBuf;
use std::time::Duration;

/// An entry to send, and the receipt of what its target already has.
pub(super) struct Admitted {
    pub(super) entry: Entry,
    pub(super) before: Option<StoredReceipt>,
}

/// The result of one try.
pub(super) struct Tried {
    pub(super) exported: Result<Delivered, ExportError>,
    pub(super) took: Duration,
    /// None without a limit.
    pub(super) allotted: Option<Duration>,
    pub(super) bytes: u64,
}

/// Why an entry was not delivered, and what the drain does with it.
pub(super) enum NotDelivered {
    Waits(String),
    SetAside(String),
    /// The target has archived the earlier form: the session continues in another trace.
    Archived(String),
    /// Another process took or dropped it.
    Gone,
}

/// What a drain knows of a target with failures.
#[derive(Default)]
pub(super) struct Doubts {
    /// The target took a trace in this drain.
    pub(super) taken: bool,
    /// Number of traces that failed since, without those that failed alone before.
    pub(super) in_a_row: u32,
    /// Failed traces whose cause is not known yet.
    pub(super) open: Vec<Open>,
    /// Entries whose cause earlier drains could not decide.
    pub(super) left_open: Vec<PathBuf>,
}

/// A trace that failed.
pub(super) struct Open {
    pub(super) job: DeliveryJob,
    pub(super) reason: String,
    /// It had enough time.
    pub(super) is_fair: bool,
    /// The target shows it when asked.
    pub(super) is_shown: bool,
}
