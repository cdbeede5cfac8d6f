//! `mlflow prices` with a file of price lists that another hand, another clock or another update wrote.

use crate::situation::Situation;
use common::disk;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::fs;
use support::run::LIMIT;
use support::{End, start, wait_for};

/// A later time than that of any test.
const FUTURE: &str = "9998-01-01T00:00:00Z";

fn catalogue(models: &[(&str, f64)]) -> String {
    let model = |(name, rate): &(&str, f64)| {
        let pricing = json!({"input_per_million_tokens": rate, "output_per_million_tokens": rate});
        (name.to_string(), json!({"mode": "chat", "pricing": pricing}))
    };
    let models: serde_json::Map<String, Value> = models.iter().map(model).collect();
    json!({"models": models}).to_string()
}

/// One list with one model of this rate.
fn lists(valid_from: &str, rate: &Value) -> String {
    let model = json!({"tiers": {"standard": [[rate, 1.0, null, null]]}});
    let list = json!({"valid_from": valid_from, "source": "a test", "as_of": "2026-12-01\u{1b}[31m", "openai": {"gpt-7": model}});
    json!({"version": 1, "lists": [list]}).to_string()
}

fn keep(situation: &Situation, text: &str) {
    fs::create_dir_all(situation.home.state()).expect("a folder");
    fs::write(situation.home.state().join("prices.json"), text).expect("write the file");
}

fn stored(situation: &Situation) -> Value {
    let text = fs::read_to_string(situation.home.state().join("prices.json")).expect("a file");
    serde_json::from_str(&text).expect("JSON")
}

fn update(situation: &Situation, models: &[(&str, f64)]) -> support::Outcome {
    fs::write(situation.home.work().join("openai.json"), catalogue(models)).expect("write the catalogue");
    situation.say(&["prices", "--update", "openai.json"])
}

/// Where lines break depends on the home's path.
fn in_words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn date(list: &Value) -> Timestamp {
    list["valid_from"].as_str().expect("a date").parse().expect("a time")
}

/// The event is an attempt to take the lock: inotify reports that the update closes the lock file again.
#[cfg(target_os = "linux")]
#[test]
fn an_update_that_waits_is_dated_after_its_wait() {
    use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
    let situation = Situation::fresh();
    let path = situation.home.state().join(".lock-prices");
    let lock = disk::try_lock(&path).expect("a lock").expect("no other holds it");
    let attempts = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).expect("inotify");
    attempts.add_watch(&path, AddWatchFlags::IN_CLOSE_WRITE).expect("a watch");
    fs::write(situation.home.work().join("openai.json"), catalogue(&[("gpt-7", 1.0)])).expect("write");
    let update = start(&mut situation.command(&["prices", "--update", "openai.json"]));
    wait_for("an attempt to take the lock", LIMIT, || attempts.read_events().is_ok());
    let released = Timestamp::now();
    drop(lock);
    update.finish(LIMIT).ended(End::Code(0));
    let dated = date(&stored(&situation)["lists"][0]);
    assert!(dated >= released, "{dated} is before {released}");
}

#[test]
fn prices_of_a_wrong_clock_are_no_prices_of_now_until_an_update_dates_them() {
    let situation = Situation::fresh();
    keep(&situation, &lists(FUTURE, &json!(5.5)));
    let shown = situation.say(&["prices"]).ended(End::Code(0)).stdout;
    assert!(shown.contains("from 9998-01-01 00:00 UTC on: 1 model"), "{shown}");
    assert!(in_words(&shown).contains("valid only from 9998-01-01T00:00:00Z on"), "{shown}");
    assert!(shown.contains("\n  hint: `codex-traced mlflow prices --update`"), "a line of its own: {shown}");
    assert!(!shown.contains("  gpt-7 "), "{shown}");
    let doctor = situation.say(&["doctor"]).stdout;
    assert!(in_words(&doctor).contains("→ `codex-traced mlflow prices --update`"), "{doctor}");
    let status = situation.say(&["status"]).stdout;
    assert!(status.contains("wrong;") && !status.contains("\\n"), "{status}");
    let before = Timestamp::now();
    let printed = update(&situation, &[("gpt-8", 1.0)]).ended(End::Code(0)).stdout;
    assert!(in_words(&printed).contains("because a clock was wrong"), "{printed}");
    let kept = stored(&situation);
    let dates: Vec<Timestamp> = kept["lists"].as_array().expect("lists").iter().map(date).collect();
    assert!(dates.len() == 2 && dates[0] == dates[1], "{dates:?}");
    assert!(before <= dates[0] && dates[0] <= Timestamp::now(), "{dates:?}");
    let shown = situation.say(&["prices"]).ended(End::Code(0)).stdout;
    assert!(shown.contains("  gpt-7 ") && shown.contains("  gpt-8 "), "{shown}");
    assert!(!shown.contains("clock"), "{shown}");
}

#[test]
fn the_same_prices_again_date_those_of_a_wrong_clock() {
    let situation = Situation::fresh();
    keep(&situation, &lists(FUTURE, &json!(1.0)));
    let printed = update(&situation, &[("gpt-7", 1.0)]).ended(End::Code(0)).stdout;
    assert!(printed.contains("No price differs from those in the lists.\n"), "{printed}");
    assert!(date(&stored(&situation)["lists"][0]) <= Timestamp::now());
}

#[test]
fn a_file_that_cannot_be_used_is_one_problem_with_one_hint() {
    let situation = Situation::fresh();
    let past = "2026-11-03T00:00:00Z";
    let table = [
        (lists(past, &json!(-5)), "a price of -5 dollars", true),
        (lists(past, &json!(1e300)), "a price of 1e300 dollars", true),
        (lists(past, &Value::Null), "invalid type: null", true),
        (r#"{"version": 2}"#.to_owned(), "version 2, which a later codex-traced", false),
    ];
    for (text, why, has_hint) in table {
        keep(&situation, &text);
        let shown = situation.say(&["prices", "--json"]).ended(End::Code(0)).stdout;
        let shown: Value = serde_json::from_str(&shown).expect("JSON");
        assert!(shown["problems"][0].as_str().is_some_and(|it| it.contains(why)), "{shown}");
        let refused = update(&situation, &[("gpt-7", 1.0)]).ended(End::Code(1)).stderr;
        assert!(refused.contains(why), "{refused}");
        assert_eq!(refused.contains("hint: move the file away, and update again"), has_hint, "{refused}");
        let there = fs::read_to_string(situation.home.state().join("prices.json")).expect("a file");
        assert_eq!(there, text);
    }
    let file = situation.home.state().join("prices.json");
    fs::remove_file(&file).expect("remove the file");
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let shown = situation.say(&["prices", "--json"]).ended(End::Code(0)).stdout;
    assert!(shown.contains("it is no regular file; the built-in prices apply"), "{shown}");
    update(&situation, &[("gpt-7", 1.0)]).ended(End::Code(1));
}

#[test]
fn the_day_of_a_list_reaches_no_terminal_as_a_colour() {
    let situation = Situation::fresh();
    keep(&situation, &lists("2026-11-03T00:00:00Z", &json!(1.0)));
    let shown = situation.say(&["prices"]).ended(End::Code(0)).stdout;
    assert!(in_words(&shown).contains("2026-12-01\\u{1b}[31m"), "{shown}");
}

#[test]
fn a_catalogue_whose_tiers_become_infinite_is_refused() {
    let situation = Situation::fresh();
    let text = r#"{"models": {"m": {"mode": "chat", "pricing": {"input_per_million_tokens": 1e-320, "output_per_million_tokens": 2,
        "service_tiers": {"priority": {"input_per_million_tokens": 1}}}}}}"#;
    fs::write(situation.home.work().join("openai.json"), text).expect("write the catalogue");
    let refused = situation.say(&["prices", "--update", "openai.json"]).ended(End::Code(1)).stderr;
    assert!(refused.contains("model \"m\": a price of inf dollars"), "{refused}");
    assert!(!situation.home.state().join("prices.json").exists());
}

#[test]
fn a_file_address_names_no_host_and_an_error_shows_no_query() {
    let situation = Situation::fresh();
    let table = [
        ("file://host/x.json", "names the host host, and a file address is one of this machine"),
        ("ftp://host/x.json?key=hidden", "ftp://host/x.json?… is neither a file nor"),
        ("http://127.0.0.1:9/x.json?key=hidden", "no answer from http://127.0.0.1:9/x.json?…"),
        ("http://127.0.0.1:99999?key=hidden", "http://127.0.0.1:99999?… is no address"),
    ];
    for (source, expected) in table {
        let refused = situation.say(&["prices", "--update", source]).ended(End::Code(1)).stderr;
        assert!(refused.contains(expected) && !refused.contains("hidden"), "{refused}");
    }
}
