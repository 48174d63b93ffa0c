//! The door over loopback, with real deliveries.

use std::sync::Arc;
use std::time::Duration;

use ring::hmac;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::door::{Door, Route};
use super::server;
use crate::fleet::event::Event;
use crate::fleet::forge::ForgeEvent;
use crate::ids::{ForgeJobId, ScopeUrl};
use crate::spec::{Env, SecretSource, Webhook};
use crate::supervisor::forges::{Reach, Watch};
use crate::supervisor::secrets::Secrets;
use crate::units::Time;

const PATIENCE: Duration = Duration::from_secs(20);

struct Scene {
    door: Door,
    events: mpsc::Receiver<Event>,
    at: String,
}

fn route(scope: &str, repositories: &[&str]) -> Route {
    let scope = ScopeUrl::new(scope);
    let repositories = repositories.iter().map(|it| (*it).to_owned()).collect();
    Route { reach: Reach::of(&scope), scope, repositories, watch: Arc::<Watch>::default() }
}

/// A door on loopback for these scopes; the loop takes so many events.
async fn scene(routes: Vec<Route>, events: usize) -> Scene {
    let (sender, told) = mpsc::channel(events);
    let both = [("OLD", "old secret"), ("NEW", "new secret")];
    let both: Env = both.map(|(name, it)| (name.to_owned(), it.to_owned())).into();
    let door = Door::new(Secrets::new(both), Arc::new(|| Time(5_000)), sender);
    // The port is bound here, so that it is known; the door's own is for nobody.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("its address").to_string();
    let secrets = ["NEW", "OLD"].map(|name| SecretSource::Variable(name.to_owned())).into();
    door.apply(Some(&Webhook { listen: "127.0.0.1:0".to_owned(), secrets }), routes);
    tokio::spawn(server::serve(listener, door.shared()));
    Scene { door, events: told, at }
}

fn sign(secret: &str, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, body.as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

fn body(id: u64, repository: &str) -> String {
    format!(
        r#"{{"action": "queued", "workflow_job": {{"id": {id}, "run_id": 7, "name": "build",
            "status": "queued", "labels": ["self-hosted"], "created_at": "2026-01-02T03:04:05Z"}},
            "repository": {{"full_name": "{repository}"}}}}"#
    )
}

impl Scene {
    async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.at).await.expect("the door is open");
        stream.write_all(request.as_bytes()).await.expect("sent");
        answer(stream).await
    }

    async fn deliver(&self, guid: &str, signature: &str, body: &str) -> String {
        let length = body.len();
        let request = format!(
            "POST /webhooks HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\nx-github-event: workflow_job\r\n\
             x-github-delivery: {guid}\r\nx-hub-signature-256: {signature}\r\n\r\n{body}"
        );
        self.raw(&request).await
    }

    async fn job(&mut self) -> (ScopeUrl, ForgeJobId) {
        let event = timeout(PATIENCE, self.events.recv()).await.expect("in time");
        match event {
            Some(Event::Forge(ForgeEvent::Job { scope, job })) => (scope, job.id),
            other => panic!("a job was delivered, not {other:?}"),
        }
    }
}

/// The status line's number.
async fn answer(mut stream: TcpStream) -> String {
    let mut text = String::new();
    let came = timeout(PATIENCE, stream.read_to_string(&mut text)).await.expect("in time");
    came.expect("an answer");
    text.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_signed_delivery_goes_to_each_scope_that_it_concerns_once() {
    let routes = vec![
        route("https://github.com/acme", &[]),
        route("https://github.com/acme/site", &[]),
        route("https://github.com/acme/other", &[]),
        route("https://github.com/enterprises/e", &["acme/other"]),
    ];
    let watch = Arc::clone(&routes[0].watch);
    let mut scene = scene(routes, 8).await;
    let text = body(42, "Acme/Site");
    assert_eq!(scene.deliver("a", &sign("new secret", &text), &text).await, "202");
    let told = [scene.job().await, scene.job().await];
    let scopes = ["https://github.com/acme", "https://github.com/acme/site"];
    assert_eq!(told, scopes.map(|scope| (ScopeUrl::new(scope), ForgeJobId(42))));
    assert!(watch.hears(&[], Time(6_000)));
    timeout(PATIENCE, watch.hint.notified()).await.expect("whether it is a fork is not known");
    assert_eq!(scene.deliver("a", &sign("new secret", &text), &text).await, "202");
    let other = body(43, "acme/site");
    assert_eq!(scene.deliver("b", &sign("old secret", &other), &other).await, "202");
    assert_eq!(scene.job().await.1, ForgeJobId(43), "the doubled one had no effect");
    let report = scene.door.report().expect("it is open");
    assert_eq!((report.taken, report.bad_signatures, report.last), (3, 0, Some(Time(5_000))));
}

#[tokio::test]
async fn what_is_not_signed_has_no_effect() {
    let mut scene = scene(vec![route("https://github.com/acme", &[])], 8).await;
    let text = body(42, "acme/site");
    let wrong = sign("new secret", &body(41, "acme/site"));
    for signature in ["", "sha256=00", &wrong, &sign("wrong", &text), &sign("", &text)] {
        assert_eq!(scene.deliver("a", signature, &text).await, "401", "{signature}");
    }
    assert_eq!(scene.deliver("a", &sign("new secret", "{}"), "{}").await, "400");
    assert_eq!(scene.deliver("a", &sign("new secret", &text), &text).await, "202");
    assert_eq!(scene.job().await.1, ForgeJobId(42), "the first that had an effect");
    let report = scene.door.report().expect("it is open");
    assert_eq!((report.taken, report.bad_signatures), (1, 5));
}

#[tokio::test]
async fn a_full_queue_turns_away_and_the_same_delivery_may_come_again() {
    let mut scene = scene(vec![route("https://github.com/acme", &[])], 1).await;
    let mut taken = 0u64;
    let full = loop {
        let text = body(taken, "acme/site");
        let guid = taken.to_string();
        match scene.deliver(&guid, &sign("new secret", &text), &text).await.as_str() {
            "202" => taken += 1,
            "503" => break text,
            other => panic!("{other}"),
        }
        assert!(taken < 4_000, "it never fills");
    };
    assert!(taken > 1_000, "a burst finds room: {taken}");
    assert_eq!(scene.job().await.1, ForgeJobId(0));
    let report = scene.door.report().expect("it is open");
    assert_eq!((report.taken, report.turned_away), (taken, 1));
    for id in 1..taken {
        assert_eq!(scene.job().await.1, ForgeJobId(id), "none is lost");
    }
    let guid = taken.to_string();
    assert_eq!(scene.deliver(&guid, &sign("new secret", &full), &full).await, "202");
    assert_eq!(scene.job().await.1, ForgeJobId(taken), "it was not seen before");
}

#[tokio::test]
async fn the_door_takes_deliveries_alone_and_none_that_is_too_large() {
    let scene = scene(Vec::new(), 8).await;
    assert_eq!(scene.raw("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await, "405");
    let large = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 26214401\r\n\r\n";
    assert_eq!(scene.raw(large).await, "413");
}

#[tokio::test]
async fn a_slow_delivery_does_not_keep_its_seat() {
    const GO_ON: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
    let scene = scene(Vec::new(), 8).await;
    let mut line = TcpStream::connect(&scene.at).await.expect("the door is open");
    let head = "POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 10\r\n\r\n";
    line.write_all(head.as_bytes()).await.expect("sent");
    let mut said = vec![0; GO_ON.len()];
    timeout(PATIENCE, line.read_exact(&mut said)).await.expect("in time").expect("an answer");
    assert_eq!(said, GO_ON);
    // From here on there is nothing to wait for but the door's own deadline.
    tokio::time::pause();
    line.write_all(b"half").await.expect("sent");
    assert_eq!(answer(line).await, "408");
}

#[tokio::test(start_paused = true)]
async fn who_says_half_a_head_keeps_no_seat() {
    let scene = scene(Vec::new(), 8).await;
    let mut line = TcpStream::connect(&scene.at).await.expect("the door is open");
    line.write_all(b"POST / HTTP/1.1\r\nhost: x").await.expect("sent");
    let mut bytes = Vec::new();
    // The clock jumps to the door's own deadline. A line may also be reset.
    let _end = timeout(2 * PATIENCE, line.read_to_end(&mut bytes)).await.expect("it is closed");
    assert!(!bytes.starts_with(b"HTTP/1.1 202"));
}

#[tokio::test]
async fn an_address_that_is_taken_is_told_and_had_later() {
    let scene = scene(Vec::new(), 8).await;
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let listen = taken.local_addr().expect("its address").to_string();
    let secrets = vec![SecretSource::Variable("NEW".to_owned())];
    scene.door.apply(Some(&Webhook { listen: listen.clone(), secrets }), Vec::new());
    let has_trouble = || scene.door.report().is_some_and(|it| it.trouble.is_some());
    timeout(PATIENCE, until(has_trouble)).await.expect("it is told");
    drop(taken);
    timeout(PATIENCE, until(|| !has_trouble())).await.expect("it is had");
    let ping = TcpStream::connect(&listen).await;
    assert!(ping.is_ok());
    scene.door.apply(None, Vec::new());
    assert!(scene.door.report().is_none());
    let is_shut = || std::net::TcpStream::connect(&listen).is_err();
    timeout(PATIENCE, until(is_shut)).await.expect("it is shut");
}

async fn until(mut is_so: impl FnMut() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    while !is_so() {
        looks.tick().await;
    }
}
