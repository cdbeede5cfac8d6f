//! What becomes of a command whose launcher is killed. The launcher can forward no SIGKILL.

use nix::unistd::Pid;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Orphan {
    #[default]
    LivesOn,
    /// Dies by SIGKILL, as the command would without a launcher (Linux; elsewhere it lives on). On a terminal of its
    /// own the command ends by the hang-up in any case.
    IsKilled,
}

impl Orphan {
    /// Runs between fork and exec: only calls that are safe there. The setting outlives exec, and the command's own
    /// children do not inherit it.
    #[cfg(target_os = "linux")]
    pub(super) fn prepare(self, launcher: Pid) {
        use nix::sys::prctl::set_pdeathsig;
        use nix::sys::signal::{Signal, raise};
        use nix::unistd::getppid;
        if self == Orphan::LivesOn || set_pdeathsig(Signal::SIGKILL).is_err() {
            return;
        }
        // The launcher may have died before the setting. 0: the launcher is in another namespace of processes.
        if ![launcher.as_raw(), 0].contains(&getppid().as_raw()) {
            let _ = raise(Signal::SIGKILL);
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn prepare(self, _: Pid) {}
}
