//! How a tool call ended, from Codex's status or from the text for the model.

use super::model::Outcome;
use common::json::text::Text;
use jiff::SignedDuration;
use serde::Deserialize;
use std::borrow::Cow;

pub(super) fn of_status(status: Option<&str>, message: Option<Text>) -> Outcome {
    match status {
        None | Some("completed") => Outcome::Ok,
        Some("in_progress") => Outcome::Running,
        Some("declined") => {
            Outcome::Denied { message: message.map_or_else(|| "declined".into(), String::from) }
        }
        Some(status) => Outcome::Failed { message: message.map_or_else(|| status.to_owned(), String::from) },
    }
}

/// How refusals begin, of the user or of Codex's own review (0.36 to 0.169).
const DENIALS: [&str; 7] = [
    "exec command rejected by user",
    "patch rejected by user",
    "rejected by user",
    "rejected by configuration",
    "user rejected MCP tool call",
    "automatic approval review denied the action",
    "This action was rejected due to unacceptable risk",
];

/// What Codex writes around a tool's output, in the text for the model.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct OutputFacts<'a> {
    pub(super) exit_code: Option<i64>,
    pub(super) duration: Option<SignedDuration>,
    /// The text without Codex's header; None where there is no header.
    pub(super) printed: Option<Cow<'a, str>>,
    /// The command still runs, and later calls name it by this session id.
    pub(super) left_running: Option<u64>,
}

/// Up to 0.7x, and for patches longer: `{"output": …, "metadata": {"exit_code", "duration_seconds"}}`.
#[derive(Deserialize)]
struct Structured {
    output: String,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    exit_code: Option<i64>,
    duration_seconds: Option<f64>,
}

pub(super) fn facts_in(output: &str) -> OutputFacts<'_> {
    if let Some(text) = output.strip_prefix("aborted by user after ") {
        return OutputFacts { duration: seconds(text), ..OutputFacts::default() };
    }
    if output.starts_with('{')
        && let Ok(Structured { output, metadata }) = serde_json::from_str(output)
    {
        let duration = metadata.duration_seconds.and_then(|it| SignedDuration::try_from_secs_f64(it).ok());
        return OutputFacts {
            exit_code: metadata.exit_code,
            duration,
            printed: Some(Cow::Owned(output)),
            left_running: None,
        };
    }
    let Some(head) = head_of(output) else { return OutputFacts::default() };
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
    let exit_code = field("Process exited with code ").or_else(|| field("Exit code: "));
    let left_running = field("Process running with session ID ").and_then(|id| id.trim().parse().ok());
    OutputFacts {
        exit_code: exit_code.and_then(|code| code.trim().parse().ok()),
        // Of a command that still runs, this is only how long Codex waited.
        duration: field("Wall time: ").filter(|_| left_running.is_none()).and_then(seconds),
        printed: output.split_once("\nOutput:\n").map(|(_, printed)| Cow::Borrowed(printed)),
        left_running,
    }
}

/// The lines that Codex writes above a command's output: `Chunk ID: 1e16df`, `Process exited with code 3` (since
/// 0.98; in 0.115 below the command itself), `Exit code: 3` (before, and for patches).
fn head_of(output: &str) -> Option<&str> {
    let text = match output.strip_prefix("Command: ") {
        Some(rest) => &rest[rest.find("\nChunk ID: ")? + 1..],
        None => output,
    };
    let is_head = ["Chunk ID: ", "Wall time: ", "Exit code: "].iter().any(|start| text.starts_with(start));
    let end = text.find("\nOutput:\n").unwrap_or(text.len());
    is_head.then(|| &text[..end])
}

/// `0.2373 seconds`, `14.0s`.
pub(super) fn seconds(text: &str) -> Option<SignedDuration> {
    let number = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    SignedDuration::try_from_secs_f64(number.trim().parse().ok()?).ok()
}

pub(super) fn of_exit_code(code: i64) -> Outcome {
    match code {
        0 => Outcome::Ok,
        code => Outcome::Failed { message: format!("exit code {code}") },
    }
}

/// The outcome from the text for the model, where Codex recorded nothing else.
pub(super) fn of_output(output: &str, exit_code: Option<i64>) -> Outcome {
    let failed = |message: &str| Outcome::Failed { message: message.to_owned() };
    match exit_code.map(of_exit_code) {
        None | Some(Outcome::Ok) => {}
        Some(failed) => return failed,
    }
    if output.starts_with("aborted by user") || output.ends_with("\naborted by user") {
        Outcome::Interrupted
    } else if DENIALS.iter().any(|start| output.starts_with(start))
        || (is_failure(output) && output.contains("Rejected("))
    {
        Outcome::Denied { message: output.to_owned() }
    } else if output.starts_with("unsupported call: ") || is_failure(output) {
        failed(output)
    } else if let Some((_, error)) =
        output.strip_prefix("Script failed\n").and_then(|rest| rest.split_once("Output:\n"))
    {
        failed(error.trim())
    } else {
        Outcome::Ok
    }
}

/// The text before the colon of a refusal is shorter than this, in bytes.
const LONGEST_REFUSAL: usize = 256;

/// `exec_command failed: …`, `exec_command failed for `ls`: …`, `apply_patch verification failed: …`: Codex
/// refused the call or could not start it. A program's own output follows a header and is never at the beginning.
fn is_failure(output: &str) -> bool {
    let beginning = &output[..output.floor_char_boundary(LONGEST_REFUSAL)];
    let colon = beginning.match_indices(':').find(|(at, _)| beginning[at + 1..].starts_with(' '));
    let what = colon.map(|(at, _)| &beginning[..at]);
    beginning.starts_with("exec_command failed for ")
        || what.is_some_and(|what| what.ends_with(" failed") && what.split(' ').count() <= 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_for_the_model_gives_the_outcome_of_a_call() {
        let failed = |message: &str| Outcome::Failed { message: message.into() };
        let denied = |message: &str| Outcome::Denied { message: message.into() };
        let code = |code: i64| failed(&format!("exit code {code}"));
        let table = [
            (
                "Chunk ID: 0b\nWall time: 0.5 seconds\nProcess exited with code 3\nOutput:\nerr\n",
                Some(3),
                code(3),
            ),
            (
                "Chunk ID: 0b\nWall time: 0.5 seconds\nProcess exited with code 0\nOutput:\n",
                Some(0),
                Outcome::Ok,
            ),
            (
                "Command: bash -lc 'a\nb'\nChunk ID: 0b\nWall time: 0 seconds\nProcess exited with code 3\nOutput:\n",
                Some(3),
                code(3),
            ),
            (
                "Chunk ID: 0b\nWall time: 1 seconds\nProcess running with session ID 7\nOutput:\n",
                None,
                Outcome::Ok,
            ),
            ("Exit code: 1\nWall time: 0 seconds\nOutput:\nno such file", Some(1), code(1)),
            (r#"{"output":"err\n","metadata":{"exit_code":3,"duration_seconds":0.2}}"#, Some(3), code(3)),
            (r#"{"output":"ok","metadata":{"exit_code":0,"duration_seconds":0.2}}"#, Some(0), Outcome::Ok),
            (r#"{"output":"of a program"}"#, None, Outcome::Ok),
            ("a program says\nExit code: 7\n", None, Outcome::Ok),
            ("Command: says a program\nExit code: 7\n", None, Outcome::Ok),
            ("Wall time: 1 s\nOutput:\nExit code: 7\n", None, Outcome::Ok),
            ("aborted by user after 2.0s", None, Outcome::Interrupted),
            ("Wall time: 0.1 seconds\naborted by user", None, Outcome::Interrupted),
            ("exec command rejected by user", None, denied("exec command rejected by user")),
            ("patch rejected by user", None, denied("patch rejected by user")),
            (
                "exec_command failed for `ls`: CreateProcess { message: \"Rejected(\\\"rejected by user\\\")\" }",
                None,
                denied(
                    "exec_command failed for `ls`: CreateProcess { message: \"Rejected(\\\"rejected by user\\\")\" }",
                ),
            ),
            ("exec_command failed: Rejected(\"no\")", None, denied("exec_command failed: Rejected(\"no\")")),
            ("unsupported call: update_plan", None, failed("unsupported call: update_plan")),
            (
                "Script failed\nWall time 0.0 seconds\nOutput:\n\nScript error:\nError: boom",
                None,
                failed("Script error:\nError: boom"),
            ),
            ("exec_command failed: CreateProcess", None, failed("exec_command failed: CreateProcess")),
            (
                "apply_patch verification failed: no such file",
                None,
                failed("apply_patch verification failed: no such file"),
            ),
            ("the test failed", None, Outcome::Ok),
            ("Script completed\nWall time 0.0 seconds\nOutput:\n", None, Outcome::Ok),
        ];
        for (output, exit_code, outcome) in table {
            assert_eq!(facts_in(output).exit_code, exit_code, "{output}");
            assert_eq!(of_output(output, exit_code), outcome, "{output}");
        }
    }

    #[test]
    fn codexs_header_is_separated_from_the_output() {
        let read = |millis: Option<i64>, printed: Option<&'static str>, left_running| {
            (millis.map(SignedDuration::from_millis), printed.map(Cow::Borrowed), left_running)
        };
        let table = [
            (
                "Chunk ID: 0b\nWall time: 0.2370 seconds\nProcess exited with code 0\nOutput:\na\n\nOutput:\nb",
                read(Some(237), Some("a\n\nOutput:\nb"), None),
            ),
            ("Exit code: 0\nWall time: 1.5 seconds\nOutput:\n", read(Some(1500), Some(""), None)),
            (
                r#"{"output":"ok","metadata":{"exit_code":0,"duration_seconds":0.2}}"#,
                read(Some(200), Some("ok"), None),
            ),
            ("aborted by user after 14.0s", read(Some(14_000), None, None)),
            (
                "Wall time: 1 seconds\nProcess running with session ID 7\nOutput:\nsofar",
                read(None, Some("sofar"), Some(7)),
            ),
            (
                r#"{"output":"x","metadata":{"exit_code":0,"duration_seconds":1e300}}"#,
                read(None, Some("x"), None),
            ),
            ("Plan updated", read(None, None, None)),
        ];
        for (output, expected) in table {
            let OutputFacts { duration, printed, left_running, .. } = facts_in(output);
            assert_eq!((duration, printed, left_running), expected, "{output}");
        }
    }
}
