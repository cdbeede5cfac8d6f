//! A real Codex, run through codex-traced, does a small job; its trace is shown. Needs no account.
//!
//! `cargo run --profile demo --example demo`
//!
//! Only the model is not real: a stand-in on 127.0.0.1 gives four answers from a script. What the run leaves stays in
//! `demo-run/` of the target folder until the next one.
//!
//! It is an example of the test support and links nothing of codex-traced: it asks the program itself. So a first run
//! compiles each crate once, and none that only tests need.

use serde_json::{Value, json};
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use support::{Home, ModelServer, Reply, Script, real};

/// What happened, then what to do.
type Failure = String;

const PROMPT: &str = "make test.sh pass";

const PROGRAM: &str = "echo \"Hello, $1\"\n";

const TEST: &str = "\
said=$(sh greet.sh World)
[ \"$said\" = 'Hello, World!' ] || { echo \"expected 'Hello, World!', got '$said'\" >&2; exit 1; }
echo passed
";

const PATCH: &str = "\
*** Begin Patch
*** Update File: greet.sh
@@
-echo \"Hello, $1\"
+echo \"Hello, $1!\"
*** End Patch
";

/// What the trace must hold: every span, and whether it went well.
const SPANS: [(&str, bool); 8] = [
    ("codex_cli_session", true),
    ("llm_call_1", true),
    ("tool_exec_command", false),
    ("llm_call_2", true),
    ("tool_apply_patch", true),
    ("llm_call_3", true),
    ("tool_exec_command", true),
    ("llm_call_4", true),
];

fn main() -> ExitCode {
    // The test support speaks by panics; a person wants its sentence only.
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("demo: {}", panic.payload_as_str().unwrap_or("something went wrong"));
    }));
    match demo() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("demo: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn demo() -> Result<(), Failure> {
    needs("git", "install git")?;
    let build = Build::of_this_program()?;
    let codex_traced = build.codex_traced()?;

    let server = ModelServer::start(script());
    let home = Home::kept(&build.target.join("demo-run"), &server.url());
    let (codex, from) = find_codex(&codex_traced, &home)?;
    for (name, text) in [("greet.sh", PROGRAM), ("test.sh", TEST)] {
        fs::write(home.work().join(name), text).map_err(|error| format!("cannot write {name}: {error}"))?;
    }
    let traced = |arguments: &[&str]| {
        let mut command = home.traced(&codex_traced, &codex);
        command.args(arguments);
        command
    };

    println!("Codex:        {} ({from})", version(traced(&["--version"]))?);
    println!("codex-traced: {}", codex_traced.display());
    println!("the model:    a stand-in at {}", server.url());

    println!("\n$ codex-traced exec \"{PROMPT}\"");
    show_running(traced(&["exec", PROMPT]))?;
    check(&json(traced(&["mlflow", "show", "--json"]))?, &server)?;

    println!("\n$ codex-traced mlflow show");
    let shown = traced(&["mlflow", "show"]).status().map_err(|error| error.to_string())?;
    if !shown.success() {
        return Err(format!("`codex-traced mlflow show` ended with {shown}"));
    }
    let status = json(traced(&["mlflow", "status", "--json"]))?;
    let database = status["tracking_uri"].as_str().unwrap_or_default();
    println!("\nTo look at it in MLflow (3.6 to 3.18), at http://127.0.0.1:5000:");
    println!("  pip install mlflow");
    println!("  mlflow server --backend-store-uri \"{database}\"");
    Ok(())
}

/// The model's part: look, mend, look again, answer.
fn script() -> Script {
    let test = || json!({"cmd": "sh test.sh"});
    Script::new()
        .reply(
            Reply::new()
                .reasoning("**Running the test** to see what fails")
                .call("exec_command", test())
                .usage(9_120, 4_096, 92, 64),
        )
        .reply(
            Reply::new()
                .reasoning("**Adding the exclamation mark** that the test expects")
                .custom("apply_patch", PATCH)
                .usage(9_310, 9_088, 148, 48),
        )
        .reply(Reply::new().call("exec_command", test()).usage(9_520, 9_216, 31, 0))
        .reply(
            Reply::new()
                .answer("greet.sh left out the exclamation mark. I added it, and test.sh passes.")
                .usage(9_610, 9_472, 24, 0),
        )
}

/// The `codex` on PATH, as codex-traced itself finds it; else the pinned one from npm.
fn find_codex(codex_traced: &Path, home: &Home) -> Result<(PathBuf, String), Failure> {
    let mut doctor = Command::new(codex_traced);
    doctor.args(["mlflow", "doctor", "--json"]).env("CODEX_HOME", home.codex());
    let doctor = json(doctor)?;
    let findings = doctor["findings"].as_array().cloned().unwrap_or_default();
    let codex = findings.into_iter().find(|finding| finding["check"] == "codex").unwrap_or_default();
    let found = codex["found"].as_str().unwrap_or_default();
    if codex["level"] == "ok" {
        return Ok((found.into(), found.to_owned()));
    }
    if which::which("codex").is_ok() || std::env::var_os("CODEX_TRACED_CODEX_BIN").is_some() {
        return Err(format!("{found}\n  hint: {}", codex["todo"].as_str().unwrap_or_default()));
    }
    for program in ["node", "npm"] {
        needs(program, "install Node.js 18 or newer with npm, or put a Codex on PATH")?;
    }
    let fetched = std::panic::catch_unwind(real::fetch_codex);
    let fetched = fetched.map_err(|_| "a `codex` on PATH would do as well: then nothing is fetched")?;
    Ok((fetched.native, "fetched by npm, pinned".into()))
}

fn needs(program: &str, remedy: &str) -> Result<(), Failure> {
    match which::which(program) {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("{program} was not found on PATH\n  hint: {remedy}")),
    }
}

/// Where cargo built this program, and so where it builds codex-traced.
struct Build {
    target: PathBuf,
    profile: String,
}

impl Build {
    fn of_this_program() -> Result<Build, Failure> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        // …/target/demo/examples/demo; cargo marks the target folder with CACHEDIR.TAG.
        let profile = program.ancestors().nth(2).and_then(Path::file_name);
        let tagged = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
        // A target folder that cargo did not create itself, such as a mounted cache, has no tag.
        let target = tagged.or_else(|| program.ancestors().nth(3));
        match (target, profile) {
            (Some(target), Some(profile)) => {
                Ok(Build { target: target.into(), profile: profile.to_string_lossy().into() })
            }
            _ => Err(
                "this program is not where cargo built it\n  hint: `cargo run --profile demo --example demo`"
                    .into(),
            ),
        }
    }

    fn codex_traced(&self) -> Result<PathBuf, Failure> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        // With the demo itself: alone the program would have other features, and crates would be compiled again.
        command.args(["build", "--bin", "codex-traced", "--example", "demo", "--manifest-path"]);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml"));
        // `cargo run` describes the demo's package to the demo. Build scripts (ring's) would see a change and run again.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&name);
            }
        }
        command.args(["--profile", if self.profile == "debug" { "dev" } else { &self.profile }]);
        command.arg("--target-dir").arg(&self.target);
        println!("building codex-traced …");
        let status = command.status().map_err(|error| format!("cannot run cargo: {error}"))?;
        if !status.success() {
            return Err("codex-traced could not be built: cargo says why above".into());
        }
        Ok(self.target.join(&self.profile).join("codex-traced"))
    }
}

fn version(mut command: Command) -> Result<String, Failure> {
    let output = command.output().map_err(|error| format!("cannot run codex-traced: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

/// Runs it to its end, each line of its output marked as its own.
fn show_running(mut command: Command) -> Result<(), Failure> {
    let run = || -> io::Result<_> {
        let (reader, writer) = io::pipe()?;
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        let mut child = command.spawn()?;
        // The command holds the pipe's writing end too, and the pipe ends with the last one.
        drop(command);
        for line in BufReader::new(reader).split(b'\n') {
            println!("  │ {}", String::from_utf8_lossy(&line?));
        }
        child.wait()
    };
    let status = run().map_err(|error| format!("cannot run codex-traced: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("codex ended with {status}, not with 0")) }
}

/// What a command of codex-traced prints with `--json`. `doctor` ends with another code when it finds a problem.
fn json(mut command: Command) -> Result<Value, Failure> {
    let output = command.output().map_err(|error| format!("cannot run codex-traced: {error}"))?;
    serde_json::from_slice(&output.stdout)
        .map_err(|_| String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

fn check(trace: &Value, server: &ModelServer) -> Result<(), Failure> {
    let spans = trace["spans"].as_array().cloned().unwrap_or_default();
    let went_well = |span: &Value| span["status"].get("error").is_none();
    let seen: Vec<_> =
        spans.iter().map(|span| (span["name"].as_str().unwrap_or_default(), went_well(span))).collect();
    if seen != SPANS {
        return Err(format!("the trace holds other spans than the job had: {seen:?}"));
    }
    let usage = trace["metadata"]["mlflow.trace.tokenUsage"].as_str();
    let usage: Value = usage.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let (counted, reported) = (usage["total_tokens"].as_u64(), server.reported().total());
    if counted != Some(reported) {
        return Err(format!("the trace counts {counted:?} tokens, the model reported {reported}"));
    }
    Ok(())
}
