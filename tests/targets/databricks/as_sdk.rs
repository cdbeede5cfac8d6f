//! Do we go where databricks-sdk goes, with the credentials that it takes? The real one is asked.

use super::made::{Delivery, trace};
use common::variables::Variables;
use mlflow_store::exporter::ExportError;
use mlflow_store::target::access::Access;
use serde_json::{Value, json};
use support::databricks::{CLIENT_ID, CLIENT_SECRET, Rules, TOKEN};
use support::{Databricks, End, Oracle, run_with_input};

const ID: (&str, &str) = ("DATABRICKS_CLIENT_ID", CLIENT_ID);
const SECRET: (&str, &str) = ("DATABRICKS_CLIENT_SECRET", CLIENT_SECRET);
const BY_TOKEN: (&str, &str) = ("DATABRICKS_TOKEN", "of-variables");
const TOKEN_WINS: (&str, &str) = ("DATABRICKS_AUTH_TYPE", "pat");
const ROBOT_WINS: (&str, &str) = ("DATABRICKS_AUTH_TYPE", "oauth-m2m");

/// Where the first request to the API went, and with what.
fn first_request(both: [&Databricks; 2]) -> Value {
    let first = both.iter().find_map(|databricks| {
        let asked = databricks.exchanges().into_iter().find(|asked| asked.path.starts_with("/api/"))?;
        Some(json!({"host": databricks.host(), "authorization": asked.headers["authorization"]}))
    });
    first.unwrap_or_default()
}

/// Tokens that are granted are numbered.
fn any_granted(mut decided: Value) -> Value {
    if decided["authorization"].as_str().is_some_and(|told| told.starts_with("Bearer granted-token-")) {
        decided["authorization"] = json!("Bearer granted-token");
    }
    decided
}

#[test]
fn variables_files_and_profiles_mean_what_they_mean_to_databricks_sdk() {
    let Some(oracle) = Oracle::newest() else { return };
    let (of_variables, of_file) = (Databricks::start(Rules::default()), Databricks::start(Rules::default()));
    let host = ("DATABRICKS_HOST", of_variables.host());
    let there = of_file.host();
    let home = tempfile::tempdir().expect("make a temporary folder");
    let profiles = format!(
        "[DEFAULT]\nhost = {there}/\ntoken = {TOKEN}\n[work]\nHOST: {there}\n  token: of-work\n\
         [robot]\nhost={there}\nclient_id={CLIENT_ID}\nclient_secret={CLIENT_SECRET}\n\
         [both]\nhost={there}\ntoken=of-both\nclient_id={CLIENT_ID}\nclient_secret={CLIENT_SECRET}\n\
         [told]\nhost={there}\ntoken=of-told\nclient_id={CLIENT_ID}\nclient_secret={CLIENT_SECRET}\nauth_type=pat\n\
         [bare]\nhost={there}\n"
    );
    let of_work = format!("{profiles}[__settings__]\ndefault_profile = work\n");
    let written = |name: &str, text: &str| {
        let folder = home.path().join(name);
        std::fs::create_dir(&folder).expect("make a home");
        std::fs::write(folder.join(".databrickscfg"), text).expect("write a configuration");
        folder
    };
    let (usual, with_choice, empty) =
        (written("usual", &profiles), written("choice", &of_work), home.path().join("no-such-home"));
    let elsewhere = ("DATABRICKS_CONFIG_FILE", "~/../choice/.databrickscfg");
    let gone = ("DATABRICKS_CONFIG_FILE", "~/no-such-file");

    type Case<'a> = (&'a std::path::Path, Option<&'a str>, &'a [(&'a str, &'a str)]);
    let cases: &[Case] = &[
        (&usual, None, &[]),
        (&usual, None, &[host, BY_TOKEN]),
        (&usual, None, &[host, ID, SECRET]),
        (&usual, None, &[host]),
        (&usual, None, &[BY_TOKEN]),
        (&usual, None, &[host, BY_TOKEN, ID, SECRET]),
        (&usual, None, &[host, BY_TOKEN, ID, SECRET, TOKEN_WINS]),
        (&usual, None, &[host, BY_TOKEN, ID, SECRET, ROBOT_WINS]),
        (&usual, None, &[host, BY_TOKEN, ROBOT_WINS]),
        (&usual, Some("work"), &[]),
        (&usual, Some("robot"), &[]),
        (&usual, Some("both"), &[]),
        (&usual, Some("told"), &[]),
        (&usual, Some("gone"), &[]),
        (&usual, Some("DEFAULT"), &[]),
        (&usual, Some("work"), &[host]),
        (&usual, Some("work"), &[host, BY_TOKEN]),
        (&usual, Some("robot"), &[BY_TOKEN]),
        (&usual, Some("bare"), &[BY_TOKEN]),
        (&usual, None, &[("DATABRICKS_CONFIG_PROFILE", "work")]),
        (&usual, Some("work"), &[("DATABRICKS_CONFIG_PROFILE", "robot")]),
        (&usual, None, &[("DATABRICKS_CONFIG_PROFILE", "gone"), host, BY_TOKEN]),
        (&usual, None, &[elsewhere]),
        (&usual, None, &[gone]),
        (&usual, Some("work"), &[gone]),
        (&usual, Some("work"), &[gone, host, BY_TOKEN]),
        (&with_choice, None, &[]),
        (&with_choice, Some("DEFAULT"), &[]),
        (&with_choice, Some("__settings__"), &[]),
        (&empty, None, &[]),
        (&empty, None, &[host, BY_TOKEN]),
    ];
    let sent = cases.iter().map(|(home, profile, variables)| {
        let variables: serde_json::Map<String, Value> =
            variables.iter().map(|(name, value)| (name.to_string(), json!(value))).collect();
        json!({"home": home, "profile": profile, "variables": variables})
    });
    let sent = json!(sent.collect::<Vec<_>>()).to_string();
    let mut python = oracle.python();
    python.args(["-c", include_str!("as_sdk.py")]);
    let outcome = run_with_input(&mut python, sent.as_bytes()).ended(End::Code(0));
    let theirs: Vec<Value> = serde_json::from_str(&outcome.stdout).expect("a JSON list");
    assert_eq!(theirs.len(), cases.len());
    assert!(theirs.iter().filter(|decided| decided.is_null()).count() >= 5, "some are refused: {theirs:#?}");

    for ((home, profile, variables), theirs) in cases.iter().zip(theirs) {
        of_variables.forget_exchanges();
        of_file.forget_exchanges();
        let mut all = [("NOTHING", ""); 5];
        all[..variables.len()].copy_from_slice(variables);
        let access =
            Access { variables: Variables::from(all), home: Some(home.to_path_buf()), ..Access::default() };
        let delivery = Delivery { profile: *profile, access, ..Delivery::with([]) };
        // Only the first request matters: the mock knows only two of the tokens.
        let ended = delivery.of(&trace());
        let ours = first_request([&of_variables, &of_file]);
        assert_eq!(any_granted(ours.clone()), any_granted(theirs), "{} {profile:?}", home.display());
        assert!(!ours.is_null() || matches!(ended, Err(ExportError::Target(_))), "{ended:?}");
    }
}
