//! Where each setting comes from, and which words are problems.

use super::*;

fn decide<const N: usize>(variables: [(&str, &str); N], file: &str) -> Settings {
    let world = World { variables: Variables::from([("CODEX_HOME", "/home")]), ..World::default() };
    let home = CodexHome::from_world(&world).unwrap();
    let file = ConfigFile::parse(file.as_bytes()).unwrap();
    Settings::decide(&Variables::from(variables), &file, Path::new("/here"), &home)
}

fn local() -> Setting<Target> {
    Setting { value: Target::Sqlite("/home/mlflow/mlflow.db".into()), source: Source::Default }
}

#[test]
fn without_settings_traces_go_to_the_local_database() {
    let settings = decide([], "{}");
    assert_eq!(settings.target, local());
    assert_eq!(settings.experiment.value, Experiment::Name("codex-sessions".into()));
    assert_eq!(settings.tracing, Setting { value: Tracing::On, source: Source::Default });
}

#[test]
fn the_environment_precedes_the_file_and_is_named_as_the_source() {
    let file = r#"{"environment": {"MLFLOW_CODEX_TRACING_ENABLED": "true", "MLFLOW_TRACKING_URI": "http://file:1",
        "MLFLOW_EXPERIMENT_NAME": "of-the-file"}, "unknown": 1}"#;
    let settings = decide([], file);
    assert_eq!(
        settings.target,
        Setting { value: Target::Http("http://file:1".into()), source: Source::File }
    );
    assert_eq!(settings.experiment.value, Experiment::Name("of-the-file".into()));
    let settings = decide([("MLFLOW_TRACKING_URI", "sqlite:///x.db"), ("CODEX_TRACED", "0")], file);
    assert_eq!(settings.target.value, Target::Sqlite("/here/x.db".into()));
    assert_eq!(
        settings.experiment,
        Setting { value: Experiment::Name("codex-sessions".into()), source: Source::Default }
    );
    assert_eq!(settings.tracing.value, Tracing::Off);
}

#[test]
fn a_server_in_the_environment_without_the_switch_gets_nothing() {
    let uri = ("MLFLOW_TRACKING_URI", "http://training:5000");
    let settings = decide([uri], "{}");
    assert_eq!((settings.target, settings.problems.len()), (local(), 1));
    let settings = decide([uri, ("MLFLOW_CODEX_TRACING_ENABLED", "true")], "{}");
    assert_eq!(settings.target.value, Target::Http("http://training:5000".into()));
}

#[test]
fn the_environment_or_the_file_sets_the_granularity() {
    let of_file = |word: &str| format!(r#"{{"environment": {{"CODEX_TRACED_GRANULARITY": "{word}"}}}}"#);
    let in_environment = Source::Environment(GRANULARITY);
    let table = [
        (None, "{}".to_owned(), Granularity::Session, Source::Default, 0),
        (None, of_file("turn"), Granularity::Turn, Source::File, 0),
        (Some("session"), of_file("turn"), Granularity::Session, in_environment, 0),
        (Some(" turn "), "{}".to_owned(), Granularity::Turn, in_environment, 0),
        (Some("turns"), of_file("turn"), Granularity::Session, in_environment, 1),
        (Some(""), of_file("turns"), Granularity::Session, Source::File, 1),
    ];
    for (word, file, value, source, problems) in table {
        let settings = decide([(GRANULARITY, word.unwrap_or(""))], &file);
        assert_eq!(settings.granularity, Setting { value, source }, "{word:?} {file}");
        assert_eq!(settings.problems.len(), problems, "{word:?} {file}");
    }
}

#[test]
fn images_are_shown_only_on_request() {
    let asked = |word| decide([(IMAGES, word)], "{}");
    assert_eq!((decide([], "{}").shows_images, asked("true").shows_images), (false, true));
    let unclear = asked("all");
    assert_eq!((unclear.shows_images, unclear.problems.len()), (false, 1));
    let file = r#"{"environment": {"CODEX_TRACED_IMAGES": true}}"#;
    assert!(decide([], file).shows_images);
}

#[test]
fn all_spellings_of_off_switch_off_and_an_unknown_word_is_no_consent() {
    let enabled =
        |value: &str| format!(r#"{{"environment": {{"MLFLOW_CODEX_TRACING_ENABLED": {value}}}, "x": 1}}"#);
    let table = [
        ("true", Tracing::On, 0),
        (r#""True""#, Tracing::On, 0),
        ("1", Tracing::On, 0),
        ("false", Tracing::Off, 0),
        (r#""off""#, Tracing::Off, 0),
        (r#""nope""#, Tracing::Off, 1),
        ("null", Tracing::On, 0),
    ];
    for (value, tracing, problems) in table {
        let settings = decide([], &enabled(value));
        assert_eq!((settings.tracing.value, settings.problems.len()), (tracing, problems), "{value}");
    }
    let off = [("MLFLOW_TRACKING_URI", "http://training:5000"), ("MLFLOW_CODEX_TRACING_ENABLED", "off")];
    assert_eq!(decide(off, "{}").target, local());
}

#[test]
fn an_invalid_tracking_uri_is_a_problem_and_the_trace_stays_local() {
    let settings = decide([("MLFLOW_TRACKING_URI", "ftp://x")], "{}");
    assert_eq!((settings.target, settings.problems.len()), (local(), 1));
}
