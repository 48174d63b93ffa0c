//! A network behind a proxy that inspects: jobs reach the outside through it and in no other way.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::docker::docker;
use crate::fleet::{Fleet, NO_SPARE};
use crate::process::wait_until;
use crate::secrets::{files_with, mode};

/// A name that only the proxy can do something with.
const OUTSIDE: &str = "registry.corp.test";
const PASSWORD: &str = "canary-b7f3a91c55d2";
/// `me` with the password, as HTTP carries them.
const CREDENTIALS: &str = "Basic bWU6Y2FuYXJ5LWI3ZjNhOTFjNTVkMg==";
/// Longest wait for a client's next bytes.
const SILENCE: Duration = Duration::from_secs(20);

/// A proxy that asks for a password and answers in the name of every host, with certificates of
/// its own authority.
struct Proxy {
    address: SocketAddr,
    authority: String,
    seen: Arc<Mutex<Vec<String>>>,
    is_over: Arc<AtomicBool>,
}

impl Proxy {
    fn start() -> Self {
        let (authority, tls) = tls();
        let listener = TcpListener::bind("0.0.0.0:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let is_over = Arc::new(AtomicBool::new(false));
        let (record, end) = (Arc::clone(&seen), Arc::clone(&is_over));
        thread::spawn(move || {
            for client in listener.incoming() {
                if end.load(Ordering::Acquire) {
                    return;
                }
                let (record, tls) = (Arc::clone(&record), Arc::clone(&tls));
                // A client that breaks off is the test's business, not the proxy's.
                thread::spawn(move || client.and_then(|client| serve(client, tls, &record)));
            }
        });
        Self { address, authority, seen, is_over }
    }

    /// First lines of the requests so far.
    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        // Wakes the accepting thread; if it is gone already there is nobody to wake.
        drop(TcpStream::connect(("127.0.0.1", self.address.port())));
    }
}

/// An authority, and a server in the name of the outside that it vouches for.
fn tls() -> (String, Arc<ServerConfig>) {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.distinguished_name.push(DnType::CommonName, "the proxy's authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = params.self_signed(&key).expect("an authority").pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().expect("a key");
    let mut leaf = CertificateParams::new(vec![OUTSIDE.to_owned()]).expect("parameters");
    // An issuer of the same name would make it look signed by itself.
    leaf.distinguished_name.push(DnType::CommonName, OUTSIDE);
    let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("a version")
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .expect("a server");
    (authority, Arc::new(config))
}

fn serve(
    mut client: TcpStream,
    tls: Arc<ServerConfig>,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    client.set_read_timeout(Some(SILENCE))?;
    let head = head(&mut client)?;
    let first = head.lines().next().unwrap_or_default().to_owned();
    if !head.contains(CREDENTIALS) {
        let refused = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
        return client.write_all(refused.as_bytes());
    }
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(first.clone());
    if !first.starts_with("CONNECT ") {
        client.write_all(answer("in the open").as_bytes())?;
        return client.shutdown(Shutdown::Write);
    }
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let server = ServerConnection::new(tls).map_err(std::io::Error::other)?;
    let mut inside = StreamOwned::new(server, client);
    self::head(&mut inside)?;
    inside.write_all(answer("inspected").as_bytes())?;
    inside.conn.send_close_notify();
    inside.flush()
}

/// A request's head, read byte by byte so that nothing behind it is taken.
fn head(client: &mut impl Read) -> std::io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < 16 * 1024 {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn answer(body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

/// Asks for an address as most programs do: by the environment's proxies and certificates.
fn fetch(address: &str) -> String {
    format!(
        "python3 -c 'import urllib.request as r; print(r.urlopen(\"{address}\", timeout=20).read())'"
    )
}

/// Operators' pain 79, as far as jobs are concerned: one `proxy:` and one `ca:` reach them,
/// tested through a proxy with its own authority and no direct route.
#[test]
fn jobs_reach_the_outside_through_the_proxy_and_its_password_turns_up_nowhere() {
    let proxy = Proxy::start();
    let fleet = Fleet::new(&format!("ca: ./proxy.pem\n{NO_SPARE}"));
    fleet.write("proxy.pem", &proxy.authority);
    fleet.write(".env", format!("PROXY_PASSWORD={PASSWORD}\n"));
    std::fs::set_permissions(fleet.path(".env"), mode(0o600)).expect("its mode");
    fleet.cli(&["up", "-d"]).ok();
    let outside = format!("https://{OUTSIDE}/simple/");
    let direct = fleet.job(&fetch(&outside));
    assert_ne!(direct.code, 0, "there is a direct route: {direct}");
    fleet.settle(1);

    // The host, as runners of this fleet see it.
    let network = format!("slate_{}", fleet.project);
    let gateway = "{{(index .IPAM.Config 0).Gateway}}";
    let host = docker(&["network", "inspect", &network, "-f", gateway]).ok().word();
    let address = format!("http://me:${{PROXY_PASSWORD}}@{host}:{}", proxy.address.port());
    let keys = format!("{{http: \"{address}\", https: \"{address}\", no_proxy: [.lan]}}");
    fleet.edit(&format!("ca: ./proxy.pem\nproxy: {keys}\n{NO_SPARE}"));
    let before = fleet.containers();
    fleet.cli(&["plan"]).ok();
    fleet.cli(&["up", "-d"]).ok();
    assert_eq!(fleet.containers(), before, "jobs get a proxy by their order");
    assert_eq!(fleet.job(&fetch(&outside)).ok().word(), "b'inspected'");
    fleet.settle(1);
    assert_eq!(fleet.job(&fetch(&format!("http://{OUTSIDE}/x"))).ok().word(), "b'in the open'");
    let seen = proxy.seen();
    assert!(
        seen.iter().any(|line| line.starts_with(&format!("CONNECT {OUTSIDE}:443"))),
        "{seen:?}"
    );
    fleet.settle(1);
    let told = fleet.job("echo $NO_PROXY $no_proxy").ok().word();
    assert_eq!(told, "localhost,127.0.0.1,::1,.lan localhost,127.0.0.1,::1,.lan");
    fleet.settle(1);
    the_password_is_nowhere(&fleet);
    // Whoever goes on from the state alone reads the password where it is kept.
    fleet.kill_supervisor();
    let _again = fleet.start(&["supervise"]);
    wait_until("the next supervisor answers", || fleet.cli(&["healthz"]).code == 0);
    fleet.settle(1);
    assert_eq!(fleet.job(&fetch(&outside)).ok().word(), "b'inspected'");
    the_password_is_nowhere(&fleet);
}

/// Operators' pain 79, as far as the forge is concerned: the supervisor's own calls take the same
/// way.
#[test]
fn the_forge_is_asked_through_the_proxy_too() {
    let proxy = Proxy::start();
    let pool = format!(
        "{{name: ci, profile: light, github: {{url: 'https://{OUTSIDE}/me/site', \
         pat: {{env: GITHUB_PAT}}}}}}"
    );
    let address = format!("http://me:${{PROXY_PASSWORD}}@127.0.0.1:{}", proxy.address.port());
    let fleet =
        Fleet::new(&format!("ca: ./proxy.pem\nproxy: {{https: \"{address}\"}}\npools: [{pool}]\n"));
    fleet.write("proxy.pem", &proxy.authority);
    fleet.write(".env", format!("PROXY_PASSWORD={PASSWORD}\nGITHUB_PAT=github_pat_x\n"));
    std::fs::set_permissions(fleet.path(".env"), mode(0o600)).expect("its mode");
    fleet.cli(&["up", "-d", "--timeout", "1s"]).expect_code(3);
    let asked = || proxy.seen().iter().any(|it| it.starts_with(&format!("CONNECT {OUTSIDE}:443")));
    wait_until("the proxy is asked for the forge", asked);
    the_password_is_nowhere(&fleet);
}

fn the_password_is_nowhere(fleet: &Fleet) {
    let shown = fleet.cli(&["config"]).ok();
    assert!(shown.out().contains("http://me:${PROXY_PASSWORD}@"), "{shown}");
    let verbs = [
        &["config"][..],
        &["plan"],
        &["events"],
        &["jobs", "--format", "json"],
        &["ps", "--format", "json"],
    ];
    let mut told: Vec<String> = verbs.iter().map(|args| fleet.cli(args).to_string()).collect();
    let spec = crate::http::over_socket(&fleet.path(".slate/api.sock"), "/api/v1/spec").json();
    let written = spec["proxy"]["https"]["written"].as_str();
    assert!(written.is_some_and(|it| it.contains("${PROXY_PASSWORD}@")), "{spec}");
    told.push(spec.to_string());
    for container in fleet.containers() {
        told.push(docker(&["inspect", &container]).ok().out());
        told.push(docker(&["logs", &container]).to_string());
    }
    for text in told {
        assert!(!text.contains(PASSWORD) && !text.contains(CREDENTIALS), "{text}");
    }
    let found = files_with(&fleet.path(".slate"), PASSWORD.as_bytes());
    assert!(found.is_empty(), "the password is in {found:?}");
}
