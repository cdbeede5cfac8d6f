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

/// How long a session's file counts as just made. The kernel reports the file before its creator has it open,
/// on a busy machine long before.
#[cfg(any(target_os = "linux", target_os = "macos"))]
const JUST_MADE: std::time::Duration = std::time::Duration::from_millis(200);

/// The folder of today's sessions, below `sessions`.
#[cfg(any(target_os = "linux", target_os = "macos"))]
fn today() -> String {
    jiff::Zoned::now().strftime("%Y/%m/%d").to_string()
}
