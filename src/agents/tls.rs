//! TLS 1.3 with certificates on both sides, and nothing that outlives a connection.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use tokio_rustls::TlsAcceptor;

use super::authority::{Authority, SERVER_LIFE};
use super::{AgentsError, Time};

/// Accepts connections, with a server certificate that is renewed in time.
pub(super) struct Acceptor {
    acceptor: TlsAcceptor,
    made: Time,
}

impl Acceptor {
    /// With a fresh certificate.
    pub(super) fn new(authority: &Authority, now: Time) -> Result<Self, AgentsError> {
        let config = server_config(authority, now)?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), made: now })
    }

    /// For the next connection.
    pub(super) fn current(&mut self, authority: &Authority, now: Time) -> TlsAcceptor {
        if now.since(self.made) > SERVER_LIFE / 2 {
            match Self::new(authority, now) {
                Ok(renewed) => *self = renewed,
                Err(error) => tracing::error!(%error, "the old server certificate stays in use"),
            }
        }
        self.acceptor.clone()
    }
}

fn server_config(authority: &Authority, now: Time) -> Result<ServerConfig, AgentsError> {
    let provider = Arc::new(default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate().clone()).map_err(AgentsError::Tls)?;
    // Without a certificate a connection may only enrol; `listener` sees to that.
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(AgentsError::Verifier)?;
    let identity = authority.server_identity(now)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(AgentsError::Tls)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![identity.certificate], identity.key)
        .map_err(AgentsError::Tls)?;
    // A resumed session would skip the check of the certificate.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(config)
}
