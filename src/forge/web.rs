//! One HTTP client for all forges: the host's certificates and the fleet's own, a deadline for
//! each call, bounded answers, no redirect to somewhere else.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue, LOCATION};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::way::{Through, Way};
use crate::causes::with_causes;

/// Forges answer within a second or two; one that does not in this time hangs.
const DEADLINE: Duration = Duration::from_secs(30);
/// Name lookup and TCP; TLS counts for the deadline.
const CONNECT: Duration = Duration::from_secs(10);
/// Servers close idle connections after a minute or more: a call on a closed one has an unknown
/// outcome, so it is given up first.
const IDLE: Duration = Duration::from_secs(30);
/// A page of a hundred runs with all their repositories is about 2 MiB.
const ANSWER_MAX: usize = 16 * 1024 * 1024;
/// A renamed repository answers with one.
const REDIRECTS_MAX: usize = 3;

/// The client. Cheap to clone; all clones share their connections.
#[derive(Debug, Clone)]
pub struct Web {
    client: Client<HttpsConnector<Way>, Full<Bytes>>,
    deadline: Duration,
}

/// A call.
#[derive(Clone)]
pub struct Ask {
    /// The method.
    pub method: Method,
    /// The whole address.
    pub url: String,
    /// The headers, secrets among them.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Ask {
    /// A call without headers and body.
    #[must_use]
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self { method, url: url.into(), headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// Adds a header. A value that no header can have is left out, so the server refuses the call.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(name == hyper::header::AUTHORIZATION);
            self.headers.insert(name, value);
        }
        self
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// A header's text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Why there is no answer. The words hold no header and no body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebError {
    /// The call was never sent.
    #[error("{0}")]
    NotSent(String),
    /// The call was sent, and what became of it is not known.
    #[error("{0}")]
    Lost(String),
}

impl Web {
    /// A client that trusts the host's certificates, and those in `extra_ca` (PEM, may be empty).
    ///
    /// # Errors
    /// When `extra_ca` is not PEM, or when there is no certificate at all.
    pub fn new(extra_ca: &[u8]) -> Result<Self, String> {
        Self::through(extra_ca, None)
    }

    /// The same, through the fleet's proxy.
    ///
    /// # Errors
    /// As [`Self::new`], or when the proxy cannot be used.
    pub fn through(extra_ca: &[u8], proxy: Option<Through>) -> Result<Self, String> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        for certificate in CertificateDer::pem_slice_iter(extra_ca) {
            let certificate =
                certificate.map_err(|error| format!("the `ca` file is not PEM: {error}"))?;
            roots
                .add(certificate)
                .map_err(|error| format!("the `ca` file holds a bad certificate: {error}"))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(CONNECT));
        http.set_nodelay(true);
        let https = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(Way::new(http, proxy)?);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .build(https);
        Ok(Self { client, deadline: DEADLINE })
    }

    /// The same client with another deadline for each call.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Calls, and follows redirects within one server.
    ///
    /// # Errors
    /// [`WebError`].
    pub async fn call(&self, mut ask: Ask) -> Result<Answer, WebError> {
        let late = || {
            let secs = self.deadline.as_secs();
            WebError::Lost(format!("{} did not answer within {secs} s", host_of(&ask.url)))
        };
        let late = late();
        let work = async {
            for _ in 0..REDIRECTS_MAX {
                let answer = self.once(&ask).await?;
                match redirect(&ask, &answer)? {
                    None => return Ok(answer),
                    Some(next) => ask = next,
                }
            }
            Err(WebError::NotSent(format!("{} redirects in a circle", host_of(&ask.url))))
        };
        tokio::time::timeout(self.deadline, work).await.unwrap_or(Err(late))
    }

    async fn once(&self, ask: &Ask) -> Result<Answer, WebError> {
        let host = host_of(&ask.url);
        let mut request = Request::builder()
            .method(ask.method.clone())
            .uri(&ask.url)
            .body(Full::new(ask.body.clone()))
            .map_err(|error| WebError::NotSent(format!("`{}` is no address: {error}", ask.url)))?;
        *request.headers_mut() = ask.headers.clone();
        let response = self.client.request(request).await.map_err(|error| {
            let words = with_causes(&error);
            if error.is_connect() {
                WebError::NotSent(format!("{host} cannot be reached: {words}"))
            } else {
                WebError::Lost(format!("the connection to {host} broke: {words}"))
            }
        })?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_MAX).collect().await.map_err(|error| {
            WebError::Lost(format!("the answer of {host} broke off: {}", with_causes(&*error)))
        })?;
        Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
    }
}

/// The call that a redirect asks for; whoever redirects has not carried it out. The secrets go to
/// no other server.
fn redirect(ask: &Ask, answer: &Answer) -> Result<Option<Ask>, WebError> {
    let is_redirect = matches!(answer.status.as_u16(), 301 | 302 | 307 | 308);
    let Some(target) = answer.headers.get(LOCATION).filter(|_| is_redirect) else {
        return Ok(None);
    };
    let target = target.to_str().unwrap_or_default();
    let url = if target.starts_with('/') {
        format!("{}{target}", origin_of(&ask.url))
    } else {
        target.to_owned()
    };
    if !same_origin(&url, &ask.url) {
        let words = format!("{} redirects to another server", host_of(&ask.url));
        return Err(WebError::NotSent(words));
    }
    Ok(Some(Ask { url, ..ask.clone() }))
}

/// Whether two addresses are on one server.
pub(super) fn same_origin(one: &str, other: &str) -> bool {
    !origin_of(one).is_empty() && origin_of(one) == origin_of(other)
}

/// Scheme, host and port.
fn origin_of(url: &str) -> String {
    let Ok(uri) = url.parse::<Uri>() else { return String::new() };
    match (uri.scheme_str(), uri.authority()) {
        (Some(scheme), Some(authority)) => {
            format!("{scheme}://{}", authority.as_str().to_ascii_lowercase())
        }
        _ => String::new(),
    }
}

/// Host and port, for words.
pub(super) fn host_of(url: &str) -> String {
    match url.parse::<Uri>().ok().and_then(|uri| uri.authority().map(ToString::to_string)) {
        Some(host) => host,
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_is_scheme_host_and_port() {
        assert!(same_origin("https://api.github.com/a?x=1", "https://API.github.com/b"));
        for other in ["http://api.github.com/a", "https://api.github.com:8443/a", "/a", "x"] {
            assert!(!same_origin(other, "https://api.github.com/a"), "{other}");
        }
        assert!(!same_origin("x", "x"));
    }

    #[test]
    fn a_redirect_keeps_to_its_server() {
        let ask = Ask::new(Method::DELETE, "https://api.github.com/repos/a/b");
        let answer = |status: u16, to: &str| Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::from_iter([(LOCATION, HeaderValue::from_str(to).unwrap())]),
            body: Bytes::new(),
        };
        let next = redirect(&ask, &answer(307, "/repositories/7")).unwrap().unwrap();
        assert_eq!(next.url, "https://api.github.com/repositories/7");
        assert_eq!(next.method, Method::DELETE);
        assert!(redirect(&ask, &answer(301, "https://evil.example/x")).is_err());
        assert!(redirect(&ask, &answer(200, "/x")).unwrap().is_none());
    }

    #[test]
    fn a_ca_that_is_no_pem_is_refused_and_none_is_taken() {
        assert!(Web::new(b"").is_ok());
        let broken = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        assert!(Web::new(broken).unwrap_err().contains("ca"), "a broken certificate is told");
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_was_not_called() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/x", free.local_addr().unwrap());
        drop(free);
        let web = Web::new(b"").unwrap();
        let error = web.call(Ask::new(Method::GET, url)).await.unwrap_err();
        assert!(matches!(error, WebError::NotSent(_)), "{error:?}");
    }
}
