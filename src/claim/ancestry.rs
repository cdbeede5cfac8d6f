//! Whether a process that writes a thread is the Codex that the launcher started.

use super::processes::ProcessInfo;

/// The process that the launcher started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Child {
    pub(super) id: u32,
    /// Its command line asks for a server.
    pub(super) is_server: bool,
}

/// The launcher's child, or a Codex below it with only wrappers (npm's launcher, a shell script) between. What
/// a tool of that Codex starts has that Codex above it, and writes its own sessions.
///
/// A server counts where the launch asked for one. Elsewhere it is the daemon that the interface starts.
pub(super) fn is_ours(holder: u32, child: Child, look: impl Fn(u32) -> Option<ProcessInfo>) -> bool {
    let Some(mut known) = look(holder) else { return false };
    if known.is_server && !child.is_server {
        return false;
    }
    let program = known.file;
    // Under any name.
    let is_codex = |above: &ProcessInfo| above.is_codex || (above.file.is_some() && above.file == program);
    let mut at = holder;
    while at != child.id {
        at = known.parent;
        if at <= 1 {
            return false;
        }
        match look(at) {
            Some(above) if !is_codex(&above) => known = above,
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_codex_that_the_launcher_started_is_its_own() {
        let table: [Case; 10] = [
            ("the child itself", 100, &[(100, 50, "codex")], true),
            ("npm's launcher between", 101, &[(100, 50, "node"), (101, 100, "codex")], true),
            ("two wrappers between", 102, &[(100, 50, "sh"), (101, 100, "node"), (102, 101, "codex")], true),
            ("started by a tool", 102, &[(100, 50, "codex"), (101, 100, "sh"), (102, 101, "codex")], false),
            ("exec'd by a tool's shell", 101, &[(100, 50, "codex"), (101, 100, "codex")], false),
            (
                "started by a tool of a codex of another name",
                102,
                &[(100, 50, ".wrapped"), (101, 100, "sh"), (102, 101, ".wrapped")],
                false,
            ),
            (
                "below a nested launch",
                102,
                &[(100, 50, "sh"), (101, 100, "codex"), (102, 101, "codex")],
                false,
            ),
            ("the daemon our child just started", 101, &[(100, 50, "node"), (101, 100, "server")], false),
            ("a neighbour", 200, &[(100, 50, "codex"), (200, 50, "codex"), (50, 1, "sh")], false),
            ("gone already", 300, &[(100, 50, "codex")], false),
        ];
        check(&table, false);
    }

    #[test]
    fn a_server_that_the_launch_asked_for_is_its_own_and_no_other_one() {
        let table: [Case; 8] = [
            ("the child itself", 100, &[(100, 50, "server")], true),
            ("npm's launcher between", 101, &[(100, 50, "node"), (101, 100, "server")], true),
            ("the child, under another word (`-c … app-server`)", 100, &[(100, 50, "codex")], true),
            ("the daemon that it started", 101, &[(100, 50, "server"), (101, 100, "server")], false),
            ("started by a tool", 102, &[(100, 50, "server"), (101, 100, "sh"), (102, 101, "server")], false),
            ("an exec of a tool", 102, &[(100, 50, "server"), (101, 100, "sh"), (102, 101, "codex")], false),
            ("the shared daemon", 200, &[(100, 50, "server"), (200, 1, "server")], false),
            ("a neighbour", 200, &[(100, 50, "server"), (200, 50, "server"), (50, 1, "sh")], false),
        ];
        check(&table, true);
    }

    /// Number, parent, kind.
    type Processes = &'static [(u32, u32, &'static str)];
    type Case = (&'static str, u32, Processes, bool);

    /// 100 is the launcher's child in every case.
    fn check(table: &[Case], is_server: bool) {
        for (what, holder, processes, ours) in table {
            let look = |pid: u32| {
                processes.iter().find(|(id, ..)| *id == pid).map(|(_, parent, kind)| ProcessInfo {
                    parent: *parent,
                    // Each kind is its own program; no two names here have the same length.
                    file: Some((1, kind.len() as u64)),
                    is_codex: matches!(*kind, "codex" | "server"),
                    is_server: *kind == "server",
                })
            };
            assert_eq!(is_ours(*holder, Child { id: 100, is_server }, look), *ours, "{what}");
        }
    }
}
