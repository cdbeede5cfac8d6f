//! One conversation with a server: requests one after the other, tried again where that may help.

use crate::export::{ExportError, Patience};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use std::error::Error;
use std::future::Future;
use std::time::Duration;

/// How soon somebody who asks us to end is heard.
const LISTEN: Duration = Duration::from_millis(50);

/// The largest answer that is read: a server is not trusted to be brief.
const LARGEST_ANSWER: usize = 16 << 20;

/// MLflow's defaults: 120 s for a request, 7 tries after the first, 2 s doubled from one to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tries {
    pub timeout: Duration,
    pub retries: u32,
    pub backoff: Duration,
}

impl Default for Tries {
    fn default() -> Tries {
        Tries { timeout: Duration::from_secs(120), retries: 7, backoff: Duration::from_secs(2) }
    }
}

/// What is asked of a server. A body is kept whole, since it may have to be sent again.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: Method,
    pub url: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// What a server said, whatever the status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// Blocks: one thread, one request at a time.
pub struct Client<'a> {
    runtime: tokio::runtime::Runtime,
    http: reqwest::Client,
    tries: Tries,
    patience: Patience<'a>,
}

impl<'a> Client<'a> {
    /// `http` says how connections are made: certificates, proxies, headers that go with every request.
    /// Redirects are an answer like others, so that credentials never follow one.
    pub fn new(
        http: reqwest::ClientBuilder,
        tries: Tries,
        patience: Patience<'a>,
    ) -> Result<Client<'a>, ExportError> {
        // Fails if one is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| ExportError::transient(format!("cannot deliver: {error}")))?;
        let http = http
            .user_agent(concat!("codex-traced/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .timeout(tries.timeout)
            .build()
            .map_err(|error| ExportError::Target(format!("cannot deliver: {}", causes(&error))))?;
        Ok(Client { runtime, http, tries, patience })
    }

    /// The answer, whatever its status, except those that ask to be tried again until they stop being so.
    pub fn send(&self, request: &Request) -> Result<Answer, ExportError> {
        let mut failures = 0;
        loop {
            let (reason, after) = match self.once(request)? {
                Ok(answer) if !may_pass(answer.status) => return Ok(answer),
                Ok(answer) => (format!("{} answered {}", request.url, answer.status), retry_after(&answer)),
                Err(reason) => (reason, None),
            };
            failures += 1;
            let pause =
                after.unwrap_or_else(|| self.tries.backoff.saturating_mul(1 << (failures - 1).min(6)));
            let is_in_time = self.patience.left().is_none_or(|left| pause < left);
            if failures > self.tries.retries || !is_in_time {
                return Err(ExportError::Transient { reason, after });
            }
            self.until_asked_to_end(tokio::time::sleep(pause))?;
        }
    }

    /// One try; the inner error says why there was no answer.
    pub fn once(&self, request: &Request) -> Result<Result<Answer, String>, ExportError> {
        self.until_asked_to_end(async {
            self.exchange(request)
                .await
                .map_err(|error| format!("no answer from {}: {}", request.url, causes(&error)))
        })
    }

    async fn exchange(&self, request: &Request) -> Result<Answer, reqwest::Error> {
        let mut sent = self
            .http
            .request(request.method.clone(), &request.url)
            .headers(request.headers.clone())
            .body(request.body.clone())
            .send()
            .await?;
        let mut body = Vec::new();
        while let Some(chunk) = sent.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > LARGEST_ANSWER {
                body.truncate(LARGEST_ANSWER);
                break;
            }
        }
        Ok(Answer { status: sent.status(), headers: std::mem::take(sent.headers_mut()), body })
    }

    /// The work's result, unless somebody asks us to end, or patience runs out, before it is there.
    fn until_asked_to_end<T>(&self, work: impl Future<Output = T>) -> Result<T, ExportError> {
        let patience = self.patience;
        let end = async {
            loop {
                if (patience.is_asked_to_end)() {
                    return ExportError::Stopped;
                }
                if patience.is_over() {
                    return ExportError::transient("no answer in the time there was");
                }
                tokio::time::sleep(patience.left().map_or(LISTEN, |left| left.min(LISTEN))).await;
            }
        };
        self.runtime.block_on(async {
            let (mut work, mut end) = (std::pin::pin!(work), std::pin::pin!(end));
            std::future::poll_fn(|context| {
                use std::task::Poll;
                if let Poll::Ready(done) = work.as_mut().poll(context) {
                    return Poll::Ready(Ok(done));
                }
                end.as_mut().poll(context).map(Err)
            })
            .await
        })
    }
}

/// Statuses that MLflow's own client tries again.
fn may_pass(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// In seconds. The other form, a date, is rare, and a clock may be off.
fn retry_after(answer: &Answer) -> Option<Duration> {
    answer.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// An error with what lies below it, without the address that reqwest puts into it.
fn causes(error: &reqwest::Error) -> String {
    let mut said = Vec::new();
    let mut at = error.source();
    while let Some(cause) = at {
        said.push(cause.to_string());
        at = cause.source();
    }
    if said.is_empty() { error.to_string() } else { said.join(": ") }
}
