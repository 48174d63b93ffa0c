//! The report server over real sockets, asked as browsers and as attackers ask.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;
use crate::api::serve::HEAD_MOST;

struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

struct Server {
    folder: TempDir,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

const JUNIT: &str = "<testsuite><testcase name='good'/><testcase name='&lt;script>bad'><failure \
                     message='&lt;img src=x onerror=alert(1)>'/></testcase></testsuite>";

/// A store with a run of Playwright's shape, a hostile one, and a secret beside it.
async fn server() -> Server {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("reports");
    for (path, text) in [
        ("reports/ci/7/index.html", "<!doctype html><script>localStorage.x = 1</script>"),
        ("reports/ci/7/data/video.webm", "0123456789"),
        ("reports/ci/7/data/<b>&\"'.txt", "text"),
        ("reports/ci/7/trace/index.html", "<p>trace"),
        ("reports/ci/7/trace/sw.js", "self.x = 1"),
        ("reports/ci/8/junit.xml", JUNIT),
        ("reports/ci/8/odd.svg", "<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>"),
        ("reports/.git/x/config", "not a run"),
        ("reports/notes/readme.txt", "no run either"),
        ("secret", "secret of the host"),
    ] {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    symlink(folder.path(), root.join("ci/7/out")).expect("a link");
    symlink(folder.path().join("secret"), root.join("ci/7/secret.txt")).expect("a link");
    let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let site = Site::new(Store::new(root), Some("reports.example.org"));
    Server { folder, address, task: tokio::spawn(serve(listener, site)) }
}

impl Server {
    async fn send(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.expect("a connection");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.expect("an answer");
        let end = bytes.windows(4).position(|it| it == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned();
        let status = head.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a status");
        let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let headers = lines.map(|(name, it)| (name.to_ascii_lowercase(), it.to_owned())).collect();
        Answer { status, headers, body: bytes.get(end + 4..).unwrap_or_default().to_vec() }
    }

    async fn ask(&self, host: &str, path: &str, more: &str) -> Answer {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}");
        self.send(&format!("{head}\r\n")).await
    }

    async fn own(&self, path: &str) -> Answer {
        self.ask("127.0.0.1:9190", path, "").await
    }

    /// Something of a run by the run's own name.
    async fn of(&self, run: &str, path: &str) -> Answer {
        let label = host::label(&Place::parse(run).expect("a place"));
        self.ask(&format!("{label}.localhost:9190"), path, "").await
    }
}

fn label(run: &str) -> String {
    host::label(&Place::parse(run).expect("a place"))
}

#[tokio::test]
async fn runs_are_listed_with_what_their_results_say() {
    let server = server().await;
    let top = server.own("/").await;
    assert_eq!((top.status, top.header("location")), (302, "/reports/"));
    let all = server.own("/reports/").await;
    assert_eq!(all.status, 200);
    for words in ["href=\"ci/7/\"", "1 failed", "1 passed"] {
        assert!(all.text().contains(words), "no `{words}` in {}", all.text());
    }
    for hidden in [".git", "readme"] {
        assert!(!all.text().contains(hidden), "{}", all.text());
    }
    let slash = server.own("/reports/ci").await;
    assert_eq!((slash.status, slash.header("location")), (308, "/reports/ci/"));
    assert!(server.own("/reports/ci/").await.text().contains("href=\"8/\""));
    let run = server.own("/reports/ci/7/").await.text();
    let page = format!("//{}.localhost:9190/reports/ci/7/", label("ci/7"));
    for words in [page.as_str(), "Open the report", "Open trace", "aria-label=\"Breadcrumb\""] {
        assert!(run.contains(words), "no `{words}` in {run}");
    }
    assert!(!run.contains("secret") && !run.contains("out/"), "{run}");
    let json = server.own("/reports/ci/8/?format=json").await;
    assert_eq!(json.header("content-type"), "application/json");
    let json: serde_json::Value = serde_json::from_slice(&json.body).expect("JSON");
    assert_eq!((&json["tests"]["failed"], &json["files"]), (&1.into(), &2.into()), "{json:#}");
}

#[tokio::test]
async fn pages_of_a_run_are_on_a_name_of_their_own_and_on_no_other() {
    let server = server().await;
    for path in ["/reports/ci/7/index.html", "/reports/ci/7/trace/"] {
        let answer = server.own(path).await;
        let there = format!("//{}.localhost:9190{path}", label("ci/7"));
        assert_eq!((answer.status, answer.header("location")), (302, there.as_str()), "{path}");
        let shown = server.of("ci/7", path).await;
        assert_eq!(shown.status, 200, "{path}");
        assert_eq!(shown.header("content-type"), "text/html; charset=utf-8");
        assert!(shown.header("content-security-policy").starts_with("default-src 'self' "));
    }
    let script = server.of("ci/7", "/reports/ci/7/trace/sw.js").await;
    assert_eq!(script.header("content-type"), "text/javascript; charset=utf-8");
    // Behind a proxy the names are made of the proxy's.
    let proxied = server.ask("reports.example.org", "/reports/ci/7/index.html", "").await;
    let there = format!("//{}.reports.example.org/reports/ci/7/index.html", label("ci/7"));
    assert_eq!(proxied.header("location"), there);
    // One run's name shows nothing of another, and no list.
    for path in ["/reports/ci/8/junit.xml", "/reports/ci/8/", "/reports/ci/", "/reports/"] {
        assert_eq!(server.of("ci/7", path).await.status, 404, "{path}");
    }
    let list = server.of("ci/7", "/reports/ci/7/data/").await;
    assert_eq!(list.header("location"), "//localhost:9190/reports/ci/7/data/");
}

#[tokio::test]
async fn what_a_hostile_report_serves_can_act_on_nothing() {
    let server = server().await;
    let answers = [
        server.own("/reports/").await,
        server.own("/reports/ci/8/").await,
        server.own("/reports/ci/7/data/").await,
        server.own("/reports/ci/8/odd.svg").await,
        server.own("/reports/ci/8/junit.xml").await,
        server.own("/reports/none/").await,
        server.of("ci/7", "/reports/ci/7/").await,
        server.of("ci/8", "/reports/ci/8/odd.svg").await,
        server.ask("evil.example", "/reports/", "").await,
        server.ask("localhost", "/reports/ci/7/index.html", "Origin: http://evil\r\n").await,
    ];
    for answer in &answers {
        let said = |name: &str| answer.header(name);
        assert_eq!(said("x-content-type-options"), "nosniff");
        assert_eq!(said("cross-origin-resource-policy"), "same-origin");
        assert_eq!(said("cross-origin-opener-policy"), "same-origin");
        assert_eq!(said("referrer-policy"), "no-referrer");
        assert!(said("content-security-policy").starts_with("default-src"), "{}", answer.text());
        assert_eq!(said("access-control-allow-origin"), "", "readable for others");
    }
    // By the server's own name no script of a job runs, whatever its file is called.
    for answer in answers.iter().take(6) {
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("script"), "{policy}");
    }
    let svg = server.own("/reports/ci/8/odd.svg").await;
    assert!(svg.header("content-security-policy").ends_with("; sandbox"));
    // What a page may reach is what it came from: neither the API's port nor other runs.
    let policy = server.of("ci/7", "/reports/ci/7/").await;
    let policy = policy.header("content-security-policy");
    let sources: Vec<&str> = policy.split([' ', ';']).filter(|it| !it.is_empty()).collect();
    assert!(sources.iter().all(|it| !it.contains("http") && *it != "*"), "{policy}");
}

#[tokio::test]
async fn names_and_texts_of_jobs_are_shown_and_not_run() {
    let server = server().await;
    let run = server.own("/reports/ci/8/").await.text();
    assert!(run.contains("&lt;script&gt;bad") && run.contains("&lt;img src=x"), "{run}");
    let folder = server.own("/reports/ci/7/data/").await.text();
    assert!(folder.contains("&lt;b&gt;&amp;&quot;"), "{folder}");
    assert!(folder.contains("href=\"./%3Cb%3E%26%22%27.txt\""), "{folder}");
    let file = server.own("/reports/ci/7/data/%3Cb%3E%26%22%27.txt").await;
    assert_eq!((file.status, file.text().as_str()), (200, "text"));
}

#[tokio::test]
async fn no_address_leads_out_of_the_store() {
    let server = server().await;
    assert!(server.folder.path().join("secret").exists());
    for path in [
        "/reports/../secret",
        "/reports/ci/7/../../../secret",
        "/reports/ci/7/..%2f..%2f..%2fsecret",
        "/reports/ci/7/%2e%2e/%2e%2e/%2e%2e/secret",
        "/reports/ci/7/%2E%2E%2F%2E%2E%2F%2E%2E%2Fsecret",
        "/reports/ci/7/..%5c..%5csecret",
        "/reports/ci/7/%252e%252e/%252e%252e/secret",
        "/reports//etc/passwd",
        "/reports/%2fetc%2fpasswd",
        "/reports/ci/7/secret.txt",
        "/reports/ci/7/out/secret",
        "/reports/ci/7/out/",
        "/reports/ci/7/index.html%00.txt",
        "/reports/ci/7/%00",
        "/Reports/ci/7/index.html",
        "/reports/.git/x/config",
        "/reports/%2egit/x/config",
        "/reports/ci/7/index.html/",
        "//evil.example/reports/ci",
        "/secret",
        "/reports/ci/7/\u{2025}/secret",
    ] {
        for host in ["localhost".to_owned(), format!("{}.localhost", label("ci/7"))] {
            let answer = server.ask(&host, path, "").await;
            let is_safe = (400..500).contains(&answer.status)
                || answer.header("location").starts_with("//localhost");
            assert!(is_safe, "{host}{path}: {} {}", answer.status, answer.header("location"));
            assert!(!answer.text().contains("secret of the host"), "{host}{path}");
        }
    }
}

#[tokio::test]
async fn only_reading_by_names_of_ours_is_answered() {
    let server = server().await;
    for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:9190"] {
        let answer = server.ask(host, "/reports/ci/8/junit.xml", "").await;
        assert_eq!(answer.status, 421, "{host}");
        assert!(!answer.text().contains("testsuite"));
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let request = format!(
            "{method} /reports/ci/8/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n"
        );
        assert_eq!(server.send(&request).await.status, 405, "{method}");
    }
}

#[tokio::test]
async fn videos_and_traces_are_sent_in_parts_and_once() {
    let server = server().await;
    let path = "/reports/ci/7/data/video.webm";
    let host = format!("{}.localhost", label("ci/7"));
    let whole = server.ask(&host, path, "").await;
    assert_eq!((whole.status, whole.text().as_str()), (200, "0123456789"));
    assert_eq!(whole.header("accept-ranges"), "bytes");
    assert_eq!(whole.header("content-type"), "video/webm");
    let (tag, date) = (whole.header("etag"), whole.header("last-modified"));
    for (more, status, body) in [
        ("Range: bytes=2-4\r\n".to_owned(), 206, "234"),
        ("Range: bytes=7-\r\n".to_owned(), 206, "789"),
        ("Range: bytes=-2\r\n".to_owned(), 206, "89"),
        ("Range: bytes=5-1000\r\n".to_owned(), 206, "56789"),
        ("Range: bytes=20-\r\n".to_owned(), 416, ""),
        ("Range: lines=1-2\r\n".to_owned(), 200, "0123456789"),
        ("Range: bytes=0-1,5-6\r\n".to_owned(), 200, "0123456789"),
        (format!("Range: bytes=0-0\r\nIf-Range: {tag}\r\n"), 206, "0"),
        (format!("Range: bytes=0-0\r\nIf-Range: {date}\r\n"), 206, "0"),
        ("Range: bytes=0-0\r\nIf-Range: \"old\"\r\n".to_owned(), 200, "0123456789"),
        (format!("If-None-Match: \"x\", W/{tag}\r\n"), 304, ""),
        ("If-None-Match: \"x\"\r\n".to_owned(), 200, "0123456789"),
        (format!("If-Modified-Since: {date}\r\n"), 304, ""),
        ("If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n".to_owned(), 200, "0123456789"),
        (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {date}\r\n"), 200, "0123456789"),
    ] {
        let answer = server.ask(&host, path, &more).await;
        assert_eq!((answer.status, answer.text().as_str()), (status, body), "{more}");
    }
    let part = server.ask(&host, path, "Range: bytes=2-4\r\n").await;
    assert_eq!(part.header("content-range"), "bytes 2-4/10");
    assert_eq!(part.header("content-length"), "3");
    let head = format!("HEAD {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let head = server.send(&head).await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, "10", 0));
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_half_a_report_is_cut_off() {
    let server = server().await;
    let mut line = TcpStream::connect(server.address).await.expect("a connection");
    line.write_all(b"GET /reports/ HTTP/1.1\r\nHost: local").await.expect("sent");
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(2 * HEAD_MOST, line.read_to_end(&mut bytes)).await;
    // A line may also be reset.
    let _end = read.expect("the line is closed");
    assert!(!bytes.starts_with(b"HTTP/1.1 200"));
}
