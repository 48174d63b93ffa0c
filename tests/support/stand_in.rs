//! A forge's stand-in as tests use it: a process of its own, and the door where it is asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A stand-in's process, gone with the test.
pub struct StandIn {
    child: Child,
    pub port: u16,
    /// A token that may do all.
    pub token: String,
}

/// What an API call brought.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

impl StandIn {
    /// Starts one on a free port; its first lines say where it listens, and the token.
    pub fn start(program: &str, options: &[&str]) -> Self {
        let mut child = Command::new(example(program))
            .args(["--listen", "0.0.0.0:0"])
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the stand-in starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut line = || lines.next().expect("a line").expect("text");
        let address = line();
        let port = address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        let token = line().rsplit(' ').next().expect("a token").to_owned();
        Self { child, port, token }
    }

    pub fn get(&self, path: &str) -> Value {
        self.control("GET", path, &Value::Null)
    }

    pub fn post(&self, path: &str, body: &Value) -> Value {
        self.control("POST", path, body)
    }

    pub fn patch(&self, path: &str, body: &Value) -> Value {
        self.control("PATCH", path, body)
    }

    #[track_caller]
    fn control(&self, method: &str, path: &str, body: &Value) -> Value {
        let raw = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.ask(method, &format!("/_control/{path}"), &[], &raw);
        assert_eq!(answer.status, 200, "{method} {path}: {answer:?}");
        answer.json()
    }

    /// Any request.
    pub fn ask(&self, method: &str, path: &str, head: &[(&str, &str)], body: &str) -> Answer {
        self.try_ask(method, path, head, body).expect("an answer")
    }

    /// Any request; none where the connection ends without an answer.
    pub fn try_ask(
        &self,
        method: &str,
        path: &str,
        head: &[(&str, &str)],
        body: &str,
    ) -> Option<Answer> {
        ask(self.port, method, path, head, body)
    }

    pub fn job(&self, id: u64) -> Value {
        self.get(&format!("jobs/{id}"))
    }

    pub fn runners(&self) -> Vec<Value> {
        self.get("runners").as_array().expect("a list").clone()
    }

    /// Fails if the client did what the forge or good manners forbid, or what costs a job there.
    #[track_caller]
    pub fn no_violations(&self) {
        assert_eq!(self.get("violations"), json!([]));
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A request to a port of this host; none where the connection ends without an answer.
pub fn ask(
    port: u16,
    method: &str,
    path: &str,
    head: &[(&str, &str)],
    body: &str,
) -> Option<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let lines: String = head.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{lines}Content-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
    .ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

/// The host's address on the engine's own bridge.
pub fn bridge() -> String {
    static BRIDGE: OnceLock<String> = OnceLock::new();
    let find = || {
        let format = "{{range .IPAM.Config}}{{.Gateway}}{{end}}";
        let mut command = Command::new("docker");
        let asked = command.args(["network", "inspect", "bridge", "--format", format]).output();
        let said = asked.map(|one| String::from_utf8_lossy(&one.stdout).trim().to_owned());
        let fit = |text: &String| text.parse::<std::net::Ipv4Addr>().is_ok();
        said.ok().filter(fit).unwrap_or_else(|| "172.17.0.1".to_owned())
    };
    BRIDGE.get_or_init(find).clone()
}

/// Cargo builds them with the tests, unless single targets of them are named.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the path of this program");
    let profile = test.ancestors().nth(2).unwrap_or(Path::new(""));
    let program = profile.join("examples").join(name);
    assert!(
        program.exists(),
        "{} is not built; run: cargo build --example {name}",
        program.display()
    );
    program
}
