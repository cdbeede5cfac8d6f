//! Tracking URIs, and targets as they are stored.

use super::*;

#[test]
fn uris_are_read_as_mlflow_reads_them() {
    let sqlite = |path: &str| Some(Target::Sqlite(path.into()));
    let store = |path: &str| Some(Target::FileStore(path.into()));
    let http = |url: &str| Some(Target::Http(url.into()));
    let table = [
        ("sqlite:///x.db", sqlite("/here/x.db")),
        ("sqlite:////abs/x.db", sqlite("/abs/x.db")),
        ("sqlite:///./a/x.db", sqlite("/here/a/x.db")),
        ("sqlite:///a b#c%20.db", sqlite("/here/a b#c%20.db")),
        ("sqlite:///x.db?timeout=60&check_same_thread=false", sqlite("/here/x.db")),
        ("sqlite:///file:x.db?mode=ro&uri=true", None),
        ("sqlite:///file:x.db?vfs=unix-none&uri=true", None),
        ("sqlite:///x.db?uri=true", None),
        ("sqlite:///file:?uri=true", None),
        ("sqlite:///file::memory:?uri=true", None),
        ("sqlite:///file:x.db?uri=true", sqlite("/here/x.db")),
        ("sqlite:///file:/a%3Fb%23c%25?timeout=9&uri=true&mode=rwc", sqlite("/a?b#c%")),
        ("sqlite:///file:///a#b?uri=1", sqlite("/a")),
        ("sqlite:///file://localhost/a?uri=True", sqlite("/a")),
        ("sqlite:///file:x.db", sqlite("/here/file:x.db")),
        ("sqlite://x.db", None),
        ("sqlite:///", None),
        ("sqlite:///:memory:", None),
        ("file:///abs", store("/abs")),
        ("file://./mlruns", store("/here/mlruns")),
        ("file:relative", store("/here/relative")),
        ("file:///a%20b%23c?d#e", store("/a b#c")),
        ("file://localhost/abs", store("/abs")),
        ("file://", None),
        ("./my%20runs", store("/here/my runs")),
        ("./mlruns", store("/here/mlruns")),
        ("mlruns", store("/here/mlruns")),
        ("/abs/mlruns", store("/abs/mlruns")),
        ("http://localhost:5000/", http("http://localhost:5000")),
        ("http://", None),
        ("https://ann:p@ss:w@host/mlflow/", http("https://host/mlflow")),
        ("http://host/a@b", http("http://host/a@b")),
        ("http://host?x=1", None),
        ("http://host/#x", None),
        ("http://ann:secret@", None),
        ("http:host", None),
        ("http://:5000", None),
        ("otlp+http://host:4318", Some(Target::Otlp("http://host:4318/v1/traces".into()))),
        ("otlp+http://host:4318/", Some(Target::Otlp("http://host:4318/v1/traces".into()))),
        ("otlp+https://me:pw@host/otel/traces", Some(Target::Otlp("https://host/otel/traces".into()))),
        ("otlp+http://", None),
        ("otlp+grpc://host:4317", None),
        ("otlp://host", None),
        ("databricks", Some(Target::Databricks { profile: None })),
        ("databricks://work", Some(Target::Databricks { profile: Some("work".into()) })),
        ("databricks://", None),
        ("postgresql://host/db", None),
        ("", None),
        ("  ", None),
    ];
    for (uri, target) in table {
        assert_eq!(Target::parse(uri, Path::new("/here")).ok(), target, "{uri}");
    }
}

#[test]
fn no_target_and_no_error_holds_a_password() {
    let table = [
        ("http://ann:secret@host:5000/x", Ok("http://host:5000/x")),
        ("https://ann:secret@host?x", Err("https://…@host?…")),
        ("http://host/?token=secret", Err("http://host/?…")),
        ("postgresql://ann:secret@host/db", Err("postgresql://…@host/db")),
        ("http://ann:x/secret@host", Err("http://…@host")),
        ("http://ann:x#secret@host", Err("http://…@host")),
        ("http://ann:x secret@host", Ok("http://host")),
        ("http://[::1]:5000", Ok("http://[::1]:5000")),
        ("http://[::1]", Ok("http://[::1]")),
        ("http:ann:secret@host", Err("…@host")),
        ("databricks://token:secret@host", Err("databricks://…@host")),
    ];
    for (uri, shown) in table {
        let parsed = Target::parse(uri, Path::new("/")).map(|target| target.to_string());
        assert!(!format!("{parsed:?}").contains("secret"), "{uri}: {parsed:?}");
        match shown {
            Ok(address) => assert_eq!(parsed, Ok(address.to_owned())),
            Err(part) => {
                let shown = parsed.unwrap_or_else(|bad| bad.to_string());
                assert!(shown.contains(part), "{uri}: {shown}");
            }
        }
    }
}

#[test]
fn a_target_reads_back_as_it_is_written() {
    for uri in [
        "sqlite:////abs/x.db",
        "sqlite:////a#b/100%/é x.db",
        "sqlite:///file:/a%3Fb%23%25/%C3%A9.db?uri=true",
        "sqlite:///file:/not-utf-8-%FF.db?uri=true",
        "file:///abs",
        "file:///a%20b%23",
        "https://host:5000",
        "databricks",
        "databricks://work",
    ] {
        assert_eq!(Target::parse(uri, Path::new("/")).map(|target| target.to_string()), Ok(uri.to_owned()));
    }
}

#[test]
fn a_target_is_written_with_its_workspace_and_as_an_address_without_one() {
    let table = [
        (None, r#"{"http":"http://host:5000"}"#, "http://host:5000"),
        (
            Some("team-a"),
            r#"{"http":{"url":"http://host:5000","workspace":"team-a"}}"#,
            "http://host:5000 (workspace team-a)",
        ),
    ];
    for (workspace, written, shown) in table {
        let target = Target::Http("http://host:5000".into()).with_workspace(workspace.map(str::to_owned));
        assert_eq!(serde_json::to_string(&target).unwrap(), written);
        assert_eq!(serde_json::from_str::<Target>(written).unwrap(), target);
        assert_eq!((target.to_string().as_str(), target.uri().as_str()), (shown, "http://host:5000"));
    }
}
