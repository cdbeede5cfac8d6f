//! The app server that `--remote` names: it writes the sessions of `codex --remote` and `codex exec --remote` (0.171).

use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// An address on this machine. What listens there may still pass all on to another machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemoteAddress {
    /// `unix://`: the socket of the home's own daemon.
    ControlSocket,
    Socket(PathBuf),
    Port(u16),
}

impl RemoteAddress {
    /// None for another machine, and for what cannot be read.
    pub(super) fn parse(text: &str, cwd: Option<&Path>) -> Option<RemoteAddress> {
        if let Some(path) = text.strip_prefix("unix://") {
            let socket = || Some(RemoteAddress::Socket(cwd?.join(path)));
            return if path.is_empty() { Some(RemoteAddress::ControlSocket) } else { socket() };
        }
        let (host, port) = text.strip_prefix("ws://")?.trim_end_matches('/').rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_here = host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
        if is_here { port.parse().ok().map(RemoteAddress::Port) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_machine_are_read() {
        let socket = |path: &str| Some(RemoteAddress::Socket(path.into()));
        let table = [
            ("unix://", Some(RemoteAddress::ControlSocket)),
            ("unix:///run/codex.sock", socket("/run/codex.sock")),
            ("unix://codex.sock", socket("/w/codex.sock")),
            ("ws://127.0.0.1:4500", Some(RemoteAddress::Port(4500))),
            ("ws://127.0.0.1:4500/", Some(RemoteAddress::Port(4500))),
            ("ws://localhost:4500", Some(RemoteAddress::Port(4500))),
            ("ws://[::1]:4500", Some(RemoteAddress::Port(4500))),
            ("ws://localhost", None),
            ("ws://user@127.0.0.1:4500", None),
            ("ws://10.0.0.7:4500", None),
            ("ws://codex.example:4500", None),
            ("wss://127.0.0.1:4500", None),
            ("127.0.0.1:4500", None),
            ("", None),
        ];
        for (text, address) in table {
            assert_eq!(RemoteAddress::parse(text, Some(Path::new("/w"))), address, "{text}");
        }
    }
}
