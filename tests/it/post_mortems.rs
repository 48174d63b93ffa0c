//! A runner that fails leaves its cause behind, and `explain` tells it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

use crate::docker::{TEST_LABEL, docker};
use crate::fleet::{Fleet, GATE, NO_SPARE, open_gate};
use crate::process::{self, wait_until};

const CANARY: &str = "canary-7c1d90e24aab";

/// The explanation of one thing.
fn explain(fleet: &Fleet, name: &str) -> Value {
    fleet.cli(&["explain", name, "--format", "json"]).ok().json()
}

/// The newest post-mortem of a job, a runner or a pool, when there is one.
fn post_mortem(fleet: &Fleet, name: &str) -> Value {
    let newest = || explain(fleet, name)["post_mortems"][0].clone();
    wait_until("there is a post-mortem", || newest().is_object());
    newest()
}

fn name_of_the_runner(fleet: &Fleet) -> String {
    fleet.runners()[0]["name"].as_str().expect("a name").to_owned()
}

fn has(text: &Value, words: &str) -> bool {
    text.as_str().expect("a text").contains(words)
}

#[test]
fn an_agent_that_was_killed_was_not_out_of_memory() {
    let fleet = Fleet::up(NO_SPARE);
    let name = name_of_the_runner(&fleet);
    let container = fleet.containers()[0].clone();
    docker(&["kill", "--signal", "KILL", &container]).ok();
    let it = post_mortem(&fleet, &name);
    assert!(has(&it["summary"], "killed from outside by signal 9 (exit code 137)"), "{it:#}");
    assert_eq!((&it["exit_code"], &it["cause"]), (&137.into(), &"died".into()), "{it:#}");
    assert_eq!(it["engine"]["oom_killed"], false, "{it:#}");
    assert_eq!(it["engine"]["memory"], 512_u64 << 20, "{it:#}");
    assert_eq!(it["container"], container.as_str());
    assert!(it["heard"].is_u64() && it["missing"] == Value::Array(Vec::new()), "{it:#}");
    let told = fleet.cli(&["explain", &name]).ok();
    assert!(
        told.out().contains("not out of memory") && told.out().contains("docker kill"),
        "{told}"
    );
    let file = fleet.path(&format!(".slate/post-mortems/{}.json", incarnation(&it)));
    let mode = fs::metadata(&file).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

fn incarnation(it: &Value) -> String {
    format!("i{}", it["incarnation"])
}

#[test]
fn a_container_that_somebody_removes_is_told_as_that_and_its_job_says_whose_fault_it_was() {
    let fleet = Fleet::up(NO_SPARE);
    let container = fleet.containers()[0].clone();
    let job = fleet.submit(&format!("echo begun; [ $SLATE_ATTEMPT = 2 ] || {{ {GATE}; }}"));
    fleet.wait_for_status(&job, "running");
    docker(&["rm", "-f", &container]).ok();
    let it = post_mortem(&fleet, &job);
    assert_eq!(it["cause"], "vanished", "{it:#}");
    assert!(has(&it["summary"], "removed by somebody else"), "{it:#}");
    assert!(has(&it["summary"], "it held job-1 (attempt 1)"), "{it:#}");
    fleet.cli(&["wait", &job]).ok();
    let told = explain(&fleet, &job);
    let first = &told["job"]["attempts"][0]["end"];
    assert_eq!((&first["status"], &first["fault"]), (&"lost".into(), &"infrastructure".into()));
    assert_eq!(told["job"]["attempts"][1]["end"]["status"], "succeeded", "{told:#}");
    let text = fleet.cli(&["explain", &job]).ok();
    for words in ["Attempts:", "fault: infrastructure", "removed by somebody else"] {
        assert!(text.out().contains(words), "no `{words}` in {text}");
    }
}

#[test]
fn a_runner_out_of_memory_is_told_from_a_job_out_of_memory() {
    let fleet = Fleet::up(NO_SPARE);
    let name = name_of_the_runner(&fleet);
    let container = fleet.containers()[0].clone();
    // Many small eaters, so that the agent is the one whom the kernel takes first.
    let eat = "echo 1000 >/proc/1/oom_score_adj || exit 1
        for n in 1 2 3 4 5 6 7 8 9 10 11 12; do (head -c 64M /dev/zero | tail | sleep 9) & done
        wait";
    docker(&["exec", "-u", "0", &container, "sh", "-c", eat]);
    let it = post_mortem(&fleet, &name);
    assert_eq!(it["engine"]["oom_killed"], true, "{it:#}");
    assert!(has(&it["summary"], "the runner itself ran out of memory"), "{it:#}");
    assert!(has(&it["summary"], "512MiB (exit code 137)"), "{it:#}");
    let told = fleet.cli(&["explain", &name]).ok();
    assert!(told.out().contains("more memory"), "{told}");
    fleet.cli(&["wait"]).ok();
    assert_eq!(fleet.job("echo works").ok().word(), "works");
}

/// An image in which the agent's folder cannot be: a file has its name.
fn hostile_image(fleet: &Fleet) -> String {
    let root = fleet.path("root");
    fs::create_dir_all(&root).expect("a folder");
    fs::write(root.join(".slate"), "mine").expect("a file");
    let archive = fleet.path("root.tar");
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(&root).arg("-cf").arg(&archive).arg(".slate");
    process::run(tar).ok();
    let tag = format!("{}:hostile", fleet.project);
    let label = format!("LABEL {TEST_LABEL}={}", fleet.project);
    docker(&["import", "-c", &label, &archive.display().to_string(), &tag]).ok();
    tag
}

#[test]
fn a_runner_that_cannot_start_says_so_in_the_engines_words() {
    let fleet = Fleet::new("pools: []\n");
    let image = hostile_image(&fleet);
    fleet.edit(&format!("image: '{image}'\n{NO_SPARE}"));
    fleet.cli(&["up", "-d", "--timeout", "1s"]).expect_code(3);
    let it = post_mortem(&fleet, "light");
    assert_eq!(it["cause"], "failed", "{it:#}");
    assert!(has(&it["summary"], "could not be made or started"), "{it:#}");
    assert!(has(&it["summary"], ".slate"), "{it:#}");
    assert_eq!((&it["exit_code"], &it["heard"]), (&Value::Null, &Value::Null), "{it:#}");
    let runner = fleet.cli(&["explain", &name_of_the_runner(&fleet)]).ok();
    for words in ["Error", "failures", "slate-fleet resume"] {
        assert!(runner.out().contains(words), "no `{words}` in {runner}");
    }
}

#[test]
fn what_variables_hold_is_in_no_post_mortem_and_no_explanation() {
    let fleet = Fleet::up(&format!(
        "profiles: {{light: {{env: {{PLACE: '{CANARY}-profile'}}}}}}\n{NO_SPARE}"
    ));
    let container = fleet.containers()[0].clone();
    let secret = format!("DEPLOY_TOKEN={CANARY}-job");
    let script = format!("env; [ $SLATE_ATTEMPT = 2 ] && exit 3; {GATE}");
    let job = fleet.submit_with(&["--env", &secret], &script);
    fleet.wait_for_status(&job, "running");
    docker(&["kill", &container]).ok();
    fleet.cli(&["wait", &job]).expect_code(3);
    let it = post_mortem(&fleet, &job);
    assert!(!it.to_string().contains(CANARY), "{it:#}");
    for args in [&["explain", &job][..], &["explain", &job, "--format", "json"]] {
        let told = fleet.cli(args).ok();
        assert!(!told.out().contains(CANARY), "{told}");
        assert!(told.out().contains("DEPLOY_TOKEN"), "the output is there: {told}");
    }
    for file in fs::read_dir(fleet.path(".slate/post-mortems")).expect("a folder").flatten() {
        let text = fs::read_to_string(file.path()).expect("a file");
        assert!(!text.contains(CANARY), "{text}");
    }
}

#[test]
fn a_waiting_job_names_who_is_before_it() {
    let fleet = Fleet::up(NO_SPARE);
    let container = fleet.containers()[0].clone();
    let jobs: Vec<String> = (0..3).map(|_| fleet.submit(GATE)).collect();
    fleet.wait_for_status(&jobs[0], "running");
    let told = explain(&fleet, &jobs[2]);
    assert_eq!(told["waiting"]["ahead"], 1, "{told:#}");
    assert_eq!(told["waiting"]["next"], serde_json::json!([2]));
    assert_eq!(told["waiting"]["running"], serde_json::json!([1]));
    assert_eq!((&told["pools"][0]["all"], &told["pools"][0]["busy"]), (&1.into(), &1.into()));
    let text = fleet.cli(&["explain", &jobs[2]]).ok();
    assert!(text.out().contains("slate-fleet scale light=2"), "{text}");
    let pool = explain(&fleet, "light");
    assert_eq!(pool["waiting"], serde_json::json!({"count": 2, "next": [2, 3]}), "{pool:#}");
    fleet.cli(&["cancel", &jobs[1], &jobs[2]]).ok();
    open_gate(&container);
    fleet.cli(&["wait", &jobs[0]]).ok();
}
