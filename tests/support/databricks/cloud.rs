//! Cloud storage behind signed addresses: S3, Google's, and Azure's two.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Answer, Exchange};

/// Below which the storage's paths are.
pub(super) const ROOT: &str = "/storage/";

/// The size of the parts that MLflow's client uploads to Azure.
pub const PART: usize = 10 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cloud {
    Aws,
    Google,
    AzureBlob,
    AzureLake,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Upload,
    Download,
}

#[derive(Debug, Default)]
pub(super) struct Storage {
    files: BTreeMap<String, Vec<u8>>,
    /// Of a file, blocks that are in no list yet.
    blocks: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// Of a file, what was appended and not flushed.
    appended: BTreeMap<String, Vec<u8>>,
    /// By signature.
    addresses: BTreeMap<String, Address>,
}

#[derive(Clone, Debug)]
struct Address {
    cloud: Cloud,
    file: String,
    purpose: Purpose,
    uses_left: usize,
}

/// In the cloud's words.
pub(super) fn refusal(status: u16, code: &'static str) -> Answer {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>No.</Message></Error>");
    let headers = vec![("content-type", "application/xml".to_owned()), ("x-ms-error-code", code.to_owned())];
    Answer { status, headers, body: body.into_bytes() }
}

impl Cloud {
    /// What must be sent with a signed upload, or nothing is stored.
    fn headers(self) -> Vec<(&'static str, &'static str)> {
        match self {
            Cloud::Aws => vec![("x-amz-server-side-encryption", "AES256")],
            Cloud::Google => vec![("x-goog-encryption-kms-key-name", "key")],
            // The first is only for some of the requests, so a client must know which.
            Cloud::AzureBlob | Cloud::AzureLake => {
                vec![("x-ms-blob-type", "BlockBlob"), ("x-ms-version", "2021-08-06")]
            }
        }
    }

    fn signature(self) -> &'static str {
        match self {
            Cloud::Aws => "X-Amz-Signature",
            Cloud::Google => "X-Goog-Signature",
            Cloud::AzureBlob | Cloud::AzureLake => "sig",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Cloud::Aws => "AWS_PRESIGNED_URL",
            Cloud::Google => "GCP_SIGNED_URL",
            Cloud::AzureBlob => "AZURE_SAS_URI",
            Cloud::AzureLake => "AZURE_ADLS_GEN2_SAS_URI",
        }
    }

    fn expired(self) -> Answer {
        match self {
            Cloud::Aws => refusal(403, "AccessDenied"),
            // Not 403, unlike all others.
            Cloud::Google => refusal(400, "ExpiredToken"),
            Cloud::AzureBlob | Cloud::AzureLake => refusal(403, "AuthenticationFailed"),
        }
    }
}

impl Storage {
    pub(super) fn file(&self, trace: &str) -> Option<Vec<u8>> {
        self.files.get(&path_of(trace)).cloned()
    }

    /// A `credential_info`.
    pub(super) fn sign(
        &mut self,
        cloud: Cloud,
        host: &str,
        trace: &str,
        purpose: Purpose,
        uses_left: usize,
    ) -> Value {
        let file = path_of(trace);
        // With characters that an address must not lose or change.
        let signature = format!("Signature+{:04}/=", self.addresses.len() + 1);
        let parameter: String = form_urlencoded::byte_serialize(signature.as_bytes()).collect();
        let address = format!("{host}{file}?{}={parameter}&se=2030-01-01T00%3A00%3A00Z", cloud.signature());
        self.addresses.insert(signature, Address { cloud, file, purpose, uses_left });
        let headers: Vec<Value> = match purpose {
            Purpose::Upload => {
                cloud.headers().iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
            }
            Purpose::Download => Vec::new(),
        };
        json!({"type": cloud.name(), "signed_uri": address, "headers": headers})
    }

    pub(super) fn answer(&mut self, asked: &Exchange) -> Answer {
        if asked.header("authorization").is_some() {
            // Two ways to prove a right are one too many.
            return refusal(400, "InvalidArgument");
        }
        let signature =
            ["X-Amz-Signature", "X-Goog-Signature", "sig"].iter().find_map(|name| asked.parameter(name));
        let Some(address) = signature.and_then(|signature| self.addresses.get_mut(signature)) else {
            return refusal(403, "SignatureDoesNotMatch");
        };
        let cloud = address.cloud;
        let is_for_this = (asked.method == "GET") == (address.purpose == Purpose::Download);
        if address.file != asked.path || !is_for_this || asked.parameter("se").is_none() {
            return refusal(403, "SignatureDoesNotMatch");
        }
        if address.uses_left == 0 {
            return cloud.expired();
        }
        address.uses_left -= 1;
        if asked.method == "GET" {
            return match self.files.get(&asked.path) {
                Some(file) => Answer { status: 200, headers: Vec::new(), body: file.clone() },
                None => refusal(404, "NoSuchKey"),
            };
        }
        if asked.header("content-length").is_none() {
            return refusal(411, "MissingContentLengthHeader");
        }
        match cloud {
            Cloud::Aws | Cloud::Google => self.put_whole(cloud, asked),
            Cloud::AzureBlob => self.put_block(asked),
            Cloud::AzureLake => self.change_lake(asked),
        }
    }

    fn put_whole(&mut self, cloud: Cloud, asked: &Exchange) -> Answer {
        if cloud.headers().iter().any(|(name, value)| asked.header(name) != Some(value)) {
            // The signature covers them.
            return refusal(403, "SignatureDoesNotMatch");
        }
        if asked.method != "PUT" {
            return refusal(405, "MethodNotAllowed");
        }
        self.files.insert(asked.path.clone(), asked.body.clone());
        Answer::empty(200)
    }

    fn put_block(&mut self, asked: &Exchange) -> Answer {
        let blob_type = asked.header("x-ms-blob-type");
        match (asked.method.as_str(), asked.parameter("comp")) {
            ("PUT", Some("block")) => {
                let Some(id) = asked.parameter("blockid").filter(|id| STANDARD.decode(id).is_ok()) else {
                    return refusal(400, "InvalidQueryParameterValue");
                };
                if blob_type.is_some_and(|told| told != "BlockBlob") {
                    return refusal(400, "InvalidHeaderValue");
                }
                let blocks = self.blocks.entry(asked.path.clone()).or_default();
                if blocks.keys().any(|known| known.len() != id.len()) {
                    return refusal(400, "InvalidBlobOrBlock");
                }
                blocks.insert(id.to_owned(), asked.body.clone());
                Answer::empty(201)
            }
            ("PUT", Some("blocklist")) if blob_type.is_some() => refusal(400, "UnsupportedHeader"),
            ("PUT", Some("blocklist")) => {
                let text = String::from_utf8_lossy(&asked.body).into_owned();
                let listed = text.split("<Uncommitted>").skip(1);
                let ids = listed.filter_map(|rest| rest.split_once("</Uncommitted>").map(|(id, _)| id));
                let blocks = self.blocks.entry(asked.path.clone()).or_default();
                let found: Option<Vec<&[u8]>> = ids.map(|id| blocks.get(id).map(Vec::as_slice)).collect();
                let Some(found) = found.filter(|_| text.contains("<BlockList>")) else {
                    return refusal(400, "InvalidBlockList");
                };
                self.files.insert(asked.path.clone(), found.concat());
                // Blocks that no list names are forgotten with it.
                blocks.clear();
                Answer::empty(201)
            }
            ("PUT", None) if blob_type.is_none() => refusal(400, "MissingRequiredHeader"),
            ("PUT", None) => {
                self.files.insert(asked.path.clone(), asked.body.clone());
                Answer::empty(201)
            }
            _ => refusal(400, "InvalidQueryParameterValue"),
        }
    }

    fn change_lake(&mut self, asked: &Exchange) -> Answer {
        if asked.header("x-ms-blob-type").is_some() {
            return refusal(400, "UnsupportedHeader");
        }
        let position = asked.parameter("position").and_then(|position| position.parse::<usize>().ok());
        match (asked.method.as_str(), asked.parameter("resource"), asked.parameter("action"), position) {
            ("PUT", Some("file"), None, None) => {
                self.files.insert(asked.path.clone(), Vec::new());
                self.appended.insert(asked.path.clone(), Vec::new());
                Answer::empty(201)
            }
            ("PATCH", None, Some(action @ ("append" | "flush")), Some(position)) => {
                let Some(appended) = self.appended.get_mut(&asked.path) else {
                    return refusal(404, "PathNotFound");
                };
                if position != appended.len() {
                    return refusal(400, "InvalidFlushPosition");
                }
                if action == "append" && asked.body.is_empty() {
                    return refusal(400, "InvalidInput");
                }
                appended.extend_from_slice(&asked.body);
                if action == "flush" || asked.parameter("flush") == Some("true") {
                    self.files.insert(asked.path.clone(), appended.clone());
                }
                Answer::empty(if action == "append" { 202 } else { 200 })
            }
            _ => refusal(400, "InvalidQueryParameterValue"),
        }
    }
}

fn path_of(trace: &str) -> String {
    format!("{ROOT}{trace}/traces.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, signed: &Value, more: &str, headers: &[(&str, &str)], body: &[u8]) -> Exchange {
        let address = signed["signed_uri"].as_str().unwrap().strip_prefix("http://h").unwrap();
        let (path, query) = address.split_once('?').unwrap();
        let length = ("content-length".to_owned(), body.len().to_string());
        let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        Exchange {
            method: method.to_owned(),
            path: path.to_owned(),
            query: form_urlencoded::parse(format!("{query}{more}").as_bytes()).into_owned().collect(),
            headers: headers.chain([length]).collect(),
            body: body.to_vec(),
            status: 0,
        }
    }

    fn signed(storage: &mut Storage, cloud: Cloud, uses: usize) -> Value {
        storage.sign(cloud, "http://h", "tr-1", Purpose::Upload, uses)
    }

    const BLOCK: (&str, &str) = ("x-ms-blob-type", "BlockBlob");

    #[test]
    fn s3_refuses_a_second_proof_a_missing_header_and_an_old_address() {
        let mut storage = Storage::default();
        let address = signed(&mut storage, Cloud::Aws, 2);
        let sse = ("x-amz-server-side-encryption", "AES256");
        let mut put =
            |headers: &[(&str, &str)]| storage.answer(&asked("PUT", &address, "", headers, b"x")).status;
        assert_eq!(put(&[sse, ("authorization", "Bearer x")]), 400);
        assert_eq!(put(&[]), 403);
        assert_eq!(put(&[sse]), 200);
        assert_eq!(put(&[sse]), 403, "expired");
    }

    #[test]
    fn azures_blobs_are_made_of_blocks_that_it_knows() {
        let mut storage = Storage::default();
        let address = signed(&mut storage, Cloud::AzureBlob, usize::MAX);
        let mut put = |more: &str, headers: &[(&str, &str)], body: &[u8]| {
            storage.answer(&asked("PUT", &address, more, headers, body)).status
        };
        assert_eq!(put("", &[], b"x"), 400, "a blob has a type");
        assert_eq!(put("&comp=block&blockid=YQ%3D%3D", &[("x-ms-blob-type", "PageBlob")], b"x"), 400);
        assert_eq!(put("&comp=block&blockid=a", &[BLOCK], b"x"), 400, "no base64");
        assert_eq!(put("&comp=block&blockid=YQ%3D%3D", &[BLOCK], b"x"), 201);
        assert_eq!(put("&comp=block&blockid=YWFh", &[BLOCK], b"y"), 201);
        assert_eq!(put("&comp=block&blockid=YWFhYWFh", &[BLOCK], b"y"), 400, "of another length");
        let list = b"<BlockList><Uncommitted>YWFh</Uncommitted><Uncommitted>YQ==</Uncommitted></BlockList>";
        assert_eq!(put("&comp=blocklist", &[BLOCK], list), 400, "no header for a list");
        assert_eq!(put("&comp=blocklist", &[], list), 201);
        assert_eq!(put("&comp=blocklist", &[], list), 400, "they are in a blob now");
        assert_eq!(storage.file("tr-1").as_deref(), Some(&b"yx"[..]));
    }

    #[test]
    fn azures_lake_takes_parts_only_one_behind_the_other() {
        let mut storage = Storage::default();
        let address = signed(&mut storage, Cloud::AzureLake, usize::MAX);
        let mut ask = |method: &str, more: &str, body: &[u8]| {
            storage.answer(&asked(method, &address, more, &[], body)).status
        };
        assert_eq!(ask("PATCH", "&action=append&position=0", b"x"), 404, "no file yet");
        assert_eq!(ask("PUT", "&resource=file", b""), 201);
        assert_eq!(ask("PATCH", "&action=append&position=0", b"xy"), 202);
        assert_eq!(ask("PATCH", "&action=append&position=0", b"xy"), 400);
        assert_eq!(ask("PATCH", "&action=append&position=2", b"z"), 202);
        assert_eq!(ask("PATCH", "&action=flush&position=2", b""), 400);
        assert_eq!(ask("PATCH", "&action=flush&position=3", b""), 200);
        assert_eq!(storage.file("tr-1").as_deref(), Some(&b"xyz"[..]));
    }
}
