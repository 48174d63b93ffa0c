//! The way to a server: direct, or through the fleet's proxy.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::secret::ReadSecret;
use crate::spec::ProxyUrl;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// The fleet's proxy for `https`.
pub struct Through {
    /// Its address.
    pub https: ProxyUrl,
    /// Hosts, domains and networks that are reached directly.
    pub no_proxy: Vec<String>,
    /// Reads its address with its user, anew for each connection.
    pub open: ReadSecret,
}

/// Connects to servers. What is `https` goes through the proxy if the fleet has one; what is not is
/// on this host or in a private network, and is asked directly.
#[derive(Clone)]
pub(super) struct Way {
    direct: HttpConnector,
    proxy: Option<Arc<Detour>>,
}

/// A proxy, and who is reached by it.
struct Detour {
    matcher: Matcher,
    open: ReadSecret,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way").field("has_proxy", &self.proxy.is_some()).finish_non_exhaustive()
    }
}

impl Way {
    /// A way that takes the proxy where there is one for `https`.
    ///
    /// # Errors
    /// In words: the proxy itself wants TLS, which this does not speak to it.
    pub(super) fn new(direct: HttpConnector, through: Option<Through>) -> Result<Self, String> {
        let Some(Through { https, no_proxy, open }) = through else {
            return Ok(Self { direct, proxy: None });
        };
        if https.address().starts_with("https://") {
            return Err(format!(
                "the proxy {https} cannot be used for forges, because it is asked over TLS itself; \
                 write it with `http://`"
            ));
        }
        let matcher = Matcher::builder().https(https.address()).no(no_proxy.join(",")).build();
        Ok(Self { direct, proxy: Some(Arc::new(Detour { matcher, open })) })
    }
}

impl Service<Uri> for Way {
    type Response = TokioIo<TcpStream>;
    type Error = Failed;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failed>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        self.direct.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let detour = self.proxy.as_ref().filter(|it| it.matcher.intercept(&to).is_some());
        match detour.map(Arc::clone) {
            None => {
                let connecting = self.direct.call(to);
                Box::pin(async move { Ok(connecting.await?) })
            }
            Some(detour) => {
                let direct = self.direct.clone();
                Box::pin(async move { detour.tunnel(direct, to).await })
            }
        }
    }
}

impl Detour {
    async fn tunnel(&self, direct: HttpConnector, to: Uri) -> Result<TokioIo<TcpStream>, Failed> {
        let whole = (self.open)().await?;
        let open = Matcher::builder().https(whole.expose()).build();
        let proxy = open.intercept(&to).ok_or("the proxy's address cannot be used")?;
        let mut tunnel = Tunnel::new(proxy.uri().clone(), direct);
        if let Some(user) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(user.clone());
        }
        Ok(tunnel.call(to).await?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::forge::Secret;

    /// A way by a proxy, whose user is read as these, one after the other.
    fn way(place: &str, users: &[&str]) -> Result<Way, String> {
        let mut direct = HttpConnector::new();
        direct.enforce_http(false);
        let (scheme, host) = place.split_once("://").expect("an address");
        let wholes: Vec<String> =
            users.iter().rev().map(|user| format!("{scheme}://{user}@{host}")).collect();
        let wholes = Arc::new(Mutex::new(wholes));
        let open: ReadSecret = Arc::new(move || {
            let whole = wholes.lock().expect("nobody panicked").pop().map(Secret::new);
            Box::pin(async move { whole.ok_or_else(|| "WORD is not set".to_owned()) })
        });
        let https = ProxyUrl::parse(place).expect("an address");
        Way::new(direct, Some(Through { https, no_proxy: vec![".lan".to_owned()], open }))
    }

    /// Takes a tunnel's head and lets it through.
    async fn head(door: &TcpListener) -> String {
        let (mut client, _) = door.accept().await.expect("a client");
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            client.read_exact(&mut byte).await.expect("a head");
            head.extend_from_slice(&byte);
        }
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("answered");
        String::from_utf8_lossy(&head).to_ascii_lowercase()
    }

    #[tokio::test]
    async fn https_goes_through_the_proxy_with_its_user_and_the_rest_directly() {
        let door = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let place = door.local_addr().expect("its address");
        let users = ["me:p%40ss", "me:renewed"];
        let mut way = way(&format!("http://{place}"), &users).expect("a way");
        // `me:p@ss`, then `me:renewed`.
        for credentials in ["bwu6cebzcw==", "bwu6cmvuzxdlza=="] {
            let to = Uri::from_static("https://forge.test/x");
            let (through, head) = tokio::join!(way.call(to), head(&door));
            through.expect("through the proxy");
            assert!(head.starts_with("connect forge.test:443 "), "{head}");
            let line = format!("proxy-authorization: basic {credentials}");
            assert!(head.contains(&line), "{head}");
        }
        let missing = way.call(Uri::from_static("https://forge.test/x")).await;
        assert_eq!(missing.expect_err("there is no user").to_string(), "WORD is not set");
        let server = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let local = format!("http://{}/x", server.local_addr().expect("its address"));
        way.call(local.parse().expect("an address")).await.expect("directly");
    }

    #[test]
    fn hosts_without_proxy_are_known_and_a_proxy_over_tls_is_refused() {
        let way = way("http://proxy.test:3128", &[]).expect("a way");
        let matcher = &way.proxy.as_ref().expect("a proxy").matcher;
        let asks = |url: &'static str| matcher.intercept(&Uri::from_static(url)).is_some();
        assert!(asks("https://api.github.com/x") && !asks("https://git.lan/x"));
        assert!(!asks("http://api.github.com/x"));
        let refused = self::way("https://proxy.test:3128", &[]).expect_err("TLS");
        assert!(refused.contains("http://"), "{refused}");
    }
}
