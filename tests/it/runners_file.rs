//! `.slate_runners.json`, as specification 1 locks it: written on each change, and read for its
//! options.

use std::fs;

use serde_json::{Value, json};

use crate::fleet::{Fleet, NO_SPARE};
use crate::process::wait_until;

const NAME: &str = ".slate_runners.json";

fn file(fleet: &Fleet) -> Value {
    serde_json::from_str(&fleet.read(NAME)).expect("it is whole at every moment")
}

fn wait_for(fleet: &Fleet, what: &str, is_so: impl Fn(&Value) -> bool) {
    wait_until(what, || fleet.path(NAME).exists() && is_so(&file(fleet)));
}

#[test]
fn the_file_follows_the_fleet_and_keeps_its_options() {
    let fleet = Fleet::new(NO_SPARE);
    fleet.write(NAME, r#"{"max_parallel_workflows": 3, "task_timeout_minutes": 45}"#);
    fleet.cli(&["up", "-d"]).ok();
    wait_for(&fleet, "its runner is idle", |it| it["runners"][0]["status"] == "idle");
    let written = file(&fleet);
    assert!(written["updated_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{written}");
    let runner = &written["runners"][0];
    let name = fleet.runners()[0]["name"].clone();
    let expected = json!({
        "id": "runner-001", "name": name, "profile": "light", "gpu_id": null,
        "status": "idle", "current_task": null, "tasks_completed": 0
    });
    assert_eq!(*runner, expected);
    assert_eq!(
        (&written["max_parallel_workflows"], &written["gpu_reservation"]),
        (&json!(3), &json!({}))
    );
    assert_eq!(written["task_timeout_minutes"], 45);
    assert_eq!(fleet.view()["max_parallel_workflows"], 3);
    fleet.cli(&["assign", "task-7"]).ok();
    wait_for(&fleet, "it has the task", |it| it["runners"][0]["current_task"] == "task-7");
    fleet.cli(&["complete", "task-7"]).ok();
    wait_for(&fleet, "it counts", |it| it["runners"][0]["tasks_completed"] == 1);
    // Changed while the fleet is up: it stays until the next `up` takes it up.
    let edited =
        fleet.read(NAME).replace("\"max_parallel_workflows\": 3", "\"max_parallel_workflows\": 5");
    fleet.write(NAME, edited);
    fleet.cli(&["assign", "task-8"]).ok();
    wait_for(&fleet, "it has the next task", |it| it["runners"][0]["current_task"] == "task-8");
    assert_eq!(file(&fleet)["max_parallel_workflows"], 5);
    assert_eq!(fleet.view()["max_parallel_workflows"], 3);
    fleet.cli(&["up", "-d"]).ok();
    assert_eq!(fleet.view()["max_parallel_workflows"], 5);
    // The fleet file wins where it says something.
    fleet.edit(&format!("{NO_SPARE}limits: {{max_parallel_workflows: 2}}\n"));
    fleet.cli(&["up", "-d"]).ok();
    wait_for(&fleet, "it says what is in force", |it| it["max_parallel_workflows"] == 2);
    fleet.cli(&["down", "-v"]).ok().says("holds options and stays");
    let left = file(&fleet);
    assert_eq!((&left["runners"], &left["task_timeout_minutes"]), (&json!([]), &json!(45)));
}

#[test]
fn a_damaged_file_is_refused_and_never_overwritten() {
    let fleet = Fleet::new(NO_SPARE);
    let damaged = "{\n  \"max_parallel_workflows\": 8,,\n}\n";
    fleet.write(NAME, damaged);
    let refused = fleet.cli(&["up", "-d"]).expect_code(2);
    for told in [".slate_runners.json:2:31", "nothing was changed", "mend it, or remove it"] {
        assert!(refused.err().contains(told), "no `{told}` in {}", refused.err());
    }
    assert!(!fleet.path(".slate").exists());
    fs::remove_file(fleet.path(NAME)).expect("removed");
    fleet.cli(&["up", "-d"]).ok();
    wait_for(&fleet, "it is there", |it| it["runners"][0]["status"] == "idle");
    fleet.write(NAME, damaged);
    fleet.cli(&["assign", "task-1"]).ok();
    wait_until("the supervisor says so", || {
        fleet.read(".slate/supervisor.log").contains("cannot be read")
    });
    assert_eq!(fleet.read(NAME), damaged);
    fs::remove_file(fleet.path(NAME)).expect("removed");
    fleet.cli(&["complete", "task-1"]).ok();
    wait_for(&fleet, "it is written anew", |it| it["runners"][0]["tasks_completed"] == 1);
    fleet.cli(&["down", "-v"]).ok();
    assert!(!fleet.path(NAME).exists(), "it held nothing of a person's");
}

#[test]
fn two_fleets_do_not_write_one_file() {
    let fleet = Fleet::up(NO_SPARE);
    wait_for(&fleet, "it is there", |it| it["runners"][0]["status"] == "idle");
    let content = fleet.read("slate.yaml");
    let renamed = content.replacen("project: it-", "project: it-b", 1);
    fleet.write("other.yaml", renamed);
    let args = ["-f", "other.yaml", "--state-dir", ".other", "up", "-d"];
    fleet.cli(&args).expect_code(1).says("another fleet's supervisor writes");
    assert_eq!(fleet.cli(&["ps", "-q"]).ok().lines().len(), 1);
    // A name of its own by `-p` has a file of its own.
    let other = format!("{}-c", fleet.project);
    fleet.cli(&["-p", &other, "up", "-d"]).ok();
    let own = format!(".slate_runners.{other}.json");
    wait_until("the other has its own", || fleet.path(&own).exists());
    fleet.cli(&["-p", &other, "down", "-v"]).ok();
    assert!(!fleet.path(&own).exists());
}
