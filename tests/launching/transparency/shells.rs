//! What people and machines write around `codex`: pipes, redirections, jobs, limits, schedulers, containers.

use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::thread;
use support::probe::probe;
use support::run::LIMIT;
use support::{Gate, Home, ModelServer, Outcome, Reply, Script, codex, run, start, wait_for};

use super::child::{ALWAYS, LOG, NOT_THE_STARTED, OWN_TERMINAL};
use super::twice::{Act, Place, Stage, Who, assert_none, assert_same, compare, wait_until, without_ids};
use crate::LAUNCHER;

/// Each ends with what the shell knows of it; nothing may differ.
const LINES: [(&str, &str); 16] = [
    ("files", "seq 9 >prompt; codex exec - 'read; lines 40; exit 4' <prompt >out 2>err; exit $?"),
    ("a reader that leaves", "codex exec 'lines 20000' 2>/dev/null | head -1; echo ${PIPESTATUS[*]}"),
    (
        "a reader that leaves, ignored",
        "trap '' PIPE; codex exec 'lines 9999; exit 5' 2>&1 | head -1; echo ${PIPESTATUS[*]}",
    ),
    ("a writer that ends", "seq 99999 | codex exec 'read; exit 6'; echo ${PIPESTATUS[*]}"),
    ("both streams in one", "codex exec 'lines 300; bytes' >out 2>&1; exit $?"),
    ("appended", "echo before >out; codex exec 'lines 3' >>out 2>>out; exit $?"),
    ("into a full disk", "codex exec 'lines 3; exit 7' >/dev/full; exit $?"),
    ("in a pipeline of its own", "codex exec 'say one' | codex exec 'read; say two'; echo ${PIPESTATUS[*]}"),
    ("a job that is waited for", "codex exec 'say in the background; exit 8' & wait $!; echo $?"),
    (
        "a job that is killed",
        "codex exec 'ready a; until b' & until [ -e a ]; do :; done; kill $!; wait $! 2>/dev/null; echo $?",
    ),
    ("nohup", "nohup codex exec 'say done; exit 9' </dev/null & wait $!; echo $?; cat nohup.out 2>/dev/null"),
    ("a time limit", "timeout -s INT 0.3 codex exec 'until b'; echo $?"),
    ("a time limit that is kept", "timeout -s INT 60 codex exec 'say in time; exit 2'; echo $?"),
    ("an alarm", "perl -e 'alarm 1; exec @ARGV' codex exec 'until b'; echo $?"),
    ("command substitution", "x=$(codex exec 'lines 5; exit 3'); echo \"$? $x\""),
    ("xargs", "seq 3 | xargs -n 1 -I{} codex exec 'say number {}; exit 0'; echo $?"),
];

#[test]
fn lines_that_people_write_do_the_same() {
    let stage = Stage::new();
    let mut wrong = Vec::new();
    for (name, script) in LINES {
        for place in [Place::Pipes, Place::Terminal] {
            let seen = stage.observe(place, script, |_| {});
            assert!(seen[0]["end"].starts_with("Code("), "{name}: {:?}", seen[0]);
            wrong.extend(compare(&format!("{name}, {place:?}"), &seen, &[]));
        }
    }
    assert_none(&wrong);
}

#[test]
fn lines_do_what_they_are_for() {
    let stage = Stage::new();
    stage.cast(Who::Traced);
    for (script, said) in [
        ("codex exec 'lines 20000' 2>/dev/null | head -1; echo ${PIPESTATUS[*]}", "out 0\n141 0\n"),
        ("timeout -s INT 0.3 codex exec 'until b'; echo $?", "124\n"),
        ("perl -e 'alarm 1; exec @ARGV' codex exec 'until b'; echo $?", "142\n"),
    ] {
        assert_eq!(run(&mut stage.shell(script)).stdout, said, "{script}");
    }
}

#[test]
fn from_crons_empty_environment() {
    let stage = Stage::new();
    let real = stage.home.root().join("real");
    fs::create_dir(&real).expect("make a folder");
    symlink(probe(), real.join("codex")).expect("the real codex");
    let root = stage.home.root().display();
    let cron = format!(
        "env -i HOME={root}/home LOGNAME=tester SHELL=/bin/sh PATH={root}/bin:{root}/real:/usr/bin:/bin"
    );
    let script = format!("{cron} codex exec 'see; say out; exit 3'; exit $?");
    let seen = stage.observe(Place::Pipes, &script, |_| {});
    assert_eq!(seen[0]["variables in order"], "HOME LOGNAME SHELL PATH");
    assert_same("cron", &seen, &ALWAYS);
}

#[test]
fn under_script_in_place_of_ssh() {
    let stage = Stage::new();
    for (words, relayed) in [("exec ", false), ("", true)] {
        let line = format!("codex {words}'\\''see; line; say out; exit 3'\\''");
        let script =
            format!("script -qec '{line}' typescript; echo $?; tail -n +2 typescript | grep -v done >out");
        let seen = stage.observe(Place::Terminal, &script, |act: &Act| {
            wait_until(&stage.at("seen"));
            act.terminal().type_keys("typed\n");
        });
        let mut allowed = [&ALWAYS[..], if relayed { &LOG } else { &[] }].concat();
        if relayed {
            // Both are on some other terminal than the test's.
            allowed.extend(["foreground group", "group", "session"]);
            // Opened by another call than `script` uses.
            allowed.extend(["descriptor 0: flags", "descriptor 1: flags", "descriptor 2: flags"]);
        }
        assert_same(&script, &seen, &allowed);
    }
}

#[test]
fn typed_ahead_for_a_program_that_reads_lines() {
    let stage = Stage::new();
    let script = "codex exec 'ready a; until b; line; line; exit 3'; read rest; echo \"rest $rest\"";
    let seen = stage.observe(Place::Terminal, script, |act: &Act| {
        wait_until(&stage.at("a"));
        act.terminal().type_keys("one\ntwo\nthree\n");
        act.terminal().wait_for("three");
        fs::write(stage.at("b"), "").expect("tell the probe");
    });
    assert!(seen[0]["shown"].ends_with("line one\r\nline two\r\nrest three\r\n"), "{}", seen[0]["shown"]);
    assert_same("type-ahead", &seen, &[]);
}

#[test]
fn in_the_background_of_an_interactive_shell() {
    let stage = Stage::new();
    let script = "PS1= exec bash --norc --noprofile -i";
    let seen = stage.observe(Place::Terminal, script, |act: &Act| {
        let terminal = act.terminal();
        terminal.type_keys("stty -echo; PS1=; set +o histexpand; echo begun$((1))\n");
        terminal.wait_for("begun1");
        terminal.type_keys("codex exec 'ready a; until b; say from the background; exit 3' & p=$!\n");
        wait_until(&stage.at("a"));
        terminal.type_keys("echo typed$((1 + 1))\n");
        terminal.wait_for("typed2");
        terminal.type_keys("touch b; wait $p; echo code$?; exit 5\n");
    });
    // The moment at which a shell reports a job's end varies; input that comes before the shell reads may show twice.
    let [plain, traced] = seen.map(|mut seen| {
        let shown = seen.remove("shown").expect("a terminal shows something");
        let begun = shown.lines().skip_while(|line| *line != "begun1");
        let lines: Vec<&str> = begun.filter(|line| !line.starts_with("[1]")).collect();
        seen.insert("shown".into(), lines.join("\n"));
        seen
    });
    assert!(
        plain["shown"].contains("from the background") && plain["shown"].contains("code3"),
        "{}",
        plain["shown"]
    );
    assert_same("background", &[plain, traced], &[]);
}

#[test]
fn as_a_containers_first_process() {
    let can = Command::new("unshare").args(["-pf", "true"]).status().is_ok_and(|status| status.success());
    if !can {
        eprintln!("left out: as_a_containers_first_process needs to make a namespace of processes");
        return;
    }
    let stage = Stage::new();
    for step in ["exit 3", "say out; lines 9; exit 0", "leave; exit 4"] {
        let script = format!("unshare -pf --mount-proc codex exec 'see; {step}'; echo $?");
        assert_same(step, &stage.observe(Place::Pipes, &script, |_| {}), &ALWAYS);
    }
}

#[test]
fn real_codex_under_a_time_limit_and_before_a_reader_that_leaves() {
    let Some(codex) = codex() else { return };
    let server = ModelServer::start(Script::new());
    let home = Home::new(&server.url());
    let say = |who: Who, line: &str| {
        let program = if who == Who::Plain { codex.native.clone() } else { LAUNCHER.into() };
        let mut shell = home.traced("bash", &codex.native);
        shell.args(["-c", &line.replace("codex", program.to_str().expect("UTF-8"))]);
        shell
    };
    let lines = [
        ("exec timeout -s INT 60 codex exec --json go", true),
        ("exec timeout -s TERM 60 codex exec --json go", true),
        ("exec timeout --foreground -s INT 60 codex exec --json go", true),
        ("codex exec --json go | head -1; echo ${PIPESTATUS[*]}", false),
        ("nohup codex exec go & wait $!; echo $?", false),
        ("codex exec --json go 2>&1 3< README.md; echo $?", false),
        ("echo from a pipe | codex exec -; echo $?", false),
        ("codex exec go <&-; echo $?", false),
        ("codex exec go >&-; echo $?", false),
    ];
    for (line, stalls) in lines {
        let [plain, traced] = [Who::Plain, Who::Traced].map(|who| {
            let gate = Gate::new();
            let reply = Reply::new().answer("done");
            server.play(Script::new().reply(if stalls { reply.stall_at_start(&gate) } else { reply }));
            let running = start(&mut say(who, line));
            if stalls {
                gate.wait_until_reached(LIMIT);
                // Its time is over.
                running.signal(Signal::SIGALRM);
            }
            let outcome = running.finish(LIMIT);
            wait_for("all to be gone", LIMIT, || home.processes().is_empty());
            outcome
        });
        let [plain, traced] = [plain, traced].map(|outcome| {
            let outcome = outcome.normalised();
            // What Codex logs of its tasks after a panic (0.171, on a closed pipe) or a signal to its group is chance: a
            // rollout that is not recorded, a snapshot of the shell that ends.
            let ends_early = stalls || line.contains("head -1");
            let is_chance =
                |line: &str| ends_early && line.starts_with("<time> ") && line.contains(" codex_");
            let stderr = without_ids(&outcome.stderr);
            let stderr = stderr.split_inclusive('\n').filter(|line| !is_chance(line)).collect();
            Outcome { stderr, ..outcome }
        });
        assert_eq!(plain, traced, "{line}");
    }
}

#[test]
fn eight_at_once_under_a_full_load() {
    // As long as we live, however we end.
    let busy = format!("while [ -d /proc/{} ]; do :; done", std::process::id());
    let burners: Vec<_> = (0..2 * thread::available_parallelism().map_or(2, usize::from))
        .map(|_| start(Command::new("sh").args(["-c", &busy])))
        .collect();
    let scripts = [
        ("exec codex exec 'see; lines 50; exit 3'", false),
        ("exec codex 'see; lines 50; exit 3'", true),
        ("exec codex exec 'catch 10; ready a; until b; exit 4'", false),
    ];
    let wrong: Vec<String> = thread::scope(|scope| {
        let at_once: Vec<_> = (0..8)
            .map(|number| {
                scope.spawn(move || {
                    let stage = Stage::new();
                    let mut wrong = Vec::new();
                    for (script, is_full_screen) in scripts {
                        let place = if number % 2 == 0 { Place::Pipes } else { Place::Terminal };
                        let seen = stage.observe(place, script, |act| {
                            if script.contains("until") {
                                wait_until(&stage.at("a"));
                                act.signal(Signal::SIGUSR1);
                                wait_until(&stage.at("caught"));
                                wait_for("the signal", LIMIT, || {
                                    fs::metadata(stage.at("caught")).is_ok_and(|file| file.len() > 0)
                                });
                                fs::write(stage.at("b"), "").expect("tell the probe");
                            }
                        });
                        let mut allowed = if script.contains("see") {
                            [&ALWAYS[..], &NOT_THE_STARTED].concat()
                        } else {
                            vec![]
                        };
                        if is_full_screen {
                            allowed.extend(LOG);
                            if place == Place::Terminal {
                                allowed.extend(OWN_TERMINAL);
                            }
                        }
                        wrong.extend(compare(&format!("{number}: {script}"), &seen, &allowed));
                    }
                    wrong
                })
            })
            .collect();
        at_once.into_iter().flat_map(|one| one.join().expect("one of eight")).collect()
    });
    drop(burners);
    assert_none(&wrong);
}
