//! Each signal, to the process that was started and to its group: what reaches Codex, how often, and how it all ends.

use nix::libc;
use nix::unistd::Pid;
use support::End;
use support::home::is_portable;

use super::twice::{Act, Place, Stage, assert_ended, assert_none, assert_same, compare, send};

/// In which of the two ways codex-traced runs what it runs.
const WAYS: [(&str, Place); 3] = [("exec ", Place::Pipes), ("exec ", Place::Terminal), ("", Place::Terminal)];

/// All but those that `differences` has. Where the system does not show the sender, SIGCHLD is always the kernel's.
fn signals() -> Vec<i32> {
    let not = [libc::SIGKILL, libc::SIGSTOP, libc::SIGTTIN, libc::SIGTTOU];
    let of_kernel = is_portable().then_some(libc::SIGCHLD);
    (1..32)
        .chain([libc::SIGRTMIN(), libc::SIGRTMIN() + 3, libc::SIGRTMAX()])
        .filter(|signal| !not.contains(signal) && of_kernel != Some(*signal))
        .collect()
}

/// Those by which a process that does nothing about them ends.
fn deadly() -> Vec<i32> {
    const HARMLESS: [i32; 5] = [libc::SIGCHLD, libc::SIGCONT, libc::SIGWINCH, libc::SIGURG, libc::SIGTSTP];
    signals().into_iter().filter(|signal| !HARMLESS.contains(signal)).collect()
}

/// So that a death is no matter of the disk.
const NO_CORE: &str = "ulimit -c 0";

#[test]
fn each_signal_that_codex_handles_reaches_it_once() {
    let stage = Stage::new();
    let all = signals().iter().map(i32::to_string).collect::<Vec<_>>().join(" ");
    // By what comes last, all that came before has come, however often.
    let last = libc::SIGUSR2;
    for (words, place) in WAYS {
        let script = format!("exec codex {words}'catch {all}; ready a; until b; exit 3'");
        for to_group in [false, true] {
            let seen = stage.observe(place, &script, |act| {
                stage.wait_until_attended("a");
                let started = act.id().as_raw();
                let caught = || std::fs::read_to_string(stage.at("caught")).unwrap_or_default();
                let wait_for = |signal: i32, times: usize| {
                    let has =
                        || caught().lines().filter(|line| *line == format!("{signal:02}")).count() >= times;
                    support::wait_for(
                        &format!("signal {signal}, {times} times, in {}", caught()),
                        support::run::LIMIT,
                        has,
                    );
                };
                for (at, signal) in signals().into_iter().filter(|signal| *signal != last).enumerate() {
                    send(if to_group { -started } else { started }, signal);
                    wait_for(signal, 1);
                    send(started, last);
                    wait_for(last, at + 1);
                }
                std::fs::write(stage.at("b"), "").expect("tell the probe");
            });
            let case = format!("{words}{place:?}, to the group: {to_group}");
            let times = seen[0]["file caught"].matches("\\n").count();
            assert_eq!(times, 2 * (signals().len() - 1), "{case}: {}", seen[0]["file caught"]);
            assert_same(&case, &seen, &[]);
        }
    }
}

/// One frame per signal would overflow the stack of the launcher's handler: 8 KiB, and 3.4 KiB a frame with AVX-512.
#[test]
fn signals_that_arrive_all_at_once_reach_codex() {
    const SEVERAL: [i32; 8] = [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGALRM,
        libc::SIGTERM,
        libc::SIGURG,
        libc::SIGWINCH,
    ];
    let stage = Stage::new();
    let all = SEVERAL.map(|signal| signal.to_string()).join(" ");
    for (words, place) in WAYS {
        let script = format!("exec codex {words}'catch {all}; ready a; until b; exit 3'");
        let seen = stage.observe(place, &script, |act| {
            stage.wait_until_attended("a");
            let started = act.id().as_raw();
            // What is sent to a stopped process arrives when it continues.
            send(started, libc::SIGSTOP);
            SEVERAL.iter().for_each(|signal| send(started, *signal));
            send(started, libc::SIGCONT);
            let caught = || std::fs::read_to_string(stage.at("caught")).unwrap_or_default();
            let has = |signal: &i32| caught().lines().any(|line| line == format!("{signal:02}"));
            support::wait_for("all signals", support::run::LIMIT, || SEVERAL.iter().all(has));
            std::fs::write(stage.at("b"), "").expect("tell the probe");
        });
        assert_ended(&seen, End::Code(3));
    }
}

#[test]
fn each_deadly_signal_to_the_launcher_ends_both() {
    let stage = Stage::new();
    let mut wrong = Vec::new();
    for (words, place) in WAYS {
        for signal in deadly() {
            let script = format!("{NO_CORE}; exec codex {words}'ready a; until b'");
            let seen = stage.observe(place, &script, |act| {
                stage.wait_until_attended("a");
                send(act.id().as_raw(), signal);
            });
            let case = format!("{words}{place:?}, signal {signal}");
            assert_eq!(seen[0]["end"], format!("Signal({signal})"), "{case}");
            wrong.extend(compare(&case, &seen, &[]));
        }
    }
    assert_none(&wrong);
}

#[test]
fn each_death_of_codex_reaches_the_shell() {
    let stage = Stage::new();
    let mut wrong = Vec::new();
    for (words, place) in WAYS {
        for signal in [deadly(), vec![libc::SIGKILL]].concat() {
            let case = format!("{words}{place:?}, signal {signal}");
            let seen = stage.observe(place, &format!("{NO_CORE}; exec codex {words}'die {signal}'"), |_| {});
            assert_eq!(seen[0]["end"], format!("Signal({signal})"), "{case}");
            wrong.extend(compare(&case, &seen, &[]));

            // Not by bash, which prints the process's id.
            let script =
                format!("{NO_CORE}; exec sh -c \"codex {words}'die {signal}'; echo \\$? >out; exit 0\"");
            let seen = stage.observe(place, &script, |_| {});
            assert_eq!(seen[0]["file out"], format!("{}\\n", 128 + signal), "{case}");
            wrong.extend(compare(&format!("{case}, in a shell"), &seen, &[]));
        }
    }
    assert_none(&wrong);
}

#[test]
fn keys_of_a_terminal_are_one_signal_each() {
    let stage = Stage::new();
    for (key, signal) in [(3, libc::SIGINT), (28, libc::SIGQUIT)] {
        for words in ["exec ", ""] {
            let script = format!(
                "{NO_CORE}; trap '' USR1; codex {words}'catch 2 3 12; ready a; until b; exit 3'; exit $?"
            );
            let seen = stage.observe(Place::Terminal, &script, |act: &Act| {
                stage.wait_until_attended("a");
                act.terminal().type_keys([key]);
                let caught = || std::fs::read_to_string(stage.at("caught")).unwrap_or_default();
                let has = |signal: i32| caught().lines().any(|line| line == format!("{signal:02}"));
                support::wait_for("the key's signal", support::run::LIMIT, || has(signal));
                // A second one would come before this. The shell's child: the launcher, or Codex itself.
                let of_shell = format!("PPid:\t{}\n", act.id());
                let is_started = |id: &Pid| {
                    std::fs::read_to_string(format!("/proc/{id}/status"))
                        .is_ok_and(|status| status.contains(&of_shell))
                };
                let started = stage.home.processes().into_iter().find(is_started).expect("the shell's child");
                send(started.as_raw(), libc::SIGUSR2);
                support::wait_for("the last signal", support::run::LIMIT, || has(libc::SIGUSR2));
                std::fs::write(stage.at("b"), "").expect("tell the probe");
            });
            assert_eq!(seen[0]["file caught"], format!("{signal:02}\\n12\\n"));
            // The shell, which got it too, ends by it when Codex has ended.
            assert_same(&format!("{words}{key}"), &seen, &[]);
        }
    }
}

#[test]
fn a_key_that_codex_does_not_handle_ends_it() {
    let stage = Stage::new();
    for (key, signal) in [(3, libc::SIGINT), (28, libc::SIGQUIT)] {
        for words in ["exec ", ""] {
            let script = format!("{NO_CORE}; exec codex {words}'ready a; until b'");
            let seen = stage.observe(Place::Terminal, &script, |act: &Act| {
                stage.wait_until_attended("a");
                act.terminal().type_keys([key]);
            });
            assert_ended(&seen, End::Signal(signal));
            assert_same(&format!("{words}{key}"), &seen, &[]);
        }
    }
}
