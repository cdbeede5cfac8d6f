//! Requests to one workspace: each with a valid token, each refusal as a sentence.

use super::login::{Account, Login};
use super::refusal::{Refusal, hidden, reworded};
use crate::config::secret::Secret;
use crate::export::ExportError;
use crate::export::mlflow::http::client::{Answer, Client, Request};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Azure refuses tokens in their last half minute; databricks-sdk leaves the same margin.
const BEFORE_EXPIRY: Duration = Duration::from_secs(40);

pub(super) struct WorkspaceApi<'a> {
    client: Client<'a>,
    account: Account,
    /// The host's description of itself; fetched before the first request.
    config: Option<HostConfig>,
    /// The current OAuth token of a service principal.
    token: Option<Token>,
}

/// The fields of `/.well-known/databricks-config` that are used here.
#[derive(Clone, Debug, Default, Deserialize)]
struct HostConfig {
    oidc_endpoint: Option<String>,
    account_id: Option<String>,
    workspace_id: Option<String>,
}

struct Token {
    value: Secret,
    expires: Option<Instant>,
    /// An earlier request succeeded with it, so a refusal may mean that it has expired.
    is_proved: bool,
}

#[derive(Deserialize)]
struct Endpoints {
    token_endpoint: String,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    /// Seconds; some servers write numbers as text.
    expires_in: Option<Value>,
}

/// A request to the workspace's API.
pub(super) struct ApiRequest<'q> {
    pub(super) method: Method,
    /// From the host's root.
    pub(super) path: &'q str,
    pub(super) query: &'q [(&'q str, &'q str)],
    pub(super) body: Option<&'q Value>,
}

impl<'q> ApiRequest<'q> {
    pub(super) fn get(path: &'q str, query: &'q [(&'q str, &'q str)]) -> ApiRequest<'q> {
        ApiRequest { method: Method::GET, path, query, body: None }
    }

    pub(super) fn with_body(method: Method, path: &'q str, body: &'q Value) -> ApiRequest<'q> {
        ApiRequest { method, path, query: &[], body: Some(body) }
    }
}

impl<'a> WorkspaceApi<'a> {
    pub(super) fn new(client: Client<'a>, account: Account) -> WorkspaceApi<'a> {
        if let Login::ServicePrincipal { secret, .. } = &account.login {
            client.secrets().add(secret.reveal().as_bytes());
        }
        WorkspaceApi { client, account, config: None, token: None }
    }

    pub(super) fn client(&self) -> &Client<'a> {
        &self.client
    }

    /// The body of a successful answer, or the refusal. The outer error concerns every request, such as bad
    /// credentials.
    pub(super) fn ask(&mut self, ask: &ApiRequest) -> Result<Result<Value, Refusal>, ExportError> {
        let answer = self.send(ask)?;
        if answer.status.is_success() {
            return Ok(Ok(serde_json::from_slice(&answer.body).unwrap_or_default()));
        }
        let refusal = Refusal::from_answer(&answer, &self.secrets());
        match refusal.as_error(&self.account.host) {
            Some(error) => Err(error),
            None => Ok(Err(refusal)),
        }
    }

    /// Replaces a token that was valid before and is refused now.
    fn send(&mut self, ask: &ApiRequest) -> Result<Answer, ExportError> {
        loop {
            let request = self.request(ask)?;
            let answer = self.exchange(&request)?;
            // Databricks answers 403 to some expired tokens.
            let is_refused = matches!(answer.status.as_u16(), 401 | 403);
            match self.token.as_mut() {
                Some(token) if is_refused && token.is_proved => self.token = None,
                Some(token) if !is_refused => {
                    token.is_proved = true;
                    return Ok(answer);
                }
                _ => return Ok(answer),
            }
        }
    }

    fn exchange(&self, request: &Request) -> Result<Answer, ExportError> {
        let answer = self.client.send(request);
        answer.map_err(|error| reworded(error, |reason| hidden(&reason, &self.secrets())))
    }

    fn request(&mut self, ask: &ApiRequest) -> Result<Request, ExportError> {
        let config = self.config();
        let mut headers = HeaderMap::new();
        if let Some(id) = self.account.workspace_id.as_ref().or(config.workspace_id.as_ref()) {
            headers.insert("x-databricks-org-id", header(id, "the workspace's id")?);
        }
        let token = self.bearer(&config)?;
        headers.insert(AUTHORIZATION, sensitive(&format!("Bearer {}", token.reveal()))?);
        let body = match ask.body {
            None => Vec::new(),
            Some(body) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                serde_json::to_vec(body).expect("values with text keys always serialize")
            }
        };
        let mut url = Url::parse(&format!("{}{}", self.account.host, ask.path))
            .map_err(|error| ExportError::Target(format!("{} is no address: {error}", self.account.host)))?;
        if !ask.query.is_empty() {
            url.query_pairs_mut().extend_pairs(ask.query);
        }
        Ok(Request { method: ask.method.clone(), url: url.into(), headers, body })
    }

    /// Old hosts lack this page, and most work without it: a failed request leaves all fields empty.
    fn config(&mut self) -> HostConfig {
        if let Some(config) = &self.config {
            return config.clone();
        }
        let url = format!("{}/.well-known/databricks-config", self.account.host);
        let answer = self.client.once(&get(url)).ok().and_then(Result::ok);
        let answer = answer.filter(|answer| answer.status.is_success());
        let config: HostConfig =
            answer.and_then(|answer| serde_json::from_slice(&answer.body).ok()).unwrap_or_default();
        self.config.insert(config).clone()
    }

    fn bearer(&mut self, config: &HostConfig) -> Result<Secret, ExportError> {
        let Login::ServicePrincipal { id, secret, scopes } = &self.account.login else {
            let Login::Token(token) = &self.account.login else { unreachable!("there are two ways") };
            return Ok(token.clone());
        };
        let is_good = |token: &&Token| {
            token
                .expires
                .is_none_or(|expires| expires.saturating_duration_since(Instant::now()) > BEFORE_EXPIRY)
        };
        if let Some(token) = self.token.as_ref().filter(is_good) {
            return Ok(token.value.clone());
        }
        let request = token_request(&self.token_endpoint(config)?, id, secret, scopes)?;
        let answer = self.exchange(&request)?;
        if !answer.status.is_success() {
            return Err(Refusal::from_answer(&answer, &self.secrets()).login_error(&self.account.host));
        }
        let answer: TokenAnswer = serde_json::from_slice(&answer.body).map_err(|_| {
            ExportError::Target(format!("{} granted no token that can be read", self.account.host))
        })?;
        let seconds = answer.expires_in.as_ref().and_then(|seconds| match seconds {
            Value::String(text) => text.parse().ok(),
            number => number.as_u64(),
        });
        let expires = seconds.and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds)));
        let value = Secret::new(answer.access_token);
        self.client.secrets().add(value.reveal().as_bytes());
        self.token = Some(Token { value: value.clone(), expires, is_proved: false });
        Ok(value)
    }

    /// Named by the host in two requests; by an old host in one.
    fn token_endpoint(&self, config: &HostConfig) -> Result<String, ExportError> {
        let host = &self.account.host;
        let named = config.oidc_endpoint.as_ref().map(|root| {
            let account = self.account.account_id.as_ref().or(config.account_id.as_ref());
            let root = root.replace("{account_id}", account.map_or("", String::as_str));
            format!("{}/.well-known/oauth-authorization-server", root.trim_end_matches('/'))
        });
        let page = self.account.discovery_url.clone().or(named);
        let page = page.unwrap_or_else(|| format!("{host}/oidc/.well-known/oauth-authorization-server"));
        let answer = self.exchange(&get(page))?;
        let endpoints: Option<Endpoints> = serde_json::from_slice(&answer.body).ok();
        let endpoint = endpoints.filter(|_| answer.status.is_success()).ok_or_else(|| {
            ExportError::Target(format!(
                "{host} does not tell where OAuth tokens are granted (HTTP {}; set DATABRICKS_TOKEN instead)",
                answer.status.as_u16()
            ))
        })?;
        // The secret is sent there.
        if host.starts_with("https:") && !endpoint.token_endpoint.starts_with("https:") {
            return Err(ExportError::Target(format!(
                "{host} wants the service principal's secret sent without encryption, so it was not sent"
            )));
        }
        Ok(endpoint.token_endpoint)
    }

    /// The credentials to hide if a server sends them back.
    fn secrets(&self) -> Vec<Secret> {
        let own = match &self.account.login {
            Login::Token(token) => token,
            Login::ServicePrincipal { secret, .. } => secret,
        };
        [own.clone()].into_iter().chain(self.token.as_ref().map(|token| token.value.clone())).collect()
    }
}

fn get(url: String) -> Request {
    Request { method: Method::GET, url, headers: HeaderMap::new(), body: Vec::new() }
}

fn token_request(url: &str, id: &str, secret: &Secret, scopes: &str) -> Result<Request, ExportError> {
    let mut form = Url::parse("form:").expect("a scheme is an address");
    form.query_pairs_mut().append_pair("grant_type", "client_credentials").append_pair("scope", scopes);
    let mut headers = HeaderMap::new();
    let both = STANDARD.encode(format!("{id}:{}", secret.reveal()));
    headers.insert(AUTHORIZATION, sensitive(&format!("Basic {both}"))?);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    let body = form.query().unwrap_or_default().as_bytes().to_vec();
    Ok(Request { method: Method::POST, url: url.to_owned(), headers, body })
}

fn sensitive(text: &str) -> Result<HeaderValue, ExportError> {
    let mut value = header(text, "the token for Databricks")?;
    value.set_sensitive(true);
    Ok(value)
}

fn header(text: &str, what: &str) -> Result<HeaderValue, ExportError> {
    let unusable =
        || ExportError::Target(format!("{what} holds characters that cannot be sent (copy it anew)"));
    HeaderValue::from_str(text).map_err(|_| unusable())
}
