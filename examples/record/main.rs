//! Records what the corpus holds: the real Codex, driven through one scenario after another.
//!
//! `cargo run --example record -- FOLDER [SCENARIO…]`
//!
//! Each leaves its session files as `FOLDER/<scenario>[-<n>].jsonl`, oldest first; `scripts/trim-rollout` makes them
//! small enough to keep.

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::scenarios::{self, CODE_MODE, titles};
use support::tmux::Tmux;
use support::{Codex, End, Home, Item, ModelServer, Reply, Script, real, run, wait_for};

const TURN: Duration = Duration::from_secs(60);

const MCP_SERVER: &str = include_str!("mcp.py");

/// One pixel, red.
const PIXEL: &[u8] = &[
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00,
    0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x02, 0x00, 0x00, 0x00, 0x90, 0x77, 0x53, 0xde, 0x00,
    0x00, 0x00, 0x0c, 0x49, 0x44, 0x41, 0x54, 0x08, 0xd7, 0x63, 0xf8, 0xcf, 0xc0, 0x00, 0x00, 0x03, 0x01,
    0x01, 0x00, 0x18, 0xdd, 0x8d, 0xb0, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60,
    0x82,
];

/// What a scenario leaves is copied before its home goes.
struct Stage<'a> {
    codex: &'a Codex,
    server: ModelServer,
    home: Home,
}

fn main() {
    let mut words = std::env::args().skip(1);
    let folder = PathBuf::from(words.next().expect("usage: record FOLDER [SCENARIO…]"));
    let wanted: Vec<String> = words.collect();
    let codex = real::fetch_codex();
    fs::create_dir_all(&folder).expect("make the folder");
    let scenarios: &[(&str, fn(&Stage))] = &[
        ("parallel-calls", parallel_calls),
        ("mcp-failure", mcp_failure),
        ("image-input", image_input),
        ("plan-mode", plan_mode),
        ("two-compactions", two_compactions),
        ("nested-agents", nested_agents),
        ("one-agent", one_agent),
        ("agent-that-remembers", agent_that_remembers),
        ("fork-of-a-fork", fork_of_a_fork),
        ("rewind", rewind),
        ("model-switch", model_switch),
        ("dropped-twice", dropped_twice),
    ];
    for (name, play) in scenarios {
        if !wanted.is_empty() && !wanted.iter().any(|word| word == name) {
            continue;
        }
        let server = ModelServer::start(Script::new());
        let home = Home::new(&server.url());
        let stage = Stage { codex: &codex, server, home };
        play(&stage);
        stage.keep(&folder, name);
    }
}

impl Stage<'_> {
    fn play(&self, script: Script) {
        self.server.play(script);
    }

    fn model(&self, model: &str) {
        self.home.face(model, &self.server.url());
    }

    /// `codex exec`; returns the thread's id.
    fn exec(&self, arguments: &[&str]) -> String {
        let mut command = self.home.command(&self.codex.native);
        command.args(["exec", "--json"]).args(arguments);
        let outcome = run(&mut command).ended(End::Code(0));
        outcome.json_lines()[0]["thread_id"].as_str().expect("a thread's id").to_owned()
    }

    fn shell(&self) -> Tmux<'_> {
        Tmux::start(&self.home, &[("P", self.codex.native.to_str().expect("UTF-8"))])
    }

    fn keep(&self, folder: &Path, name: &str) {
        println!("{name}: {:?} strays, {} unscripted", self.server.strays(), self.server.unscripted());
        let rollouts = self.home.rollouts();
        for (number, rollout) in (1..).zip(&rollouts) {
            let file =
                if rollouts.len() == 1 { format!("{name}.jsonl") } else { format!("{name}-{number}.jsonl") };
            fs::copy(rollout, folder.join(&file)).expect("copy a session file");
            println!("  {file}  {}", rollout.file_name().unwrap_or_default().to_string_lossy());
        }
    }
}

fn answer(text: &str) -> Reply {
    Reply::new().answer(text)
}

fn command(text: &str) -> Item {
    Item::call("exec_command", json!({"cmd": text}))
}

fn parallel_calls(stage: &Stage) {
    let three = Reply::new()
        .reasoning("**Looking** at three things at once")
        .item(command("echo one; sleep 0.2"))
        .item(command("echo two; exit 2"))
        .item(command("cat README.md"));
    stage.play(
        Script::new().reply(three.usage(900, 100, 90, 30)).reply(answer("all seen").usage(1100, 800, 9, 0)),
    );
    stage.exec(&["look at three things"]);
}

fn mcp_failure(stage: &Stage) {
    let server = stage.home.work().join("mcp.py");
    fs::write(&server, MCP_SERVER).expect("write the MCP server");
    stage
        .home
        .configure(&format!("[mcp_servers.sums]\ncommand = \"python3\"\nargs = [\"{}\"]", server.display()));
    let call =
        |tool: &str, arguments: Value| Reply::new().item(Item::call(tool, arguments).namespace("mcp__sums"));
    stage.play(
        Script::new()
            .reply(call("add", json!({"a": 2, "b": 3})))
            .reply(call("refuse", json!({})))
            .reply(call("break", json!({})))
            .reply(answer("two of three failed")),
    );
    stage.exec(&["add, then fail twice"]);
}

fn image_input(stage: &Stage) {
    let image = stage.home.work().join("red.png");
    fs::write(&image, PIXEL).expect("write an image");
    let image = image.to_str().expect("UTF-8");
    let look = Reply::new().call("view_image", json!({"path": image}));
    stage.play(Script::new().reply(look).reply(answer("red, both times")));
    stage.exec(&["--image", image, "--", "what colour is this?"]);
}

fn plan_mode(stage: &Stage) {
    stage.model(CODE_MODE);
    let plan = "<proposed_plan>\n# Plan\n- read\n- write\n</proposed_plan>";
    stage.play(titles(2).reply_to("plan the parser", answer(plan)));
    let shell = stage.shell();
    shell.type_line("$P; echo ended");
    shell.wait_for("? for shortcuts");
    shell.type_text("/plan plan the parser");
    shell.wait_for("/plan plan the parser");
    shell.press("Enter");
    println!("{}", shell.screen());
    shell.wait_until("the plan", |screen| screen.contains("write"));
    println!("{}", shell.screen());
    shell.press("Escape");
    shell.submit("/quit", "ended");
}

fn two_compactions(stage: &Stage) {
    let grow = |text: &str| Reply::new().item(command(text)).usage(210_000, 0, 20, 0);
    stage.home.configure("");
    let config = fs::read_to_string(stage.home.config()).expect("read the configuration");
    fs::write(stage.home.config(), format!("model_auto_compact_token_limit = 200000\n{config}"))
        .expect("write it");
    stage.play(
        Script::new()
            .reply(grow("echo one"))
            .reply(answer("summary one").usage(210_100, 0, 30, 0))
            .reply(grow("echo two"))
            .reply(answer("summary two").usage(210_200, 0, 31, 0))
            .reply(answer("done").usage(900, 0, 5, 0)),
    );
    stage.exec(&["do something long"]);
}

fn nested_agents(stage: &Stage) {
    stage.model(CODE_MODE);
    stage.play(scenarios::nested_agents());
    stage.exec(&["do it with agents"]);
}

fn one_agent(stage: &Stage) {
    stage.play(scenarios::one_agent());
    stage.exec(&["start an agent"]);
}

/// It begins with its parent's turns, copied.
fn agent_that_remembers(stage: &Stage) {
    stage.model(CODE_MODE);
    stage.play(Script::new().reply(answer("noted").usage(100, 0, 1, 0)));
    let thread = stage.exec(&["remember this"]);
    let spawn = json!({"task_name": "child", "message": "say what you remember", "fork_turns": "all"});
    let wait = json!({"timeout_ms": 20_000});
    let collaborate = |name: &str, arguments: Value| {
        Reply::new().item(Item::call(name, arguments).namespace("collaboration"))
    };
    stage.play(
        Script::new()
            .reply_to("\\\"agent_name\\\":\\\"/root/child\\\"", answer("this").usage(400, 100, 4, 0))
            .reply(collaborate("spawn_agent", spawn).usage(200, 100, 2, 0))
            .reply(collaborate("wait_agent", wait).usage(300, 100, 3, 0))
            .reply(answer("it remembers").usage(500, 100, 5, 0)),
    );
    stage.exec(&["resume", &thread, "ask an agent"]);
}

fn fork_of_a_fork(stage: &Stage) {
    stage.play(
        Script::new()
            .reply(answer("first").usage(100, 0, 1, 0))
            .reply(answer("second").usage(200, 100, 2, 0)),
    );
    let first = stage.exec(&["one"]);
    let second = stage.exec(&["fork", &first, "two"]);
    stage.play(Script::new().reply(answer("third").usage(300, 200, 3, 0)));
    stage.exec(&["fork", &second, "three"]);
}

fn rewind(stage: &Stage) {
    stage.model(CODE_MODE);
    stage.play(
        titles(3)
            .reply_to("third prompt", answer("third answer").usage(300, 0, 3, 0))
            .reply_to("second prompt", answer("second answer").usage(200, 0, 2, 0))
            .reply_to("first prompt", answer("first answer").usage(100, 0, 1, 0)),
    );
    let shell = stage.shell();
    shell.type_line("$P; echo ended");
    shell.wait_for("? for shortcuts");
    scenarios::rewind(&shell);
    shell.submit("/quit", "ended");
    wait_for("the rollout's end", TURN, || {
        stage
            .home
            .rollouts()
            .iter()
            .any(|path| fs::read_to_string(path).is_ok_and(|text| text.contains("third answer")))
    });
}

fn model_switch(stage: &Stage) {
    stage.play(
        Script::new()
            .reply(answer("by the first").usage(100, 0, 1, 0))
            .reply(answer("by the second").usage(200, 100, 2, 0)),
    );
    let thread = stage.exec(&["one"]);
    stage.exec(&["resume", &thread, "--model", "gpt-5.4", "two"]);
}

fn dropped_twice(stage: &Stage) {
    let half = |text: &str| Reply::new().commentary(text).item(command("echo never")).drop_after(1);
    stage.play(Script::new().reply(half("half")).reply(half("half again")).reply(answer("whole")));
    stage.exec(&["-c", "model_providers.stand_in.stream_max_retries=3", "say it"]);
}
