//! A gate that holds a reply back until the test opens it.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Holds a reply back until the test opens it, and lets the test wait for the reply.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Debug, Default)]
struct GateState {
    open: bool,
    arrived: usize,
}

impl Gate {
    pub fn new() -> Gate {
        Gate::default()
    }

    pub fn open(&self) {
        self.0.0.lock().unwrap().open = true;
        self.0.1.notify_all();
    }

    /// Waits until a reply has reached this gate.
    #[track_caller]
    pub fn wait_until_reached(&self, limit: Duration) {
        let state = self.0.0.lock().unwrap();
        let (state, _) = self.0.1.wait_timeout_while(state, limit, |state| state.arrived == 0).unwrap();
        assert!(state.arrived > 0, "no reply reached the gate within {limit:?}");
    }

    pub(crate) fn arrive(&self) {
        self.0.0.lock().unwrap().arrived += 1;
        self.0.1.notify_all();
    }

    /// True once open; false when it is still closed after `patience`.
    pub(crate) fn is_open_within(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut state = self.0.0.lock().unwrap();
        while !state.open && Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            state = self.0.1.wait_timeout(state, left).unwrap().0;
        }
        state.open
    }
}
