//! The workspace and the login, chosen as databricks-sdk chooses them, so that settings for MLflow's client
//! work here.

#[cfg(test)]
mod tests;

use super::profile::{Profile, Profiles};
use crate::exporter::{ExportError, Result};
use crate::target::Target;
use crate::target::access::Access;
use crate::target::credentials::Credential;
use common::variables::Variables;
use reqwest::Url;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A workspace and how to log in to it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Account {
    /// With a scheme, without a slash at its end.
    pub(super) host: String,
    pub(super) login: Login,
    /// Sent with every request, for hosts that serve several workspaces.
    pub(super) workspace_id: Option<String>,
    pub(super) account_id: Option<String>,
    /// The page with the addresses for OAuth, if not the host's.
    pub(super) discovery_url: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Login {
    /// A personal access token, or any other that is sent as it is.
    Token(Credential),
    /// OAuth for machines: these get tokens that are valid for about an hour.
    ServicePrincipal { id: String, secret: Credential, scopes: String },
}

const SUPPORTED: &str = "set DATABRICKS_TOKEN, or DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET, or use a \
                         profile of ~/.databrickscfg that has one or the other";

/// databricks-sdk's settings that name a workspace or a way to log in: name, variable, and the way that it
/// belongs to. An unsupported way is reported, never tried.
const KNOWN: [(&str, &str, Option<&str>); 20] = [
    ("host", "DATABRICKS_HOST", None),
    ("workspace_id", "DATABRICKS_WORKSPACE_ID", None),
    ("account_id", "DATABRICKS_ACCOUNT_ID", None),
    ("discovery_url", "DATABRICKS_DISCOVERY_URL", None),
    ("auth_type", "DATABRICKS_AUTH_TYPE", None),
    ("token", "DATABRICKS_TOKEN", Some("pat")),
    ("client_id", "DATABRICKS_CLIENT_ID", Some("oauth")),
    ("client_secret", "DATABRICKS_CLIENT_SECRET", Some("oauth")),
    ("username", "DATABRICKS_USERNAME", Some("basic")),
    ("password", "DATABRICKS_PASSWORD", Some("basic")),
    ("oidc_token_env", "DATABRICKS_OIDC_TOKEN_ENV", Some("env-oidc")),
    ("oidc_token_filepath", "DATABRICKS_OIDC_TOKEN_FILEPATH", Some("file-oidc")),
    ("google_service_account", "DATABRICKS_GOOGLE_SERVICE_ACCOUNT", Some("google")),
    ("google_credentials", "GOOGLE_CREDENTIALS", Some("google")),
    ("azure_workspace_resource_id", "DATABRICKS_AZURE_RESOURCE_ID", Some("azure")),
    ("azure_use_msi", "ARM_USE_MSI", Some("azure")),
    ("azure_client_secret", "ARM_CLIENT_SECRET", Some("azure")),
    ("azure_client_id", "ARM_CLIENT_ID", Some("azure")),
    ("azure_tenant_id", "ARM_TENANT_ID", Some("azure")),
    ("metadata_service_url", "DATABRICKS_METADATA_SERVICE_URL", Some("metadata-service")),
];

/// The variables that name a workspace or a way to log in.
pub(crate) fn login_variables() -> [&'static str; KNOWN.len()] {
    KNOWN.map(|(_, variable, _)| variable)
}

/// The workspace's address, if the settings name one and a way to log in.
pub fn host(profile: Option<&str>, access: &Access) -> Option<String> {
    let target = Target::Databricks { profile: profile.map(str::to_owned) };
    Some(Account::find(profile, &access.variables_for(&target), access.home.as_deref()).ok()?.host)
}

impl Account {
    /// For `databricks` or `databricks://profile`.
    pub(super) fn find(profile: Option<&str>, variables: &Variables, home: Option<&Path>) -> Result<Account> {
        if let Some(scope) = profile.filter(|profile| profile.contains(':')) {
            return Err(ExportError::Target(format!(
                "databricks://{scope} names a scope of secrets, which can be read only inside Databricks (use \
                 databricks://PROFILE, or databricks with DATABRICKS_HOST and DATABRICKS_TOKEN)"
            )));
        }
        let profile = profile.or(variables.text("DATABRICKS_CONFIG_PROFILE"));
        let mut settings = from_variables(variables);
        if profile.is_some() || !has_host_or_login(&settings) {
            for (key, value) in from_file(profile, config_file(variables, home))? {
                // A variable wins over the file, even over a profile that the user names.
                settings.entry(key).or_insert(value);
            }
        }
        decide(&settings)
    }
}

fn from_variables(variables: &Variables) -> Profile {
    let setting = |(name, variable, _): &(&str, &str, _)| {
        Some((name.to_string(), Credential::new(variables.text(variable)?)))
    };
    KNOWN.iter().filter_map(setting).collect()
}

/// If so, the file is not read.
fn has_host_or_login(settings: &Profile) -> bool {
    KNOWN.iter().any(|(name, _, way)| (way.is_some() || *name == "host") && settings.contains_key(*name))
}

fn from_file(profile: Option<&str>, path: Option<PathBuf>) -> Result<Profile> {
    let Some(path) = path else { return Ok(Profile::new()) };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        // databricks-sdk accepts a profile of a missing file; it fails later, for want of a host.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Profile::new()),
        Err(error) => return Err(unreadable(&path, &error)),
    };
    let profiles = Profiles::parse(&text).map_err(|error| unreadable(&path, &error))?;
    let mut settings = profiles.choose(profile).map_err(|error| {
        ExportError::Target(format!(
            "{error} in {} (name another one in the tracking URI or in DATABRICKS_CONFIG_PROFILE)",
            path.display()
        ))
    })?;
    settings.retain(|_, value| !value.reveal().is_empty());
    Ok(settings)
}

fn unreadable(path: &Path, error: &dyn fmt::Display) -> ExportError {
    ExportError::Target(format!("cannot read {}: {error}", path.display()))
}

fn config_file(variables: &Variables, home: Option<&Path>) -> Option<PathBuf> {
    match variables.os("DATABRICKS_CONFIG_FILE").map(PathBuf::from) {
        None => Some(home?.join(".databrickscfg")),
        Some(path) => Some(match path.strip_prefix("~") {
            Ok(below) => home?.join(below),
            Err(_) => path,
        }),
    }
}

fn decide(settings: &Profile) -> Result<Account> {
    let text = |name: &str| settings.get(name).map(|value| value.reveal().to_owned());
    let bad = |reason: String| Err(ExportError::Target(reason));
    let Some(host) = text("host") else {
        return bad(
            "no Databricks workspace is named (set DATABRICKS_HOST, or write a profile into ~/.databrickscfg)"
                .to_owned(),
        );
    };
    let host = address(&host)?;
    let no_credentials = || bad(format!("no credentials for {host} ({SUPPORTED})"));
    let asked = text("auth_type");
    let ways: BTreeSet<&str> = KNOWN
        .iter()
        .filter(|(name, ..)| settings.contains_key(*name))
        .filter_map(|(_, _, way)| *way)
        .collect();
    if asked.is_none() && ways.len() > 1 {
        return bad(format!(
            "several ways to log in to Databricks are configured: {} (leave one, or set DATABRICKS_AUTH_TYPE to pat \
             or oauth-m2m)",
            Vec::from_iter(ways).join(" and ")
        ));
    }
    let way = match (&asked, ways.first()) {
        (Some(asked), _) => asked,
        (None, Some(way)) => *way,
        (None, None) => return no_credentials(),
    };
    let login = match way {
        "pat" => settings.get("token").map(|token| Login::Token(token.clone())),
        "oauth" | "oauth-m2m" => text("client_id").zip(settings.get("client_secret")).map(|(id, secret)| {
            Login::ServicePrincipal { id, secret: secret.clone(), scopes: scopes(text("scopes")) }
        }),
        other => {
            return bad(format!(
                "cannot log in to Databricks by {other}, only by a token or as a service principal ({SUPPORTED})"
            ));
        }
    };
    let Some(login) = login else { return no_credentials() };
    Ok(Account {
        login,
        host,
        workspace_id: text("workspace_id"),
        account_id: text("account_id"),
        discovery_url: text("discovery_url"),
    })
}

/// The host with a scheme and a path, without a query (`/?o=123`, as a browser shows it).
fn address(host: &str) -> Result<String> {
    let bad = || {
        // An address with an `@` may hold a password, even if it cannot be parsed.
        let shown = if host.contains('@') { "…" } else { host };
        let reason = "not the address of a Databricks workspace";
        ExportError::Target(format!("{reason}: {shown} (set DATABRICKS_HOST to https://…)"))
    };
    let written = host.trim();
    let with_scheme = if written.contains("://") { written.to_owned() } else { format!("https://{written}") };
    let url = Url::parse(&with_scheme).map_err(|_| bad())?;
    let is_plain = url.username().is_empty() && url.password().is_none();
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !is_plain {
        return Err(bad());
    }
    let path = url.path().trim_end_matches('/');
    Ok(format!("{}{path}", url.origin().ascii_serialization()))
}

/// Sorted and each once, as databricks-sdk sends them.
fn scopes(setting: Option<String>) -> String {
    let setting = setting.unwrap_or_default();
    let each: BTreeSet<&str> =
        setting.split([',', ' ', '\n']).map(str::trim).filter(|scope| !scope.is_empty()).collect();
    if each.is_empty() { "all-apis".to_owned() } else { Vec::from_iter(each).join(" ") }
}
