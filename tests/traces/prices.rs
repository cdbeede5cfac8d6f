//! What a response costs: every price of MLflow's catalogue, and the settings that a real Codex asked with.

use crate::LAUNCHER;
use codex_session::rollout::usage::TokenUsage;
use codex_traced::trace::price::Priced;
use codex_traced::trace::price_book::PriceBook;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::process::Command;
use support::{End, Home, ModelServer, Oracle, Reply, Script, Trace, codex, run};

/// A request, and what MLflow's own arithmetic makes of the catalogue's rates for it.
#[derive(Debug, Deserialize)]
struct Row {
    provider: String,
    model: String,
    /// In Codex's word.
    tier: String,
    input: u64,
    cached: u64,
    written: u64,
    output: u64,
    /// Input and output.
    cost: (f64, f64),
}

/// What MLflow 3.18.0 lists it prices with its own `cost_per_token`, and tiers and thresholds, of which that makes
/// nothing, with the function below it. A tier beyond the threshold is in no list: there the tier's rate rises as
/// the standard rate does, but for what OpenAI serves as standard.
const CATALOGUE: &str = r#"
import json, re
from mlflow.utils import providers
from mlflow.utils.providers import _catalog_pkg, _cost_from_model_info, _flatten_catalog_entry, cost_per_token

KINDS = ["input", "output", "cache_read", "cache_write"]
KEYS = [f"{kind}_per_million_tokens" for kind in KINDS]
CODEX = {"openai": "openai", "azure": "azure", "bedrock": "amazon-bedrock", "bedrock_mantle": "amazon-bedrock"}

def models(name):
    return json.loads(_catalog_pkg().joinpath(f"{name}.json").read_text())["models"]

def request(listed, input):
    # Of a kind without a rate of its own there is nothing, so that no rule of ours is in what is compared.
    return {
        "prompt_tokens": input,
        "completion_tokens": 10_000 if KEYS[1] in listed else 0,
        "cache_read_input_tokens": input // 4 if KEYS[2] in listed else 0,
        "cache_creation_input_tokens": input // 8 if KEYS[3] in listed else 0,
    }

rows = []
def compare(file, name, tier, pricing, input):
    tokens = request(pricing, input)
    cost = _cost_from_model_info(_flatten_catalog_entry({"pricing": pricing}), *tokens.values(), None)
    whole = cost_per_token(name, **tokens, custom_llm_provider=file)
    assert tier != "default" or input > 100_000 or cost == whole, (file, name)
    prompt, output, cached, written = tokens.values()
    rows.append({"provider": CODEX[file], "model": name, "tier": tier, "input": prompt, "cached": cached,
                 "written": written, "output": output, "cost": cost})

for file in CODEX:
    for name, entry in models(file).items():
        pricing = entry.get("pricing") or {}
        if entry.get("mode") not in ("chat", "responses") or "/" in name or not {*KEYS[:2]} <= {*pricing}:
            continue
        if file == "bedrock" and ("openai." not in name or name in models("bedrock_mantle")):
            continue
        tiers = {"default": pricing, **pricing.get("service_tiers", {})}
        for tier, rates in tiers.items():
            compare(file, name, tier, rates, 100_000)
            for long in pricing.get("long_context", []):
                threshold = long["threshold_tokens"]
                compare(file, name, tier, rates, threshold)
                as_standard = tier == "default" or (
                    file == "openai" and tier == "priority" and re.match(r"gpt-5\.[45]($|-)", name))
                risen = {key: rates[key] * long[key] / pricing[key] for key in KEYS
                         if key in rates and key in long and key in pricing}
                compare(file, name, tier, long if as_standard else risen, threshold + 1)
print(json.dumps(rows))
"#;

#[test]
fn the_price_table_is_mlflows_catalogue_for_each_tier_and_context() {
    let Some(oracle) = Oracle::newest() else { return };
    let mut python = oracle.python();
    // The catalogue of its own wheel, not a newer one from elsewhere.
    python.env("MLFLOW_MODEL_CATALOG_URI", "").args(["-c", CATALOGUE]);
    let outcome = run(&mut python).ended(End::Code(0));
    let rows: Vec<Row> = serde_json::from_str(outcome.stdout.trim()).expect("rows");
    let is_same = |ours: f64, theirs: f64| (ours - theirs).abs() <= theirs.abs() * 1e-9;
    let mut wrong = Vec::new();
    for row in &rows {
        let usage = TokenUsage {
            input: row.input,
            cached_input: row.cached,
            cache_write_input: row.written,
            output: row.output,
            reasoning_output: 0,
        };
        let priced = Priced::from_usage(
            PriceBook::built_in(),
            None,
            Some(&row.provider),
            &row.model,
            Some(&row.tier),
            usage,
        );
        let is_right = priced.as_ref().is_some_and(|priced| {
            let ((input, output), ours) = (row.cost, priced.cost);
            is_same(ours.input, input) && is_same(ours.output, output) && priced.assumed.is_empty()
        });
        if !is_right {
            wrong.push(format!("{row:?}: {priced:?}"));
        }
    }
    let of = |tier: &str| rows.iter().filter(|row| row.tier == tier).count();
    println!(
        "{} rows: {} default, {} priority, {} flex",
        rows.len(),
        of("default"),
        of("priority"),
        of("flex")
    );
    assert!(rows.len() > 700 && of("priority") > 100 && of("flex") > 100, "only {} rows", rows.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[test]
fn the_price_table_is_what_its_script_makes_of_the_catalogue() {
    let Some(oracle) = Oracle::newest() else { return };
    let found = "import mlflow, pathlib; print(pathlib.Path(mlflow.__file__).parents[4])";
    let venv = run(oracle.python().args(["-c", found])).ended(End::Code(0)).stdout;
    run(Command::new("python3").args(["scripts/prices", "--check", venv.trim()])).ended(End::Code(0));
}

fn cost(told: &Map<String, Value>, key: &str) -> f64 {
    let cost: Value = match &told[key] {
        Value::String(text) => serde_json::from_str(text).expect("JSON"),
        other => other.clone(),
    };
    (cost["total_cost"].as_f64().expect("a number") * 1e6).round() / 1e6
}

#[test]
fn a_response_is_priced_by_the_tier_and_the_context_that_it_was_asked_with() {
    let (Some(codex), Some(oracle)) = (codex(), Oracle::newest()) else { return };
    let server = ModelServer::start(Script::new().reply(Reply::new().answer("one").usage(1_000, 0, 100, 0)));
    let home = Home::new(&server.url());
    let exec = |arguments: &[&str]| {
        let mut command = home.traced(LAUNCHER, &codex.native);
        command.arg("exec").args(arguments);
        run(&mut command).ended(End::Code(0));
    };
    exec(&["-c", "service_tier=\"fast\"", "hurry"]);
    let large = || Script::new().reply(Reply::new().answer("two").usage(400_000, 0, 100, 0));
    server.play(large());
    // A session keeps its tier.
    exec(&["resume", "--last", "and again"]);
    server.play(large());
    exec(&["no hurry"]);

    let traces = oracle.traces(&home.database());
    let [hurried, other] = &traces[..] else { panic!("expected two sessions: {traces:#?}") };
    let tier_and_cost = |trace: &Trace, name: &str| {
        let told = &trace.span(name).attributes;
        let tier = told.get("codex.service_tier").and_then(Value::as_str).map(str::to_owned);
        (tier, cost(told, "mlflow.llm.cost"))
    };
    let priority = || Some("priority".to_owned());
    assert_eq!(tier_and_cost(hurried, "llm_call_1"), (priority(), 0.0125 + 0.0075));
    assert_eq!(tier_and_cost(hurried, "llm_call_2"), (priority(), 4.0 + 0.0045));
    assert_eq!(cost(&hurried.metadata, "mlflow.trace.cost"), 4.0245);
    assert_eq!(tier_and_cost(other, "llm_call_1"), (None, 4.0 + 0.0045));
    let basis = |notes: &str| format!("list price of 2026-11-02{notes}");
    let provider = "; provider stand_in has no price list: the price of the model's name";
    let tier = "; no service tier is recorded: the default tier's price";
    assert_eq!(hurried.metadata["codex.cost_basis"], basis(provider));
    assert_eq!(other.metadata["codex.cost_basis"], basis(&format!("{tier}{provider}")));
}
