//! Which account each combination of variables and profiles gives.

use super::*;

const FILE: &str = "\
[DEFAULT]\nhost = https://default.example\ntoken = dapi-default\n\
[work]\nhost = work.example/\nclient_id = robot\nclient_secret = dose-work\n\
[person]\nhost = https://person.example\nauth_type = databricks-cli\n";

fn token(host: &str, token: &str) -> Result<Account, String> {
    Ok(Account {
        host: host.to_owned(),
        login: Login::Token(Credential::new(token)),
        workspace_id: None,
        account_id: None,
        discovery_url: None,
    })
}

fn robot(host: &str, secret: &str) -> Result<Account, String> {
    let secret = Credential::new(secret);
    let login = Login::ServicePrincipal { id: "robot".to_owned(), secret, scopes: "all-apis".to_owned() };
    token(host, "").map(|account| Account { login, ..account })
}

fn find<const N: usize>(profile: Option<&str>, variables: [(&str, &str); N]) -> Result<Account, String> {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join(".databrickscfg"), FILE).unwrap();
    let here = home.path().display().to_string();
    Account::find(profile, &variables.into(), Some(home.path()))
        .map_err(|error| error.to_string().replace(&here, "~"))
}

#[test]
fn variables_come_before_the_file_and_a_profile_adds_what_they_leave_out() {
    const HOST: (&str, &str) = ("DATABRICKS_HOST", "https://env.example/");
    const TOKEN: (&str, &str) = ("DATABRICKS_TOKEN", "dapi-env");
    const ID: (&str, &str) = ("DATABRICKS_CLIENT_ID", "robot");
    const SECRET: (&str, &str) = ("DATABRICKS_CLIENT_SECRET", "dose-env");
    assert_eq!(find(None, [HOST, TOKEN]), token("https://env.example", "dapi-env"));
    assert_eq!(find(None, [HOST, ID, SECRET]), robot("https://env.example", "dose-env"));
    assert_eq!(find(None, []), token("https://default.example", "dapi-default"));
    assert_eq!(find(Some("work"), []), robot("https://work.example", "dose-work"));
    assert_eq!(
        find(None, [("DATABRICKS_CONFIG_PROFILE", "work")]),
        robot("https://work.example", "dose-work")
    );
    // As in databricks-sdk, the named profile does not win.
    assert_eq!(find(Some("DEFAULT"), [HOST, TOKEN]), token("https://env.example", "dapi-env"));
    assert_eq!(find(Some("work"), [HOST]), robot("https://env.example", "dose-work"));
    let asked = ("DATABRICKS_AUTH_TYPE", "pat");
    assert_eq!(find(None, [HOST, TOKEN, ID, SECRET, asked]), token("https://env.example", "dapi-env"));
    assert_eq!(find(None, [("DATABRICKS_CONFIG_FILE", "~/.databrickscfg")]), find(None, []));
}

#[test]
fn each_login_error_includes_advice() {
    const HOST: (&str, &str) = ("DATABRICKS_HOST", "env.example");
    let error = |found: Result<Account, String>| found.unwrap_err();
    let none = ("DATABRICKS_CONFIG_FILE", "/nonexistent/cfg");
    assert!(error(find(None, [none])).starts_with("no Databricks workspace is named (set DATABRICKS_HOST"));
    assert!(error(find(None, [HOST])).starts_with("no credentials for https://env.example (set DATABRICKS"));
    assert_eq!(
        error(find(Some("gone"), [])),
        "there is no profile gone in ~/.databrickscfg (name another one in the tracking URI or in \
         DATABRICKS_CONFIG_PROFILE)"
    );
    assert!(error(find(Some("scope:prefix"), [])).contains("a scope of secrets"));
    let several = [HOST, ("DATABRICKS_TOKEN", "t"), ("ARM_CLIENT_ID", "a")];
    assert!(error(find(None, several)).contains("configured: azure and pat (leave one"));
    for (settings, way) in [
        (("ARM_CLIENT_ID", "a"), "azure"),
        (("DATABRICKS_AUTH_TYPE", "azure-cli"), "azure-cli"),
        (("DATABRICKS_METADATA_SERVICE_URL", "http://m"), "metadata-service"),
        (("DATABRICKS_USERNAME", "me"), "basic"),
        (("DATABRICKS_OIDC_TOKEN_FILEPATH", "/f"), "file-oidc"),
    ] {
        let error = error(find(None, [HOST, settings]));
        assert!(error.starts_with(&format!("cannot log in to Databricks by {way}, only by")), "{error}");
    }
    assert!(error(find(Some("person"), [])).starts_with("cannot log in to Databricks by databricks-cli,"));
    let half = [HOST, ("DATABRICKS_CLIENT_ID", "robot")];
    assert!(error(find(None, half)).starts_with("no credentials for"));
}

#[test]
fn a_host_is_read_in_every_usual_form() {
    let table = [
        ("adb-1.azuredatabricks.net", Some("https://adb-1.azuredatabricks.net")),
        ("https://dbc-1.cloud.databricks.com/", Some("https://dbc-1.cloud.databricks.com")),
        ("https://dbc-1.cloud.databricks.com:443/?o=12#x", Some("https://dbc-1.cloud.databricks.com")),
        ("http://127.0.0.1:8080", Some("http://127.0.0.1:8080")),
        ("https://proxy.example/dbx/", Some("https://proxy.example/dbx")),
        ("ftp://x", None),
        ("https://", None),
        ("https://me:secret@host", None),
        ("me:secret@host:port", None),
        ("ftp://me:secret@host", None),
    ];
    for (host, expected) in table {
        let found = address(host);
        assert_eq!(found.as_deref().ok(), expected, "{host}");
        assert!(found.map_or_else(|error| error.to_string(), |_| String::new()).find("secret").is_none());
    }
}

#[test]
fn no_credential_shows_in_debug() {
    let found = [find(None, []), find(Some("work"), [])].map(|found| format!("{found:?}"));
    assert!(found.iter().all(|shown| !shown.contains("dapi") && !shown.contains("dose")), "{found:?}");
}
