//! Codexes of before: without locks, without ids in the interface's log, with another log.

use super::{evidence, thread_with, traced};
use crate::LAUNCHER;
use support::real::CODEX_BEFORE;
use support::{End, Home, ModelServer, Reply, Script, Tmux, each_in_parallel, older_codex, run};

/// Version, and the evidence for the session of the full-screen interface.
const VERSIONS: [(&str, &str); 5] = [
    ("0.36.0", "tui_log"),
    ("0.98.0", "tui_log"),
    ("0.130.0", "held"),
    ("0.150.0", "held"),
    (CODEX_BEFORE, "tui_log"),
];

#[test]
fn sessions_of_older_codexes_are_claimed_by_what_those_show() {
    each_in_parallel(VERSIONS.to_vec(), |(version, by)| {
        let Some(codex) = older_codex(version) else { return };
        // Some interfaces ask for a title too, at about the same time.
        let script = Script::new()
            .reply_to("Generate a concise", Reply::new().answer("a title"))
            .reply_to("by hand", Reply::new().answer("answered by hand"))
            .reply_to("in a script", Reply::new().answer("answered in a script"))
            .reply_to("a neighbour", Reply::new().answer("not ours"));
        let server = ModelServer::start(script);
        let home = Home::new(&server.url());
        let neighbour = support::start(home.command(&codex.native).args(["exec", "a neighbour"]));
        run(home.traced(LAUNCHER, &codex.native).args(["exec", "in a script"])).ended(End::Code(0));
        neighbour.finish(support::run::LIMIT).ended(End::Code(0));

        let native = codex.native.to_str().expect("UTF-8");
        let shell = Tmux::start(&home, &[("CODEX_TRACED_CODEX_BIN", native), ("T", LAUNCHER)]);
        shell.type_line("$T; echo ended $?");
        shell.wait_for(version);
        shell.submit("by hand", "answered by hand");
        shell.submit("/quit", "ended 0");
        home.wait_until_delivered();

        let expected = [("in a script", "held"), ("by hand", by)];
        for (prompt, by) in expected {
            let thread = thread_with(&home, prompt);
            let evidence = evidence(&home, &thread);
            println!("{version} {prompt}: {evidence:?}");
            assert_eq!(evidence, [by], "{version} {prompt}");
        }
        let traced = traced(&home);
        assert_eq!((traced.len(), home.rollouts().len()), (2, 3), "{version}: {traced:?}");
    });
}
