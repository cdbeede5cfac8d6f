//! Gathering claims while Codex runs: what it holds is noted the moment it is learned.

use super::Claim;
use super::journal::{Journal, Launch};
use super::record::Attribution;
use super::writers::LockWatch;
use crate::codex::home::CodexHome;
use crate::launch::companion::Companion;
use crate::launch::process::Process;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// A launch that is being watched. Whatever fails here is logged and costs the trace, never the launch.
pub struct Watch {
    pub launch: Launch,
    pub journal: Option<Journal>,
    locks: Option<LockWatch>,
}

impl Watch {
    pub fn begin(home: &CodexHome, launch: Launch, journal: Option<Journal>) -> Watch {
        let locks = LockWatch::open(home).inspect_err(|error| {
            tracing::warn!("cannot watch codex's writer locks, so nothing is claimed: {error}")
        });
        Watch { launch, journal, locks: locks.ok() }
    }

    fn note(&mut self, write: impl FnOnce(&mut Journal) -> std::io::Result<()>) {
        if let Some(journal) = &mut self.journal
            && let Err(error) = write(journal)
        {
            tracing::warn!("cannot write the launch's journal: {error}");
        }
    }
}

impl Companion for Watch {
    fn wakes(&self) -> Option<BorrowedFd<'_>> {
        self.locks.as_ref()?.wakes()
    }

    fn began(&mut self, child: u32) {
        let child = Process::of(child);
        self.launch.child = Some(child);
        self.note(|journal| journal.child(child));
    }

    fn ended(&mut self) {
        if let Some(locks) = &mut self.locks {
            locks.stop();
        }
    }

    fn attend(&mut self) -> Option<Duration> {
        let child = self.launch.child?.id;
        let (threads, again) = self.locks.as_mut()?.look(child, Instant::now());
        for thread in threads {
            let claim = Claim { thread, attribution: Attribution::Held };
            if !self.launch.claims.contains(&claim) {
                self.note(|journal| journal.claim(&claim));
                self.launch.claims.push(claim);
            }
        }
        again
    }
}
