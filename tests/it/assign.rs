//! Work that is driven from outside: a runner is leased, used, and given back.

use serde_json::Value;

use crate::docker::docker;
use crate::fleet::{Fleet, NO_SPARE};
use crate::process::wait_until;

/// The runner that a task was leased, as JSON.
fn assign(fleet: &Fleet, args: &[&str]) -> Value {
    let args = [&["assign"], args, &["--format", "json"]].concat();
    fleet.cli(&args).ok().json()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no `{key}` in {value}"))
}

/// The one runner, as `ps` has it.
fn runner(fleet: &Fleet) -> Value {
    fleet.runners()[0].clone()
}

#[test]
fn a_task_has_its_runner_until_it_is_completed() {
    let fleet = Fleet::up(NO_SPARE);
    let given = assign(&fleet, &["task-id-123", "--type", "lint"]);
    let leased = &given["runner"];
    assert_eq!((text(leased, "id"), text(leased, "profile")), ("runner-001", "light"));
    assert_eq!((text(&given, "status"), &leased["gpu_id"]), ("running", &Value::Null));
    let now = runner(&fleet);
    assert_eq!((text(&now, "status"), text(&now, "task")), ("running", "task-id-123"));
    assert_eq!(assign(&fleet, &["task-id-123"]), given, "asking again is no second task");
    let container = text(leased, "container");
    let reports = text(&given, "reports");
    let script = format!("mkdir -p {reports} && echo done > {reports}/result.txt");
    docker(&["exec", container, "sh", "-c", &script]).ok();
    fleet.cli(&["complete", "runner-001"]).ok().says("task-id-123 completed");
    fleet.wait_for_status(&given["job"].to_string(), "succeeded");
    let stored = reports.trim_start_matches('/');
    assert_eq!(fleet.read(&format!("{stored}/result.txt")), "done\n");
    fleet.settle(1);
    let after = runner(&fleet);
    assert_eq!((text(&after, "status"), &after["tasks_completed"]), ("idle", &Value::from(1)));
    assert_ne!(text(&after, "container"), container, "a used container is replaced");
    fleet.cli(&["complete", "runner-001"]).expect_code(1).says("has no task to complete");
    fleet.cli(&["complete", "runner-099"]).expect_code(6);
}

#[test]
fn a_task_waits_for_a_runner_and_says_so() {
    let fleet = Fleet::up(NO_SPARE);
    // The old flags, and the runner's name as a workflow has it.
    let first = fleet.cli(&["--assign", "first"]).ok().out();
    let name = first.lines().find_map(|line| line.strip_prefix("Name:")).expect("a name").trim();
    let queued = fleet.cli(&["assign", "second", "--no-wait"]).expect_code(4).out();
    assert!(queued.contains("Status:     queued"), "{queued}");
    fleet.cli(&["assign", "second", "--timeout", "1s"]).expect_code(3).says("stays in the queue");
    let waits = fleet.start(&["assign", "second", "-q", "--timeout", "60s"]);
    fleet.cli(&["--complete", name]).ok();
    assert_eq!(waits.finish().ok().word(), "runner-001");
    fleet.cli(&["complete", "second", "--failed"]).ok().says("second failed on");
    fleet.wait_for_status("job-2", "failed");
    assert_eq!(fleet.status_of("job-1"), "succeeded");
    fleet.cli(&["assign", "third", "--type", "lnt"]).expect_code(6).says("lint");
}

#[test]
fn a_leased_runner_outlives_its_supervisor() {
    let fleet = Fleet::up(NO_SPARE);
    let given = assign(&fleet, &["stays"]);
    let container = text(&given["runner"], "container").to_owned();
    fleet.kill_supervisor();
    docker(&["exec", &container, "true"]).ok();
    fleet.cli(&["up", "-d"]).ok();
    assert_eq!(assign(&fleet, &["stays"]), given);
    fleet.cli(&["complete", "stays"]).ok();
    fleet.settle(1);
    assert_eq!(runner(&fleet)["tasks_completed"], 1);
}

#[test]
fn a_task_that_takes_too_long_loses_its_runner_and_what_runs_there() {
    let fleet = Fleet::up("pools: [{name: light, profile: light, count: 1, ephemeral: false}]\n");
    let given = assign(&fleet, &["long", "--task-timeout", "2s"]);
    let container = text(&given["runner"], "container").to_owned();
    let work = process(&container);
    fleet.wait_for_status(&given["job"].to_string(), "timed_out");
    wait_until("the container is gone, with what was started in it", || {
        docker(&["inspect", &container]).code != 0
    });
    assert_ne!(work.finish().code, 0);
    let failure = &runner(&fleet)["last_failure"];
    assert_eq!(failure["status"], "timed_out");
}

/// Something that somebody runs in a container.
fn process(container: &str) -> crate::process::Running {
    let mut command = std::process::Command::new("docker");
    command.args(["exec", container, "sleep", "600"]);
    crate::process::start(command)
}

#[test]
fn a_fleet_goes_down_with_its_tasks_or_waits_for_them() {
    let fleet = Fleet::up(NO_SPARE);
    assign(&fleet, &["one"]);
    let down = fleet.start(&["down", "--drain"]);
    wait_until("it drains", || fleet.view()["phase"] == "going_down");
    fleet.cli(&["complete", "one"]).ok();
    down.finish().ok();
    fleet.cli(&["up", "-d"]).ok();
    assign(&fleet, &["two"]);
    fleet.cli(&["down"]).ok();
    fleet.cli(&["assign", "three"]).expect_code(8);
}
