//! Enrolment files and nonces: how an agent proves, once, that it is the one that was expected.
//!
//! The file in the incarnation's private folder is the durable record: as long as the nonce is in
//! it, nobody has used it. A used nonce is taken out of the file before a certificate is made, so
//! that a supervisor that dies in between never accepts it twice. There is a nonce only while there
//! is no session: a container that the engine restarts has lost its key, and must be able to enrol
//! again.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use ring::digest::{Digest, SHA256, digest};
use tokio::task::yield_now;
use tokio::time::sleep;

use super::authority::{Validity, random};
use super::{Access, AgentsError, Shared};
use crate::ids::IncarnationId;
use crate::state_dir::write::{Durability, write_atomically};
use crate::units::Time;
use crate::wire::SILENCE;
use crate::wire::enrolment::{ENROLMENT_FILE, Enrolment, from_hex, to_hex};
use crate::wire::message::{Enrol, IssuedCertificate, Refusal};

/// Length of an uncompressed P-256 point.
const PUBLIC_KEY: usize = 65;

/// An unused nonce. Only its hash is kept, so that comparing it tells nothing by its timing.
#[derive(Debug, Clone)]
pub(super) struct Nonce {
    hash: Digest,
    expires: Time,
}

impl Nonce {
    fn new(bytes: &[u8], expires: Time) -> Self {
        Self { hash: digest(&SHA256, bytes), expires }
    }

    /// Whether `bytes` are this nonce, and in time.
    pub(super) fn admits(&self, bytes: &[u8], now: Time) -> bool {
        now <= self.expires && digest(&SHA256, bytes).as_ref() == self.hash.as_ref()
    }
}

/// Writes an incarnation's enrolment file with a fresh nonce.
pub(super) fn issue(shared: &Shared, incarnation: IncarnationId) -> Result<Nonce, AgentsError> {
    let folder = shared.config.state.private(incarnation);
    fs::create_dir_all(&folder)
        .map_err(|source| AgentsError::file("make the folder", folder, source))?;
    reissue(shared, incarnation)
}

/// The same for an incarnation that has a folder. One without has been forgotten.
fn reissue(shared: &Shared, incarnation: IncarnationId) -> Result<Nonce, AgentsError> {
    let bytes: [u8; 32] = random()?;
    write(shared, incarnation, Some(to_hex(&bytes)))?;
    Ok(Nonce::new(&bytes, shared.now() + shared.config.limits.nonce_life))
}

/// The nonce that is still in an incarnation's enrolment file, after a restart of the supervisor.
pub(super) fn unused(
    shared: &Shared,
    incarnation: IncarnationId,
) -> Result<Option<Nonce>, AgentsError> {
    let path = path(shared, incarnation);
    let file_error = |source| AgentsError::file("read the enrolment", path.clone(), source);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(file_error(source)),
    };
    let Ok(enrolment) = serde_json::from_slice::<Enrolment>(&text) else {
        tracing::warn!(%incarnation, "its enrolment file is damaged; it must be expected anew");
        return Ok(None);
    };
    let written = fs::metadata(&path).and_then(|found| found.modified()).map_err(file_error)?;
    let written = written.duration_since(UNIX_EPOCH).unwrap_or_default();
    let expires = Time::default() + written + shared.config.limits.nonce_life;
    let nonce = enrolment.nonce.and_then(|nonce| from_hex(&nonce));
    Ok(nonce.map(|bytes| Nonce::new(&bytes, expires)))
}

/// Lets an incarnation without a session enrol once more. Not where its job could read the nonce.
pub(super) fn rearm(shared: &Shared, incarnation: IncarnationId) {
    match shared.config.access {
        Access::Owner => {}
        Access::Everyone => return,
    }
    match reissue(shared, incarnation) {
        Ok(nonce) => shared.registry().rearm(incarnation, nonce),
        Err(error) => tracing::debug!(%incarnation, %error, "it cannot enrol again"),
    }
}

/// Lets incarnations enrol once more that have not come back after a restart of the supervisor:
/// theirs was the time in which their containers were restarted, too.
pub(super) async fn rearm_absent(shared: Arc<Shared>) {
    sleep(SILENCE).await;
    let absent = shared.registry().absent();
    for incarnation in absent {
        rearm(&shared, incarnation);
        yield_now().await;
    }
}

/// A session begins: there must be no nonce beside it.
pub(super) fn disarm(shared: &Shared, incarnation: IncarnationId) {
    let armed = shared.registry().disarm(incarnation);
    if let Some(Err(error)) = armed.then(|| write(shared, incarnation, None)) {
        tracing::warn!(%incarnation, %error, "its enrolment file cannot be written");
    }
}

/// Takes an incarnation's enrolment file away.
pub(super) fn delete(shared: &Shared, incarnation: IncarnationId) -> Result<(), AgentsError> {
    let path = path(shared, incarnation);
    match fs::remove_file(&path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(AgentsError::file("delete the enrolment", path, source)),
    }
}

/// Answers a request for a first certificate.
pub(super) fn enrol(
    shared: &Shared,
    request: &Enrol,
) -> Result<Result<IssuedCertificate, Refusal>, AgentsError> {
    let Some(key) = public_key(&request.public_key) else { return Ok(Err(Refusal::Unexpected)) };
    let nonce = from_hex(&request.nonce).unwrap_or_default();
    if !shared.registry().use_nonce(request.incarnation, &nonce, shared.now()) {
        return Ok(Err(Refusal::Nonce));
    }
    write(shared, request.incarnation, None)?;
    issue_certificate(shared, request.incarnation, &key).map(Ok)
}

/// Makes a certificate for an incarnation that has proved itself.
pub(super) fn issue_certificate(
    shared: &Shared,
    incarnation: IncarnationId,
    key: &[u8],
) -> Result<IssuedCertificate, AgentsError> {
    let life = shared.config.limits.certificate_life;
    let validity = Validity { from: shared.now(), life };
    let certificate = shared.authority.agent_certificate(incarnation, key, validity)?;
    Ok(IssuedCertificate { certificate: to_hex(&certificate), valid_for: life })
}

/// The bytes of a public key in hex, if it can be one.
pub(super) fn public_key(hex: &str) -> Option<Vec<u8>> {
    from_hex(hex).filter(|key| key.len() == PUBLIC_KEY && key.first() == Some(&4))
}

fn path(shared: &Shared, incarnation: IncarnationId) -> PathBuf {
    shared.config.state.private(incarnation).join(ENROLMENT_FILE)
}

fn write(
    shared: &Shared,
    incarnation: IncarnationId,
    nonce: Option<String>,
) -> Result<(), AgentsError> {
    let path = path(shared, incarnation);
    let enrolment = Enrolment {
        endpoint: shared.config.endpoint.clone(),
        fleet: shared.config.fleet.clone(),
        project: shared.config.project.clone(),
        incarnation,
        ca: to_hex(shared.authority.certificate()),
        nonce,
    };
    let text = serde_json::to_vec_pretty(&enrolment)
        .map_err(|error| AgentsError::file("write the enrolment", &path, error.into()))?;
    // After a power cut no agent lives that could use it.
    write_atomically(&path, &text, shared.config.access.file_mode(), Durability::Cached)
        .map_err(|source| AgentsError::file("write", &path, source))
}
