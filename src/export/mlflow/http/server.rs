//! Requests to a server's REST API: addresses made from parts, bodies of JSON.

use super::answer::{self, Purpose};
use super::client::{Answer, Client, Request};
use super::version::{OLDEST, ServerVersion};
use crate::export::ExportError;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde_json::Value;
use std::time::Instant;

pub(super) struct ServerApi<'a> {
    client: Client<'a>,
    /// As the target is written, without credentials.
    address: String,
    url: Url,
}

/// The content type and further headers of a body.
pub(super) type BodyHeaders<'h> = &'h [(HeaderName, &'h str)];

impl<'a> ServerApi<'a> {
    pub(super) fn new(client: Client<'a>, address: String, url: Url) -> ServerApi<'a> {
        ServerApi { client, address, url }
    }

    pub(super) fn give_up_at(&self, at: Option<Instant>) {
        self.client.give_up_at(at);
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// The server's version; None if a proxy hides it. Refuses servers that are too old.
    pub(super) fn version(&self) -> Result<Option<ServerVersion>, ExportError> {
        self.version_in(&self.ask_version()?)
    }

    pub(super) fn ask_version(&self) -> Result<Answer, ExportError> {
        self.get(&["version"], &[])
    }

    pub(super) fn version_in(&self, answer: &Answer) -> Result<Option<ServerVersion>, ExportError> {
        match answer.status.as_u16() {
            200 => match ServerVersion::parse(&String::from_utf8_lossy(&answer.body)) {
                Some(version) if version < OLDEST => Err(ExportError::Target(format!(
                    "{} is MLflow {version}, which cannot take a trace from here (upgrade that server to {OLDEST} or \
                     newer, or choose another tracking URI)",
                    self.address
                ))),
                version => Ok(version),
            },
            404 | 405 => Ok(None),
            _ => Err(self.refused(Purpose::Look, answer)),
        }
    }

    pub(super) fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Answer, ExportError> {
        self.client.send(&self.question(path, query)?)
    }

    /// As `get`, with one try. None without a successful answer.
    pub(super) fn get_once(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Option<Answer>, ExportError> {
        let answer = self.client.once(&self.question(path, query)?)?;
        Ok(answer.ok().filter(|answer| answer.status.is_success()))
    }

    fn question(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Request, ExportError> {
        let url = self.address_of(path, query)?;
        Ok(Request { method: Method::GET, url, headers: HeaderMap::new(), body: Vec::new() })
    }

    pub(super) fn send_json(
        &self,
        method: Method,
        path: &[&str],
        body: &Value,
    ) -> Result<Answer, ExportError> {
        self.send(method, path, &[(CONTENT_TYPE, "application/json")], body.to_string().into_bytes())
    }

    pub(super) fn send(
        &self,
        method: Method,
        path: &[&str],
        headers: BodyHeaders,
        body: Vec<u8>,
    ) -> Result<Answer, ExportError> {
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            let value = HeaderValue::from_str(value)
                .map_err(|_| ExportError::Target(format!("{} gave an id that is none", self.address)))?;
            all.insert(name, value);
        }
        self.client.send(&Request { method, url: self.address_of(path, &[])?, headers: all, body })
    }

    pub(super) fn refused(&self, purpose: Purpose, answer: &Answer) -> ExportError {
        answer::refused(&self.address, purpose, answer)
    }

    pub(super) fn json(&self, answer: &Answer) -> Result<Value, ExportError> {
        answer::json(&self.address, answer)
    }

    /// Names and ids may hold any character, and some come from the server: each part is escaped as one
    /// segment.
    fn address_of(&self, path: &[&str], query: &[(&str, &str)]) -> Result<String, ExportError> {
        if path.iter().any(|part| [".", "..", ""].contains(part)) {
            return Err(ExportError::Target(format!("{} named a place that is none", self.address)));
        }
        let mut url = self.url.clone();
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url.into())
    }
}
