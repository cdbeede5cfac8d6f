//! Uploads the file of spans to the cloud's storage, by a signed address that Databricks gives.
//!
//! A signed address is a credential. It goes only to the cloud, and Databricks' token never goes there. Answers of the
//! storage are reported without any part of the address.

use super::grant::{AllowedHeaders, Cloud, Grant};
use super::refusal::reworded;
use super::workspace::WorkspaceApi;
use crate::exporter::{ExportError, Result};
use crate::ids::TraceId;
use crate::rest::answer::Answer;
use crate::rest::credential_mask::CredentialMask;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, Url};
use sha2::{Digest, Sha256};

/// In bytes, as in MLflow's client. After a failure, a part is sent again as a whole.
const PART: usize = 10 << 20;

/// How often in a row an expired address is replaced.
const RENEWALS: u32 = 3;

/// Replaces the whole file, if there is one.
pub(super) fn upload(workspace: &WorkspaceApi, trace: TraceId, file: &[u8]) -> Result<()> {
    let grant = Grant::ask_for(workspace, trace)?;
    let mut upload = Upload { workspace, trace, grant, renewals: RENEWALS };
    match upload.put(file) {
        Err(Failed::OutOfStep(_)) => upload.put(file),
        done => done,
    }
    .map_err(|(Failed::OutOfStep(error) | Failed::For(error))| error)
}

struct Upload<'u, 'a> {
    workspace: &'u WorkspaceApi<'a>,
    trace: TraceId,
    grant: Grant,
    renewals: u32,
}

impl Upload<'_, '_> {
    fn put(&mut self, file: &[u8]) -> Result<(), Failed> {
        match self.grant.cloud {
            Cloud::Aws | Cloud::Google => self.take(Method::PUT, Vec::new(), AllowedHeaders::All, file),
            Cloud::AzureBlob => self.put_blocks(file),
            Cloud::AzureLake => self.append_parts(file),
        }
    }

    fn put_blocks(&mut self, file: &[u8]) -> Result<(), Failed> {
        let mut list = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<BlockList>\n");
        for (index, part) in file.chunks(PART).enumerate() {
            let id = block_id(index, part);
            list.push_str(&format!("<Uncommitted>{id}</Uncommitted>\n"));
            let query = vec![("comp", "block".to_owned()), ("blockid", id)];
            self.take(Method::PUT, query, AllowedHeaders::Block, part)?;
        }
        list.push_str("</BlockList>");
        let query = vec![("comp", "blocklist".to_owned())];
        self.take(Method::PUT, query, AllowedHeaders::BlockList, list.as_bytes())
    }

    fn append_parts(&mut self, file: &[u8]) -> Result<(), Failed> {
        // An existing file becomes empty.
        self.take(Method::PUT, vec![("resource", "file".to_owned())], AllowedHeaders::LakeFile, &[])?;
        let at = |action: &str, position: usize| {
            vec![("action", action.to_owned()), ("position", position.to_string())]
        };
        let is_single = file.len() <= PART;
        for (index, part) in file.chunks(PART).enumerate() {
            let mut query = at("append", index * PART);
            query.extend(is_single.then(|| ("flush", "true".to_owned())));
            self.take(Method::PATCH, query, AllowedHeaders::LakePart, part)?;
        }
        if is_single {
            return Ok(());
        }
        self.take(Method::PATCH, at("flush", file.len()), AllowedHeaders::LakePart, &[])
    }

    /// Sends the request; replaces an address that may have expired.
    fn take(
        &mut self,
        method: Method,
        query: Vec<(&'static str, String)>,
        headers: AllowedHeaders,
        body: &[u8],
    ) -> Result<(), Failed> {
        loop {
            let request = self.grant.request(&method, &query, headers, body)?;
            let place = place(&request.url);
            // Errors of the request include its address.
            let hidden = |error| without_address(error, &request.url, &place);
            let answer = self.workspace.client.send(&request).map_err(hidden)?;
            if answer.status.is_success() {
                self.renewals = RENEWALS;
                return Ok(());
            }
            let code = error_code(&answer);
            let status = answer.status.as_u16();
            if !may_have_expired(status, &code) || self.renewals == 0 {
                return Err(failure(status, &code, &place));
            }
            self.renewals -= 1;
            self.renew()?;
        }
    }

    fn renew(&mut self) -> Result<()> {
        let cloud = self.grant.cloud;
        self.grant = Grant::ask_for(self.workspace, self.trace)?;
        if self.grant.cloud != cloud {
            return Err(ExportError::transient("Databricks moved to another cloud during an upload"));
        }
        Ok(())
    }
}

/// From the block's content, so that two uploads at once cannot mistake each other's blocks for their own.
/// Azure requires ids of one length in a blob.
fn block_id(index: usize, part: &[u8]) -> String {
    let mut digest = Sha256::new();
    digest.update((index as u64).to_be_bytes());
    digest.update(part);
    STANDARD.encode(&digest.finalize()[..24])
}

/// In bytes. Shorter values are words such as `flush` and versions; a signature has more than forty.
const SHORTEST_SECRET: usize = 16;

/// Why a request to the storage failed.
enum Failed {
    /// Earlier parts are not there as they were sent: another upload interfered, or an answer was lost.
    OutOfStep(ExportError),
    For(ExportError),
}

impl From<ExportError> for Failed {
    fn from(error: ExportError) -> Failed {
        Failed::For(error)
    }
}

/// The part of an address that may be shown.
fn place(url: &str) -> String {
    let host = Url::parse(url).ok().and_then(|url| Some(url.host_str()?.to_owned()));
    format!("the cloud storage at {}", host.as_deref().unwrap_or("an unknown place"))
}

/// The same error, without any part of the address that gives access.
fn without_address(error: ExportError, url: &str, place: &str) -> ExportError {
    reworded(error, |reason| {
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let values = query.split('&').filter_map(|pair| pair.split_once('=')).map(|(_, value)| value);
        let mask = CredentialMask::default();
        for value in values.filter(|value| value.len() >= SHORTEST_SECRET) {
            mask.add(value.as_bytes());
        }
        mask.hide_text(&reason.replace(url, place))
    })
}

/// The cloud's error code. The rest of the answer is not shown: S3 sends back what was signed.
fn error_code(answer: &Answer) -> String {
    let header = answer.headers.get("x-ms-error-code").and_then(|value| value.to_str().ok());
    let body = String::from_utf8_lossy(&answer.body);
    let element = || body.split_once("<Code>")?.1.split_once("</Code>").map(|(code, _)| code);
    let word = header.or_else(element).unwrap_or_default();
    let is_word = word.len() < 80 && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_word { word.to_owned() } else { String::new() }
}

/// S3 and Google's storage answer 400 to an address that was signed with expired credentials.
fn may_have_expired(status: u16, code: &str) -> bool {
    matches!(status, 401 | 403) || code == "ExpiredToken"
}

fn failure(status: u16, word: &str, place: &str) -> Failed {
    let code = if word.is_empty() { String::new() } else { format!(" ({word})") };
    let sentence = format!("{place} refused the spans with HTTP {status}{code}");
    if may_have_expired(status, word) {
        return Failed::For(ExportError::Target(format!(
            "{sentence} (is this machine allowed to reach the workspace's storage?)"
        )));
    }
    match status {
        413 => Failed::For(ExportError::Trace(sentence)),
        400 | 404 | 409 | 412 => Failed::OutOfStep(ExportError::unclear(sentence)),
        500.. => Failed::For(ExportError::transient(sentence)),
        _ => Failed::For(ExportError::unclear(sentence)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::StatusCode;
    use reqwest::header::{HeaderMap, HeaderValue};

    #[test]
    fn blocks_are_named_by_their_place_and_content_in_one_length() {
        let ids = [block_id(0, b"a"), block_id(0, b"b"), block_id(1, b"a")];
        assert!(ids.iter().all(|id| id.len() == 32), "{ids:?}");
        assert!(ids[0] != ids[1] && ids[0] != ids[2]);
        assert_eq!(ids[0], block_id(0, b"a"));
    }

    #[test]
    fn no_part_of_a_signature_is_shown() {
        let url = "https://store.example/c/traces.json?se=1&sig=0123456789abcdef%3D";
        for (reason, shown) in [
            (
                format!("no answer from {url}: refused"),
                "no answer from the cloud storage at store.example: refused",
            ),
            ("503: no sig=0123456789abcdef%3D here".to_owned(), "503: no sig=… here"),
        ] {
            assert_eq!(without_address(ExportError::transient(reason), url, &place(url)).to_string(), shown);
        }
        let mut answer = Answer {
            status: StatusCode::FORBIDDEN,
            headers: HeaderMap::new(),
            body: b"<Error><Code>SignatureDoesNotMatch</Code><StringToSign>secret</StringToSign></Error>"
                .to_vec(),
        };
        assert_eq!(error_code(&answer), "SignatureDoesNotMatch");
        answer.headers.insert("x-ms-error-code", HeaderValue::from_static("AuthenticationFailed"));
        assert_eq!(error_code(&answer), "AuthenticationFailed");
        answer.headers.insert("x-ms-error-code", HeaderValue::from_static("sig=secret"));
        assert_eq!(error_code(&answer), "");
    }
}
