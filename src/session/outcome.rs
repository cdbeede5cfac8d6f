//! How a tool call ended, where only a word of Codex's or the text for the model tells.

use super::model::Outcome;

pub(super) fn of_status(status: Option<&str>, said: Option<String>) -> Outcome {
    match status {
        None | Some("completed") => Outcome::Ok,
        Some("in_progress") => Outcome::Running,
        Some(status) => Outcome::Failed { message: said.unwrap_or_else(|| status.to_owned()) },
    }
}

/// What the text for the model says of the call, where Codex recorded nothing else.
pub(super) fn of_output(output: &str, exit_code: Option<i64>) -> Outcome {
    let failed = |message: &str| Outcome::Failed { message: message.to_owned() };
    match exit_code {
        Some(code) if code != 0 => return failed(&format!("exit code {code}")),
        _ => {}
    }
    if output.starts_with("aborted by user") || output.ends_with("\naborted by user") {
        Outcome::Interrupted
    } else if output.starts_with("unsupported call: ") || says_it_failed(output) {
        failed(output)
    } else if let Some((_, said)) =
        output.strip_prefix("Script failed\n").and_then(|rest| rest.split_once("Output:\n"))
    {
        failed(said.trim())
    } else {
        Outcome::Ok
    }
}

/// `exec_command failed: …`, `apply_patch verification failed: …`: Codex refused the call or could not
/// start it. What a program printed stands below a head and never at the beginning.
fn says_it_failed(output: &str) -> bool {
    output.split_once(": ").is_some_and(|(what, _)| what.ends_with(" failed") && what.split(' ').count() <= 3)
}

/// The exit code in the head that Codex puts over a command's output (`Process exited with code 3`
/// since 0.98, `Exit code: 3` before and for patches).
pub(super) fn exit_code_in(output: &str) -> Option<i64> {
    let head = output.lines().take_while(|line| *line != "Output:").take(6);
    head.filter_map(|line| {
        line.strip_prefix("Process exited with code ").or(line.strip_prefix("Exit code: "))
    })
    .find_map(|code| code.parse().ok())
    .filter(|_| ["Chunk ID: ", "Wall time: ", "Exit code: "].iter().any(|start| output.starts_with(start)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_for_the_model_tells_how_a_call_ended() {
        let failed = |message: &str| Outcome::Failed { message: message.into() };
        let table = [
            (
                "Chunk ID: 0b\nWall time: 0.5 seconds\nProcess exited with code 3\nOutput:\nerr\n",
                Some(3),
                failed("exit code 3"),
            ),
            (
                "Chunk ID: 0b\nWall time: 0.5 seconds\nProcess exited with code 0\nOutput:\n",
                Some(0),
                Outcome::Ok,
            ),
            ("Exit code: 1\nWall time: 0 seconds\nOutput:\nno such file", Some(1), failed("exit code 1")),
            ("a program says\nExit code: 7\n", None, Outcome::Ok),
            ("Wall time: 1 s\nOutput:\nExit code: 7\n", None, Outcome::Ok),
            ("aborted by user after 2.0s", None, Outcome::Interrupted),
            ("Wall time: 0.1 seconds\naborted by user", None, Outcome::Interrupted),
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
            assert_eq!(exit_code_in(output), exit_code, "{output}");
            assert_eq!(of_output(output, exit_code), outcome, "{output}");
        }
    }
}
