//! A port that clients reach over TCP, with TLS where others than this machine can reach it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::listen::ListenError;
use super::peer::Peer;
use super::seats::Accept;
use crate::spec::TlsFiles;

/// A client that has not shaken hands by then is none.
const HANDSHAKE_MOST: Duration = Duration::from_secs(10);

/// A bound port; it is given back when the last of its clones is dropped.
#[derive(Clone)]
pub struct Port {
    listener: Arc<TcpListener>,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
}

impl Port {
    /// Takes a port. Addresses that others can reach need a certificate.
    ///
    /// # Errors
    /// [`ListenError`]: no address, no certificate where one is needed, or the port is taken.
    pub async fn bind(text: &str, tls: Option<&TlsFiles>) -> Result<Self, ListenError> {
        let address: SocketAddr =
            text.parse().map_err(|_| ListenError::NoAddress(text.to_owned()))?;
        let tls = acceptor(address, tls)?;
        let port_error = |source| ListenError::Port { address, source };
        let listener = TcpListener::bind(address).await.map_err(port_error)?;
        let address = listener.local_addr().map_err(port_error)?;
        Ok(Self { listener: Arc::new(listener), address, tls })
    }

    /// The same port with another certificate, or none.
    ///
    /// # Errors
    /// As of [`Self::bind`], but that the port is taken.
    pub fn with(&self, tls: Option<&TlsFiles>) -> Result<Self, ListenError> {
        Ok(Self { tls: acceptor(self.address, tls)?, ..self.clone() })
    }

    /// The address, with the port that the system chose where 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where clients reach it: `http://127.0.0.1:7373`.
    #[must_use]
    pub fn origin(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Whose requests come in here.
    #[must_use]
    pub fn peer(&self) -> Peer {
        match self.address.ip().is_loopback() {
            true => Peer::Loopback,
            false => Peer::Remote,
        }
    }
}

/// What shakes hands at an address; those that others can reach need a certificate.
fn acceptor(
    address: SocketAddr,
    tls: Option<&TlsFiles>,
) -> Result<Option<TlsAcceptor>, ListenError> {
    match tls {
        Some(files) => read(files).map(Some),
        None if address.ip().is_loopback() => Ok(None),
        None => Err(ListenError::NeedsTls(address)),
    }
}

fn read(files: &TlsFiles) -> Result<TlsAcceptor, ListenError> {
    let unusable = |path: &PathBuf, why: String| ListenError::Tls { path: path.clone(), why };
    let chain = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(&files.cert, error.to_string()))?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| unusable(&files.key, error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| unusable(&files.cert, error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

impl Accept for Port {
    type Stream = PortStream;

    async fn take(&self) -> io::Result<PortStream> {
        let stream = Accept::take(&*self.listener).await?;
        let line = match &self.tls {
            None => Line::Plain(stream),
            Some(tls) => {
                // Shaken where the connection is read, so that a slow hand keeps nobody else.
                let shaking = timeout(HANDSHAKE_MOST, tls.clone().accept(stream));
                Line::Shaking(Box::pin(async move {
                    shaking.await.unwrap_or_else(|_late| Err(io::ErrorKind::TimedOut.into()))
                }))
            }
        };
        Ok(PortStream { line, peer: self.peer() })
    }

    fn peer(stream: &PortStream) -> Peer {
        stream.peer
    }
}

type Shaking = Pin<Box<dyn Future<Output = io::Result<TlsStream<TcpStream>>> + Send>>;

enum Line {
    Plain(TcpStream),
    Shaking(Shaking),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection to a port.
pub struct PortStream {
    line: Line,
    peer: Peer,
}

impl PortStream {
    fn poll_shaken(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Line::Shaking(shaking) = &mut self.line {
            let stream = ready!(shaking.as_mut().poll(cx))?;
            self.line = Line::Tls(Box::new(stream));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for PortStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_shaken(cx))?;
        match &mut self.line {
            Line::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Line::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Line::Shaking(_) => Poll::Pending,
        }
    }
}

impl AsyncWrite for PortStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_shaken(cx))?;
        match &mut self.line {
            Line::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Line::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Line::Shaking(_) => Poll::Pending,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.line {
            Line::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Line::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Line::Shaking(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.line {
            Line::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Line::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Line::Shaking(_) => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_others_can_reach_needs_a_certificate() {
        let bind = async |text: &str| Port::bind(text, None).await;
        assert!(matches!(bind("0.0.0.0:0").await, Err(ListenError::NeedsTls(_))));
        assert!(matches!(bind("here").await, Err(ListenError::NoAddress(_))));
        let port = bind("127.0.0.1:0").await.expect("a port");
        assert_eq!(port.peer(), Peer::Loopback);
        assert_eq!(port.origin(), format!("http://{}", port.address()));
    }

    #[tokio::test]
    async fn a_certificate_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files =
            TlsFiles { cert: folder.path().join("a.pem"), key: folder.path().join("k.pem") };
        let Err(ListenError::Tls { path, .. }) = Port::bind("0.0.0.0:0", Some(&files)).await else {
            panic!("there is no certificate");
        };
        assert_eq!(path, files.cert);
    }
}
