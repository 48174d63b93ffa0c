//! The agent's key and certificate. The key is made here and never leaves this process.

use std::sync::Arc;

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::client::{ClientConfig, Resumption, WantsClientCert};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::version::TLS13;
use rustls::{ConfigBuilder, RootCertStore};
use tokio::time::Instant;

use crate::wire::enrolment::{Enrolment, from_hex, to_hex};
use crate::wire::message::IssuedCertificate;

/// No identity or no TLS can be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum IdentityError {
    /// The system gives no random numbers, or the key is refused.
    #[error("a key cannot be made")]
    Key,
    /// The enrolment file or the answer holds no certificate.
    #[error("{0} is no certificate")]
    Certificate(&'static str),
    /// TLS refuses the key or a certificate.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[source] rustls::Error),
}

/// A key that has no certificate yet.
pub(super) struct Key {
    pkcs8: PrivatePkcs8KeyDer<'static>,
    public: String,
}

impl Key {
    pub(super) fn generate() -> Result<Self, IdentityError> {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(|_| IdentityError::Key)?;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random)
            .map_err(|_| IdentityError::Key)?;
        let public = to_hex(pair.public_key().as_ref());
        Ok(Self { pkcs8: PrivatePkcs8KeyDer::from(pkcs8.as_ref().to_vec()), public })
    }

    /// The public key, as messages carry it.
    pub(super) fn public(&self) -> &str {
        &self.public
    }

    /// Together with the certificate that the supervisor made for it.
    pub(super) fn certified(self, issued: &IssuedCertificate) -> Result<Identity, IdentityError> {
        let certificate =
            from_hex(&issued.certificate).ok_or(IdentityError::Certificate("the answer"))?;
        Ok(Identity {
            key: self.pkcs8,
            certificate: CertificateDer::from(certificate),
            renew_at: Instant::now() + issued.valid_for / 2,
        })
    }
}

/// A key with its certificate.
pub(super) struct Identity {
    key: PrivatePkcs8KeyDer<'static>,
    certificate: CertificateDer<'static>,
    /// Half of its life is over then.
    pub(super) renew_at: Instant,
}

/// TLS for a first certificate: only the supervisor proves who it is.
pub(super) fn enrolling(enrolment: &Enrolment) -> Result<Arc<ClientConfig>, IdentityError> {
    Ok(finished(trusting(enrolment)?.with_no_client_auth()))
}

/// TLS for a session: both sides prove who they are.
pub(super) fn identified(
    enrolment: &Enrolment,
    identity: &Identity,
) -> Result<Arc<ClientConfig>, IdentityError> {
    let chain = vec![identity.certificate.clone()];
    let key = PrivateKeyDer::Pkcs8(identity.key.clone_key());
    let config = trusting(enrolment)?.with_client_auth_cert(chain, key);
    Ok(finished(config.map_err(IdentityError::Tls)?))
}

/// TLS 1.3 that trusts the fleet's CA and nobody else.
fn trusting(
    enrolment: &Enrolment,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, IdentityError> {
    let authority = from_hex(&enrolment.ca).ok_or(IdentityError::Certificate("the CA"))?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(authority)).map_err(IdentityError::Tls)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(IdentityError::Tls)?;
    Ok(builder.with_root_certificates(roots))
}

fn finished(mut config: ClientConfig) -> Arc<ClientConfig> {
    // A resumed session would skip the check of the certificate.
    config.resumption = Resumption::disabled();
    Arc::new(config)
}
