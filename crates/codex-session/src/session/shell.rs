//! A command that a tool ran, in one shape for all tools and versions: `cmd`, as a user would type it.
//!
//! Current models write `{"cmd"}`. Codex's own records hold the arguments of the process, shell included. `shell`,
//! `shell_command` and `local_shell` have `command`, and their own names for the rest.

use common::json::text::Text;
use common::json::value::{Map, Value};

pub(super) const COMMAND: &str = "cmd";

/// The tools that run a command, of all versions.
const TOOLS: [&str; 6] =
    ["exec_command", "shell", "shell_command", "local_shell", "container.exec", "user_shell"];

/// Shells that take a script after an option that ends in `c`.
const SHELLS: [&str; 7] = ["sh", "bash", "zsh", "dash", "ksh", "fish", "ash"];

const POWERSHELLS: [&str; 2] = ["pwsh", "powershell"];

/// The arguments of a call in the common shape; and as written, where that differs.
pub(super) fn arguments(tool: &str, written: Value) -> (Value, Option<Value>) {
    let command = Some(&written["command"]).filter(|_| TOOLS.contains(&tool));
    let Some(command) = command.and_then(typed) else { return (written, None) };
    let mut fields = Map::new();
    fields.insert(COMMAND, command.into());
    let Value::Object(others) = &written else { return (written, None) };
    for (name, value) in others.iter() {
        match &**name {
            "command" => {}
            // `local_shell` has no other type.
            "type" if *value == "exec" => {}
            "working_directory" => fields.insert("workdir", value.clone()),
            _ if value.is_null() => {}
            _ => fields.insert(name, value.clone()),
        }
    }
    (fields.into(), Some(written))
}

/// None for what is no command.
fn typed(command: &Value) -> Option<Text> {
    if let Some(text) = command.as_text() {
        return Some(text.clone());
    }
    let words: Vec<&str> = command.as_array()?.iter().map(Value::as_str).collect::<Option<_>>()?;
    match &words[..] {
        [] => None,
        [only] => Some((*only).into()),
        [shell, options @ .., script] if runs_script(shell, options) => Some((*script).into()),
        _ => Some(words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ").into()),
    }
}

/// Whether what follows these words is a script: `/bin/bash -lc`, `pwsh -NoProfile -Command`, `cmd.exe /c`.
fn runs_script(shell: &str, options: &[&str]) -> bool {
    let name = shell.rsplit(['/', '\\']).next().unwrap_or_default().to_ascii_lowercase();
    let name = name.strip_suffix(".exe").unwrap_or(&name);
    let Some((last, before)) = options.split_last() else { return false };
    let is_option = |word: &&str| word.starts_with('-');
    if POWERSHELLS.contains(&name) {
        return before.iter().all(is_option) && ["-command", "-c"].contains(&&*last.to_ascii_lowercase());
    }
    if name == "cmd" {
        return before.is_empty() && last.eq_ignore_ascii_case("/c");
    }
    let takes_script = last.starts_with('-') && !last.starts_with("--") && last.ends_with('c');
    SHELLS.contains(&name) && before.iter().all(is_option) && takes_script
}

/// As a shell would have to be given it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_command_has_one_shape_for_all_tools() {
        let table = [
            ("exec_command", json!({"cmd": "ls", "workdir": "/w"}), json!({"cmd": "ls", "workdir": "/w"})),
            ("exec_command", json!({"command": ["/bin/bash", "-lc", "ls | wc"]}), json!({"cmd": "ls | wc"})),
            (
                "shell",
                json!({"command": ["bash", "-lc", "ls"], "workdir": "/w", "timeout_ms": 5}),
                json!({"cmd": "ls", "workdir": "/w", "timeout_ms": 5}),
            ),
            ("shell", json!({"command": ["git", "log", "it's"]}), json!({"cmd": r"git log 'it'\''s'"})),
            (
                "shell_command",
                json!({"command": "ls x", "workdir": "/w"}),
                json!({"cmd": "ls x", "workdir": "/w"}),
            ),
            (
                "local_shell",
                json!({"type": "exec", "command": ["ls", "-l"], "working_directory": "/w", "env": {}, "user": null}),
                json!({"cmd": "ls -l", "workdir": "/w", "env": {}}),
            ),
            ("user_shell", json!({"command": ["/bin/zsh", "-l", "-c", "ls"]}), json!({"cmd": "ls"})),
            ("user_shell", json!({"command": ["ls x"]}), json!({"cmd": "ls x"})),
            (
                "exec_command",
                json!({"command": ["pwsh.exe", "-NoProfile", "-Command", "dir"]}),
                json!({"cmd": "dir"}),
            ),
            ("exec_command", json!({"command": [r"C:\Windows\cmd.exe", "/c", "dir"]}), json!({"cmd": "dir"})),
            (
                "exec_command",
                json!({"command": ["python", "-c", "print(1)"]}),
                json!({"cmd": "python -c 'print(1)'"}),
            ),
            ("exec_command", json!({"command": ["bash", "run.sh"]}), json!({"cmd": "bash run.sh"})),
            ("exec_command", json!({"command": [7]}), json!({"command": [7]})),
            ("exec_command", json!({"command": []}), json!({"command": []})),
            ("exec_command", json!({"input": "ls"}), json!({"input": "ls"})),
            ("deploy", json!({"command": ["now"]}), json!({"command": ["now"]})),
        ];
        for (tool, written, shape) in table {
            let (arguments, raw) = super::arguments(tool, written.clone().into());
            assert_eq!(arguments, shape, "{written}");
            let kept = Some(written.clone()).filter(|written| *written != shape).map(Value::from);
            assert_eq!(raw, kept, "{written}");
        }
    }
}
