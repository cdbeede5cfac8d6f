//! What becomes of a command whose launcher is killed.

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Orphan {
    #[default]
    LivesOn,
    /// Dies by SIGKILL, as the command would without a launcher, which can forward no SIGKILL. The signal probe does
    /// it: the command could see Linux's `PR_SET_PDEATHSIG`. A command on a terminal of its own gets a hang-up instead.
    IsKilled,
}
