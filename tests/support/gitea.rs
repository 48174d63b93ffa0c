//! The stand-in for Gitea as tests use it: started, filled, asked what it saw.

use std::ops::Deref;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::forge_stand_in::{StandIn, bridge};

/// The image with the stand-in for Gitea's runner.
pub const IMAGE: &str = "slate-gitea-runner:stand-in";

/// A stand-in of its own, gone with the test.
pub struct Gitea(StandIn);

impl Deref for Gitea {
    type Target = StandIn;

    fn deref(&self) -> &StandIn {
        &self.0
    }
}

impl Gitea {
    pub fn start() -> Self {
        Self(StandIn::start("gitea_stand_in", &[]))
    }

    /// Where the supervisor and the containers find it.
    pub fn url(&self) -> String {
        format!("http://{}:{}", bridge(), self.port)
    }

    /// Queues a run of one job; the job's id.
    pub fn queue(&self, job: &Value) -> u64 {
        let made = self.post("runs", &json!({"jobs": [job]}));
        made["jobs"][0].as_u64().expect("a job")
    }

    pub fn jobs(&self) -> Vec<Value> {
        self.get("jobs").as_array().expect("a list").clone()
    }

    /// The calls of its API so far, as `METHOD path status`.
    pub fn calls(&self) -> Vec<String> {
        let all = self.get("requests");
        let text = |one: &Value| one.as_str().unwrap_or_default().to_owned();
        all.as_array().expect("a list").iter().map(text).collect()
    }
}

impl Drop for Gitea {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for what in ["runners", "jobs", "requests", "violations"] {
                eprintln!("--- Gitea: {what} {}", self.get(what));
            }
        }
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
