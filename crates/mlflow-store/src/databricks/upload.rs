//! Uploads the file of spans to the cloud's storage, by a signed address that Databricks gives.
//!
//! A signed address is a credential. It goes only to the cloud, and Databricks' token never goes there.

use super::signed::{AllowedHeaders, Cloud, Grant};
use super::storage::{Failed, error_code, failure, may_have_expired, place, without_address};
use super::workspace::WorkspaceApi;
use crate::exporter::ExportError;
use crate::ids::TraceId;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use sha2::{Digest, Sha256};

/// In bytes, as in MLflow's client. After a failure, a part is sent again as a whole.
const PART: usize = 10 << 20;

/// How often in a row an expired address is replaced.
const RENEWALS: u32 = 3;

/// Replaces the whole file, if there is one.
pub(super) fn upload(workspace: &WorkspaceApi, trace: TraceId, file: &[u8]) -> Result<(), ExportError> {
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
            let answer = self.workspace.client().send(&request).map_err(hidden)?;
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

    fn renew(&mut self) -> Result<(), ExportError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_named_by_their_place_and_content_in_one_length() {
        let ids = [block_id(0, b"a"), block_id(0, b"b"), block_id(1, b"a")];
        assert!(ids.iter().all(|id| id.len() == 32), "{ids:?}");
        assert!(ids[0] != ids[1] && ids[0] != ids[2]);
        assert_eq!(ids[0], block_id(0, b"a"));
    }
}
