//! The API on a port: who gets in, by what token, and what a web page may not do.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use slate_fleet::api::access::Role;
use slate_fleet::api::dto::{Accepted, CordonBody, Submitted};
use slate_fleet::api::listen;
use slate_fleet::api::openapi;
use slate_fleet::api::port::Port;
use slate_fleet::api::tokens::{MadeToken, NewToken, Token};
use slate_fleet::client::Client;
use slate_fleet::fleet::event::{Cordon, Request, TokenChange};
use slate_fleet::spec::TlsFiles;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

use super::fake::Fake;

/// A played supervisor that is reached on a port, too.
struct Played {
    _folder: TempDir,
    fake: Arc<Fake>,
    client: Client,
    port: u16,
    _stop: watch::Sender<bool>,
}

/// An answer's status and the rest of it.
struct Answer {
    status: u16,
    text: String,
}

async fn begin() -> Played {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fake = Fake::start(&folder.path().join("state"));
    let client = Client::connect(&fake.state).await.expect("the socket takes connections");
    let port = Port::bind("127.0.0.1:0", None).await.expect("a port");
    let number = port.address().port();
    fake.api.reached_at(Some(port.origin()));
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(listen::serve_port(Arc::clone(&fake.api), (port, 64), stopped));
    Played { _folder: folder, fake, client, port: number, _stop: stop }
}

impl Played {
    /// Asks as `METHOD /path` with more lines of the head.
    async fn ask(&self, what: &str, head: &[String]) -> Answer {
        let mut lines = vec![format!("{what} HTTP/1.1")];
        if !head.iter().any(|line| line.starts_with("Host:")) {
            lines.push(format!("Host: 127.0.0.1:{}", self.port));
        }
        lines.extend(["Content-Length: 2".to_owned(), "Connection: close".to_owned()]);
        lines.extend(head.iter().cloned());
        let request = format!("{}\r\n\r\n{{}}", lines.join("\r\n"));
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).await.expect("connects");
        connection.write_all(request.as_bytes()).await.expect("sent");
        let mut bytes = Vec::new();
        let read = connection.read_to_end(&mut bytes);
        tokio::time::timeout(Duration::from_secs(10), read).await.expect("in time").expect("read");
        // Output of jobs may be no text.
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let status = text.split(' ').nth(1).and_then(|it| it.parse().ok());
        Answer { status: status.expect("a status"), text }
    }

    async fn status(&self, what: &str, head: &[String]) -> u16 {
        self.ask(what, head).await.status
    }

    async fn token(&mut self, role: Role) -> MadeToken {
        let body = NewToken { role, name: Some("ci".to_owned()), expires_seconds: None };
        self.client.post("/api/v1/tokens", &body).await.expect("made")
    }
}

fn bearer(secret: &str) -> Vec<String> {
    vec![format!("Authorization: Bearer {secret}")]
}

#[tokio::test]
async fn the_port_answers_this_host_alone_and_shows_no_jobs() {
    let played = begin().await;
    assert_eq!(played.status("GET /healthz", &[]).await, 200);
    assert_eq!(played.status("GET /api/v1/fleet", &[]).await, 200);
    assert_eq!(played.status("GET /healthz", &["Host: evil.example".to_owned()]).await, 403);
    for path in ["/api/v1/jobs", "/api/v1/spec", "/api/v1/events", "/api/v1/tokens"] {
        let answer = played.ask(&format!("GET {path}"), &[]).await;
        assert_eq!(answer.status, 401, "{path}: {}", answer.text);
        let head = answer.text.to_lowercase();
        assert!(head.contains("www-authenticate: bearer"), "{head}");
        assert!(head.contains("application/problem+json"), "{head}");
    }
    assert_eq!(played.status("POST /api/v1/down", &[]).await, 401);
    assert_eq!(played.fake.requests(), []);
}

#[tokio::test]
async fn a_token_may_what_its_role_may_until_it_is_revoked() {
    let mut played = begin().await;
    let viewer = played.token(Role::Viewer).await;
    let operator = played.token(Role::Operator).await;
    let admin = played.token(Role::Admin).await;
    let tries = ["GET /api/v1/jobs", "POST /api/v1/gc", "GET /api/v1/tokens"];
    for (made, expected) in
        [(&viewer, [200, 403, 403]), (&operator, [200, 400, 403]), (&admin, [200, 400, 200])]
    {
        for (what, expected) in tries.into_iter().zip(expected) {
            let found = played.ask(what, &bearer(&made.secret)).await;
            // An operator's request is let in, and is told that `{}` is no order.
            let found =
                if found.status == 200 && what.contains("/gc") { 400 } else { found.status };
            assert_eq!(found, expected, "{what} as {}", made.token.role);
        }
    }
    let me = played.ask("GET /api/v1/whoami", &bearer(&operator.secret)).await.text;
    assert!(me.contains(r#""role":"operator""#) && me.contains("(ci)"), "{me}");
    assert!(me.contains(&format!("http://127.0.0.1:{}", played.port)), "{me}");
    let path = format!("/api/v1/tokens/{}", operator.token.id);
    let _: Accepted = played.client.delete(&path).await.expect("revoked");
    assert_eq!(played.status("GET /api/v1/whoami", &bearer(&operator.secret)).await, 401);
    assert_eq!(played.status("GET /healthz", &bearer("slate_wrong")).await, 401);
    let left: Vec<Token> = played.client.get("/api/v1/tokens").await.expect("a list");
    assert_eq!(left, [viewer.token, admin.token]);
}

#[tokio::test]
async fn what_variables_hold_is_shown_to_those_who_hand_in_jobs_and_to_no_viewer() {
    const HELD: &str = "held-by-a-variable";
    let mut played = begin().await;
    played.fake.change(|world| {
        for profile in world.spec.profiles.values_mut() {
            profile.env.insert("OWN_KEY".to_owned(), HELD.to_owned());
        }
    });
    let job = serde_json::json!({"command": ["true"], "env": {"DEPLOY_KEY": HELD}});
    let _: Submitted = played.client.post("/api/v1/jobs", &job).await.expect("handed in");
    let viewer = bearer(&played.token(Role::Viewer).await.secret);
    let operator = bearer(&played.token(Role::Operator).await.secret);
    let description: Value = serde_json::from_str(openapi::text()).expect("JSON");
    let paths = description["paths"].as_object().expect("paths");
    let reads = paths.iter().filter(|(_, operations)| operations.get("get").is_some());
    // The stream never ends; it is made of the fleet and the audit log, which are asked for alone.
    let reads = reads.map(|(path, _)| path.as_str()).filter(|path| *path != "/api/v1/stream");
    let followed = "/api/v1/jobs/1/logs?follow=true&job=true";
    let known = ["/api/v1/explain/job-1", "/api/v1/explain/light", "/api/v1/jobs?order=queue"];
    for path in reads.chain(known).chain([followed]) {
        let path = path.replace("{id}", "1").replace("{name}", "slate-light-01");
        let answer = played.ask(&format!("GET {path}"), &viewer).await;
        assert!(!answer.text.contains(HELD), "{path}: {}", answer.text);
    }
    let jobs = ["/api/v1/jobs", "/api/v1/jobs/1", followed].map(|path| (path, "DEPLOY_KEY"));
    for (path, name) in jobs.into_iter().chain([("/api/v1/spec", "OWN_KEY")]) {
        let seen = played.ask(&format!("GET {path}"), &viewer).await.text;
        assert!(seen.contains(name), "{path}: {seen}");
        let seen = played.ask(&format!("GET {path}"), &operator).await.text;
        assert!(seen.contains(name) && seen.contains(HELD), "{path}: {seen}");
    }
}

#[tokio::test]
async fn what_becomes_of_a_token_is_put_on_record_without_its_secret() {
    let mut played = begin().await;
    let made = played.token(Role::Viewer).await;
    let path = format!("/api/v1/tokens/{}", made.token.id);
    let _: Accepted = played.client.delete(&path).await.expect("revoked");
    let changes: Vec<_> = played
        .fake
        .requests()
        .into_iter()
        .map(|request| match request {
            Request::Token { token, change, why } => {
                assert!(!why.contains(&made.secret), "{why}");
                (token, change)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let id = made.token.id;
    assert_eq!(changes, [(id.clone(), TokenChange::Made), (id, TokenChange::Revoked)]);
}

#[tokio::test]
async fn a_page_of_another_origin_changes_nothing() {
    let mut played = begin().await;
    let made = played.token(Role::Admin).await;
    let from = |origin: String| {
        let mut head = bearer(&made.secret);
        head.push(format!("Origin: {origin}"));
        head
    };
    let own = format!("http://127.0.0.1:{}", played.port);
    // Reports have a port of their own, and may be hostile.
    let reports = format!("http://127.0.0.1:{}", played.port ^ 1);
    for origin in [reports, "null".to_owned(), "http://evil.example".to_owned()] {
        assert_eq!(played.status("POST /api/v1/cordon", &from(origin.clone())).await, 403);
        assert_eq!(played.status("GET /api/v1/jobs", &from(origin)).await, 200);
    }
    assert_eq!(played.status("POST /api/v1/cordon", &from(own)).await, 400);
}

#[tokio::test]
async fn the_sockets_owner_needs_no_token() {
    let mut played = begin().await;
    let body = CordonBody {
        runners: vec!["slate-light-02".to_owned()],
        gpus: Vec::new(),
        to: Cordon::Closed,
    };
    let _: Accepted = played.client.post("/api/v1/cordon", &body).await.expect("accepted");
}

/// A certificate of this test's own, in files.
fn certificate(folder: &Path) -> (TlsFiles, RootCertStore) {
    let names = vec!["localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let files = TlsFiles { cert: folder.join("fleet.pem"), key: folder.join("fleet.key") };
    std::fs::write(&files.cert, made.cert.pem()).expect("written");
    std::fs::write(&files.key, made.signing_key.serialize_pem()).expect("written");
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a root");
    (files, roots)
}

#[tokio::test]
async fn an_address_that_others_can_reach_speaks_tls_and_wants_a_token_for_all_but_health() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fake = Fake::start(&folder.path().join("state"));
    let (files, roots) = certificate(folder.path());
    let port = Port::bind("0.0.0.0:0", Some(&files)).await.expect("a port");
    let number = port.address().port();
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(listen::serve_port(Arc::clone(&fake.api), (port, 8), stopped));
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let ask = async |path: &str| {
        let plain = TcpStream::connect(("127.0.0.1", number)).await.expect("connects");
        let name = ServerName::try_from("localhost").expect("a name");
        let mut line = connector.connect(name, plain).await.expect("hands are shaken");
        let request = format!("GET {path} HTTP/1.1\r\nHost: fleet\r\nConnection: close\r\n\r\n");
        line.write_all(request.as_bytes()).await.expect("sent");
        let mut text = String::new();
        // A server may close without TLS's own farewell once all is said.
        let _cut = line.read_to_string(&mut text).await;
        text.split(' ').nth(1).and_then(|it| it.parse::<u16>().ok()).expect("a status")
    };
    assert_eq!(ask("/healthz").await, 200);
    assert_eq!(ask("/api/v1/whoami").await, 200);
    assert_eq!(ask("/api/v1/fleet").await, 401, "it is no loopback address");
    assert_eq!(ask("/api/v1/jobs").await, 401);
}
