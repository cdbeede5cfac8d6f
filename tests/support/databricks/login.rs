//! Who may ask: a personal access token, and OAuth tokens granted to a service principal.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{Answer, Exchange, Rules};

/// The one personal access token that is known.
pub const TOKEN: &str = "dapi0123456789abcdef";

/// The one service principal.
pub const CLIENT_ID: &str = "11111111-2222-3333-4444-555555555555";
pub const CLIENT_SECRET: &str = "dose0123456789abcdef";

/// Whose they are.
pub const USER: &str = "someone@example.com";

/// OAuth tokens that were granted, and how many requests each was used for.
#[derive(Debug, Default)]
pub(super) struct Tokens(BTreeMap<String, usize>);

impl Tokens {
    /// The answer to requests that need no token; None for all others.
    pub(super) fn answer(&mut self, asked: &Exchange, host: &str, rules: &Rules) -> Option<Answer> {
        Some(match (asked.method.as_str(), asked.path.as_str()) {
            ("GET", "/.well-known/databricks-config") => {
                Answer::json(&json!({"oidc_endpoint": format!("{host}/oidc"), "workspace_id": "12345"}))
            }
            ("GET", "/oidc/.well-known/oauth-authorization-server") => Answer::json(&json!({
                "authorization_endpoint": format!("{host}/oidc/v1/authorize"),
                "token_endpoint": format!("{host}/oidc/v1/token"),
            })),
            ("POST", "/oidc/v1/token") => self.grant(asked, rules),
            _ => return None,
        })
    }

    fn grant(&mut self, asked: &Exchange, rules: &Rules) -> Answer {
        let oauth_error = |status, error: &str, said: &str| {
            Answer::json_of(status, &json!({"error": error, "error_description": said}))
        };
        let expected = format!("Basic {}", STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}")));
        if asked.header("authorization") != Some(&expected) {
            return oauth_error(401, "invalid_client", "Client authentication failed");
        }
        let form: BTreeMap<String, String> = form_urlencoded::parse(&asked.body).into_owned().collect();
        let is_form = asked.header("content-type") == Some("application/x-www-form-urlencoded");
        if !is_form || form.get("grant_type").map(String::as_str) != Some("client_credentials") {
            return oauth_error(400, "unsupported_grant_type", "grant_type must be client_credentials");
        }
        if form.get("scope").map(String::as_str) != Some("all-apis") {
            return oauth_error(400, "invalid_scope", "no such scope");
        }
        let token = format!("granted-token-{}", self.0.len() + 1);
        self.0.insert(token.clone(), 0);
        Answer::json(&json!({
            "access_token": token, "token_type": "Bearer", "scope": "all-apis", "expires_in": rules.token_expires_in,
        }))
    }

    /// Counts a use.
    pub(super) fn check(&mut self, asked: &Exchange, lasts: usize) -> Result<(), Answer> {
        let refusal = |said: &str| Err(Answer::refusal(401, "UNAUTHENTICATED", said));
        let Some(token) = asked.header("authorization").and_then(|value| value.strip_prefix("Bearer "))
        else {
            return refusal("Credential was not sent or was of an unsupported type for this API.");
        };
        match self.0.get_mut(token) {
            _ if token == TOKEN => Ok(()),
            Some(uses) if *uses < lasts => {
                *uses += 1;
                Ok(())
            }
            Some(_) => refusal("Token is expired."),
            None => refusal("Credential was not recognised."),
        }
    }
}
