//! Finds the holder of a thread by Codex's writer locks (0.147 and later).

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "elsewhere.rs")]
mod kernel;
#[cfg(target_os = "linux")]
mod ladder;

pub(super) use kernel::{LockWatch, holder_of};
