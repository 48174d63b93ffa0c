//! The fleet's own certificate authority: made once, kept in the state folder, trusted by nobody
//! else.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::AgentsError;
use crate::ids::{FleetId, IncarnationId};
use crate::state_dir::StateDir;
use crate::state_dir::write::{Durability, write_atomically};
use crate::units::Time;
use crate::wire::SERVER_NAME;

/// Ten years: its key never leaves the state folder, and whoever can read it can do anything
/// anyway.
const AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// The supervisor makes itself a new certificate at each start and when half of this is over.
pub(super) const SERVER_LIFE: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Certificates begin this much earlier, for clocks that differ.
const BACKDATED: Duration = Duration::from_secs(300);

/// Signs certificates for the supervisor and its agents.
pub struct Authority {
    fleet: FleetId,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
pub struct Identity {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
}

/// When a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// From this moment (and a little before).
    pub from: Time,
    /// For this long.
    pub life: Duration,
}

impl Authority {
    /// Loads the CA from the state folder, or makes it.
    ///
    /// # Errors
    /// When the file cannot be read or written, or is damaged.
    pub fn open(state: &StateDir, fleet: &FleetId, now: Time) -> Result<Self, AgentsError> {
        let folder = state.ca();
        let path = folder.join("ca.pem");
        let pem = match fs::read_to_string(&path) {
            Ok(pem) => pem,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_private_folder(&folder)?;
                let pem = generate(fleet, now)?;
                write_atomically(&path, pem.as_bytes(), 0o600, Durability::Synced)
                    .map_err(|source| AgentsError::file("write", &path, source))?;
                pem
            }
            Err(source) => return Err(AgentsError::file("read the fleet's CA", path, source)),
        };
        Self::from_pem(&pem, fleet)
            .map_err(|why| AgentsError::DamagedAuthority { path: path.clone(), why })
    }

    fn from_pem(pem: &str, fleet: &FleetId) -> Result<Self, String> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|e| e.to_string())?;
        let certificate =
            CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|e| e.to_string())?;
        let key = KeyPair::try_from(&key).map_err(|e| e.to_string())?;
        let issuer = Issuer::new(authority_params(fleet), key);
        Ok(Self { fleet: fleet.clone(), certificate, issuer })
    }

    /// The CA's certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// A certificate and key for the supervisor itself.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn server_identity(&self, now: Time) -> Result<Identity, AgentsError> {
        let key = KeyPair::generate().map_err(AgentsError::Certificate)?;
        let names = vec![SERVER_NAME.to_owned()];
        let mut params = CertificateParams::new(names).map_err(AgentsError::Certificate)?;
        set_common(&mut params, Validity { from: now, life: SERVER_LIFE })?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer).map_err(AgentsError::Certificate)?;
        Ok(Identity {
            certificate: certificate.der().clone(),
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        })
    }

    /// A certificate for an agent's public key (an uncompressed P-256 point).
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn agent_certificate(
        &self,
        incarnation: IncarnationId,
        public_key: &[u8],
        validity: Validity,
    ) -> Result<CertificateDer<'static>, AgentsError> {
        let uri = format!("{}{}", self.uri_prefix(), incarnation.0);
        let uri = uri.try_into().map_err(AgentsError::Certificate)?;
        let mut params = CertificateParams::default();
        set_common(&mut params, validity)?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params
            .signed_by(&AgentKey(public_key), &self.issuer)
            .map_err(AgentsError::Certificate)?;
        Ok(certificate.der().clone())
    }

    /// Who a certificate of this CA speaks for. The chain must have been verified before.
    #[must_use]
    pub fn incarnation(&self, certificate: &CertificateDer<'_>) -> Option<IncarnationId> {
        let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
        let prefix = self.uri_prefix();
        let mut names = certificate.valid_uri_names();
        let name = names.next()?;
        if names.next().is_some() {
            return None;
        }
        name.strip_prefix(&prefix)?.parse().ok().map(IncarnationId)
    }

    fn uri_prefix(&self) -> String {
        format!("slate-fleet://{}/incarnation/", self.fleet)
    }
}

/// An agent's public key as rcgen wants it.
struct AgentKey<'a>(&'a [u8]);

impl PublicKeyData for AgentKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

/// Key and certificate in one text, so that there is never one without the other.
fn generate(fleet: &FleetId, now: Time) -> Result<String, AgentsError> {
    let key = KeyPair::generate().map_err(AgentsError::Certificate)?;
    let mut params = authority_params(fleet);
    set_validity(&mut params, Validity { from: now, life: AUTHORITY_LIFE });
    params.serial_number = Some(random_serial()?);
    let certificate = params.self_signed(&key).map_err(AgentsError::Certificate)?;
    Ok(format!("{}{}", key.serialize_pem(), certificate.pem()))
}

/// What certificates of this CA name as their issuer; the same at each start.
fn authority_params(fleet: &FleetId) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("slate-fleet {fleet}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn set_common(params: &mut CertificateParams, validity: Validity) -> Result<(), AgentsError> {
    set_validity(params, validity);
    params.serial_number = Some(random_serial()?);
    params.distinguished_name = DistinguishedName::new();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    Ok(())
}

/// Must be set by hand: the library's own dates are 1975 and 4096.
fn set_validity(params: &mut CertificateParams, validity: Validity) {
    let from = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(validity.from.0 / 1000);
    params.not_before = from - BACKDATED;
    params.not_after = from + validity.life;
}

/// 127 random bits: positive, and never 0.
fn random_serial() -> Result<SerialNumber, AgentsError> {
    let [first, rest @ ..] = random::<16>()?;
    let mut serial = vec![first & 0x7f | 0x40];
    serial.extend_from_slice(&rest);
    Ok(SerialNumber::from(serial))
}

/// Random bytes from the system.
pub(super) fn random<const N: usize>() -> Result<[u8; N], AgentsError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| AgentsError::Random)?;
    Ok(bytes)
}

fn make_private_folder(folder: &Path) -> Result<(), AgentsError> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|source| AgentsError::file("make the folder", folder, source))
}

#[cfg(test)]
mod tests;
