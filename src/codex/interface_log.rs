//! The log that Codex's full-screen interface can keep: it names the prompts that were typed there.
//!
//! Since 0.157 a shared daemon writes the rollouts of every interface, so no process shows which launch wrote them.
//! But each prompt in the log has an id (`client_user_message_id`) that is also in the rollout (`client_id`). Codex
//! truncates the log when it opens it, and makes it 0600. The log contains prompts in clear.

use common::variables::Variables;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Variable that switches the log on (0.36 to 0.169).
pub const RECORD: &str = "CODEX_TUI_RECORD_SESSION";
/// Variable with the log's path.
pub const PATH: &str = "CODEX_TUI_SESSION_LOG_PATH";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InterfaceLog {
    /// The launcher asks for it, and deletes it.
    Launchers(PathBuf),
    /// The user asked for it: the launcher only reads it.
    Users(PathBuf),
}

/// A fact about the session in one line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Logged {
    Prompt {
        client_id: String,
    },
    /// The session's file, up to 0.98.
    Rollout(PathBuf),
    /// An operation that makes a turn and has no client id: `!command`, `/compact`, `/review`.
    #[serde(rename = "deed")]
    UntaggedOp,
}

/// Operations that write to a session and have no id (0.169).
const UNTAGGED_OPS: [&str; 3] = ["RunUserShellCommand", "Compact", "Review"];

impl InterfaceLog {
    /// None where the user keeps a log under a name that Codex chooses: the launcher does not know it.
    ///
    /// A path within `folder` (this program's) leaked from another launch: the daemon and every tool that it
    /// starts keep the variables of the interface that started it.
    pub fn choose(variables: &Variables, folder: &Path, launch: &str) -> Option<InterfaceLog> {
        let recording =
            variables.text(RECORD).is_some_and(|value| ["1", "true", "TRUE", "yes", "YES"].contains(&value));
        match variables.os(PATH).map(PathBuf::from) {
            Some(path) if recording && !path.starts_with(folder) => Some(InterfaceLog::Users(path)),
            None if recording => None,
            _ => Some(InterfaceLog::Launchers(path_of(folder, launch))),
        }
    }

    pub fn path(&self) -> &Path {
        match self {
            InterfaceLog::Launchers(path) | InterfaceLog::Users(path) => path,
        }
    }
}

/// Path of a launch's log, while there is one.
pub fn path_of(folder: &Path, launch: &str) -> PathBuf {
    folder.join(format!("{launch}{SUFFIX}"))
}

/// The launch whose log this file in this program's folder is.
pub fn launch_of(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()?.strip_suffix(SUFFIX)
}

const SUFFIX: &str = ".tui-log";

#[derive(Deserialize)]
struct LoggedLine {
    ts: Option<String>,
    kind: Option<String>,
    #[serde(default)]
    payload: Value,
}

/// None for the many lines without a fact about the session.
pub fn read(line: &[u8]) -> Option<(Timestamp, Logged)> {
    let line: LoggedLine = serde_json::from_slice(line).ok()?;
    let at = line.ts?.parse().ok()?;
    let logged = match line.kind.as_deref() {
        Some("op") => {
            // `{"UserTurn": {…}}`; an op without a body is a bare word.
            let (name, body) = match &line.payload {
                Value::String(name) => (name, &Value::Null),
                payload => payload.as_object()?.iter().next()?,
            };
            match body.get("client_user_message_id").and_then(Value::as_str) {
                Some(id) => Logged::Prompt { client_id: id.to_owned() },
                None if UNTAGGED_OPS.contains(&name.as_str()) => Logged::UntaggedOp,
                None => return None,
            }
        }
        Some("codex_event") => Logged::Rollout(line.payload.pointer("/msg/rollout_path")?.as_str()?.into()),
        _ => return None,
    };
    Some((at, logged))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_own_log_is_read_and_one_that_leaked_from_another_launch_is_replaced() {
        let ours = || Some(InterfaceLog::Launchers("/home/mlflow/launches/1-a.tui-log".into()));
        let table = [
            (None, None, ours()),
            (Some("1"), Some("/tmp/mine.jsonl"), Some(InterfaceLog::Users("/tmp/mine.jsonl".into()))),
            (Some("1"), Some("/home/mlflow/launches/0-b.tui-log"), ours()),
            (Some("0"), Some("/tmp/mine.jsonl"), ours()),
            (None, Some("/tmp/mine.jsonl"), ours()),
            (Some("1"), None, None),
        ];
        for (record, path, log) in table {
            let variables = Variables::from([(RECORD, record.unwrap_or("")), (PATH, path.unwrap_or(""))]);
            let chosen = InterfaceLog::choose(&variables, Path::new("/home/mlflow/launches"), "1-a");
            assert_eq!(chosen, log, "{record:?} {path:?}");
        }
    }

    #[test]
    fn prompts_and_rollouts_are_read_and_the_rest_is_not() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let prompt = r#"{"ts":"2026-11-22T10:07:23.019Z","dir":"from_tui","kind":"op","payload":{"UserTurn":
            {"turn_trigger":"user","client_user_message_id":"ebfa59b9","items":[{"type":"text","text":"do it"}]}}}"#;
        let old = r#"{"ts":"2026-11-22T10:16:03.267Z","dir":"to_tui","kind":"codex_event","payload":{"id":"",
            "msg":{"type":"session_configured","session_id":"01a2","rollout_path":"/home/x.jsonl"}}}"#;
        assert_eq!(
            [prompt, old].map(|line| read(line.as_bytes())),
            [
                Some((at("2026-11-22T10:07:23.019Z"), Logged::Prompt { client_id: "ebfa59b9".into() })),
                Some((at("2026-11-22T10:16:03.267Z"), Logged::Rollout("/home/x.jsonl".into()))),
            ]
        );
        for line in [
            r#"{"ts":"2026-11-22T10:07:16.376Z","kind":"op","payload":{"ListSkills":{"cwds":[]}}}"#,
            r#"{"ts":"2026-11-22T10:07:16.376Z","kind":"op","payload":"Interrupt"}"#,
            r#"{"ts":"2026-11-22T10:07:16.376Z","kind":"app_event","variant":"X"}"#,
            "{",
        ] {
            assert_eq!(read(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn an_operation_that_makes_a_turn_without_an_id_is_untagged() {
        for payload in [
            r#"{"RunUserShellCommand":{"command":"echo hi"}}"#,
            r#""Compact""#,
            r#"{"Review":{"target":{"type":"uncommittedChanges"}}}"#,
        ] {
            let line = format!(r#"{{"ts":"2026-11-22T10:07:16.376Z","kind":"op","payload":{payload}}}"#);
            assert_eq!(
                read(line.as_bytes()).map(|(_, logged)| logged),
                Some(Logged::UntaggedOp),
                "{payload}"
            );
        }
    }

    #[test]
    fn a_logs_name_contains_its_launch() {
        let folder = Path::new("/f");
        assert_eq!(launch_of(&path_of(folder, "1-a")), Some("1-a"));
        assert_eq!(launch_of(Path::new("/f/1-a.jsonl")), None);
    }
}
