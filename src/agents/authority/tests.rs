//! Certificates carry what they must, and nobody else's are believed.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::UnixTime;
use rustls::server::WebPkiClientVerifier;
use tempfile::TempDir;

use super::*;

const NOW: Time = Time(1_800_000_000_000);
const WHO: IncarnationId = IncarnationId(17);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn state(folder: &TempDir) -> StateDir {
    StateDir::new(folder.path().to_owned())
}

fn authority(folder: &TempDir, fleet: &str) -> Authority {
    Authority::open(&state(folder), &FleetId::new(fleet), NOW).unwrap()
}

fn agent_certificate(authority: &Authority) -> CertificateDer<'static> {
    let key = KeyPair::generate().unwrap();
    let validity = Validity { from: NOW, life: DAY };
    authority.agent_certificate(WHO, key.public_key_raw(), validity).unwrap()
}

fn verifies(authority: &Authority, certificate: &CertificateDer<'_>, at: Time) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
    let at = UnixTime::since_unix_epoch(Duration::from_millis(at.0));
    verifier.build().unwrap().verify_client_cert(certificate, &[], at).is_ok()
}

#[test]
fn the_ca_is_made_once_and_its_key_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = TempDir::new().unwrap();
    let first = authority(&folder, "f1");
    let certificate = agent_certificate(&first);
    let again = authority(&folder, "f1");
    assert_eq!(first.certificate(), again.certificate());
    assert!(verifies(&again, &certificate, NOW));
    assert!(verifies(&first, &agent_certificate(&again), NOW));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state(&folder).ca().join("ca.pem")), 0o600);
    assert_eq!(mode(&state(&folder).ca()), 0o700);
}

#[test]
fn a_certificate_names_its_incarnation_and_only_this_fleet_reads_it() {
    let folder = TempDir::new().unwrap();
    let ours = authority(&folder, "f1");
    let certificate = agent_certificate(&ours);
    assert_eq!(ours.incarnation(&certificate), Some(WHO));
    assert_eq!(authority(&folder, "f2").incarnation(&certificate), None);
    let server = ours.server_identity(NOW).unwrap();
    assert_eq!(ours.incarnation(&server.certificate), None);
}

#[test]
fn certificates_of_another_ca_and_expired_ones_are_refused() {
    let (folder, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (ours, theirs) = (authority(&folder, "f1"), authority(&other, "f1"));
    let certificate = agent_certificate(&ours);
    assert!(verifies(&ours, &certificate, NOW));
    assert!(!verifies(&theirs, &certificate, NOW));
    assert!(!verifies(&ours, &certificate, NOW + DAY * 2));
    assert!(!verifies(&ours, &certificate, Time(NOW.0 - 600_000)));
}

#[test]
fn a_server_certificate_is_no_client_certificate() {
    let folder = TempDir::new().unwrap();
    let ours = authority(&folder, "f1");
    assert!(!verifies(&ours, &ours.server_identity(NOW).unwrap().certificate, NOW));
}

#[test]
fn serial_numbers_are_random_and_positive() {
    let (first, second) = (random_serial().unwrap(), random_serial().unwrap());
    assert_ne!(first.to_bytes(), second.to_bytes());
    assert!(first.to_bytes()[0] & 0x80 == 0);
    assert_eq!(first.len(), 16);
}

#[test]
fn a_damaged_ca_is_named_with_what_to_do() {
    let folder = TempDir::new().unwrap();
    drop(authority(&folder, "f1"));
    fs::write(state(&folder).ca().join("ca.pem"), "nonsense").unwrap();
    let Err(error) = Authority::open(&state(&folder), &FleetId::new("f1"), NOW) else {
        panic!("a damaged CA is not used")
    };
    assert!(error.to_string().contains("delete the file"), "{error}");
}
