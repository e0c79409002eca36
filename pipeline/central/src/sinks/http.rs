//! HTTP as the sinks use it: one server of several, with credentials, a bounded answer, no surprises.

use super::NotNow;
use super::config::Credentials;
use base64::Engine as _;
use std::time::Duration;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

/// A server that takes longer is away, and the batch is sent again.
const TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// More than the answer to the largest batch.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// How much of an answer an error shows.
const SHOWN_CHARS: usize = 300;

/// A server, and how to log in.
pub(super) struct Client {
    agent: Agent,
    /// Without a slash at the end.
    urls: Vec<String>,
    /// Which of them is asked; the next one after a failure.
    current: usize,
    authorization: Option<String>,
}

/// What a server said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the server refuses what was sent for what it is: it is no use to send it again. Others of its
    /// refusals are of who sent it, of when, or of where to.
    pub(super) fn blames_content(&self) -> bool {
        blames_content(self.status)
    }

    /// For a message: the status and the beginning of the body, without control characters.
    pub(super) fn shown(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        let text: String = text.chars().take(SHOWN_CHARS).map(plain).collect();
        format!("status {}: {}", self.status, text.trim())
    }
}

/// 400, or that it is too large or cannot be processed.
pub(super) fn blames_content(status: u16) -> bool {
    matches!(status, 400 | 413 | 422)
}

impl Client {
    /// # Errors
    /// The file of certificates cannot be used.
    pub(super) fn new(
        urls: &[String],
        credentials: Option<&Credentials>,
        ca: Option<&[u8]>,
    ) -> Result<Self, String> {
        let roots = match ca {
            Some(pem) => {
                let certificate = Certificate::from_pem(pem).map_err(|error| error.to_string())?;
                RootCerts::new_with_certs(&[certificate])
            }
            None => RootCerts::PlatformVerifier,
        };
        let tls = TlsConfig::builder().provider(TlsProvider::NativeTls).root_certs(roots).build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .max_redirects(0)
            .user_agent(concat!("logweir/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls)
            .build();
        let authorization = credentials.map(|credentials| {
            let pair = format!("{}:{}", credentials.user, credentials.password);
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
        });
        Ok(Self { agent: config.new_agent(), urls: urls.to_vec(), current: 0, authorization })
    }

    /// Sends a request; `path` begins with a slash.
    ///
    /// # Errors
    /// No answer. The next request goes to the next server.
    pub(super) fn send(
        &mut self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &[u8],
    ) -> Result<Answer, NotNow> {
        let url = format!("{}{path}", self.urls[self.current]);
        let answer = self.exchange(method, &url, content_type, body);
        if !matches!(&answer, Ok(answer) if answer.status < 500) {
            self.current = (self.current + 1) % self.urls.len();
        }
        answer
    }

    fn exchange(
        &self,
        method: &str,
        url: &str,
        content_type: &str,
        body: &[u8],
    ) -> Result<Answer, NotNow> {
        // What is behind the question mark may be a whole statement.
        let place = url.split('?').next().unwrap_or(url);
        let failed = |error: ureq::Error| NotNow(format!("{place}: {error}"));
        let mut request = match method {
            "PUT" => self.agent.put(url),
            _ => self.agent.post(url),
        };
        request = request.header("content-type", content_type);
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let mut response = request.send(body).map_err(failed)?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        Ok(Answer { status, body: body.map_err(failed)? })
    }
}
