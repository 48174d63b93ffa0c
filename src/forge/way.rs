//! The way to a server: direct, or through the fleet's proxy.

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

use crate::spec::Proxy;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Connects to servers. What is `https` goes through the proxy if the fleet has one; what is not is
/// on this host or in a private network, and is asked directly.
#[derive(Debug, Clone)]
pub(super) struct Way {
    direct: HttpConnector,
    proxy: Option<Arc<Matcher>>,
}

impl Way {
    /// A way that takes the proxy where there is one for `https`.
    ///
    /// # Errors
    /// In words: the proxy itself wants TLS, which this does not speak to it.
    pub(super) fn new(direct: HttpConnector, proxy: Option<&Proxy>) -> Result<Self, String> {
        let Some((proxy, url)) = proxy.and_then(|it| Some((it, it.https.as_ref()?))) else {
            return Ok(Self { direct, proxy: None });
        };
        if url.reveal().starts_with("https://") {
            return Err(format!(
                "the proxy {url} cannot be used for forges, because it is asked over TLS itself; \
                 write it with `http://`"
            ));
        }
        let builder = Matcher::builder().https(url.reveal()).no(proxy.no_proxy.join(","));
        Ok(Self { direct, proxy: Some(Arc::new(builder.build())) })
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
        match self.proxy.as_ref().and_then(|proxy| proxy.intercept(&to)) {
            None => {
                let connecting = self.direct.call(to);
                Box::pin(async move { Ok(connecting.await?) })
            }
            Some(proxy) => {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), self.direct.clone());
                if let Some(user) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(user.clone());
                }
                let connecting = tunnel.call(to);
                Box::pin(async move { Ok(connecting.await?) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::spec::ProxyUrl;

    fn proxy(url: &str) -> Proxy {
        let https = ProxyUrl::parse(url).ok();
        Proxy { http: None, https, no_proxy: vec![".lan".to_owned()] }
    }

    fn way(proxy: &Proxy) -> Result<Way, String> {
        let mut direct = HttpConnector::new();
        direct.enforce_http(false);
        Way::new(direct, Some(proxy))
    }

    #[tokio::test]
    async fn https_goes_through_the_proxy_with_its_user_and_the_rest_directly() {
        let door = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let place = door.local_addr().expect("its address");
        let proxy = proxy(&format!("http://me:p%40ss@{place}"));
        let mut way = way(&proxy).expect("a way");
        let asked = tokio::spawn(async move {
            let (mut client, _) = door.accept().await.expect("a client");
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") {
                client.read_exact(&mut byte).await.expect("a head");
                head.extend_from_slice(&byte);
            }
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("answered");
            String::from_utf8_lossy(&head).into_owned()
        });
        way.call(Uri::from_static("https://forge.test/x")).await.expect("through the proxy");
        let head = asked.await.expect("what was asked").to_ascii_lowercase();
        assert!(head.starts_with("connect forge.test:443 "), "{head}");
        // `me:p@ss`.
        assert!(head.contains("proxy-authorization: basic bwu6cebzcw=="), "{head}");
        let server = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let local = format!("http://{}/x", server.local_addr().expect("its address"));
        way.call(local.parse().expect("an address")).await.expect("directly");
    }

    #[test]
    fn hosts_without_proxy_are_known_and_a_proxy_over_tls_is_refused() {
        let way = way(&proxy("http://proxy.test:3128")).expect("a way");
        let matcher = way.proxy.expect("a proxy");
        let asks = |url: &'static str| matcher.intercept(&Uri::from_static(url)).is_some();
        assert!(asks("https://api.github.com/x") && !asks("https://git.lan/x"));
        assert!(!asks("http://api.github.com/x"));
        let refused = self::way(&proxy("https://me:secret@proxy.test:3128")).expect_err("TLS");
        assert!(refused.contains("http://") && !refused.contains("secret"), "{refused}");
    }
}
