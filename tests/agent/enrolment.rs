//! Who may speak: nonces, certificates, and what is refused.

use std::sync::Arc;
use std::time::Duration;

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use slate_fleet::fleet::event::AgentEvent;
use slate_fleet::ids::IncarnationId;
use slate_fleet::wire::enrolment::{Enrolment, from_hex, to_hex};
use slate_fleet::wire::frame::{Frame, parse_message, put_message};
use slate_fleet::wire::message::{Enrol, FromAgent, FromServer, Hello, Refusal};
use slate_fleet::wire::stream::{FrameReader, FrameWriter};
use slate_fleet::wire::{PROTOCOL, SERVER_NAME};
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::bench::{Bench, PATIENCE, WHO};

struct TestKey {
    pkcs8: Vec<u8>,
    public: String,
}

fn key() -> TestKey {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
    let pair =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).unwrap();
    TestKey { pkcs8: pkcs8.as_ref().to_vec(), public: to_hex(pair.public_key().as_ref()) }
}

fn enrolment(bench: &Bench, who: IncarnationId) -> Enrolment {
    let path = bench.state.private(who).join("enrol.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

type Identity = (CertificateDer<'static>, Vec<u8>);

/// Connects as an agent would, with or without a certificate.
async fn connect(
    bench: &Bench,
    ca: &str,
    identity: Option<&Identity>,
) -> std::io::Result<TlsStream<UnixStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(from_hex(ca).unwrap())).unwrap();
    let builder =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.clone()));
            builder.with_client_auth_cert(vec![certificate.clone()], key).unwrap()
        }
    };
    let stream = UnixStream::connect(bench.agents.socket()).await?;
    let name = ServerName::try_from(SERVER_NAME).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// Says one thing and returns the answer; nothing if the connection was cut.
async fn ask(stream: TlsStream<UnixStream>, message: &FromAgent) -> Option<FromServer> {
    let (reader, writer) = tokio::io::split(stream);
    let (mut reader, mut writer) = (FrameReader::new(reader), FrameWriter::new(writer));
    put_message(writer.buffer(), message).unwrap();
    writer.write().await.ok()?;
    let answer = tokio::time::timeout(PATIENCE, reader.next()).await.unwrap();
    match answer.ok()? {
        Frame::Control(body) => Some(parse_message(&body).unwrap()),
        other => panic!("not an answer: {other:?}"),
    }
}

async fn enrol(bench: &Bench, who: IncarnationId, nonce: &str) -> Result<Identity, Refusal> {
    let key = key();
    let request = FromAgent::Enrol(Enrol {
        protocol: PROTOCOL,
        incarnation: who,
        nonce: nonce.to_owned(),
        public_key: key.public,
    });
    let ca = enrolment(bench, who).ca;
    let stream = connect(bench, &ca, None).await.unwrap();
    match ask(stream, &request).await.unwrap() {
        FromServer::Certificate(issued) => {
            Ok((CertificateDer::from(from_hex(&issued.certificate).unwrap()), key.pkcs8))
        }
        FromServer::Refuse { reason, .. } => Err(reason),
        other => panic!("not an answer to an enrolment: {other:?}"),
    }
}

fn hello() -> FromAgent {
    FromAgent::Hello(Hello {
        protocol: PROTOCOL,
        protocol_oldest: PROTOCOL,
        agent: "test".to_owned(),
        holding: None,
    })
}

#[tokio::test]
async fn a_nonce_is_good_once() {
    let mut bench = Bench::new();
    bench.agents.expect(WHO).unwrap();
    let file = enrolment(&bench, WHO);
    let nonce = file.nonce.unwrap();
    assert_eq!(nonce.len(), 64);
    let identity = enrol(&bench, WHO, &nonce).await.unwrap();
    assert_eq!(enrolment(&bench, WHO).nonce, None, "it is taken out of the file");
    assert_eq!(enrol(&bench, WHO, &nonce).await, Err(Refusal::Nonce));
    let stream = connect(&bench, &file.ca, Some(&identity)).await.unwrap();
    let welcome = ask(stream, &hello()).await;
    assert_eq!(welcome, Some(FromServer::Welcome { protocol: PROTOCOL }));
    assert_eq!(bench.next().await, AgentEvent::Connected { holding: None });
}

#[tokio::test]
async fn a_nonce_is_bound_to_its_incarnation_and_a_wrong_guess_does_not_use_it_up() {
    let bench = Bench::new();
    let other = IncarnationId(2);
    bench.agents.expect(WHO).unwrap();
    bench.agents.expect(other).unwrap();
    let nonce = enrolment(&bench, WHO).nonce.unwrap();
    assert_eq!(enrol(&bench, other, &nonce).await, Err(Refusal::Nonce));
    assert_eq!(enrol(&bench, WHO, &"0".repeat(64)).await, Err(Refusal::Nonce));
    assert_eq!(enrol(&bench, WHO, "").await, Err(Refusal::Nonce));
    assert!(enrol(&bench, WHO, &nonce).await.is_ok());
}

#[tokio::test]
async fn an_old_nonce_is_refused_and_a_new_one_voids_the_one_before() {
    let bench = Bench::new();
    bench.agents.expect(WHO).unwrap();
    let first = enrolment(&bench, WHO).nonce.unwrap();
    bench.agents.expect(WHO).unwrap();
    let second = enrolment(&bench, WHO).nonce.unwrap();
    assert_eq!(enrol(&bench, WHO, &first).await, Err(Refusal::Nonce));
    bench.advance_clock(Duration::from_secs(601));
    assert_eq!(enrol(&bench, WHO, &second).await, Err(Refusal::Nonce));
}

#[tokio::test]
async fn an_unused_nonce_outlives_the_supervisor_and_a_used_one_does_not() {
    let bench = Bench::new();
    bench.agents.expect(WHO).unwrap();
    let nonce = enrolment(&bench, WHO).nonce.unwrap();
    let bench = bench.restart(vec![(WHO, None)]).await;
    assert!(enrol(&bench, WHO, &nonce).await.is_ok());
    let bench = bench.restart(vec![(WHO, None)]).await;
    assert_eq!(enrol(&bench, WHO, &nonce).await, Err(Refusal::Nonce));
}

#[tokio::test]
async fn a_session_needs_a_certificate_of_this_fleet() {
    let (bench, foreign) = (Bench::new(), Bench::new());
    bench.agents.expect(WHO).unwrap();
    foreign.agents.expect(WHO).unwrap();
    let (ours, theirs) = (enrolment(&bench, WHO), enrolment(&foreign, WHO));
    let refusal = ask(connect(&bench, &ours.ca, None).await.unwrap(), &hello()).await;
    assert!(
        matches!(refusal, Some(FromServer::Refuse { reason: Refusal::NotAdmitted, .. })),
        "{refusal:?}"
    );
    let stranger = enrol(&foreign, WHO, &theirs.nonce.unwrap()).await.unwrap();
    let cut = match connect(&bench, &ours.ca, Some(&stranger)).await {
        Ok(stream) => ask(stream, &hello()).await,
        Err(_) => None,
    };
    assert_eq!(cut, None, "TLS itself refuses it");
}

#[tokio::test]
async fn an_agent_refuses_a_supervisor_with_another_ca() {
    let (bench, foreign) = (Bench::new(), Bench::new());
    foreign.agents.expect(WHO).unwrap();
    let theirs = enrolment(&foreign, WHO);
    let error = connect(&bench, &theirs.ca, None).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[tokio::test]
async fn a_certificate_without_admission_opens_no_session() {
    let bench = Bench::new();
    bench.agents.expect(WHO).unwrap();
    let file = enrolment(&bench, WHO);
    let identity = enrol(&bench, WHO, &file.nonce.unwrap()).await.unwrap();
    let bench = bench.restart(Vec::new()).await;
    let refusal = ask(connect(&bench, &file.ca, Some(&identity)).await.unwrap(), &hello()).await;
    assert!(matches!(refusal, Some(FromServer::Refuse { reason: Refusal::NotAdmitted, .. })));
    bench.agents.admit(WHO, None).unwrap();
    let welcome = ask(connect(&bench, &file.ca, Some(&identity)).await.unwrap(), &hello()).await;
    assert_eq!(welcome, Some(FromServer::Welcome { protocol: PROTOCOL }));
}

#[tokio::test]
async fn a_second_session_of_a_live_agent_is_refused() {
    let mut bench = Bench::new();
    bench.agents.expect(WHO).unwrap();
    let file = enrolment(&bench, WHO);
    let identity = enrol(&bench, WHO, &file.nonce.unwrap()).await.unwrap();
    let first = connect(&bench, &file.ca, Some(&identity)).await.unwrap();
    let (reader, writer) = tokio::io::split(first);
    let mut writer = FrameWriter::new(writer);
    put_message(writer.buffer(), &hello()).unwrap();
    writer.write().await.unwrap();
    assert_eq!(bench.next().await, AgentEvent::Connected { holding: None });
    let refusal = ask(connect(&bench, &file.ca, Some(&identity)).await.unwrap(), &hello()).await;
    assert!(matches!(refusal, Some(FromServer::Refuse { reason: Refusal::AlreadyConnected, .. })));
    drop((reader, writer));
    assert_eq!(bench.next().await, AgentEvent::Disconnected);
}

#[tokio::test]
async fn half_open_connections_do_not_keep_agents_out() {
    let mut bench = Bench::new();
    let mut open = Vec::new();
    for _ in 0..100 {
        open.push(UnixStream::connect(bench.agents.socket()).await.unwrap());
    }
    let begun = std::time::Instant::now();
    let _agent = bench.connected().await;
    println!("connected beside 100 half-open connections after {:?}", begun.elapsed());
    drop(open);
}
