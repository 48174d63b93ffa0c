//! The stand-in for GitHub as tests use it: started, filled, asked what it saw.
#![allow(dead_code, clippy::allow_attributes, reason = "each test program uses another part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};

/// The image with the stand-in for GitHub's runner.
pub const IMAGE: &str = "slate-github-runner:stand-in";
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A stand-in of its own, gone with the test.
pub struct GitHub {
    child: Child,
    port: u16,
    /// A personal token that may do all.
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

impl GitHub {
    /// One in which `me/site` is there, and things that take minutes take seconds.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    pub fn start_with(options: &[&str]) -> Self {
        let advertise = format!("http://{}", bridge());
        let mut child = Command::new(example("github_stand_in"))
            .args(["--listen", "0.0.0.0:0", "--poll-seconds", "5", "--advertise", &advertise])
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the stand-in starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut line = || lines.next().expect("a line").expect("text");
        let address = line();
        let port = address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        let token = line().rsplit(' ').next().expect("a token").to_owned();
        let github = Self { child, port, token };
        github.set(&json!({
            "removal_lag_seconds": 1.0, "session_seconds": 3.0, "conflict_retry_seconds": 1.0,
            "conflict_seconds": 20.0, "online_seconds": 15.0, "claim_seconds": 10.0,
            "renew_seconds": 0.5,
        }));
        github
    }

    /// Where the supervisor finds its API.
    pub fn api(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where containers find it.
    pub fn for_containers(&self) -> String {
        format!("http://{}:{}", bridge(), self.port)
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

    /// Changes settings.
    pub fn set(&self, settings: &Value) {
        self.patch("settings", settings);
    }

    #[track_caller]
    fn control(&self, method: &str, path: &str, body: &Value) -> Value {
        let raw = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.ask(method, &format!("/_control/{path}"), &[], &raw);
        assert_eq!(answer.status, 200, "{method} {path}: {answer:?}");
        answer.json()
    }

    /// A call of the published API with all that it asks for.
    pub fn call(&self, method: &str, path: &str, body: &Value) -> Answer {
        let raw = if body.is_null() { String::new() } else { body.to_string() };
        let bearer = format!("Bearer {}", self.token);
        let headers = [
            ("Authorization", bearer.as_str()),
            ("User-Agent", "test"),
            ("Accept", "application/vnd.github+json"),
            ("X-GitHub-Api-Version", "2022-11-28"),
            ("Content-Type", "application/json"),
        ];
        self.ask(method, path, &headers, &raw)
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

    /// Queues a run of one job; the job's id.
    pub fn queue(&self, job: &Value) -> u64 {
        self.run(&json!({"jobs": [job]}))[0]
    }

    /// Starts a run; its jobs' ids.
    pub fn run(&self, run: &Value) -> Vec<u64> {
        let made = self.post("runs", run);
        made["jobs"].as_array().expect("jobs").iter().filter_map(Value::as_u64).collect()
    }

    pub fn job(&self, id: u64) -> Value {
        self.get(&format!("jobs/{id}"))
    }

    pub fn runners(&self) -> Vec<Value> {
        self.get("runners").as_array().expect("a list").clone()
    }

    /// Names of the runners that poll for jobs.
    pub fn polling(&self) -> Vec<String> {
        let polls = |one: &&Value| one["polls"] == true || one["job"].is_u64();
        self.runners().iter().filter(polls).map(name_of).collect()
    }

    /// A registration token for a scope.
    pub fn registration_token(&self, scope: &str) -> String {
        let made = self.post("registration-token", &json!({"scope": scope}));
        made["token"].as_str().expect("a token").to_owned()
    }

    /// How often a call was made, by a part of `METHOD path status`.
    pub fn count(&self, what: &str) -> u64 {
        let seen = self.get("requests");
        let counts = seen["counts"].as_object().expect("counts");
        counts.iter().filter(|(key, _)| key.contains(what)).filter_map(|(_, n)| n.as_u64()).sum()
    }

    /// Fails if the client did what GitHub or good manners forbid.
    #[track_caller]
    pub fn no_violations(&self) {
        assert_eq!(self.get("violations"), json!([]));
    }
}

impl Drop for GitHub {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- GitHub: runners {}", self.get("runners"));
            eprintln!("--- GitHub: jobs {}", self.get("jobs"));
            eprintln!("--- GitHub: requests {}", self.get("requests"));
            eprintln!("--- GitHub: events {}", self.get("events"));
        }
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

pub fn name_of(runner: &Value) -> String {
    runner["name"].as_str().unwrap_or_default().to_owned()
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

/// Builds the image with the stand-in for GitHub's runner, once.
pub fn need_image() {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = tempfile::tempdir().expect("a folder");
        let archive = folder.path().join("stand-in.tar.gz");
        // The same bytes each time, so that the build sees that nothing changed.
        let packed = Command::new("sh")
            .args(["-c", "tar -C \"$1\" --sort=name --mtime=@0 --owner=0 --group=0 -cf - . | gzip -n >\"$2\"", "sh"])
            .arg(root.join("tests/github/runner"))
            .arg(&archive)
            .status();
        assert!(packed.is_ok_and(|status| status.success()), "the stand-in cannot be packed");
        let made = Command::new(root.join("images/github-runner/build"))
            .arg("--archive")
            .arg(&archive)
            .args(["--unchecked", "--tag", IMAGE])
            .output()
            .expect("the image's script starts");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    });
}

/// Cargo builds them with the tests, unless single targets of them are named.
pub fn example(name: &str) -> PathBuf {
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
