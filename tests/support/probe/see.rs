//! What a process can see of itself, a line for each: its name, a tab, how it is.

use nix::libc;
use std::collections::BTreeMap;
use std::fs;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Each thing that was seen, by its name.
pub type Sight = BTreeMap<String, String>;

/// Of `/proc/self/status`: what a parent hands on, and nothing that counts or grows.
const OF_STATUS: [&str; 20] = [
    "Umask",
    "Uid",
    "Gid",
    "Groups",
    "Threads",
    "SigPnd",
    "ShdPnd",
    "SigBlk",
    "SigIgn",
    "SigCgt",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "Cpus_allowed_list",
    "Mems_allowed_list",
    "THP_enabled",
];

/// Small files of `/proc/self` that a parent hands on.
const FILES: [&str; 5] = ["oom_score_adj", "timerslack_ns", "coredump_filter", "personality", "cgroup"];

const NAMESPACES: [&str; 7] = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];

/// More than any test opens.
const DESCRIPTORS: i32 = 256;

pub(super) fn see() -> Sight {
    let mut sight = Sight::new();
    // First: to look at anything else opens the lowest number that is free.
    let open: Vec<i32> = (0..DESCRIPTORS).filter(|fd| is_open(*fd)).collect();
    for (at, word) in zero_ended("cmdline").iter().enumerate() {
        sight.insert(format!("word {at}"), word.clone());
    }
    let variables = zero_ended("environ");
    for pair in &variables {
        let (name, value) = pair.split_once('=').unwrap_or((pair, "(no value)"));
        sight.insert(format!("variable {name}"), value.to_owned());
    }
    let names: Vec<&str> = variables.iter().map(|pair| pair.split('=').next().unwrap_or("")).collect();
    sight.insert("variables in order".into(), names.join(" "));
    sight.insert("folder".into(), link("cwd"));
    sight.insert("root".into(), link("root"));
    for line in text("status").lines() {
        if let Some((name, value)) = line.split_once(':').filter(|(name, _)| OF_STATUS.contains(name)) {
            sight.insert(name.to_owned(), value.trim().to_owned());
        }
    }
    for line in text("limits").lines().skip(1) {
        let (name, value) = line.split_at_checked(26).unwrap_or((line, ""));
        let value = value.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        sight.insert(format!("limit {}", name.trim()), value);
    }
    for name in FILES {
        sight.insert(name.to_owned(), text(name).trim().to_owned());
    }
    for name in NAMESPACES {
        sight.insert(format!("namespace {name}"), link(&format!("ns/{name}")));
    }
    sight.extend(of_process());
    for fd in 0..DESCRIPTORS {
        if open.contains(&fd) {
            sight.extend(of_descriptor(fd));
        } else if fd <= 2 {
            sight.insert(format!("descriptor {fd}"), "closed".to_owned());
        }
    }
    let terminal = fs::File::options().read(true).write(true).open("/dev/tty");
    sight.insert("/dev/tty".into(), terminal.map_or("none".into(), |_| "opens".into()));
    sight
}

/// Nice, policy, group, session, foreground, and the rest that only system calls return.
fn of_process() -> Vec<(String, String)> {
    let stat = text("stat");
    let fields: Vec<&str> = stat[stat.rfind(')').map_or(0, |at| at + 1)..].split_whitespace().collect();
    let field = |at: usize| fields.get(at).copied().unwrap_or("?").to_owned();
    let mut told: Vec<(String, String)> = [
        ("parent", 1),
        ("group", 2),
        ("session", 3),
        ("controlling terminal", 4),
        ("foreground group", 5),
        ("nice", 16),
        ("exit signal", 35),
        ("priority", 37),
        ("policy", 38),
    ]
    .map(|(name, at)| (name.to_owned(), field(at)))
    .into();
    told.push(("itself".into(), std::process::id().to_string()));
    told.push(("ancestors".into(), ancestors(field(1)).join(" ")));
    #[expect(unsafe_code, reason = "what only system calls tell")]
    // SAFETY: each call writes into a variable of its own, of the type that it wants.
    unsafe {
        let mut death = 0;
        libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut death);
        told.push(("signal at the parent's death".into(), death.to_string()));
        let mut reaper = 0;
        libc::prctl(libc::PR_GET_CHILD_SUBREAPER, &raw mut reaper);
        told.push(("is a subreaper".into(), reaper.to_string()));
        told.push(("dumpable".into(), libc::prctl(libc::PR_GET_DUMPABLE).to_string()));
        let mut timer = MaybeUninit::<libc::itimerval>::zeroed();
        libc::getitimer(libc::ITIMER_REAL, timer.as_mut_ptr());
        let left = timer.assume_init().it_value;
        told.push(("alarm is set".into(), (left.tv_sec > 0 || left.tv_usec > 0).to_string()));
        let mut stack = MaybeUninit::<libc::stack_t>::zeroed();
        libc::sigaltstack(std::ptr::null(), stack.as_mut_ptr());
        let has_stack = stack.assume_init().ss_flags & libc::SS_DISABLE == 0;
        told.push(("signal stack is set".into(), has_stack.to_string()));
    }
    told
}

/// `id=name` of each, the parent first.
fn ancestors(parent: String) -> Vec<String> {
    let mut found = Vec::new();
    let mut next = Some(parent);
    while let Some(id) = next.filter(|id| id != "0" && found.len() < 8) {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let (before, after) = stat.rsplit_once(')').unwrap_or_default();
        found.push(format!("{id}={}", before.split_once('(').unwrap_or_default().1));
        next = after.split_whitespace().nth(1).map(str::to_owned);
    }
    found
}

fn of_descriptor(fd: i32) -> Vec<(String, String)> {
    let info = text(&format!("fdinfo/{fd}"));
    let of_info = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("?");
        line.trim().to_owned()
    };
    let mut told = vec![
        (format!("descriptor {fd}"), link(&format!("fd/{fd}"))),
        (format!("descriptor {fd}: flags"), of_info("flags:")),
        (format!("descriptor {fd}: offset"), of_info("pos:")),
    ];
    if fd > 2 {
        return told;
    }
    #[expect(unsafe_code, reason = "modes and size as the kernel has them")]
    // SAFETY: the kernel fills each variable when it answers 0; nothing is read otherwise.
    let (is_terminal, modes, size) = unsafe {
        let mut modes = MaybeUninit::<libc::termios>::zeroed();
        let mut size = [0_u16; 4];
        let has_modes = libc::tcgetattr(fd, modes.as_mut_ptr()) == 0;
        let has_size = libc::ioctl(fd, libc::TIOCGWINSZ, size.as_mut_ptr()) == 0;
        let modes = has_modes.then(|| modes.assume_init());
        (libc::isatty(fd) == 1, modes, has_size.then_some(size))
    };
    told.push((format!("descriptor {fd}: is a terminal"), is_terminal.to_string()));
    if let Some(modes) = modes {
        let flags = [modes.c_iflag, modes.c_oflag, modes.c_cflag, modes.c_lflag];
        told.push((format!("descriptor {fd}: modes"), format!("{flags:x?} {:x?}", modes.c_cc)));
    }
    if let Some(size) = size {
        told.push((format!("descriptor {fd}: size"), format!("{size:?}")));
    }
    told
}

fn is_open(fd: i32) -> bool {
    #[expect(unsafe_code, reason = "a descriptor that nobody here owns has only a number")]
    // SAFETY: it only asks.
    unsafe {
        libc::fcntl(fd, libc::F_GETFD) >= 0
    }
}

fn text(name: &str) -> String {
    fs::read_to_string(Path::new("/proc/self").join(name)).unwrap_or_else(|error| error.to_string())
}

fn link(name: &str) -> String {
    let target = fs::read_link(Path::new("/proc/self").join(name));
    target.map_or_else(|error| error.to_string(), |target| escaped(target.as_os_str().as_bytes()))
}

fn zero_ended(name: &str) -> Vec<String> {
    let bytes = fs::read(Path::new("/proc/self").join(name)).unwrap_or_default();
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
    bytes.split(|byte| *byte == 0).map(escaped).collect()
}

/// One line, and different bytes look different.
fn escaped(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

pub(super) fn written(sight: &Sight) -> String {
    sight.iter().map(|(name, value)| format!("{name}\t{value}\n")).collect()
}

/// What the file `seen` holds.
pub fn parse(text: &str) -> Sight {
    let pair =
        |line: &str| Some(line.split_once('\t')?).map(|(name, value)| (name.to_owned(), value.to_owned()));
    text.lines().filter_map(pair).collect()
}
