//! Requests to one workspace: each with a valid token, each refusal as a sentence.

use super::login::{Account, Login};
use super::refusal::{Refusal, reworded};
use crate::exporter::{ExportError, Remote, Result};
use crate::rest::answer::Answer;
use crate::rest::api::ApiRequest;
use crate::rest::client::{Client, Request};
use crate::rest::variables::{request_policy, with_authorities, with_proxies};
use crate::target::credentials::Credential;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{ClientBuilder, Method, Url};
use serde::Deserialize;
use serde_json::Value;
use std::cell::{OnceCell, RefCell};
use std::time::{Duration, Instant};

/// Azure refuses tokens in their last half minute; databricks-sdk leaves the same margin.
const BEFORE_EXPIRY: Duration = Duration::from_secs(40);

pub(super) struct WorkspaceApi<'a> {
    pub(super) client: Client<'a>,
    pub(super) account: Account,
    /// The host's description of itself; fetched before the first request.
    config: OnceCell<HostConfig>,
    /// The current OAuth token of a service principal.
    token: RefCell<Option<Token>>,
}

/// The fields of `/.well-known/databricks-config` that are used here.
#[derive(Debug, Default, Deserialize)]
struct HostConfig {
    oidc_endpoint: Option<String>,
    account_id: Option<String>,
    workspace_id: Option<String>,
}

struct Token {
    value: Credential,
    expires: Option<Instant>,
    /// An earlier request succeeded with it, so a refusal may mean that it has expired.
    is_proved: bool,
}

/// Chooses the login; sends no request yet.
pub(super) fn connect<'a>(remote: Remote<'_, 'a>, profile: Option<&str>) -> Result<WorkspaceApi<'a>> {
    let variables = remote.access.variables_for(remote.target);
    let account = Account::find(profile, &variables, remote.access.home.as_deref())?;
    let http = with_proxies(ClientBuilder::new(), &variables)?;
    let http = match account.host.starts_with("http:") {
        // Only tests have such a host, on machines that may have no certificates.
        true => http.tls_certs_only([]),
        false => with_authorities(http, &variables)?,
    };
    let client = Client::new(http, request_policy(&variables)?, remote.patience)?;
    let (Login::Token(secret) | Login::ServicePrincipal { secret, .. }) = &account.login;
    client.mask.add(secret.reveal().as_bytes());
    Ok(WorkspaceApi { client, account, config: OnceCell::new(), token: RefCell::new(None) })
}

impl WorkspaceApi<'_> {
    pub(super) fn refusal(&self, answer: &Answer) -> Refusal {
        Refusal::from_answer(answer, &self.client.mask)
    }

    /// Replaces a token that was valid before and is refused now.
    pub(super) fn send(&self, request: &ApiRequest) -> Result<Answer> {
        loop {
            let answer = self.exchange(&self.request(request)?)?;
            // Databricks answers 403 to some expired tokens.
            let is_refused = matches!(answer.status.as_u16(), 401 | 403);
            let mut token = self.token.borrow_mut();
            match token.as_mut() {
                Some(valid) if is_refused && valid.is_proved => *token = None,
                Some(valid) if !is_refused => {
                    valid.is_proved = true;
                    return Ok(answer);
                }
                _ => return Ok(answer),
            }
        }
    }

    fn exchange(&self, request: &Request) -> Result<Answer> {
        let hidden = |reason: String| self.client.mask.hide_text(&reason);
        self.client.send(request).map_err(|error| reworded(error, hidden))
    }

    fn request(&self, request: &ApiRequest) -> Result<Request> {
        let (config, host) = (self.config(), &self.account.host);
        let url = Url::parse(host).ok();
        let bad = || ExportError::Target(format!("{host} is no address"));
        let mut sent = url.and_then(|base| request.at(&base)).ok_or_else(bad)?;
        if let Some(id) = self.account.workspace_id.as_ref().or(config.workspace_id.as_ref()) {
            sent.headers.insert("x-databricks-org-id", header(id, "the workspace's id")?);
        }
        let bearer = format!("Bearer {}", self.bearer(config)?.reveal());
        sent.headers.insert(AUTHORIZATION, sensitive(&bearer)?);
        Ok(sent)
    }

    /// Old hosts lack this page, and most work without it: a failed request leaves all fields empty.
    fn config(&self) -> &HostConfig {
        self.config.get_or_init(|| self.fetch_config().unwrap_or_default())
    }

    fn fetch_config(&self) -> Option<HostConfig> {
        let url = format!("{}/.well-known/databricks-config", self.account.host);
        let answer = self.client.once(&get(url)).ok()?.ok()?;
        serde_json::from_slice(&answer.body).ok().filter(|_| answer.status.is_success())
    }

    fn bearer(&self, config: &HostConfig) -> Result<Credential> {
        let (id, secret, scopes) = match &self.account.login {
            Login::Token(token) => return Ok(token.clone()),
            Login::ServicePrincipal { id, secret, scopes } => (id, secret, scopes),
        };
        let soon = Instant::now() + BEFORE_EXPIRY;
        let is_good = |token: &&Token| token.expires.is_none_or(|expires| expires > soon);
        if let Some(token) = self.token.borrow().as_ref().filter(is_good) {
            return Ok(token.value.clone());
        }
        let request = token_request(&self.token_endpoint(config)?, id, secret, scopes)?;
        let answer = self.exchange(&request)?;
        if !answer.status.is_success() {
            return Err(self.refusal(&answer).login_error(&self.account.host));
        }
        let granted = answer.json();
        let value = granted["access_token"].as_str().map(Credential::new).ok_or_else(|| {
            ExportError::Target(format!("{} granted no token that can be read", self.account.host))
        })?;
        // Some servers write numbers as text.
        let seconds = match &granted["expires_in"] {
            Value::String(text) => text.parse().ok(),
            number => number.as_u64(),
        };
        let expires = seconds.and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds)));
        self.client.mask.add(value.reveal().as_bytes());
        *self.token.borrow_mut() = Some(Token { value: value.clone(), expires, is_proved: false });
        Ok(value)
    }

    /// Named by the host in two requests; by an old host in one.
    fn token_endpoint(&self, config: &HostConfig) -> Result<String> {
        let host = &self.account.host;
        let named = config.oidc_endpoint.as_ref().map(|root| {
            let account = self.account.account_id.as_ref().or(config.account_id.as_ref());
            let root = root.replace("{account_id}", account.map_or("", String::as_str));
            format!("{}/.well-known/oauth-authorization-server", root.trim_end_matches('/'))
        });
        let page = self.account.discovery_url.clone().or(named);
        let page = page.unwrap_or_else(|| format!("{host}/oidc/.well-known/oauth-authorization-server"));
        let answer = self.exchange(&get(page))?;
        let answered = answer.json();
        let endpoint = answered["token_endpoint"].as_str().filter(|_| answer.status.is_success()).ok_or_else(|| {
            ExportError::Target(format!(
                "{host} does not tell where OAuth tokens are granted (HTTP {}; set DATABRICKS_TOKEN instead)",
                answer.status.as_u16()
            ))
        })?;
        // The secret is sent there.
        if host.starts_with("https:") && !endpoint.starts_with("https:") {
            return Err(ExportError::Target(format!(
                "{host} wants the service principal's secret sent without encryption, so it was not sent"
            )));
        }
        Ok(endpoint.to_owned())
    }
}

fn get(url: String) -> Request {
    Request { method: Method::GET, url, headers: HeaderMap::new(), body: Vec::new() }
}

fn token_request(url: &str, id: &str, secret: &Credential, scopes: &str) -> Result<Request> {
    let mut form = Url::parse("form:").expect("a scheme is an address");
    form.query_pairs_mut().append_pair("grant_type", "client_credentials").append_pair("scope", scopes);
    let mut headers = HeaderMap::new();
    let both = STANDARD.encode(format!("{id}:{}", secret.reveal()));
    headers.insert(AUTHORIZATION, sensitive(&format!("Basic {both}"))?);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    let body = form.query().unwrap_or_default().as_bytes().to_vec();
    Ok(Request { method: Method::POST, url: url.to_owned(), headers, body })
}

fn sensitive(text: &str) -> Result<HeaderValue> {
    let mut value = header(text, "the token for Databricks")?;
    value.set_sensitive(true);
    Ok(value)
}

fn header(text: &str, what: &str) -> Result<HeaderValue> {
    let unusable =
        || ExportError::Target(format!("{what} holds characters that cannot be sent (copy it anew)"));
    HeaderValue::from_str(text).map_err(|_| unusable())
}
