//! A command that the user ran with `!`, from the message that reports it to the model. Since 0.150 Codex also
//! records it.

use super::call::running;
use super::model::{Outcome, ToolCall};
use super::outcome::of_exit_code;
use super::shell;
use common::json::text::Text;
use jiff::Timestamp;

/// None for any other message.
pub(super) fn call_in(text: &str, nth: usize, at: Option<Timestamp>) -> Option<ToolCall> {
    let report = text.trim().strip_prefix("<user_shell_command>")?.strip_suffix("</user_shell_command>")?;
    let command = between(report, "<command>", "</command>")?.trim();
    let result = between(report, "<result>", "</result>").unwrap_or_default();
    let (head, printed) = result.split_once("Output:\n").unwrap_or((result, ""));
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
    let arguments = [(shell::COMMAND, command.into())];
    let mut call = running(format!("user_shell-{nth}").into(), Text::word("user_shell"), arguments.into());
    call.facts.exit_code = field("Exit code: ").and_then(|code| code.parse().ok());
    call.facts.duration = field("Duration: ").and_then(super::outcome::seconds);
    call.facts.printed = Some(printed.strip_suffix('\n').unwrap_or(printed).into());
    call.ended_at = at;
    call.started_at = call.facts.duration.and_then(|took| at?.checked_sub(took).ok()).or(at);
    call.outcome = call.facts.exit_code.map_or(Outcome::Ok, of_exit_code);
    Some(call)
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let rest = &text[text.find(from)? + from.len()..];
    Some(&rest[..rest.rfind(to)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;
    use serde_json::json;

    #[test]
    fn a_report_of_the_users_command_becomes_a_finished_call() {
        let text = "<user_shell_command>\n<command>\nls x\n</command>\n<result>\nExit code: 2\nDuration: 0.5000 seconds\nOutput:\nno x\n\n</result>\n</user_shell_command>";
        let at = "2026-11-22T10:00:01Z".parse().ok();
        let call = call_in(text, 4, at).unwrap();
        assert_eq!((&*call.call_id, &*call.name), ("user_shell-4", "user_shell"));
        assert_eq!(call.arguments, json!({"cmd": "ls x"}));
        assert_eq!(call.facts.exit_code, Some(2));
        assert_eq!(call.facts.duration, Some(SignedDuration::from_millis(500)));
        assert_eq!(call.facts.printed.as_deref(), Some("no x\n"));
        assert_eq!(call.outcome, Outcome::Failed { message: "exit code 2".into() });
        assert_eq!(call.started_at, "2026-11-22T10:00:00.5Z".parse().ok());
        for other in ["ls", "<user_shell_command>", "<user_shell_command></user_shell_command>"] {
            assert_eq!(call_in(other, 0, None), None, "{other}");
        }
    }
}
