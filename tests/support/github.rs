//! The stand-in for GitHub as tests use it: started, filled, asked what it saw.
#![allow(dead_code, clippy::allow_attributes, reason = "each test program uses another part of it")]

#[path = "stand_in.rs"]
mod stand_in;

use std::ops::Deref;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};

pub use stand_in::{Answer, StandIn, bridge};

/// The image with the stand-in for GitHub's runner.
pub const IMAGE: &str = "slate-github-runner:stand-in";

/// A stand-in of its own, gone with the test.
pub struct GitHub(StandIn);

impl Deref for GitHub {
    type Target = StandIn;

    fn deref(&self) -> &StandIn {
        &self.0
    }
}

impl GitHub {
    /// One in which `me/site` is there, and things that take minutes take seconds.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    pub fn start_with(options: &[&str]) -> Self {
        let advertise = format!("http://{}", bridge());
        let own = ["--poll-seconds", "5", "--advertise", &advertise];
        let github = Self(StandIn::start("github_stand_in", &[&own[..], options].concat()));
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

    /// Changes settings.
    pub fn set(&self, settings: &Value) {
        self.patch("settings", settings);
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

    /// Queues a run of one job; the job's id.
    pub fn queue(&self, job: &Value) -> u64 {
        self.run(&json!({"jobs": [job]}))[0]
    }

    /// Starts a run; its jobs' ids.
    pub fn run(&self, run: &Value) -> Vec<u64> {
        let made = self.post("runs", run);
        made["jobs"].as_array().expect("jobs").iter().filter_map(Value::as_u64).collect()
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
}

impl Drop for GitHub {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- GitHub: runners {}", self.get("runners"));
            eprintln!("--- GitHub: jobs {}", self.get("jobs"));
            eprintln!("--- GitHub: requests {}", self.get("requests"));
            eprintln!("--- GitHub: events {}", self.get("events"));
        }
    }
}

pub fn name_of(runner: &Value) -> String {
    runner["name"].as_str().unwrap_or_default().to_owned()
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
