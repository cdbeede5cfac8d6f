//! What a child can see of itself.

use super::twice::{Place, Stage, assert_none, assert_same, compare};

/// Codex finds its depth, and so another list of variables; its parent is codex-traced.
pub(crate) const ALWAYS: [&str; 3] = ["variable CODEX_TRACED_DEPTH", "variables in order", "parent's name"];

/// Where the shell itself becomes what it starts, Codex would be the process that the test knows.
pub(crate) const NOT_THE_STARTED: [&str; 1] = ["itself"];

/// The full-screen interface keeps a log of itself.
pub(crate) const LOG: [&str; 2] =
    ["variable CODEX_TUI_RECORD_SESSION", "variable CODEX_TUI_SESSION_LOG_PATH"];

/// On a terminal of its own.
pub(crate) const OWN_TERMINAL: [&str; 7] = [
    "controlling terminal",
    "descriptor 0",
    "descriptor 1",
    "descriptor 2",
    "foreground group",
    "group",
    "session",
];

#[derive(Clone, Copy, Debug)]
struct Streams([bool; 3]);

impl Streams {
    fn all() -> impl Iterator<Item = Streams> {
        (0..8_u8).map(|bits| Streams([0, 1, 2].map(|stream| bits & (1 << stream) == 0)))
    }

    /// Those that are not on the terminal are files.
    fn redirections(self) -> String {
        let files = ["<in", ">out", "2>err"];
        let off = files.iter().zip(self.0).filter(|(_, on_terminal)| !on_terminal);
        off.map(|(file, _)| format!(" {file}")).collect()
    }
}

#[test]
fn a_child_sees_the_same_on_every_mixture_of_streams_in_every_mode() {
    let (mut wrong, mut cases, mut relayed) = (Vec::new(), 0, 0);
    for setting in ["auto", "always", "never"] {
        let stage = Stage::new().with("CODEX_TRACED_PTY", setting);
        for (words, becomes) in
            [("exec ", "exec "), ("exec ", ""), ("", "exec "), ("", ""), ("app-server ", "exec ")]
        {
            for streams in Streams::all() {
                let script = format!(
                    "echo from stdin >in; {becomes}codex {words}'see; say out; cry err; exit 3'{}{}",
                    streams.redirections(),
                    if becomes.is_empty() { "; exit $?" } else { "" }
                );
                let case = format!("{setting}: {script}");
                let is_relayed = streams.0 == [true; 3]
                    && (setting == "always" || (setting == "auto" && words.is_empty()));
                let seen = stage.observe(Place::Terminal, &script, |_| {});
                assert_eq!(seen[0]["end"], "Code(3)", "{case}: {:?}", seen[0]);
                wrong.extend(compare(&case, &seen, &allowed(words, becomes, is_relayed)));
                cases += 1;
                relayed += usize::from(is_relayed);
            }
            let end = if becomes.is_empty() { "; exit $?" } else { "" };
            let script = format!("{becomes}codex {words}'see; say out; cry err; exit 3'{end}");
            let seen = stage.observe(Place::Pipes, &script, |_| {});
            wrong.extend(compare(
                &format!("{setting}, no terminal: {script}"),
                &seen,
                &allowed(words, becomes, false),
            ));
            cases += 1;
        }
    }
    println!("{cases} cases of what a child sees, {relayed} of them on a terminal of its own");
    assert_eq!((cases, relayed), (135, 7));
    assert_none(&wrong);
}

fn allowed(words: &str, becomes: &str, is_relayed: bool) -> Vec<&'static str> {
    let mut allowed = ALWAYS.to_vec();
    if !becomes.is_empty() {
        allowed.extend(NOT_THE_STARTED);
    }
    if words.is_empty() {
        allowed.extend(LOG);
    }
    if is_relayed {
        allowed.extend(OWN_TERMINAL);
    }
    allowed
}

/// How a shell may have set up what it starts, without and with a terminal.
const SET_UP: [(&str, &str); 24] = [
    ("umask", "umask 027"),
    ("limits", "ulimit -S -n 200; ulimit -c 0; ulimit -v 9000000"),
    ("nice", "renice -n 5 $$ >/dev/null"),
    ("policy", "chrt --batch -p 0 $$"),
    ("processors", "taskset -cp 0 $$ >/dev/null"),
    ("badness", "echo 500 >/proc/$$/oom_score_adj"),
    ("ignored: HUP", "trap '' HUP"),
    ("ignored: INT and QUIT", "trap '' INT QUIT"),
    ("ignored: CHLD", "trap '' CHLD"),
    ("ignored: PIPE", "trap '' PIPE"),
    ("ignored: XFSZ", "trap '' XFSZ"),
    ("ignored: TERM, USR1, USR2, ALRM", "trap '' TERM USR1 USR2 ALRM"),
    ("ignored: TSTP, TTIN, TTOU", "trap '' TSTP TTIN TTOU"),
    ("ignored: CONT and WINCH", "trap '' CONT WINCH"),
    ("ignored: of real time", "trap '' RTMIN+3 RTMAX"),
    ("all ignored", "trap '' $(seq 1 31) 2>/dev/null"),
    ("descriptors above 2", "exec 3</dev/null 7>>seven 9<>nine; echo some >&9"),
    ("a pipe above 2", "exec 5< <(:)"),
    ("odd variables", "export ODD=$'a\\nb\\xff' EMPTY= _=x"),
    ("another folder", "mkdir -p deep; cd -P .; ln -sfn . link; cd link"),
    ("a file size limit", "ulimit -f 100"),
    ("stdin closed", "exec <&-"),
    ("stdout closed", "exec >&-"),
    ("stderr closed", "exec 2>&-"),
];

#[test]
fn a_child_sees_the_same_however_it_was_set_up() {
    let stage = Stage::new();
    let mut wrong = Vec::new();
    for (name, set_up) in SET_UP {
        for words in ["exec ", ""] {
            for place in [Place::Pipes, Place::Terminal] {
                let closes = name.ends_with("closed");
                let script = format!("{set_up}; codex {words}'see; say out; cry err; exit 3'; exit $?");
                let case = format!("{name}, {words}, {place:?}");
                let seen = stage.observe(place, &script, |_| {});
                assert_eq!(seen[0]["end"], "Code(3)", "{case}: {:?}", seen[0]);
                let is_relayed = place == Place::Terminal && words.is_empty() && !closes;
                wrong.extend(compare(&case, &seen, &allowed(words, "", is_relayed)));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn a_child_sees_the_same_with_several_streams_closed() {
    let stage = Stage::new();
    for closed in ["<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"] {
        let script = format!("codex exec 'see; say out; cry err; exit 3' {closed}; exit $?");
        let seen = stage.observe(Place::Pipes, &script, |_| {});
        assert!(seen[0].values().any(|value| value == "closed"), "{seen:?}");
        assert_same(closed, &seen, &ALWAYS);
    }
}

/// What no shell can set up.
#[test]
fn a_child_sees_the_same_blocked_signals_timers_and_words() {
    let stage = Stage::new();
    let becomes =
        "import os, signal, sys; SET_UP; os.execvp('codex', [b'codex', b'exec', *WORDS, b'see; exit 3'])";
    let table = [
        ("signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))", "[]"),
        ("signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGUSR1, 40})", "[]"),
        ("signal.alarm(1000)", "[]"),
        ("signal.signal(signal.SIGPIPE, signal.SIG_DFL)", "[]"),
        ("pass", "[b'', b' ', b'a\\nb', b'*', bytes(range(1, 256)), b'--', b'-x']"),
        ("pass", "[b'x' * 100000, b'y' * 100000]"),
        ("os.environb[b'BYTES'] = bytes(range(1, 256))", "[]"),
        ("os.environ['LONG'] = 'z' * 100000", "[]"),
    ];
    for (set_up, words) in table {
        let script = becomes.replace("SET_UP", set_up).replace("WORDS", words);
        let script = format!("python3 -c \"{script}\"; exit $?");
        let seen = stage.observe(Place::Pipes, &script, |_| {});
        assert_eq!(seen[0]["end"], "Code(3)", "{set_up}: {:?}", seen[0]);
        assert_same(&format!("{set_up} {words}"), &seen, &ALWAYS);
    }
}
