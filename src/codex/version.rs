//! The version of Codex, and its consequences.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CodexVersion(pub u32, pub u32, pub u32);

/// The newest version that the tests run.
pub const NEWEST_TESTED: CodexVersion = CodexVersion(0, 171, 0);

/// The oldest version whose sessions the tests trace.
pub const OLDEST_TRACED: CodexVersion = CodexVersion(0, 36, 0);

/// The first version with `--no-daemon`: from it on a daemon writes the full-screen interface's sessions.
const FIRST_WITH_DAEMON: CodexVersion = CodexVersion(0, 157, 0);

/// Which process writes the sessions of the full-screen interface. `exec` and `review` always write their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterfaceWriter {
    Itself,
    /// The daemon, which all interfaces of one home share.
    Daemon,
}

impl CodexVersion {
    /// From the output of `codex --version`: `codex-cli 0.169.0`, maybe with a pre-release mark.
    pub fn parse(output: &str) -> Option<CodexVersion> {
        let number = output.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
        let mut parts = number.splitn(3, '.');
        let (major, minor, patch) = (parts.next()?, parts.next()?, parts.next()?);
        let patch = patch.split(|c: char| !c.is_ascii_digit()).next()?;
        Some(CodexVersion(major.parse().ok()?, minor.parse().ok()?, patch.parse().ok()?))
    }
}

impl fmt::Display for CodexVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl InterfaceWriter {
    /// `config` is the text of Codex's `config.toml`. Options of a launch (`-c`, `--search`, `--profile`,
    /// `--no-daemon`) make that launch write its own sessions.
    pub fn from_config(version: CodexVersion, config: &str) -> InterfaceWriter {
        let has_daemon = version >= FIRST_WITH_DAEMON && starts_daemon(config);
        if has_daemon { InterfaceWriter::Daemon } else { InterfaceWriter::Itself }
    }
}

/// `features.daemon_auto_start`. A configuration that cannot be read counts as the default.
fn starts_daemon(config: &str) -> bool {
    let config: toml::Table = toml::from_str(config).unwrap_or_default();
    let switch = config.get("features").and_then(|features| features.get("daemon_auto_start"));
    switch.and_then(toml::Value::as_bool).unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_as_codex_prints_it() {
        let table = [
            ("codex-cli 0.169.0\n", Some(CodexVersion(0, 169, 0))),
            ("codex-cli 0.200.0-alpha.3", Some(CodexVersion(0, 200, 0))),
            ("codex 1.19.2", Some(CodexVersion(1, 19, 2))),
            ("codex-cli 0.169", None),
            ("command not found", None),
            ("", None),
        ];
        for (output, version) in table {
            assert_eq!(CodexVersion::parse(output), version, "{output}");
        }
        assert!(CodexVersion(0, 200, 0) > NEWEST_TESTED && CodexVersion(1, 0, 0) > CodexVersion(0, 200, 0));
    }

    #[test]
    fn the_daemon_writes_for_the_interface_unless_it_is_too_old_or_switched_off() {
        use InterfaceWriter::{Daemon, Itself};
        let new = CodexVersion(0, 169, 0);
        let table = [
            (new, "", Daemon),
            (new, "model = \"x\"\n[features]\ngoals = false\n", Daemon),
            (new, "[features]\ndaemon_auto_start = false # mine\n", Itself),
            (new, "features.daemon_auto_start=false", Itself),
            (new, "[features]\ndaemon_auto_start = true\n", Daemon),
            (new, "[other]\ndaemon_auto_start = false\n", Daemon),
            (new, "# features.daemon_auto_start = false\n", Daemon),
            (new, "features = {daemon_auto_start = false}", Itself),
            (new, "[features\ndaemon_auto_start = false", Daemon),
            (CodexVersion(0, 155, 1), "", Itself),
        ];
        for (version, config, writer) in table {
            assert_eq!(InterfaceWriter::from_config(version, config), writer, "{version} {config}");
        }
    }
}
