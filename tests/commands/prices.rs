//! `mlflow prices`: what is priced how, and updates from catalogues that are well, broken, huge and hostile.

use crate::situation::Situation;
use crate::transcripts::review;
use codex_traced::trace::ids::trace_of_thread;
use mlflow_store::sqlite;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use support::many::copy;
use support::web_server::WebServer;
use support::{End, Oracle};

/// Two models of the built-in list and one that is new, in the form of MLflow's catalogue.
fn catalogue(gpt_5: f64) -> Value {
    json!({"schema_version": "1.0", "models": {
        "gpt-5-codex": model(gpt_5, 10.0),
        "gpt-5.5": {"mode": "chat", "last_updated_at": "2026-10-27", "pricing": {
            "input_per_million_tokens": 10.0, "output_per_million_tokens": 60.0, "cache_read_per_million_tokens": 1.0,
            "service_tiers": {"flex": {"input_per_million_tokens": 5.0}, "priority": {"input_per_million_tokens": 0.0}},
            "long_context": [{"threshold_tokens": 272_000, "input_per_million_tokens": 20.0, "output_per_million_tokens": 90.0}]}},
        "gpt-7": model(1.5, 12.0),
        "dall-e-9": {"mode": "image_generation", "pricing": {"input_per_image": "free"}},
    }})
}

fn model(input: f64, output: f64) -> Value {
    json!({"mode": "responses", "last_updated_at": "2026-10-27", "pricing": {
        "input_per_million_tokens": input, "output_per_million_tokens": output, "cache_read_per_million_tokens": input / 10.0}})
}

fn write(situation: &Situation, name: &str, text: impl AsRef<[u8]>) {
    fs::write(situation.home.work().join(name), text).expect("write a file");
}

fn json_of(situation: &Situation, words: &[&str]) -> Value {
    let printed = situation.say(words).ended(End::Code(0)).stdout;
    serde_json::from_str(&printed).expect("JSON")
}

#[test]
fn an_update_shows_each_price_that_changed() {
    let situation = Situation::fresh();
    write(&situation, "openai.json", catalogue(1.25).to_string());
    let update: &[&str] = &["prices", "--update", "openai.json"];
    let transcript = situation.transcript(update);
    let kept = "not in the catalogue, with the price as before: 89 models\n  OpenAI: chat-latest, ";
    assert!(transcript.contains(kept), "{transcript}");
    let without_names = |printed: String| {
        let mut lines = Vec::new();
        let mut is_name = false;
        for line in printed.lines() {
            is_name = line.starts_with("not in the catalogue") || (is_name && line.starts_with(' '));
            if !is_name {
                lines.push(line.to_owned());
            }
        }
        lines.join("\n") + "\n"
    };
    let again = situation.transcript(update);
    insta::with_settings!({snapshot_path => "../snapshots/commands", prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::assert_snapshot!("prices update", without_names(transcript) + "\n" + &without_names(again));
    });
    let file = situation.home.state().join("prices.json");
    assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
    let stored: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).expect("JSON");
    let models: Vec<&String> = stored["lists"][0]["openai"].as_object().expect("models").keys().collect();
    assert_eq!(
        (stored["lists"].as_array().map(Vec::len), models),
        (Some(1), vec![&"gpt-5.5".to_owned(), &"gpt-7".to_owned()])
    );
    let table = situation.say(&["prices"]).ended(End::Code(0)).stdout;
    assert!(table.contains(": 2 models of openai.json, prices of 2026-10-27\n"), "{table}");
    assert!(table.contains("  gpt-7                              1.5     0.15       12\n"), "{table}");
    assert!(table.contains("    above 272k tokens                 20        2       90\n"), "{table}");
}

#[test]
fn a_file_that_cannot_be_used_changes_nothing() {
    let situation = Situation::fresh();
    let with_gpt_5 =
        |text: &str| catalogue(1.25).to_string().replace("\"output_per_million_tokens\":12.0", text);
    let output = |rate: &str| with_gpt_5(&format!("\"output_per_million_tokens\":{rate}"));
    write(&situation, "broken.json", &catalogue(1.25).to_string()[..200]);
    write(&situation, "no-catalogue.json", r#"{"name": "codex", "version": 1}"#);
    write(&situation, "no-text-models.json", r#"{"models": {"dall-e": {"mode": "image_generation"}}}"#);
    write(&situation, "empty.json", "");
    write(&situation, "binary.json", [0, 159, 146, 150]);
    write(&situation, "huge.json", vec![b' '; (16 << 20) + 1]);
    let many: Vec<String> = (0..1_000_000).map(|number| format!("\"{number}\":0")).collect();
    write(&situation, "million.json", format!("{{\"models\":{{{}}}}}", many.join(",")));
    write(&situation, "deep.json", format!("{{\"models\":{}", "{\"a\":".repeat(1_000_000)));
    write(&situation, "deep-list.json", "[".repeat(1_000_000));
    write(&situation, "negative.json", output("-3"));
    write(&situation, "absurd.json", output("10000.5"));
    write(&situation, "infinite.json", output("1e308"));
    write(&situation, "text.json", output("\"\\u001b[31mfree\""));
    write(&situation, "twice.json", catalogue(1.25).to_string().replace("gpt-5-codex", "gpt-7"));
    let folder = situation.home.work().join("folder");
    fs::create_dir(&folder).expect("a folder");
    let pipe = situation.home.work().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let sources = [
        "broken.json",
        "no-catalogue.json",
        "no-text-models.json",
        "empty.json",
        "binary.json",
        "huge.json",
        "million.json",
        "deep.json",
        "deep-list.json",
        "negative.json",
        "absurd.json",
        "infinite.json",
        "text.json",
        "twice.json",
        "folder",
        "pipe",
        "/dev/zero",
        "missing.json",
        "ftp://127.0.0.1/openai.json",
        "http://127.0.0.1:9/openai.json",
    ];
    let commands: Vec<[&str; 3]> = sources.iter().map(|source| ["prices", "--update", source]).collect();
    let commands: Vec<&[&str]> = commands.iter().map(|words| &words[..]).collect();
    review("prices refused", &situation, &commands);
    assert!(!situation.home.state().join("prices.json").exists());
}

#[test]
fn a_hostile_file_hides_nothing() {
    let situation = Situation::fresh();
    let long = "x".repeat(200);
    let hostile = json!({"models": {
        "gpt-5": model(0.0, 0.0),
        "gpt-5.5": model(5000.0, 30.0),
        "free": model(0.0, 0.0),
        "\u{1b}[2J\u{1b}]0;title\u{7}": model(1.0, 1.0),
        "\u{202e}5-tpg": model(1.0, 1.0),
        "": model(1.0, 1.0),
        long: model(1.0, 1.0),
        "../../etc/passwd": model(1.0, 1.0),
        "$(touch x)": model(1.0, 1.0),
    }});
    write(&situation, "hostile.json", hostile.to_string());
    let printed = situation.say(&["prices", "--update", "hostile.json"]).ended(End::Code(0)).stdout;
    let shown = |text: &str| assert!(printed.contains(text), "{text}\n{printed}");
    shown(
        "  gpt-5  (look twice: by more than a factor of 10)\n    standard: input 1.25 → 0, output 10 → 0, cached input 0.125 → 0\n",
    );
    shown(
        "  gpt-5.5  (look twice: by more than a factor of 10)\n    standard: input 5 → 5000, cached input 0.5 → 500\n",
    );
    shown("    priority: no price of its own any more\n");
    shown("  free  (look twice: a price of 0)\n");
    shown("left out: 4 models whose name or price no list can hold\n");
    assert!(
        !printed.contains("passwd") && !printed.contains("title") && !printed.contains(&"x".repeat(100)),
        "{printed}"
    );
}

#[test]
fn an_update_comes_from_a_web_server_only_when_it_is_named() {
    let situation = Situation::fresh();
    let server = WebServer::start(|_| {
        |asked: &support::web_server::Asked| match asked.path.as_str() {
            "/azure.json?key=hidden" => (200, catalogue(1.25).to_string().into_bytes()),
            "/huge.json" => (200, vec![b' '; (16 << 20) + 1]),
            "/page" => (200, b"<html>sign in</html>".to_vec()),
            _ => (404, b"not here".to_vec()),
        }
    });
    let update = |path: &str| {
        let url = format!("{}{path}", server.url());
        let outcome = situation.say(&["prices", "--update", &url]);
        (outcome.end, format!("{}{}", outcome.stdout, outcome.stderr))
    };
    let table = [
        ("/openai.json", 1, "answered 404 Not Found: not here"),
        ("/huge.json", 1, "has more than 16 MiB"),
        ("/page", 1, "it is no model catalogue in JSON"),
        (
            "/azure.json?key=hidden",
            0,
            "\n  Azure gpt-7\n    standard: input 1.5, output 12, cached input 0.15\n",
        ),
    ];
    for (path, code, expected) in table {
        let (end, printed) = update(path);
        assert!(end == End::Code(code) && printed.contains(expected), "{path}: {end:?} {printed}");
        assert!(!printed.contains("hidden"), "{printed}");
    }
    let before = server.asked().len();
    assert!(
        server
            .asked()
            .iter()
            .all(|asked| asked.method == "GET" && !asked.headers.contains_key("authorization"))
    );
    let stored = json_of(&situation, &["prices", "--json"]);
    let azure = stored["models"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|it| it["provider"] == "azure" && it["name"] == "gpt-7");
    assert_eq!(azure.expect("the model")["rates"][0]["input"], 1.5);
    assert_eq!((server.asked().len(), before), (4, 4));
}

#[test]
fn sessions_before_an_update_keep_their_cost_and_later_ones_have_the_new_price() {
    let situation = Situation::fresh();
    let original = Path::new("tests/corpus/0.169.0/exec-basic.jsonl");
    // Years in which no test runs.
    let session = |number, year: &str| {
        let copied = copy(original, &situation.home.sessions(), number);
        let text = fs::read_to_string(&copied.path)
            .expect("a session file")
            .replace("\"2026-", &format!("\"{year}-"));
        fs::write(&copied.path, text).expect("write the session file");
        copied.thread
    };
    let (past, future) = (session(1, "2020"), session(2, "2120"));
    let cost = |thread: &str| {
        situation.say(&["import", "--all", "--again"]).ended(End::Code(0));
        let read = sqlite::read(&situation.home.database(), trace_of_thread(thread)).expect("a database");
        let metadata = read.expect("a trace").metadata;
        let cost: Value = serde_json::from_str(&metadata["mlflow.trace.cost"]).expect("JSON");
        (cost["total_cost"].as_f64().expect("a number"), metadata["codex.cost_basis"].clone())
    };
    let (before, basis) = cost(&past);
    assert!(before > 0.0 && basis.starts_with("list price of 2026-11-02; "), "{before} {basis}");
    assert_eq!(cost(&future).0, before);
    write(&situation, "openai.json", catalogue(1.25).to_string());
    situation.say(&["prices", "--update", "openai.json"]).ended(End::Code(0));
    assert_eq!(cost(&past), (before, basis.clone()));
    let (after, basis_after) = cost(&future);
    assert!((after - 2.0 * before).abs() < 1e-9, "{after} is not twice {before}");
    assert!(basis_after.starts_with("list price of 2026-10-27; "), "{basis_after}");
    // The user's own prices hold at all times.
    write(&situation, "own.json", json!({"models": {"gpt-5.5": model(0.0, 0.0)}}).to_string());
    let own = situation.home.work().join("own.json");
    situation.write_config(&json!({"prices": own}).to_string());
    for thread in [&past, &future] {
        let (cost, basis) = cost(thread);
        assert!(cost == 0.0 && basis.starts_with("the user's own price"), "{cost} {basis}");
    }
}

#[test]
fn an_override_that_cannot_be_read_is_a_problem_that_status_and_doctor_show() {
    let situation = Situation::fresh();
    situation.write_config(r#"{"prices": "own.json"}"#);
    let path = situation.home.codex().join("own.json").display().to_string();
    let problem =
        format!("cannot read {path}: No such file or directory (os error 2); the list prices apply");
    let status = json_of(&situation, &["status", "--json"]);
    assert!(status["problems"].to_string().contains(&problem), "{status}");
    let doctor = situation.say(&["doctor", "--json"]).ended(End::Code(1)).stdout;
    assert!(doctor.contains(&problem), "{doctor}");
    assert!(json_of(&situation, &["prices", "--json"])["problems"].to_string().contains(&problem));
    fs::write(&path, json!({"models": {"gpt-5": model(0.5, 1.0)}}).to_string()).expect("write the file");
    let table = situation.say(&["prices"]).ended(End::Code(0)).stdout;
    assert!(table.contains("  your own prices, for all times: 1 model of\n"), "{table}");
    assert!(
        table.contains("  gpt-5                              0.5     0.05        1  your own\n"),
        "{table}"
    );
}

#[test]
fn price_lists_of_a_later_version_stay_as_they_are() {
    let situation = Situation::fresh();
    let file = situation.home.state().join("prices.json");
    fs::create_dir_all(situation.home.state()).expect("a folder");
    fs::write(&file, r#"{"version": 2}"#).expect("write the file");
    write(&situation, "openai.json", catalogue(1.25).to_string());
    let update = situation.say(&["prices", "--update", "openai.json"]).ended(End::Code(1)).stderr;
    assert!(
        update.contains("prices.json has version 2, which a later codex-traced wrote; it stays as it is"),
        "{update}"
    );
    assert_eq!(fs::read_to_string(&file).expect("a file"), r#"{"version": 2}"#);
    let doctor = situation.say(&["doctor"]).stdout;
    assert!(doctor.contains("later files   1 file of a later codex-traced cannot be used"), "{doctor}");
    let table = situation.say(&["prices"]).ended(End::Code(0)).stdout;
    assert!(table.contains("built-in prices apply\n"), "{table}");
}

#[test]
fn mlflows_catalogue_becomes_the_built_in_list() {
    let Some(oracle) = Oracle::newest() else { return };
    let found = "import mlflow, pathlib; print(pathlib.Path(mlflow.__file__).parent / 'utils/model_catalog')";
    let folder = support::run(oracle.python().args(["-c", found])).ended(End::Code(0)).stdout;
    let situation = Situation::fresh();
    let update = json_of(&situation, &["prices", "--update", folder.trim(), "--json"]);
    assert!(update["unchanged"].as_u64().is_some_and(|count| count > 300), "{update}");
    let expected = json!({"valid_from": null, "models": [], "kept": [], "left_out": 0});
    for (key, value) in expected.as_object().expect("an object") {
        assert_eq!(&update[key], value, "{key}");
    }
}
