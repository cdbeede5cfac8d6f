//! Whether the app server that `--remote` names writes in this home: its process listens at the address, and has files
//! of the home open. An address of this machine does not show it: SSH may forward it to another one.

use super::processes::{LocalProcesses, Processes};
use crate::codex::remote::RemoteAddress;
use common::disk::{entries, kernel_list};
use std::fs;
use std::path::{Path, PathBuf};

/// The socket of the home's own daemon, below Codex's home (0.171).
const CONTROL_SOCKET: &str = "app-server-control/app-server-control.sock";

/// False where the system does not show it, as on macOS.
pub(super) fn serves(address: &RemoteAddress, home: &Path) -> bool {
    let Ok(home) = fs::canonicalize(home) else { return false };
    let listening = match address {
        RemoteAddress::Port(port) => ["tcp", "tcp6"].map(|kind| listeners_at(&table(kind), *port)).concat(),
        RemoteAddress::Socket(path) => listeners_on(&table("unix"), path),
        RemoteAddress::ControlSocket => listeners_on(&table("unix"), &home.join(CONTROL_SOCKET)),
    };
    if listening.is_empty() {
        return false;
    }
    // Not `ssh`, whose log may be in the home.
    let is_codex = |id: &u32| LocalProcesses.known(*id).is_some_and(|known| known.is_codex);
    let codexes = LocalProcesses.all().into_iter().filter(is_codex);
    let servers: Vec<Vec<PathBuf>> =
        codexes.map(open_files).filter(|open| has_file_of(open, &home)).collect();
    let is_served = |listener: &String| {
        let socket = PathBuf::from(format!("socket:[{listener}]"));
        servers.iter().any(|open| open.contains(&socket))
    };
    // Another program may listen at the same number, on another address.
    listening.iter().all(is_served)
}

/// A table of sockets, of this process's network.
fn table(kind: &str) -> String {
    kernel_list::read(Path::new(&format!("/proc/net/{kind}"))).unwrap_or_default()
}

/// The inodes of the sockets that listen at this port.
fn listeners_at(table: &str, port: u16) -> Vec<String> {
    let line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // The state 0A is LISTEN.
        let [_, local, _, "0A", _, _, _, _, _, inode, ..] = fields[..] else { return None };
        let number = u16::from_str_radix(local.rsplit(':').next()?, 16).ok()?;
        (number == port).then(|| inode.to_owned())
    };
    table.lines().filter_map(line).collect()
}

/// The inodes of the sockets that listen at this path.
fn listeners_on(table: &str, path: &Path) -> Vec<String> {
    let Ok(path) = fs::canonicalize(path) else { return Vec::new() };
    let line = |line: &str| {
        // The flag 00010000 is that of a listening socket.
        let mut fields = line.split_whitespace();
        let is_listening = fields.nth(3) == Some("00010000");
        let (inode, bound) = (fields.nth(2)?, fields.next()?);
        let is_it = is_listening && fs::canonicalize(bound).is_ok_and(|bound| bound == path);
        is_it.then(|| inode.to_owned())
    };
    table.lines().filter_map(line).collect()
}

/// The targets of its descriptors; none for a process of another user.
fn open_files(process: u32) -> Vec<PathBuf> {
    let descriptors = entries(format!("/proc/{process}/fd").as_ref());
    descriptors.filter_map(|entry| fs::read_link(entry.path()).ok()).collect()
}

/// Codex keeps its databases open, which are in the home itself (0.171).
fn has_file_of(open: &[PathBuf], home: &Path) -> bool {
    open.iter().any(|file| file.parent() == Some(home))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::fs::File;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;
    use std::time::{Duration, Instant};

    #[test]
    fn only_a_listener_with_a_file_of_the_home_serves_it() {
        let [home, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let control = home.path().join(CONTROL_SOCKET);
        fs::create_dir_all(control.parent().unwrap()).unwrap();
        let socket = home.path().join("a.sock");
        let ports = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let listeners = [UnixListener::bind(&control).unwrap(), UnixListener::bind(&socket).unwrap()];
        let addresses = [
            RemoteAddress::Port(ports.local_addr().unwrap().port()),
            RemoteAddress::ControlSocket,
            RemoteAddress::Socket(socket),
        ];
        let served = |home: &Path| addresses.each_ref().map(|address| serves(address, home));
        assert_eq!(served(home.path()), [false; 3], "this process has no file of the home");
        let _database = File::create(home.path().join("state_5.sqlite")).unwrap();
        assert_eq!(served(home.path()), [true; 3]);
        assert_eq!(served(other.path()), [false; 3]);
        drop((ports, listeners));
        // What another test starts at this moment holds copies of the listeners until its exec.
        let until = Instant::now() + Duration::from_secs(60);
        while served(home.path()) != [false; 3] {
            assert!(Instant::now() < until, "nothing listens");
        }
    }

    #[test]
    fn the_kernels_tables_are_read() {
        let tcp = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                   4: 0100007F:22A8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\n\
                   5: 0100007F:22A8 0100007F:B7B2 01 00000000:00000000 00:00000000 00000000     0        0 4712 1\n\
                   6: 0100007F:22A9 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1\n";
        assert_eq!(listeners_at(tcp, 8872), ["4711"]);
        let unix = "Num       RefCount Protocol Flags    Type St Inode Path\n\
                    0000: 00000002 00000000 00010000 0001 01 4711 /proc\n\
                    0000: 00000003 00000000 00000000 0001 03 4712 /proc\n\
                    0000: 00000002 00000000 00010000 0001 01 4713 @abstract\n\
                    0000: 00000003 00000000 00000000 0001 03 4714\n";
        assert_eq!(listeners_on(unix, Path::new("/proc")), ["4711"]);
    }
}
