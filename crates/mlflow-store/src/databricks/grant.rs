//! A signed address of the cloud's storage, and the requests that it permits.

use super::workspace::WorkspaceApi;
use crate::exporter::{ExportError, Result};
use crate::ids::TraceId;
use crate::rest::api::{ApiRequest, Rest};
use crate::rest::client::Request;
use crate::target::credentials::Credential;
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Cloud {
    #[serde(rename = "AWS_PRESIGNED_URL")]
    Aws,
    #[serde(rename = "GCP_SIGNED_URL")]
    Google,
    #[serde(rename = "AZURE_SAS_URI")]
    AzureBlob,
    #[serde(rename = "AZURE_ADLS_GEN2_SAS_URI")]
    AzureLake,
}

/// A signed address, and the headers that it requires.
#[derive(Deserialize)]
pub(super) struct Grant {
    #[serde(rename = "type")]
    pub(super) cloud: Cloud,
    #[serde(rename = "signed_uri")]
    address: Credential,
    #[serde(default)]
    headers: Vec<Header>,
}

#[derive(Deserialize)]
struct Header {
    name: String,
    #[serde(default)]
    value: String,
}

/// Which of the granted headers a request may have. Azure refuses those of other kinds of request.
#[derive(Clone, Copy)]
pub(super) enum AllowedHeaders {
    All,
    Block,
    BlockList,
    LakeFile,
    LakePart,
}

impl Grant {
    pub(super) fn ask_for(workspace: &WorkspaceApi, trace: TraceId) -> Result<Grant> {
        let path = ["api", "2.0", "mlflow", "traces", &trace.to_string(), "credentials-for-data-upload"];
        let answer = workspace.call(&ApiRequest::get(&path, &[]))?;
        if !answer.status.is_success() {
            let message = workspace.refusal(&answer).message();
            return Err(ExportError::Trace(format!("Databricks gives no place for the spans{message}")));
        }
        // The answer holds the signed address, so serde's error is not shown.
        serde_json::from_value(answer.json()["credential_info"].take()).map_err(|_| {
            ExportError::Target(
                "Databricks keeps the spans in a kind of storage that we do not know".to_owned(),
            )
        })
    }

    /// A request to the cloud.
    pub(super) fn request(
        &self,
        method: &Method,
        query: &[(&str, String)],
        allowed: AllowedHeaders,
        body: &[u8],
    ) -> Result<Request> {
        let unusable =
            || ExportError::Target("Databricks gave an address for the spans that is none".to_owned());
        let mut url = Url::parse(self.address.reveal()).map_err(|_| unusable())?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut headers = HeaderMap::new();
        if body.is_empty() {
            // hyper omits it, and then Azure answers 411.
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        if let AllowedHeaders::Block = allowed {
            headers.insert("x-ms-blob-type", HeaderValue::from_static("BlockBlob"));
        }
        for Header { name, value } in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unusable())?;
            if allowed.have(name.as_str()) {
                let mut value = HeaderValue::from_str(value).map_err(|_| unusable())?;
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        }
        Ok(Request { method: method.clone(), url: url.into(), headers, body: body.to_vec() })
    }
}

impl AllowedHeaders {
    /// As Azure documents it for each request.
    fn have(self, name: &str) -> bool {
        const CUSTOMER_KEY: [&str; 3] =
            ["x-ms-encryption-key", "x-ms-encryption-key-sha256", "x-ms-encryption-algorithm"];
        const ALWAYS: [&str; 4] = ["x-ms-client-request-id", "x-ms-date", "x-ms-version", "x-ms-lease-id"];
        const CONDITIONS: [&str; 4] =
            ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"];
        let own = match self {
            AllowedHeaders::All => return true,
            AllowedHeaders::Block => CUSTOMER_KEY.contains(&name) || name == "x-ms-encryption-scope",
            AllowedHeaders::BlockList => {
                name.starts_with("x-ms-meta-")
                    || name.starts_with("x-ms-blob-c")
                    || ["x-ms-encryption-scope", "x-ms-tags", "x-ms-access-tier"].contains(&name)
                    || CONDITIONS.contains(&name)
            }
            AllowedHeaders::LakeFile | AllowedHeaders::LakePart => {
                let of_file =
                    ["x-ms-umask", "x-ms-proposed-lease-id", "x-ms-expiry-option", "x-ms-expiry-time"];
                name.starts_with("x-ms-content-")
                    || ["x-ms-cache-control", "x-ms-properties", "x-ms-owner", "x-ms-group"].contains(&name)
                    || ["x-ms-permissions", "x-ms-acl", "x-ms-encryption-context"].contains(&name)
                    || CUSTOMER_KEY.contains(&name)
                    || CONDITIONS.contains(&name)
                    || matches!(self, AllowedHeaders::LakeFile) && of_file.contains(&name)
            }
        };
        own || ALWAYS.contains(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(cloud: Cloud, headers: &[(&str, &str)]) -> Grant {
        let headers =
            headers.iter().map(|(name, value)| Header { name: name.to_string(), value: value.to_string() });
        let address = Credential::new("https://store.example/c/traces.json?sig=a%2Fb%3D&se=1");
        Grant { cloud, address, headers: headers.collect() }
    }

    #[test]
    fn a_signed_address_keeps_its_signature_as_it_was_written() {
        let query = [("comp", "block".to_owned()), ("blockid", "a+/=".to_owned())];
        let grant = grant(Cloud::AzureBlob, &[]);
        let request = grant.request(&Method::PUT, &query, AllowedHeaders::Block, b"x").unwrap();
        assert_eq!(
            request.url,
            "https://store.example/c/traces.json?sig=a%2Fb%3D&se=1&comp=block&blockid=a%2B%2F%3D"
        );
    }

    #[test]
    fn a_header_goes_only_where_the_cloud_takes_it() {
        const GRANTED: [(&str, &str); 4] = [
            ("x-ms-blob-type", "BlockBlob"),
            ("x-ms-version", "2021-08-06"),
            ("x-ms-encryption-scope", "s"),
            ("X-Amz-Server-Side-Encryption", "AES256"),
        ];
        let names = |headers| {
            let grant = grant(Cloud::AzureBlob, &GRANTED);
            let request = grant.request(&Method::PUT, &[], headers, b"x").unwrap();
            let mut names: Vec<String> = request.headers.keys().map(|name| name.to_string()).collect();
            names.sort();
            names.join(" ")
        };
        assert_eq!(
            names(AllowedHeaders::All),
            "x-amz-server-side-encryption x-ms-blob-type x-ms-encryption-scope x-ms-version"
        );
        assert_eq!(names(AllowedHeaders::Block), "x-ms-blob-type x-ms-encryption-scope x-ms-version");
        assert_eq!(names(AllowedHeaders::BlockList), "x-ms-encryption-scope x-ms-version");
        assert_eq!(names(AllowedHeaders::LakeFile), "x-ms-version");
        assert_eq!(names(AllowedHeaders::LakePart), "x-ms-version");
    }
}
