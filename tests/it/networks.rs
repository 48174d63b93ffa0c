//! Networks of the engine: a fleet has one, however many jobs it runs.
//!
//! Operators' pain 77: "500 jobs use a constant number of networks; left-over ones are swept;
//! `doctor` counts free pools."

use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::docker::{PROJECT_LABEL, TEST_LABEL, docker, exists};
use crate::fleet::{Fleet, GATE, open_gate};
use crate::http::over_socket;
use crate::process::{Running, start, wait_until};

/// Runners for one job each, and some that serve job after job.
const FILE: &str = "pools:\n\
                    - {name: fresh, profile: light, count: 2, spares: 0}\n\
                    - {name: kept, profile: light, count: 2, ephemeral: false}\n";

fn networks(fleet: &Fleet) -> Vec<String> {
    let filter = format!("label={PROJECT_LABEL}={}", fleet.project);
    docker(&["network", "ls", "--format", "{{.Name}}", "--filter", &filter]).ok().lines()
}

/// Follows the networks that the engine makes, from this moment on. It keeps its last 256 events
/// only, and hundreds of jobs make more.
fn follow() -> Running {
    let since = docker(&["info", "--format", "{{.SystemTime}}"]).ok().word();
    let mut command = Command::new("docker");
    command.args(["events", "--since", &since, "--filter", "type=network"]);
    command.args(["--filter", "event=create", "--format", "{{.Actor.Attributes.name}}"]);
    start(command)
}

/// The networks that were made for this fleet, each as often as it was made.
fn made(fleet: &Fleet, mut events: Running) -> Vec<String> {
    let last = format!("last-{}", fleet.project);
    let label = format!("{TEST_LABEL}={}", fleet.project);
    docker(&["network", "create", "--label", &label, &last]).ok();
    events.wait_for_stdout(&last);
    events.signal(Signal::TERM);
    let lines = events.finish().lines().into_iter();
    lines.filter(|name| name.contains(&fleet.project) && *name != last).collect()
}

fn hand_in(fleet: &Fleet, pool: &str, count: usize) {
    let line = format!("{{\"command\": [\"true\"], \"pool\": \"{pool}\"}}\n");
    fleet.write("jobs.jsonl", line.repeat(count));
    fleet.cli(&["submit", "--file", "jobs.jsonl"]).ok();
}

#[test]
fn five_hundred_jobs_use_one_network_and_each_says_why_it_waits_within_a_second() {
    let events = follow();
    let fleet = Fleet::up(FILE);
    let before = networks(&fleet);
    assert_eq!(before.len(), 1, "{before:?}");
    let gates = ["fresh", "fresh", "kept", "kept"];
    for pool in gates {
        let job = fleet.submit_with(&["--pool", pool], GATE);
        fleet.wait_for_status(&job, "running");
    }
    hand_in(&fleet, "fresh", 30);
    hand_in(&fleet, "kept", 470);
    // Item 31: "`explain JOB` names one of a closed set of reasons ... within 1 s".
    let asked = Instant::now();
    let told = over_socket(&fleet.path(".slate/api.sock"), "/api/v1/explain/job-504").json();
    let took = asked.elapsed();
    println!("explain with 500 waiting jobs: {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(told["job"]["reason_code"], "all_busy", "{told}");
    assert_eq!(told["waiting"]["ahead"], 469, "{told}");
    for container in fleet.containers() {
        open_gate(&container);
    }
    fleet.cli(&["wait", "--for", "idle", "--timeout", "5m"]).ok();
    let stats: Value = fleet.cli(&["stats", "--format", "json"]).ok().json();
    assert_eq!(stats["all"]["ends"]["succeeded"], 504, "{stats}");
    assert_eq!(networks(&fleet), before);
    assert_eq!(made(&fleet, events), before, "one was made, by `up`, and none with any job");
}

#[test]
fn a_network_that_was_left_over_is_swept_and_doctor_counts_what_is_free() {
    let fleet = Fleet::up("pools: [{name: light, profile: light, spares: 0}]\n");
    let own = networks(&fleet);
    let labels = docker(&["inspect", "-f", "{{json .Config.Labels}}", &fleet.containers()[0]]);
    let labels = labels.ok().json();
    let of_fleet = labels["dev.slate.fleet.fleet"].as_str().expect("a label");
    let label = |name: &str, value: &str| format!("{name}={value}");
    let left = format!("{}-left-over", fleet.project);
    docker(&[
        "network",
        "create",
        "--label",
        &label(PROJECT_LABEL, &fleet.project),
        "--label",
        &label("dev.slate.fleet.fleet", of_fleet),
        "--label",
        &label(TEST_LABEL, &fleet.project),
        &left,
    ])
    .ok();
    // Others on this engine make and remove networks meanwhile.
    wait_until("doctor counts what the engine counts", || counts_right(&fleet));
    let told = fleet.cli(&["gc"]).ok();
    assert_eq!(told.out(), format!("removed 1 network\n  {left}\n"), "{told}");
    assert!(!exists(&left));
    assert_eq!(networks(&fleet), own);
}

/// Whether free and taken networks are all of them, as `doctor` has it.
fn counts_right(fleet: &Fleet) -> bool {
    let taken = || docker(&["network", "ls", "-q", "--filter", "driver=bridge"]).ok().lines().len();
    let before = taken();
    let found: Value = fleet.cli(&["doctor", "--format", "json"]).json();
    let sections = found["sections"].as_array().expect("sections").iter();
    let mut checks = sections.flat_map(|it| it["checks"].as_array().expect("checks"));
    let pools = checks.find(|it| it["id"] == "address-pools").expect("it is checked");
    let message = pools["message"].as_str().expect("words");
    let numbers: Vec<usize> =
        message.split(|c: char| !c.is_ascii_digit()).filter_map(|it| it.parse().ok()).collect();
    let [free, all] = numbers[..] else { panic!("two numbers: {message}") };
    before == taken() && free + before == all
}
