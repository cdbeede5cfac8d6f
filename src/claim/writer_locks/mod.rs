//! Finds the holder of a thread by Codex's writer locks (0.147 and later).

#[cfg(target_os = "linux")]
mod folder_watch;
#[cfg(target_os = "linux")]
mod holders;
#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(target_os = "macos", path = "macos.rs")]
#[cfg_attr(not(any(target_os = "linux", target_os = "macos")), path = "unsupported.rs")]
mod kernel;

/// Tests run macOS's code on Linux too.
#[cfg(all(test, target_os = "linux"))]
#[path = "macos.rs"]
mod of_macos;

pub(super) use kernel::{LockWatch, holder_of};
