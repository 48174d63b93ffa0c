//! A request over a unix socket or a port, as `curl` would send it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the server answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// Asks over a unix socket.
pub fn over_socket(socket: &Path, path: &str) -> Answer {
    let stream = UnixStream::connect(socket).expect("a listening socket");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    ask(stream, "localhost", path).expect("an answer")
}

/// Asks over TCP, as this host; none if nobody listens.
pub fn over_port(address: &str, host: &str, path: &str) -> Option<Answer> {
    let stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    ask(stream, host, path).ok()
}

/// An address of this host that nobody listens on just now.
pub fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").to_string()
}

/// A change that a page of this origin asks for.
pub fn post_from(address: &str, host: &str, path: &str, origin: &str) -> Answer {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let head = format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\n");
    let body = "Content-Type: text/plain\r\nContent-Length: 15\r\n\r\n{\"mode\": \"now\"}";
    write!(stream, "{head}Connection: close\r\n{body}").expect("sent");
    answer(stream).expect("an answer")
}

fn ask(mut stream: impl Read + Write, host: &str, path: &str) -> std::io::Result<Answer> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    answer(stream)
}

fn answer(mut stream: impl Read) -> std::io::Result<Answer> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    // What speaks TLS answers plain words with an alert.
    let (head, body) =
        text.split_once("\r\n\r\n").ok_or_else(|| std::io::Error::other("no HTTP"))?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    Ok(Answer { status, body: body.to_owned() })
}
