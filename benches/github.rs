//! Runners of a forge: how long many of them take to come up, how soon a job begins, and how many
//! requests an idle fleet makes; against the stand-in for GitHub, with real containers.
//!
//! `cargo build --release --bins --examples && cargo bench --bench github -- --slate-fleet
//! target/release/slate-fleet`
//!
//! `up`: from `up -d` until the last of N one-job runners listens, with nothing and with 300 ms in
//! each answer of the API, beside the moment when the engine has started the last container, and
//! beside the same fleet without a forge. `reaction`: from a job's being queued to its first step,
//! with no idle runner, by webhook and by polling alone. `requests`: those of some minutes, counted
//! for 200 listed runners, as of an hour.
#![cfg(feature = "fleet")]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a measurement that fails ends in a panic"
)]

#[path = "../tests/support/github.rs"]
mod github;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use github::{GitHub, IMAGE, need_image};
use serde_json::{Value, json};

#[derive(Parser)]
struct Options {
    /// The program to measure.
    #[arg(long, default_value = "target/release/slate-fleet")]
    slate_fleet: PathBuf,
    /// Runners to bring up.
    #[arg(long, default_value_t = 50)]
    runners: u32,
    /// Jobs of each way to hear of them.
    #[arg(long, default_value_t = 20)]
    jobs: usize,
    /// How long requests are counted.
    #[arg(long, default_value_t = 180)]
    seconds: u64,
    /// What is measured; all if nothing is named.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    fn wants(&self, what: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|one| one == what)
    }
}

/// Longest wait for anything.
const BOUND: Duration = Duration::from_secs(600);

/// Idle runners use a small part of their limits, whose sum many machines do not have.
const LIMITS: &str = "limits: {scale_max: 200, overcommit: {memory: true}}\n";

/// A fleet in a folder of its own; gone when it is dropped.
struct Fleet {
    folder: PathBuf,
    program: PathBuf,
}

impl Fleet {
    fn new(program: &Path, name: &str, content: &str, env: &str) -> Self {
        let project = format!("bench-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(&project);
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = format!("version: 1\nproject: {project}\n{content}");
        std::fs::write(folder.join("slate.yaml"), file).expect("written");
        std::fs::write(folder.join(".env"), env).expect("written");
        Self { folder, program: std::path::absolute(program).expect("a path") }
    }

    /// When this happened to runners, in milliseconds of the epoch.
    fn moments(&self, what: &str) -> Vec<i64> {
        let told = self.cli(&["events", "-n", "5000", "--format", "json"]);
        let all: Vec<Value> = serde_json::from_str(&told).expect("a list");
        let is = |one: &&Value| one["what"] == what;
        all.iter().filter(is).filter_map(|one| one["at"].as_i64()).collect()
    }

    /// Runs a command line; its standard output.
    fn cli(&self, args: &[&str]) -> String {
        let mut command = Command::new(&self.program);
        command.args(args).current_dir(&self.folder).stdin(Stdio::null());
        let output = command.output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let mut command = Command::new(&self.program);
        command.args(["down", "-v"]).current_dir(&self.folder).stdin(Stdio::null());
        let ended = command.output();
        if !ended.is_ok_and(|output| output.status.success()) {
            eprintln!("`down -v` failed in {}", self.folder.display());
        }
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < BOUND, "waited in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A pool at this GitHub; `github` and `pool` are put into the file.
fn at_forge(api: &str, github: &str, pool: &str) -> String {
    format!(
        "image: {IMAGE}
github: {{api_url: {api}, {github}}}
{LIMITS}pools:
  - name: ci
    profile: light
    spares: 0
    scale_up_threshold: 0
    scale_up_delay: 0s
    scale_down_delay: 1s
    github: {{url: https://github.com/me/site, pat: {{env: GITHUB_TOKEN}}}}
{pool}"
    )
}

fn up(options: &Options) {
    let n = options.runners;
    let plain = format!(
        "image: {IMAGE}\n{LIMITS}pools: [{{name: ci, profile: light, count: {n}, spares: 0}}]\n"
    );
    let fleet = Fleet::new(&options.slate_fleet, "plain", &plain, "");
    let begun = Instant::now();
    fleet.cli(&["up", "-d"]);
    println!("{n} runners without a forge: ready {:.1} s", begun.elapsed().as_secs_f64());
    drop(fleet);
    for latency in ["0ms", "300ms"] {
        up_at(options, latency);
    }
}

/// One-job runners at a forge that takes so long for each answer. The engine's part of the time is
/// told beside the whole: what else runs on the machine slows both.
fn up_at(options: &Options, latency: &str) {
    let n = options.runners;
    let github = GitHub::start_with(&["--latency", latency]);
    let pool = format!("    min_runners: {n}\n    max_runners: {n}\n");
    let content = at_forge(&github.api(), "poll: 30s", &pool);
    let env = format!("GITHUB_TOKEN={}\n", github.token);
    let fleet = Fleet::new(&options.slate_fleet, &format!("up-{latency}"), &content, &env);
    let begun = github.get("clock")["now"].as_i64().expect("a time");
    fleet.cli(&["up", "-d"]);
    until("all listen", || github.polling().len() == n as usize);
    let seconds = |at: i64| Duration::from_millis((at - begun).unsigned_abs()).as_secs_f64();
    let last = |what: &str| seconds(fleet.moments(what).into_iter().max().expect("an event"));
    println!(
        "{n} one-job runners, {latency} in each answer: containers started {:.1} s, registered \
         {:.1} s, listening {:.1} s; violations {}",
        last("started"),
        last("registered"),
        last("ready"),
        github.get("violations")
    );
}

fn reaction(options: &Options, name: &str, poll: &str, webhook: bool) {
    let github = GitHub::start();
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = port.local_addr().expect("an address").to_string();
    drop(port);
    let mut policy = format!("poll: {poll}");
    if webhook {
        policy += &format!(", webhook: {{listen: '{address}', secret_env: HOOK}}");
        let url = format!("http://{address}/");
        github.post("hooks", &json!({"url": url, "secret": "bench"}));
    }
    let pool = "    min_runners: 0\n    max_runners: 2\n";
    let env = format!("GITHUB_TOKEN={}\nHOOK=bench\n", github.token);
    let content = at_forge(&github.api(), &policy, pool);
    let fleet = Fleet::new(&options.slate_fleet, name, &content, &env);
    fleet.cli(&["up", "-d"]);
    until("the queue was read once", || github.count("/actions/runs 200") > 0);
    let mut times = Vec::new();
    for round in 0..options.jobs {
        // Not in step with the poll.
        let wait = u64::try_from(round * 2370 % 10_000).expect("small");
        std::thread::park_timeout(Duration::from_millis(wait));
        let id = github.queue(&json!({"labels": ["self-hosted"], "steps": ["true"]}));
        until("the job is over", || github.job(id)["status"] == "completed");
        // A successor that is still there would take the next job at once.
        until("its runner is gone", || {
            github.runners().is_empty() && fleet.cli(&["ps", "--format", "json"]).trim() == "[]"
        });
        let seen = &github.job(id)["times"];
        let at = |what: &str| seen[what].as_i64().expect("a time");
        times.push(at("first_step") - at("created"));
    }
    times.sort_unstable();
    let percentile = |p: usize| times[(times.len() * p / 100).min(times.len() - 1)];
    println!(
        "{name}: queued to first step, {} jobs: p50 {} ms, p99 {} ms",
        times.len(),
        percentile(50),
        percentile(99)
    );
}

fn requests(options: &Options) {
    let github = GitHub::start();
    for n in 0..198 {
        let other = json!({"name": format!("other-{n}"), "labels": ["other"], "online": true});
        github.post("runners", &other);
    }
    let pool = "    min_runners: 2\n    max_runners: 2\n";
    let env = format!("GITHUB_TOKEN={}\n", github.token);
    let content = at_forge(&github.api(), "poll: 30s", pool);
    let fleet = Fleet::new(&options.slate_fleet, "requests", &content, &env);
    fleet.cli(&["up", "-d"]);
    until("two listen", || {
        let own = |one: &&Value| one["polls"] == true;
        github.runners().iter().filter(own).count() == 2
    });
    std::thread::park_timeout(Duration::from_secs(30));
    let since = github.get("clock")["now"].clone();
    let begun = Instant::now();
    until("the time is over", || begun.elapsed().as_secs() >= options.seconds);
    let seen = github.get(&format!("requests?since={since}"));
    let total = seen["total"].as_u64().expect("a number");
    let hour = total * 3600 / options.seconds;
    println!(
        "200 listed runners (2 of the fleet's, 198 others): {total} requests in {} s, {hour} an \
         hour if it goes on so: {}",
        options.seconds, seen["counts"]
    );
}

fn main() {
    let options = Options::parse();
    need_image();
    if options.wants("up") {
        up(&options);
    }
    if options.wants("reaction") {
        reaction(&options, "webhook", "1h", true);
        reaction(&options, "poll-5s", "5s", false);
        reaction(&options, "poll-10s", "10s", false);
    }
    if options.wants("requests") {
        requests(&options);
    }
}
