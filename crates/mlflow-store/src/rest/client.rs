//! A blocking HTTP client: requests one after the other, tried again where that may help.

use super::answer::{Answer, cannot_connect, may_pass, message, no_answer, retry_after};
use super::credential_mask::CredentialMask;
use crate::exporter::{ExportError, Patience, Result, jitter};
use reqwest::header::{HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode};
use std::cell::Cell;
use std::future::Future;
use std::time::{Duration, Instant};

/// How often a wait checks whether the process is asked to stop.
const LISTEN: Duration = Duration::from_millis(50);

/// The largest answer that is read, in bytes: servers are not trusted.
pub(crate) const LARGEST_ANSWER: usize = 16 << 20;

/// The longest pause that the client waits for; the spool keeps longer ones.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The slowest connection that a large body may have, in bytes per second.
const SLOWEST: u64 = 64 << 10;

/// MLflow's defaults: 120 s for a request, 7 tries after the first, 2 s doubled from one to the next, and up
/// to one more second so that many clients do not come back at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RequestPolicy {
    pub timeout: Duration,
    pub retries: u32,
    pub backoff: Duration,
    pub jitter: Duration,
}

impl Default for RequestPolicy {
    fn default() -> RequestPolicy {
        RequestPolicy {
            timeout: Duration::from_secs(120),
            retries: 7,
            backoff: Duration::from_secs(2),
            jitter: Duration::from_secs(1),
        }
    }
}

impl RequestPolicy {
    /// How long to wait after this many failures; `chance` is between 0 and 1.
    fn pause(&self, failures: u32, chance: f64) -> Duration {
        let doubled = self.backoff.saturating_mul(1 << failures.saturating_sub(1).min(6));
        doubled.saturating_add(self.jitter.mul_f64(chance))
    }
}

/// A request. Its body is kept whole, since it may be sent again.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub method: Method,
    pub url: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// Blocks: one thread, one request at a time.
pub(crate) struct Client<'a> {
    /// Taken only when dropped.
    runtime: Option<tokio::runtime::Runtime>,
    http: reqwest::Client,
    policy: RequestPolicy,
    patience: Patience<'a>,
    /// The statuses after which a request is sent again.
    may_be_repeated: fn(StatusCode) -> bool,
    /// When requests give up, if that is before patience ends.
    turn: Cell<Option<Instant>>,
    /// The credentials to hide in every refusal. `send` and `once` add the sensitive headers of their requests.
    pub(crate) mask: CredentialMask,
}

impl<'a> Client<'a> {
    /// `http` has the certificates, the proxies, and the headers of every request. The client follows no
    /// redirect, so that credentials never do.
    pub(crate) fn new(
        http: reqwest::ClientBuilder,
        policy: RequestPolicy,
        patience: Patience<'a>,
    ) -> Result<Client<'a>> {
        // Fails if one is installed already, which is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| ExportError::transient(format!("cannot deliver: {error}")))?;
        let http = http
            .user_agent(concat!("codex-traced/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .build()
            .map_err(|error| cannot_connect(&error))?;
        Ok(Client {
            runtime: Some(runtime),
            http,
            policy,
            patience,
            may_be_repeated: may_pass,
            turn: Cell::new(None),
            mask: CredentialMask::default(),
        })
    }

    /// Replaces the statuses after which a request is sent again; MLflow's are the usual ones.
    pub(crate) fn repeating_after(mut self, may_be_repeated: fn(StatusCode) -> bool) -> Client<'a> {
        self.may_be_repeated = may_be_repeated;
        self
    }

    /// Requests give up at this time, if patience lasts longer.
    pub(crate) fn give_up_at(&self, at: Option<Instant>) {
        self.turn.set(at);
    }

    /// The time that is left; None for no limit.
    fn left(&self) -> Option<Duration> {
        let of_turn = self.turn.get().map(|until| until.saturating_duration_since(Instant::now()));
        self.patience.left().into_iter().chain(of_turn).min()
    }

    /// The answer, of any status that no further try changes.
    pub(crate) fn send(&self, request: &Request) -> Result<Answer> {
        let mut failures = 0;
        loop {
            let (reason, after, status) = match self.once(request)? {
                Ok(answer) if !(self.may_be_repeated)(answer.status) => return Ok(answer),
                Ok(answer) => (
                    format!("{} answered {}{}", request.url, answer.status, message(&answer)),
                    retry_after(&answer.headers),
                    Some(answer.status.as_u16()),
                ),
                Err(reason) => (reason, None, None),
            };
            failures += 1;
            // A server may ask for a longer pause than the limit; our own pauses never exceed it.
            let ours = || self.policy.pause(failures, jitter()).min(LONGEST_PAUSE.max(self.policy.backoff));
            let pause = after.unwrap_or_else(ours);
            let is_in_time = pause <= LONGEST_PAUSE.max(self.policy.backoff)
                && self.left().is_none_or(|left| pause < left);
            if failures > self.policy.retries || !is_in_time {
                return Err(ExportError::Transient { reason, after, status });
            }
            (self.patience.retrying)(&reason, pause);
            // Within async, because a timer needs the runtime.
            self.until_asked_to_end(request, async { tokio::time::sleep(pause).await })?;
        }
    }

    /// Sends once. The inner error is the reason why no answer came; the outer one is for causes that no
    /// further try removes.
    pub(crate) fn once(&self, request: &Request) -> Result<Result<Answer, String>> {
        match self.until_asked_to_end(request, self.exchange(request))? {
            Ok(answer) => Ok(Ok(answer)),
            Err(error) => no_answer(&request.url, &error).map(Err),
        }
    }

    async fn exchange(&self, request: &Request) -> Result<Answer, reqwest::Error> {
        self.mask.add_headers(&request.headers);
        let size = u64::try_from(request.body.len()).unwrap_or(u64::MAX);
        let mut sent = self
            .http
            .request(request.method.clone(), &request.url)
            .headers(request.headers.clone())
            .timeout(self.policy.timeout.saturating_add(Duration::from_secs(size / SLOWEST)))
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
        let (status, mut headers) = (sent.status(), std::mem::take(sent.headers_mut()));
        // A successful answer is parsed and never shown, and a password may equal a word of it.
        if !status.is_success() {
            body = self.mask.hide(body);
            if let Some(to) = headers.get_mut(LOCATION) {
                let hidden = HeaderValue::from_bytes(&self.mask.hide(to.as_bytes().to_vec()));
                *to = hidden.unwrap_or(HeaderValue::from_static("somewhere else"));
            }
        }
        Ok(Answer { status, headers, body })
    }

    /// The work's result, unless the process is asked to stop, or patience ends, before that.
    fn until_asked_to_end<T>(&self, request: &Request, work: impl Future<Output = T>) -> Result<T> {
        let runtime = self.runtime.as_ref().expect("the runtime is there until the client is dropped");
        runtime.block_on(async {
            let (mut work, mut pause) = (std::pin::pin!(work), Duration::ZERO);
            loop {
                if let Ok(done) = tokio::time::timeout(pause, work.as_mut()).await {
                    return Ok(done);
                }
                if (self.patience.is_asked_to_end)() {
                    return Err(ExportError::Stopped);
                }
                pause = self.left().map_or(LISTEN, |left| left.min(LISTEN));
                if pause == Duration::ZERO {
                    let reason = format!("no answer from {} in the time there was", request.url);
                    return Err(ExportError::transient(reason));
                }
            }
        })
    }
}

impl Drop for Client<'_> {
    /// Does not wait for a DNS lookup that is still running.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit() {
        let policy = RequestPolicy::default();
        let seconds = |failures, chance| policy.pause(failures, chance).as_secs_f64();
        let pauses = [1, 2, 3, 7, 40].map(|failures| seconds(failures, 0.0));
        assert_eq!(pauses, [2.0, 4.0, 8.0, 128.0, 128.0]);
        assert_eq!((seconds(1, 0.5), seconds(1, 1.0)), (2.5, 3.0));
        let none = RequestPolicy { backoff: Duration::ZERO, jitter: Duration::ZERO, ..policy };
        assert_eq!(none.pause(9, 1.0), Duration::ZERO);
    }

    #[test]
    fn each_retry_is_reported_with_reason_and_pause() {
        // The listener is dropped at once, so the port refuses connections.
        let refusing = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let reports = std::cell::RefCell::new(Vec::new());
        let retrying = |reason: &str, pause| reports.borrow_mut().push((reason.to_owned(), pause));
        let patience = Patience { until: None, is_asked_to_end: &|| false, retrying: &retrying };
        let policy = RequestPolicy {
            retries: 2,
            backoff: Duration::from_millis(1),
            jitter: Duration::ZERO,
            ..RequestPolicy::default()
        };
        let client = Client::new(reqwest::Client::builder().no_proxy(), policy, patience).unwrap();
        let url = format!("http://{refusing}/version");
        let request = Request { method: Method::GET, url, headers: HeaderMap::new(), body: Vec::new() };
        assert!(matches!(client.send(&request), Err(ExportError::Transient { .. })));
        let reports = reports.take();
        assert_eq!(reports.iter().map(|(_, pause)| pause.as_millis()).collect::<Vec<_>>(), [1, 2]);
        assert!(reports.iter().all(|(reason, _)| reason.contains("refused")), "{reports:?}");
    }
}
