//! The model's replies in the scenarios that more than one test plays.

use serde_json::{Value, json};

use crate::script::{Item, Reply, Script};
use crate::tmux::Tmux;

/// Wraps all its tools in code mode, and starts sub-agents of the second kind.
pub const CODE_MODE: &str = "gpt-6.1-sol";

/// The root starts `outer`, which starts `inner`, which runs a command; each waits for the agent that it started.
///
/// For a model in code mode. The agent's name in the request shows which agent asks.
pub fn nested_agents() -> Script {
    let spawn = |name: &str, task: &str| {
        let arguments = json!({"task_name": name, "message": task, "fork_turns": "none"});
        Reply::new().item(Item::call("spawn_agent", arguments).namespace("collaboration"))
    };
    let wait = || {
        let arguments = json!({"timeout_ms": 60_000});
        Reply::new().item(Item::call("wait_agent", arguments).namespace("collaboration"))
    };
    let script = "text(await tools.exec_command({cmd:'echo from within'}))";
    let is = |path: &str| format!("\\\"agent_name\\\":\\\"{path}\\\"");
    let (outer, inner) = (is("/root/outer"), is("/root/outer/inner"));
    Script::new()
        .reply_to(&inner, Reply::new().custom("exec", script).usage(300, 0, 12, 3))
        .reply_to(&inner, Reply::new().answer("inner is done").usage(310, 0, 13, 3))
        .reply_to(&outer, spawn("inner", "do the inner part").usage(200, 0, 14, 3))
        .reply_to(&outer, wait().usage(210, 0, 15, 3))
        .reply_to(&outer, Reply::new().answer("outer is done").usage(220, 0, 16, 3))
        .reply(spawn("outer", "do the outer part").usage(100, 0, 17, 3))
        .reply(wait().usage(110, 0, 18, 3))
        .reply(Reply::new().answer("all done").usage(120, 0, 19, 3))
}

/// The root finds the tool that starts agents and uses it; it does not wait, so the agent is interrupted or done
/// when Codex ends. For a model without code mode.
pub fn one_agent() -> Script {
    let search = json!({"type": "tool_search_call", "call_id": "call_search", "status": "completed",
        "execution": "client", "arguments": {"query": "spawn agent"}});
    let spawn = Item::call("spawn_agent", json!({"message": "CHILD do it"})).namespace("multi_agent_v1");
    Script::new()
        .reply_to(
            "CHILD do it",
            Reply::new().call("exec_command", json!({"cmd": "echo child"})).usage(300, 0, 12, 3),
        )
        .reply_to("CHILD do it", Reply::new().answer("child is done").usage(310, 0, 13, 3))
        .reply(Reply::new().item(Item::raw(search)).usage(100, 0, 17, 3))
        .reply(Reply::new().item(spawn).usage(110, 0, 18, 3))
        .reply(Reply::new().answer("all done").usage(120, 0, 19, 3))
}

/// What a reviewer answers.
pub fn findings() -> Value {
    json!({"findings": [], "overall_correctness": "patch is correct", "overall_explanation": "all good",
        "overall_confidence_score": 0.9})
}

/// The full-screen interface asks for a title at its first prompts.
pub fn titles(count: usize) -> Script {
    let title = || Reply::new().answer("a title");
    (0..count).fold(Script::new(), |script, _| script.reply_to("Generate a concise", title()))
}

/// At the interface's prompt: two turns, the second taken back, and another in its place.
pub fn rewind(shell: &Tmux) {
    shell.submit("first prompt", "first answer");
    // Before its end an Escape would interrupt it.
    shell.ask("second prompt", "second answer");
    shell.press("Escape");
    shell.wait_for("esc again");
    shell.press("Escape");
    shell.wait_for("rewind");
    shell.press("Enter");
    shell.wait_until("the prompt again", |screen| {
        screen.matches("second prompt").count() == 1 && !screen.contains("second answer")
    });
    for _ in 0.."second prompt".len() {
        shell.press("BSpace");
    }
    shell.submit("third prompt", "third answer");
}
