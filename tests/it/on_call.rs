//! A receiver of webhooks, as an on-call channel is one.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::process::wait_for;

/// Longest wait for a message.
const PATIENCE: Duration = Duration::from_secs(60);

/// The bodies that come to an address of this host.
pub struct OnCall {
    pub address: String,
    bodies: Receiver<Value>,
}

impl OnCall {
    /// Takes every message.
    pub fn open() -> Self {
        Self::after(0)
    }

    /// Takes every message after it has refused so many.
    pub fn after(refused: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (sender, bodies) = mpsc::channel();
        // Ends when the test's process does.
        thread::spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                let status = if number < refused { "503 Service Unavailable" } else { "200 OK" };
                let Some(body) = take(stream, status) else { continue };
                if number >= refused && sender.send(body).is_err() {
                    return;
                }
            }
        });
        Self { address, bodies }
    }

    /// Waits for a message that is so.
    pub fn wait_for(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let mut seen = Vec::new();
        let mut found = None;
        let came = wait_for(PATIENCE, || {
            while let Ok(body) = self.bodies.try_recv() {
                seen.push(body.to_string());
                if is_it(&body) {
                    found = Some(body);
                }
            }
            found.is_some()
        });
        assert!(came, "{what} never came; there came {seen:?}");
        found.unwrap_or_default()
    }
}

/// Takes one request and answers it.
fn take(mut stream: TcpStream, status: &str) -> Option<Value> {
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && body.len() >= length(head)
        {
            let rest = "content-length: 0\r\nconnection: close\r\n\r\n";
            stream.write_all(format!("HTTP/1.1 {status}\r\n{rest}").as_bytes()).ok()?;
            return serde_json::from_str(body).ok();
        }
        match stream.read(&mut buffer).ok()? {
            0 => return None,
            count => bytes.extend(&buffer[..count]),
        }
    }
}

fn length(head: &str) -> usize {
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_it = name.eq_ignore_ascii_case("content-length");
        is_it.then(|| value.trim().parse().ok()).flatten()
    });
    length.unwrap_or(0)
}
