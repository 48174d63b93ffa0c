//! Clients that say half of what they mean to say, or nothing: none of them keeps a seat from
//! others. The clock stands still here, and jumps to the next deadline when nothing else happens.

use std::sync::Arc;
use std::time::Duration;

use slate_fleet::api::listen;
use slate_fleet::api::port::Port;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::fake::Fake;

/// No deadline of the server's is as far away.
const PATIENCE: Duration = Duration::from_secs(3600);
/// How long a head may take to come.
const HEAD_MOST: Duration = Duration::from_secs(30);

/// A played supervisor with so many seats at its port.
async fn begin(seats: usize) -> (TempDir, Arc<Fake>, u16, watch::Sender<bool>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fake = Fake::start(&folder.path().join("state"));
    let port = Port::bind("127.0.0.1:0", None).await.expect("a port");
    let number = port.address().port();
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(listen::serve_port(Arc::clone(&fake.api), (port, seats), stopped));
    (folder, fake, number, stop)
}

async fn say(port: u16, text: &str) -> TcpStream {
    let mut line = TcpStream::connect(("127.0.0.1", port)).await.expect("connects");
    line.write_all(text.as_bytes()).await.expect("sent");
    line
}

/// What comes until the other side closes.
async fn rest(line: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    let read = timeout(PATIENCE, line.read_to_end(&mut bytes)).await;
    // A client that is cut off in the middle of its words may find the line reset.
    let _end = read.expect("the server closes the line");
    String::from_utf8_lossy(&bytes).into_owned()
}

const WHOLE: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn who_says_half_a_head_is_cut_off_and_so_is_who_says_nothing() {
    let (_folder, fake, port, _stop) = begin(8).await;
    for half in ["", "GET /healthz HTTP/1.1\r\nHost: local", WHOLE.trim_end()] {
        let begun = Instant::now();
        let mut line = say(port, half).await;
        let said = rest(&mut line).await;
        assert!(!said.starts_with("HTTP/1.1 200"), "{half:?}: {said}");
        assert!(begun.elapsed() < 2 * HEAD_MOST, "{half:?}: {:?}", begun.elapsed());
    }
    let mut socket = UnixStream::connect(fake.state.api_socket()).await.expect("a socket");
    socket.write_all(b"GET /healthz").await.expect("sent");
    rest(&mut socket).await;
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_kept_for_a_next_request_that_does_not_come_is_closed() {
    let (_folder, _fake, port, _stop) = begin(8).await;
    let begun = Instant::now();
    let mut line = say(port, WHOLE).await;
    let said = rest(&mut line).await;
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    assert!(begun.elapsed() < 2 * HEAD_MOST, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_seat_gets_that_of_one_who_is_cut_off() {
    let (_folder, _fake, port, _stop) = begin(2).await;
    let _half = [say(port, "GET /healthz").await, say(port, "").await];
    let mut third = say(port, &WHOLE.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")).await;
    let begun = Instant::now();
    let said = rest(&mut third).await;
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    let waited = begun.elapsed();
    assert!(waited > HEAD_MOST / 2, "there were two seats, and both were taken: {waited:?}");
}

#[tokio::test(start_paused = true)]
async fn who_follows_is_not_cut_off_however_long_it_takes() {
    let (_folder, _fake, port, _stop) = begin(1).await;
    let begun = Instant::now();
    let mut line = say(port, &WHOLE.replace("/healthz", "/api/v1/stream")).await;
    let mut seen = String::new();
    while begun.elapsed() < 4 * HEAD_MOST {
        let mut bytes = [0; 4096];
        let read = timeout(PATIENCE, line.read(&mut bytes)).await.expect("something comes");
        let count = read.expect("the line is open");
        assert!(count > 0, "it was cut off after {:?}: {seen}", begun.elapsed());
        seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    assert!(seen.matches(": alive").count() >= 4, "{seen}");
}
