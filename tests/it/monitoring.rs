//! Prometheus and Alertmanager, real ones, look at a real fleet.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::fleet::{Fleet, GATE, NO_SPARE};
use crate::http::{free_address, over_port, over_socket};
use crate::metrics::families;
use crate::on_call::OnCall;
use crate::process::{self, wait_until};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What the project ships for monitoring.
fn shipped(name: &str) -> String {
    let path = root().join("compose/monitoring").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A program of Prometheus' packages, unpacked if it is not there yet.
fn program(name: &str) -> PathBuf {
    let mut script = Command::new(root().join("scripts/monitoring"));
    let test = std::env::current_exe().expect("this program");
    // Beside what Cargo builds.
    let target = test.ancestors().nth(3).expect("Cargo's target folder");
    script.env("CARGO_TARGET_DIR", target);
    Path::new(&process::run(script).ok().word()).join(name)
}

fn promtool(folder: &Path, args: &[&str]) -> process::Output {
    let mut command = Command::new(program("promtool"));
    command.args(args).current_dir(folder);
    process::run(command)
}

/// A daemon that ends with the test.
struct Daemon(Child);

impl Daemon {
    fn start(name: &str, folder: &Path, args: &[&str]) -> Self {
        let log = std::fs::File::create(folder.join(format!("{name}.log"))).expect("a log");
        let mut command = Command::new(program(name));
        command.args(args).current_dir(folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Self(command.spawn().expect("a daemon"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

/// A shipped file with some words changed; each must be there.
fn changed(name: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(shipped(name), |text, (from, to)| {
        assert!(text.contains(from), "{name} has no `{from}`");
        text.replace(from, to)
    })
}

/// Asks Prometheus; its answer as it is, in one piece or in chunks.
fn query(address: &str, expression: &str) -> String {
    let encoded: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let path = format!("/api/v1/query?query={encoded}");
    let answer = over_port(address, "localhost", &path).expect("Prometheus answers");
    assert_eq!(answer.status, 200, "{expression}: {}", answer.body);
    answer.body
}

/// Every expression of the dashboard, its variables set to everything.
fn dashboard_expressions() -> Vec<String> {
    let dashboard: Value =
        serde_json::from_str(&shipped("grafana/dashboards/slate-fleet.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let text = |target: &Value| target["expr"].as_str().expect("an expression").to_owned();
    let set = |it: String| {
        it.replace("$instance", ".*").replace("$pool", ".*").replace("$__rate_interval", "1m")
    };
    targets.map(text).map(set).collect()
}

/// A fleet that answers at an address, with jobs of which all but one wait.
fn busy_fleet(waiting: u32) -> (Fleet, String) {
    let fleet = Fleet::new(NO_SPARE);
    let address = free_address();
    let mut up = fleet.command(&["up", "-d"]);
    up.env("SLATE_LISTEN", &address);
    process::run(up).ok();
    let first = fleet.submit(GATE);
    fleet.wait_for_status(&first, "running");
    let line = "{\"command\": [\"true\"]}\n";
    fleet.write("jobs.jsonl", line.repeat(waiting as usize));
    fleet.cli(&["submit", "--file", "jobs.jsonl"]).ok();
    (fleet, address)
}

/// Writes the shipped files with this test's addresses, and times that take seconds.
fn configure(fleet: &Fleet, on_call: &OnCall, (supervisor, alertmanager): (&str, &str)) {
    fleet.write(
        "prometheus.yaml",
        changed(
            "prometheus.yaml",
            &[("127.0.0.1:7373", supervisor), ("127.0.0.1:9093", alertmanager), ("15s", "1s")],
        ),
    );
    // The shipped rules but for the time, which `promtool test rules` proves.
    fleet.write("rules.yaml", changed("rules.yaml", &[("for: 5m", "for: 3s")]));
    let hook = format!("http://{}/", on_call.address);
    fleet.write(
        "alertmanager.yaml",
        changed(
            "alertmanager.yaml",
            &[
                ("http://127.0.0.1:9099/", hook.as_str()),
                ("group_wait: 10s", "group_wait: 0s"),
                ("group_interval: 1m", "group_interval: 1s"),
            ],
        ),
    );
}

// Specification 4: an alert is triggered to the on-call channel.
#[test]
fn a_queue_that_is_too_deep_for_too_long_reaches_the_on_call_channel() {
    let (fleet, supervisor) = busy_fleet(22);
    let on_call = OnCall::open();
    let (prometheus, alertmanager) = (free_address(), free_address());
    configure(&fleet, &on_call, (&supervisor, &alertmanager));
    let listen = |address: &str| format!("--web.listen-address={address}");
    let _alertmanager = Daemon::start(
        "alertmanager",
        fleet.folder(),
        &[
            "--config.file=alertmanager.yaml",
            "--storage.path=alertmanager",
            "--cluster.listen-address=",
            &listen(&alertmanager),
        ],
    );
    let _prometheus = Daemon::start(
        "prometheus",
        fleet.folder(),
        &["--config.file=prometheus.yaml", "--storage.tsdb.path=tsdb", &listen(&prometheus)],
    );
    let is = |body: &Value, status: &str| {
        body["status"] == status
            && body["alerts"][0]["labels"]["alertname"] == "SlateFleetQueueDeep"
    };
    let fired = on_call.wait_for("the alert", |body| is(body, "firing"));
    let alert = &fired["alerts"][0];
    assert_eq!(alert["annotations"]["summary"], "22 jobs wait for pool light", "{fired}");
    assert_eq!(
        (&alert["labels"]["pool"], &alert["labels"]["severity"]),
        (&Value::from("light"), &Value::from("page"))
    );
    check_dashboard(&prometheus);
    let jobs = fleet.cli(&["jobs", "--status", "queued", "-q"]).ok().lines();
    assert_eq!(jobs.len(), 22);
    let cancel: Vec<&str> = ["cancel"].into_iter().chain(jobs.iter().map(String::as_str)).collect();
    fleet.cli(&cancel).ok();
    on_call.wait_for("its end", |body| is(body, "resolved"));
}

/// Prometheus understands each expression of the dashboard, and those of this fleet find something.
fn check_dashboard(prometheus: &str) {
    let expressions = dashboard_expressions();
    assert!(expressions.len() > 20, "{expressions:?}");
    for expression in &expressions {
        let answer = query(prometheus, expression);
        assert!(answer.contains("\"status\":\"success\""), "{expression}: {answer}");
    }
    wait_until("the queue is on the dashboard", || {
        query(prometheus, "sum(queue_depth{instance=~\".*\"})").contains("\"22\"")
    });
}

#[test]
fn promtool_has_one_complaint_about_the_page_and_that_is_the_specifications() {
    let fleet = Fleet::up(NO_SPARE);
    fleet.job("true").ok();
    let page = over_socket(&fleet.path(".slate/api.sock"), "/metrics").body;
    let mut command = Command::new(program("promtool"));
    command.args(["check", "metrics"]);
    let checked = process::start_with(command, page.as_bytes()).finish();
    let said: Vec<String> = checked.err().lines().map(str::to_owned).collect();
    let theirs = "runners_total non-counter metrics should not have \"_total\" suffix";
    assert_eq!(said, [theirs], "{checked}");
    assert_eq!(checked.out(), "");
    let without: String = page
        .lines()
        .filter(|it| !it.contains("runners_total"))
        .map(|it| format!("{it}\n"))
        .collect();
    let mut command = Command::new(program("promtool"));
    command.args(["check", "metrics"]);
    process::start_with(command, without.as_bytes()).finish().ok();
    let names: BTreeSet<String> = families(&page).into_keys().collect();
    let unknown: Vec<String> = dashboard_names().difference(&names).cloned().collect();
    assert!(unknown.is_empty(), "the dashboard shows what is not there: {unknown:?}");
}

/// The metrics of the dashboard and of the rules.
fn dashboard_names() -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let rules = shipped("rules.yaml");
    let rules = rules.lines().filter_map(|it| it.trim().strip_prefix("expr: ").map(str::to_owned));
    let all = dashboard_expressions().into_iter().chain(rules);
    let words =
        all.flat_map(|it| it.split(|c| !is_part(c)).map(str::to_owned).collect::<Vec<String>>());
    let known = ["slate_fleet_", "runner", "queue_", "gpu_", "process_", "task"];
    let names = words.filter(|it| known.iter().any(|start| it.starts_with(start)));
    let plain = |it: String| it.trim_end_matches("_bucket").to_owned();
    names.map(plain).filter(|it| it.contains('_')).collect()
}

#[test]
fn the_shipped_rules_fire_when_they_should() {
    let folder = root().join("compose/monitoring");
    promtool(&folder, &["check", "rules", "rules.yaml"]).ok();
    promtool(&folder, &["check", "config", "prometheus.yaml"]).ok();
    promtool(&folder, &["test", "rules", "rules.test.yaml"]).ok();
    let mut amtool = Command::new(program("amtool"));
    amtool.args(["check-config", "alertmanager.yaml"]).current_dir(&folder);
    process::run(amtool).ok();
}

#[test]
fn compose_reads_the_stack() {
    let mut compose = Command::new("docker-compose");
    compose.args(["-f", "compose/monitoring/compose.yaml", "config", "-q"]).current_dir(root());
    compose.env("GRAFANA_PASSWORD", "of-this-test");
    process::run(compose).ok();
}
