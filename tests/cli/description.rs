//! The described API over a real port: every route is there, refusals are problems, lists have
//! pages, and what a caller has already is not sent again.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use slate_fleet::api::listen;
use slate_fleet::api::openapi;
use slate_fleet::api::port::Port;
use slate_fleet::client::Client;
use slate_fleet::ids::JobId;
use slate_fleet::units::Time;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;

use super::fake::Fake;

/// A played supervisor, asked over its socket: the owner may everything.
struct Played {
    _folder: TempDir,
    fake: Arc<Fake>,
}

/// An answer in parts.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    fn is_problem(&self) -> bool {
        let kind: Value = serde_json::from_str(&self.body).unwrap_or_default();
        self.header("content-type") == Some("application/problem+json")
            && kind["status"] == self.status
            && kind["detail"].as_str().is_some_and(|detail| !detail.is_empty())
    }
}

fn begin() -> Played {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fake = Fake::start(&folder.path().join("state"));
    Played { _folder: folder, fake }
}

impl Played {
    async fn ask(&self, what: &str, head: &[&str], body: &[u8]) -> Answer {
        let socket = UnixStream::connect(self.fake.state.api_socket()).await;
        let mut socket = socket.expect("the socket takes connections");
        let length = format!("Content-Length: {}", body.len());
        let mut lines = vec![format!("{what} HTTP/1.1"), "Host: localhost".to_owned(), length];
        lines.push("Connection: close".to_owned());
        lines.extend(head.iter().map(|&line| line.to_owned()));
        let mut request = format!("{}\r\n\r\n", lines.join("\r\n")).into_bytes();
        request.extend(body);
        // Who sends too much is answered before all of it is read.
        let _cut = socket.write_all(&request).await;
        let mut bytes = Vec::new();
        let read = socket.read_to_end(&mut bytes);
        let _cut = tokio::time::timeout(Duration::from_secs(10), read).await.expect("in time");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a status");
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }
}

#[tokio::test]
async fn every_described_route_is_there_and_takes_its_methods_alone() {
    let played = begin();
    let description: Value = serde_json::from_str(openapi::text()).expect("JSON");
    let paths = description["paths"].as_object().expect("paths");
    assert!(paths.len() > 30, "the routes were not found");
    for (path, operations) in paths {
        let asked = path.replace("{id}", "job-1").replace("{run}", "1").replace("{name}", "x");
        let answer = played.ask(&format!("PATCH {asked}"), &[], b"").await;
        assert_eq!(answer.status, 405, "{path}: {}", answer.body);
        assert!(answer.is_problem(), "{path}: {}", answer.head);
        let allowed = answer.header("allow").expect("what is allowed").to_lowercase();
        for method in operations.as_object().expect("operations").keys() {
            assert!(allowed.split(',').any(|it| it == method), "{method} {path}: {allowed}");
        }
        let described = operations.as_object().expect("operations");
        for method in allowed.split(',').filter(|it| *it != "head") {
            assert!(described.contains_key(method), "{method} {path} is not described");
        }
    }
}

#[tokio::test]
async fn whatever_is_refused_is_a_problem_with_words() {
    let played = begin();
    let json = ["Content-Type: application/json"];
    let large = vec![b' '; 5 * 1024 * 1024];
    for (what, head, body, status) in [
        ("GET /nowhere", &[][..], &b""[..], 404),
        ("GET /api/v1/runners/%ff", &[], b"", 400),
        ("GET /api/v1/jobs?limit=many", &[], b"", 400),
        ("GET /api/v1/jobs?after=x", &[], b"", 400),
        ("GET /api/v1/runners?status=gone", &[], b"", 400),
        ("GET /api/v1/jobs/x", &[], b"", 400),
        ("GET /api/v1/jobs/77", &[], b"", 404),
        ("POST /api/v1/scale", &json, b"{", 400),
        ("POST /api/v1/scale", &["Content-Type: text/plain"], b"{}", 415),
        ("POST /api/v1/jobs/batch", &["Content-Type: text/csv"], b"{}", 415),
        ("POST /api/v1/plan", &json, &large, 413),
        ("DELETE /api/v1/tokens/00000000", &[], b"", 404),
    ] {
        let answer = played.ask(what, head, body).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.body);
        assert!(answer.is_problem(), "{what}: {}\n{}", answer.head, answer.body);
    }
}

#[tokio::test]
async fn what_the_caller_has_is_not_sent_again_until_it_changes() {
    let played = begin();
    for path in ["/api/v1/runners", "/api/v1/runners/slate-light-01", "/api/v1/jobs"] {
        let first = played.ask(&format!("GET {path}"), &[], b"").await;
        assert_eq!(first.status, 200, "{path}");
        let tag = first.header("etag").expect("a tag").to_owned();
        let known = format!("If-None-Match: {tag}");
        let again = played.ask(&format!("GET {path}"), &[&known], b"").await;
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{path}");
        assert_eq!(again.header("etag"), Some(tag.as_str()), "{path}");
    }
    let first = played.ask("GET /api/v1/fleet", &[], b"").await;
    let known = format!("If-None-Match: {}", first.header("etag").expect("a tag"));
    played.fake.change(|world| {
        world.fleet.at = Time(world.fleet.at.0 + 1000);
        world.fleet.runners[0].heard = Some(world.fleet.at);
    });
    let again = played.ask("GET /api/v1/fleet", &[&known], b"").await;
    assert_eq!(again.status, 304, "a second later it is the same fleet");
    played.fake.change(|world| world.fleet.queued += 1);
    assert_eq!(played.ask("GET /api/v1/fleet", &[&known], b"").await.status, 200);
    let tag = played.ask("GET /api/v1/runners", &[], b"").await;
    let known = format!("If-None-Match: {}", tag.header("etag").expect("a tag"));
    played.fake.change(|world| world.fleet.runners[0].tasks_completed += 1);
    let news = played.ask("GET /api/v1/runners", &[&known], b"").await;
    assert_eq!(news.status, 200, "one job later it is another list");
}

/// Follows `next` from page to page.
async fn pages(played: &Played, first: &str) -> Vec<Vec<u64>> {
    let mut pages = Vec::new();
    let mut path = first.to_owned();
    loop {
        let answer = played.ask(&format!("GET {path}"), &[], b"").await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        let items: Value = serde_json::from_str(&answer.body).expect("a list");
        let ids = items.as_array().expect("a list").iter().map(|it| it["id"].as_u64());
        pages.push(ids.map(|id| id.expect("an id")).collect());
        let Some(link) = answer.header("link") else { return pages };
        let next = link.strip_prefix('<').and_then(|link| link.split_once(">; rel=\"next\""));
        next.expect("the next page").0.clone_into(&mut path);
        assert!(pages.len() < 10, "the pages have no end");
    }
}

#[tokio::test]
async fn lists_are_read_page_by_page_with_their_filters() {
    let played = begin();
    let mut client = Client::connect(&played.fake.state).await.expect("connects");
    for number in 0..5 {
        let lane = if number % 2 == 0 { "a" } else { "b" };
        let body = serde_json::json!({"command": ["wait"], "lane": lane});
        let _: Value = client.post("/api/v1/jobs", &body).await.expect("submitted");
    }
    assert_eq!(pages(&played, "/api/v1/jobs?limit=2").await, [vec![5, 4], vec![3, 2], vec![1]]);
    let of_lane = pages(&played, "/api/v1/jobs?lane=a&limit=2").await;
    assert_eq!(of_lane, [vec![5, 3], vec![1]], "numbers are counted from 1");
    assert_eq!(pages(&played, "/api/v1/runners?limit=1").await, [vec![1], vec![2], vec![]]);
    assert_eq!(pages(&played, "/api/v1/runners?status=running").await, [Vec::<u64>::new()]);
    assert_eq!(pages(&played, "/api/v1/runners?pool=light").await, [vec![1, 2]]);
    assert_eq!(played.fake.world.lock().expect("no player panicked").jobs.len(), 5);
    assert!(played.fake.world.lock().expect("no player panicked").jobs.contains_key(&JobId(5)));
}

#[tokio::test]
async fn the_description_is_for_anybody() {
    let played = begin();
    let port = Port::bind("127.0.0.1:0", None).await.expect("a port");
    let address = port.address();
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(listen::serve_port(Arc::clone(&played.fake.api), (port, 8), stopped));
    let mut line = tokio::net::TcpStream::connect(address).await.expect("connects");
    let request = format!(
        "GET /api/v1/openapi.json HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    );
    line.write_all(request.as_bytes()).await.expect("sent");
    let mut text = String::new();
    line.read_to_string(&mut text).await.expect("read");
    let (_, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let description: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(description["openapi"], "3.1.0");
    let jobs = &description["paths"]["/api/v1/jobs"]["get"];
    assert_eq!(jobs["security"][0]["token"][0], "viewer");
    assert_eq!(jobs["responses"]["200"]["content"]["application/json"]["schema"]["type"], "array");
}
