//! The stand-in for Gitea as tests use it: started, filled, asked what it saw.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::forge_stand_in::{self, bridge, example};

/// The image with the stand-in for Gitea's runner.
pub const IMAGE: &str = "slate-gitea-runner:stand-in";

/// A stand-in of its own, gone with the test.
pub struct Gitea {
    child: Child,
    port: u16,
    /// An access token that may do all.
    pub token: String,
}

impl Gitea {
    pub fn start() -> Self {
        let mut child = Command::new(example("gitea_stand_in"))
            .args(["--listen", "0.0.0.0:0"])
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

    /// Where the supervisor and the containers find it.
    pub fn url(&self) -> String {
        format!("http://{}:{}", bridge(), self.port)
    }

    pub fn get(&self, path: &str) -> Value {
        self.control("GET", path, &Value::Null)
    }

    #[track_caller]
    fn control(&self, method: &str, path: &str, body: &Value) -> Value {
        let raw = if body.is_null() { String::new() } else { body.to_string() };
        let path = format!("/_control/{path}");
        let answer = forge_stand_in::ask(self.port, method, &path, &[], &raw).expect("an answer");
        assert_eq!(answer.status, 200, "{method} {path}: {answer:?}");
        answer.json()
    }

    /// Queues a run of one job; the job's id.
    pub fn queue(&self, job: &Value) -> u64 {
        let made = self.control("POST", "runs", &json!({"jobs": [job]}));
        made["jobs"][0].as_u64().expect("a job")
    }

    pub fn job(&self, id: u64) -> Value {
        self.get(&format!("jobs/{id}"))
    }

    pub fn jobs(&self) -> Vec<Value> {
        self.get("jobs").as_array().expect("a list").clone()
    }

    pub fn runners(&self) -> Vec<Value> {
        self.get("runners").as_array().expect("a list").clone()
    }

    /// The calls of its API so far, as `METHOD path status`.
    pub fn calls(&self) -> Vec<String> {
        let all = self.get("requests");
        let text = |one: &Value| one.as_str().unwrap_or_default().to_owned();
        all.as_array().expect("a list").iter().map(text).collect()
    }

    /// Fails if the client did what Gitea forbids, or what costs a job there.
    #[track_caller]
    pub fn no_violations(&self) {
        assert_eq!(self.get("violations"), json!([]));
    }
}

impl Drop for Gitea {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for what in ["runners", "jobs", "requests", "violations"] {
                eprintln!("--- Gitea: {what} {}", self.get(what));
            }
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Builds the image with the stand-in for Gitea's runner, once.
pub fn need_image() {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gitea");
        let mut command = Command::new("docker");
        command.args(["build", "-q", "-t", IMAGE]).arg(folder);
        let made = command.output().expect("docker starts");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    });
}
