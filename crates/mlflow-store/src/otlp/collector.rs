//! Requests to a collector.

use super::refusal::{refused, rejected};
use crate::exporter::{ExportError, Result};
use crate::rest::answer::{Answer, is_page};
use crate::rest::client::{Client, Request};
use flate2::Compression as Level;
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use reqwest::Method;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use std::io::Write;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
}

pub(super) struct Collector<'a> {
    pub(super) client: Client<'a>,
    /// As the target is written, without credentials.
    pub(super) address: String,
    pub(super) url: String,
    pub(super) compression: Compression,
}

impl Collector<'_> {
    /// The answer to a request with this body, of any status.
    pub(super) fn ask(&self, body: Vec<u8>) -> Result<Answer> {
        self.client.send(&self.request(body)?)
    }

    /// An error where the collector did not take all spans of a request.
    pub(super) fn check(&self, answer: &Answer) -> Result<()> {
        if !answer.status.is_success() || is_page(answer) {
            return Err(refused(&self.address, answer));
        }
        // An answer of another type than protobuf reports no spans.
        let response = ExportTraceServiceResponse::decode(answer.body.as_slice()).unwrap_or_default();
        match response.partial_success.filter(|partial| partial.rejected_spans > 0) {
            None => Ok(()),
            Some(partial) => Err(rejected(&self.address, partial.rejected_spans, &partial.error_message)),
        }
    }

    fn request(&self, body: Vec<u8>) -> Result<Request> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let body = match self.compression {
            Compression::None => body,
            Compression::Gzip => {
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                gzip(&body)
                    .map_err(|error| ExportError::transient(format!("cannot compress spans: {error}")))?
            }
        };
        Ok(Request { method: Method::POST, url: self.url.clone(), headers, body })
    }
}

fn gzip(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
    encoder.write_all(body)?;
    encoder.finish()
}
