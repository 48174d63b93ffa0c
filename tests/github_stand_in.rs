//! The stand-in for GitHub and the one for its runner are strict: they refuse and record what the
//! real ones refuse, so that a test that passes against them means something.
#![cfg(feature = "fleet")]
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by a panic, helpers too"
)]

#[path = "support/github.rs"]
mod github;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use github::GitHub;
use serde_json::{Value, json};
use tempfile::TempDir;

const RUNNERS: &str = "/repos/me/site/actions/runners";

fn jit(github: &GitHub, name: &str) -> github::Answer {
    let body = json!({"name": name, "runner_group_id": 1, "labels": ["self-hosted", "X64"]});
    github.call("POST", &format!("{RUNNERS}/generate-jitconfig"), &body)
}

/// A folder with the stand-in for the runner.
fn root() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/github/runner");
    let copied = Command::new("cp").arg("-r").arg(from).arg(folder.path().join("r")).status();
    assert!(copied.expect("cp").success());
    folder
}

fn listener(root: &TempDir, args: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(root.path().join("r/bin/Runner.Listener"));
    command.args(args).envs(env.iter().copied());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

#[track_caller]
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let met = (0..600).any(|_| {
        let met = condition();
        if !met {
            thread::park_timeout(Duration::from_millis(50));
        }
        met
    });
    assert!(met, "waited in vain until {what}");
}

/// A listener that runs; killed with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn what_github_would_refuse_is_refused_and_recorded() {
    let github = GitHub::start();
    assert_eq!(github.ask("GET", RUNNERS, &[], "").status, 403, "without User-Agent");
    let bare = [("User-Agent", "test"), ("Authorization", "Bearer nonsense")];
    assert_eq!(github.ask("GET", RUNNERS, &bare, "").status, 401);
    assert_eq!(github.call("GET", "/repos/me/site/actions/nonsense", &Value::Null).status, 404);
    let seen = github.get("violations").to_string();
    for what in ["no User-Agent", "X-GitHub-Api-Version", "Accept", "there is no such call"] {
        assert!(seen.contains(what), "{what} in {seen}");
    }
    assert_eq!(jit(&github, "bad name").status, 422);
    assert_eq!(jit(&github, "a-1").status, 201);
    assert_eq!(jit(&github, "a-1").status, 409, "a live name");
}

#[test]
fn a_lost_answer_took_effect_and_a_limit_asks_for_silence() {
    let github = GitHub::start();
    github.post("faults", &json!({"path": "generate-jitconfig", "action": "lost"}));
    let body = json!({"name": "a-1", "runner_group_id": 1, "labels": ["x"]}).to_string();
    let bearer = format!("Bearer {}", github.token);
    let head = [
        ("Authorization", bearer.as_str()),
        ("User-Agent", "test"),
        ("Accept", "application/vnd.github+json"),
        ("X-GitHub-Api-Version", "2022-11-28"),
        ("Content-Type", "application/json"),
    ];
    let path = format!("{RUNNERS}/generate-jitconfig");
    assert!(github.try_ask("POST", &path, &head, &body).is_none(), "no answer");
    assert_eq!(github.runners().len(), 1, "and yet it is registered");
    github.no_violations();
    github.post("faults", &json!({"action": {"secondary": 60}}));
    let limited = github.call("GET", RUNNERS, &Value::Null);
    assert_eq!(limited.status, 403);
    assert!(limited.head.contains("retry-after:"), "{limited:?}");
    assert_eq!(github.call("GET", RUNNERS, &Value::Null).status, 403);
    assert!(github.get("violations").to_string().contains("silence was asked for"));
}

#[test]
fn a_jit_registration_serves_one_job_and_one_listener() {
    let github = GitHub::start();
    let answer = jit(&github, "a-1").json();
    let blob = answer["encoded_jit_config"].as_str().expect("a blob");
    let id = answer["runner"]["id"].as_u64().expect("an id");
    let (first, second) = (root(), root());
    let jit_env = [("ACTIONS_RUNNER_INPUT_JITCONFIG", blob)];
    let running = listener(&first, &["run"], &jit_env).spawn().expect("it starts");
    let mut running = Running(running);
    until("it polls", || github.polling() == ["a-1"]);
    github.set(&json!({"conflict_seconds": 0.0}));
    let other = listener(&second, &["run"], &jit_env).output().expect("it ends");
    assert_eq!(other.status.code(), Some(5), "session conflict: {}", said(&other));
    let job = github.queue(&json!({"labels": ["SELF-HOSTED"], "steps": ["echo hello", "false"]}));
    assert_eq!(running.0.wait().expect("it ends").code(), Some(0), "after its job");
    let shown = github.job(job);
    assert_eq!((&shown["conclusion"], &shown["runner_name"]), (&json!("failure"), &json!("a-1")));
    assert!(shown["log"].to_string().contains("hello"));
    assert!(!first.path().join("r/.runner").exists(), "it forgot its registration");
    until("GitHub removed it", || github.runners().is_empty());
    let gone = github.call("DELETE", &format!("{RUNNERS}/{id}"), &Value::Null);
    assert_eq!(gone.status, 404);
    github.no_violations();
}

#[test]
fn a_busy_runner_is_not_deleted_and_a_cancelled_job_ends() {
    let github = GitHub::start();
    let answer = jit(&github, "a-1").json();
    let blob = answer["encoded_jit_config"].as_str().expect("a blob");
    let id = &answer["runner"]["id"];
    let place = root();
    let running = listener(&place, &["run", "--jitconfig", blob], &[]).spawn();
    let _running = Running(running.expect("it starts"));
    let made = github.post("runs", &json!({"jobs": [{"labels": ["x64"], "seconds": 60}]}));
    let job = made["jobs"][0].as_u64().expect("a job");
    until("it runs", || github.job(job)["status"] == "in_progress");
    let busy = github.call("DELETE", &format!("{RUNNERS}/{id}"), &Value::Null);
    assert_eq!(busy.status, 422, "{busy:?}");
    github.post(&format!("runs/{}/cancel", made["run"]), &Value::Null);
    until("it is cancelled", || github.job(job)["conclusion"] == "cancelled");
}

#[test]
fn a_kept_runner_registers_with_a_token_that_lives_and_none_other() {
    let github = GitHub::start();
    let url = format!("{}/me/site", github.api());
    let args = ["configure", "--unattended", "--url", &url, "--name", "h-1", "--labels", "big"];
    let token = github.registration_token("me/site");
    let with = |token: &str, place: &TempDir| {
        let env = [("ACTIONS_RUNNER_INPUT_TOKEN", token)];
        listener(place, &args, &env).output().expect("it ends")
    };
    let place = root();
    let refused = with("nonsense", &place);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("NotFound"), "{}", said(&refused));
    assert_eq!(with(&token, &place).status.code(), Some(0));
    let settings = fs::read_to_string(place.path().join("r/.runner")).expect("its settings");
    assert!(settings.starts_with('\u{feff}'), "a byte-order mark, as the real one writes");
    let again = with(&token, &place);
    assert!(said(&again).contains("already configured"), "{}", said(&again));
    let taken = with(&token, &root());
    assert!(said(&taken).contains("exists with the same name"), "{}", said(&taken));
    github.post("clock", &json!({"advance_seconds": 3700}));
    let late = with(&token, &root());
    assert!(said(&late).contains("NotFound"), "the token is too old: {}", said(&late));
    github.no_violations();
}

#[test]
fn a_listener_ends_with_the_documented_codes() {
    let github = GitHub::start();
    let answer = jit(&github, "a-1").json();
    let blob = answer["encoded_jit_config"].as_str().expect("a blob").to_owned();
    github.set(&json!({"connect_floor": "9.0.0"}));
    let run = |env: &[(&str, &str)]| {
        let place = root();
        let mut all = vec![("ACTIONS_RUNNER_INPUT_JITCONFIG", blob.as_str())];
        all.extend(env);
        listener(&place, &["run"], &all).output().expect("it ends")
    };
    let code = "ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE";
    assert_eq!(run(&[]).status.code(), Some(1));
    let deprecated = run(&[(code, "1")]);
    assert_eq!(deprecated.status.code(), Some(7));
    assert!(said(&deprecated).contains("is deprecated and cannot receive messages"));
    github.set(&json!({"connect_floor": null, "update_to": "9.0.0"}));
    assert_eq!(run(&[]).status.code(), Some(4), "an update is staged");
    let other = jit(&github, "a-2").json();
    github.call("DELETE", &format!("{RUNNERS}/{}", other["runner"]["id"]), &Value::Null);
    let gone = other["encoded_jit_config"].as_str().expect("a blob");
    let place = root();
    let ended = listener(&place, &["run", "--jitconfig", gone], &[]).output().expect("it ends");
    assert_eq!(ended.status.code(), Some(1), "{}", said(&ended));
    assert_eq!(listener(&root(), &["run"], &[]).output().expect("it ends").status.code(), Some(1));
}
