//! A proxy before the engine's socket that delays, refuses, loses answers, cuts and lies.
//!
//! One request a connection on both sides, so that nothing but the event stream and upgrades has to
//! be understood as it passes.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::fleet::Hosts;

const ENGINE: &str = "/var/run/docker.sock";
/// How late a delayed answer is.
const LATE: Duration = Duration::from_secs(2);
const INCARNATION: &str = "dev.slate.fleet.incarnation";

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It comes to the engine late.
    Delay,
    /// The proxy answers 500, and the engine never hears of it.
    Refuse,
    /// The engine does it, and the answer is lost.
    LoseAnswer,
    /// The connection is reset before the engine hears of it.
    Reset,
    /// A list of nothing.
    Empty,
    /// The list that was kept.
    Stale,
}

/// Which call: a method and a path in which `*` stands for one part.
pub type Verb = (&'static str, &'static str);

struct Rule {
    verb: Verb,
    trouble: Trouble,
}

/// A call that passed, and what became of it.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub method: String,
    pub path: String,
    /// Of a container that was to be made.
    pub incarnation: Option<String>,
    /// What the caller was told; none if nothing.
    pub told: Option<u16>,
    /// What the engine made.
    pub made: Option<String>,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    trace: Vec<Exchange>,
    streams: Vec<UnixStream>,
    /// Connections before this one get no more events.
    silent_until: usize,
    doubled: bool,
    list: Vec<u8>,
    kept: Vec<u8>,
}

/// The proxy.
pub struct Proxy {
    folder: TempDir,
    state: Arc<Mutex<State>>,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Proxy {
    pub fn start() -> Self {
        let folder = TempDir::with_prefix("slate-proxy-").expect("a folder");
        let listener = UnixListener::bind(folder.path().join("docker.sock")).expect("a socket");
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), shared) = (client, Arc::clone(&shared)) else { return };
                // A caller that goes away in the middle is what this is all about.
                thread::spawn(move || serve(client, &shared).ok());
            }
        });
        Self { folder, state }
    }

    /// For a fleet behind it; the test itself asks the engine.
    pub fn hosts(&self) -> Hosts {
        let socket = self.folder.path().join("docker.sock");
        Hosts { fleet: Some(format!("unix://{}", socket.display())), test: None }
    }

    /// The next call of this kind meets this trouble.
    pub fn next(&self, verb: Verb, trouble: Trouble) {
        lock(&self.state).rules.push(Rule { verb, trouble });
    }

    /// Whether no trouble waits any more.
    pub fn is_calm(&self) -> bool {
        lock(&self.state).rules.is_empty()
    }

    /// No more trouble.
    pub fn calm(&self) {
        lock(&self.state).rules.clear();
    }

    /// Keeps the last list for [`Trouble::Stale`].
    pub fn keep_list(&self) {
        let mut state = lock(&self.state);
        let list = state.list.clone();
        state.kept = list;
    }

    /// Cuts every event stream.
    pub fn cut_streams(&self) {
        for stream in lock(&self.state).streams.drain(..) {
            let _gone = stream.shutdown(Shutdown::Both);
        }
    }

    /// The event streams of now stay open and say nothing more.
    pub fn silence_streams(&self) {
        let mut state = lock(&self.state);
        state.silent_until = state.streams.len();
    }

    /// Every event comes twice from now on.
    pub fn double_events(&self) {
        lock(&self.state).doubled = true;
    }

    pub fn trace(&self) -> Vec<Exchange> {
        lock(&self.state).trace.clone()
    }
}

/// A request as it was sent.
struct Request {
    head: String,
    method: String,
    path: String,
    body: Vec<u8>,
    upgrades: bool,
}

fn serve(mut client: UnixStream, state: &Mutex<State>) -> std::io::Result<()> {
    let Some(request) = read_request(&mut client)? else { return Ok(()) };
    let trouble = trouble(state, &request);
    match trouble {
        Some(Trouble::Reset) => {
            note(state, &request, None, None);
            return Ok(());
        }
        Some(Trouble::Refuse) => {
            note(state, &request, Some(500), None);
            return answer(&mut client, "500 Internal Server Error", REFUSAL);
        }
        Some(Trouble::Empty) => return answer(&mut client, "200 OK", b"[]"),
        Some(Trouble::Stale) => {
            let kept = lock(state).kept.clone();
            return answer(&mut client, "200 OK", &kept);
        }
        Some(Trouble::Delay) => thread::park_timeout(LATE),
        Some(Trouble::LoseAnswer) | None => {}
    }
    let mut engine = UnixStream::connect(ENGINE)?;
    engine.write_all(request.head.as_bytes())?;
    engine.write_all(&request.body)?;
    if request.upgrades {
        return tunnel(client, engine);
    }
    if request.path == "/events" {
        return follow(client, engine, state);
    }
    let mut bytes = Vec::new();
    let is_endless = request.path.ends_with("/logs") || request.path.ends_with("/wait");
    if is_endless {
        return std::io::copy(&mut engine, &mut client).map(drop);
    }
    engine.read_to_end(&mut bytes)?;
    let (status, body) = parse_answer(&bytes);
    if (request.method.as_str(), request.path.as_str()) == ("GET", "/containers/json") {
        lock(state).list.clone_from(&body);
    }
    let made: Option<Value> = serde_json::from_slice(&body).ok();
    let made = made.and_then(|made| made["Id"].as_str().map(str::to_owned));
    let is_lost = trouble == Some(Trouble::LoseAnswer);
    note(state, &request, status.filter(|_| !is_lost), made);
    if is_lost { Ok(()) } else { client.write_all(&bytes) }
}

const REFUSAL: &[u8] = br#"{"message":"the engine is told to fail"}"#;

fn answer(client: &mut UnixStream, status: &str, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    write!(
        client,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    )?;
    client.write_all(body)
}

fn trouble(state: &Mutex<State>, request: &Request) -> Option<Trouble> {
    let mut state = lock(state);
    let found = state.rules.iter().position(|rule| matches(rule.verb, request))?;
    Some(state.rules.remove(found).trouble)
}

fn matches((method, pattern): Verb, request: &Request) -> bool {
    let parts: Vec<&str> = request.path.split('/').collect();
    let wanted: Vec<&str> = pattern.split('/').collect();
    method == request.method
        && parts.len() == wanted.len()
        && parts.iter().zip(wanted).all(|(part, wanted)| wanted == "*" || *part == wanted)
}

fn note(state: &Mutex<State>, request: &Request, told: Option<u16>, made: Option<String>) {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    lock(state).trace.push(Exchange {
        method: request.method.clone(),
        path: request.path.clone(),
        incarnation: body["Labels"][INCARNATION].as_str().map(str::to_owned),
        told,
        made,
    });
}

/// Reads up to the end of the head; the rest of what was read belongs to the body.
fn read_head(from: &mut UnixStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        if let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
        match from.read(&mut buffer)? {
            0 => return Ok((String::new(), Vec::new())),
            count => bytes.extend(&buffer[..count]),
        }
    }
}

fn read_request(client: &mut UnixStream) -> std::io::Result<Option<Request>> {
    let (head, mut body) = read_head(client)?;
    let mut words = head.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
    let (method, target) = (method.to_owned(), target.to_owned());
    let lower = head.to_lowercase();
    let length = lower.split("content-length: ").nth(1);
    let length = length.and_then(|it| it.split("\r\n").next()).and_then(|it| it.parse().ok());
    let is_whole = |body: &[u8]| match length {
        Some(length) => body.len() >= length,
        None => !lower.contains("transfer-encoding: chunked") || body.ends_with(b"0\r\n\r\n"),
    };
    let mut buffer = [0; 16 * 1024];
    while !is_whole(&body) {
        match client.read(&mut buffer)? {
            0 => return Ok(None),
            count => body.extend(&buffer[..count]),
        }
    }
    let upgrades = lower.contains("upgrade: ");
    let path = target.split('?').next().unwrap_or_default();
    // Without the version.
    let path = match path.strip_prefix("/v1.") {
        Some(rest) => rest.find('/').map_or("", |at| &rest[at..]).to_owned(),
        None => path.to_owned(),
    };
    let head = match upgrades {
        true => head,
        false => head.replacen("\r\n", "\r\nConnection: close\r\n", 1),
    };
    Ok(Some(Request { head, method, path, body, upgrades }))
}

/// Status and body of a whole answer.
fn parse_answer(bytes: &[u8]) -> (Option<u16>, Vec<u8>) {
    let end = bytes.windows(4).position(|it| it == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let mut body = bytes[end..].to_vec();
    if head.contains("transfer-encoding: chunked") {
        let mut whole = Vec::new();
        while let Some(chunk) = take_chunk(&mut body) {
            let data = chunk.iter().position(|it| *it == b'\n').map_or(0, |at| at + 1);
            whole.extend(&chunk[data..chunk.len() - 2]);
        }
        body = whole;
    }
    (status, body)
}

/// The first whole chunk, with its length and ends, taken from the buffer.
fn take_chunk(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let line = buffer.windows(2).position(|it| it == b"\r\n")?;
    let length = std::str::from_utf8(&buffer[..line]).ok()?;
    let end = line + 2 + usize::from_str_radix(length, 16).ok()? + 2;
    (buffer.len() >= end).then(|| buffer.drain(..end).collect())
}

/// Passes events on, one by one: doubled, or kept back, as it was told.
fn follow(
    mut client: UnixStream,
    mut engine: UnixStream,
    state: &Mutex<State>,
) -> std::io::Result<()> {
    let number = {
        let mut state = lock(state);
        state.streams.push(client.try_clone()?);
        state.streams.len()
    };
    let (head, mut chunks) = read_head(&mut engine)?;
    client.write_all(head.as_bytes())?;
    let mut buffer = [0; 16 * 1024];
    loop {
        while let Some(chunk) = take_chunk(&mut chunks) {
            let (silent, doubled) = {
                let state = lock(state);
                (number <= state.silent_until, state.doubled)
            };
            for _ in 0..if silent { 0 } else { 1 + usize::from(doubled) } {
                client.write_all(&chunk)?;
            }
        }
        match engine.read(&mut buffer)? {
            0 => return Ok(()),
            count => chunks.extend(&buffer[..count]),
        }
    }
}

fn tunnel(mut client: UnixStream, mut engine: UnixStream) -> std::io::Result<()> {
    let (mut from_client, mut to_engine) = (client.try_clone()?, engine.try_clone()?);
    thread::spawn(move || {
        let _ended = std::io::copy(&mut from_client, &mut to_engine);
        let _closed = to_engine.shutdown(Shutdown::Write);
    });
    std::io::copy(&mut engine, &mut client).map(drop)
}
