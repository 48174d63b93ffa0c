//! Specification 2: runners that register with tokens of `.env` and stay registered.

use serde_json::{Value, json};

use crate::docker::{containers, docker, inspect};
use crate::fleet::Fleet;
use crate::forge_stand_in::{GitHub, IMAGE, name_of, need_image};
use crate::process::wait_until;

/// The fleet file of specification 2: so many runners with a token each. Names of runners are the
/// engine's, too, so each test has its own.
fn homelab(github: &GitHub, name: &str, count: u32) -> String {
    format!(
        "image: {IMAGE}
pools:
  - name: homelab
    profile: light
    count: {count}
    runner_name: {name}-runner-{{n}}
    github: {{url: '{}/me/site', token_env: 'RUNNER_TOKEN_{{n}}'}}
",
        github.for_containers()
    )
}

/// A fleet with these tokens in `.env`.
fn homelab_with(github: &GitHub, name: &str, count: u32, tokens: &[(u32, &str)]) -> Fleet {
    need_image();
    let fleet = Fleet::new(&homelab(github, name, count));
    let lines = tokens.iter().map(|(n, token)| format!("RUNNER_TOKEN_{n}={token}\n"));
    fleet.write(".env", lines.collect::<String>());
    fleet
}

fn container_of(fleet: &Fleet, runner: &str) -> String {
    let runners = fleet.runners();
    let found = runners.iter().find(|one| one["name"] == runner).expect("the runner");
    found["container"].as_str().expect("a container").to_owned()
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

#[test]
fn four_homelab_runners_register_and_the_fifth_job_waits_its_turn() {
    let github = GitHub::start();
    let tokens: Vec<String> = (0..4).map(|_| github.registration_token("me/site")).collect();
    let numbered: Vec<(u32, &str)> = (1..).zip(tokens.iter().map(String::as_str)).collect();
    let fleet = homelab_with(&github, "homelab", 4, &numbered);
    fleet.cli(&["up", "-d"]).ok();
    let names: Vec<String> = (1..=4).map(|n| format!("homelab-runner-{n}")).collect();
    wait_until("four listen", || sorted(github.polling()) == names);
    let labels = github.runners()[0]["labels"].to_string();
    assert!(labels.contains("self-hosted"), "{labels}");
    let gate = "until [ -e /tmp/go ]; do sleep 0.05; done";
    let job = json!({"labels": ["self-hosted"], "steps": [gate]});
    let ids = github.run(&json!({"jobs": [job, job, job, job, job]}));
    let with = |status: &str| ids.iter().filter(|id| github.job(**id)["status"] == status).count();
    wait_until("four run at once", || with("in_progress") == 4);
    assert_eq!(with("queued"), 1, "the fifth waits");
    wait_until("all are over", || {
        for name in containers(&fleet.project) {
            docker(&["exec", &name, "touch", "/tmp/go"]);
        }
        with("completed") == 5
    });
    assert!(ids.iter().all(|id| github.job(*id)["conclusion"] == "success"));
    wait_until("they listen again", || sorted(github.polling()) == names);
    no_token_anywhere(&fleet, &tokens);
    github.no_violations();
}

/// Nothing that an operator, a job or a neighbour can read has a token.
fn no_token_anywhere(fleet: &Fleet, tokens: &[String]) {
    let mut seen = fleet.read(".slate/supervisor.log");
    for args in [&["ps", "--format", "json"][..], &["events", "--format", "json"], &["doctor"]] {
        let told = fleet.cli(args);
        seen += &(told.out() + &told.err());
    }
    for name in containers(&fleet.project) {
        seen += &inspect(&name).to_string();
        let logs = docker(&["logs", &name]);
        seen += &(logs.out() + &logs.err());
        seen += &docker(&["top", &name]).out();
        let environments = "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null; true";
        seen += &docker(&["exec", "-u", "0", &name, "sh", "-c", environments]).out();
    }
    for token in tokens {
        assert!(!seen.contains(token), "a token can be read");
    }
}

#[test]
fn a_missing_token_fails_its_runner_alone_and_is_named() {
    let github = GitHub::start();
    let token = github.registration_token("me/site");
    let fleet = homelab_with(&github, "missing", 3, &[(1, &token), (3, &token)]);
    fleet.cli(&["up", "-d"]);
    let others = ["missing-runner-1", "missing-runner-3"];
    wait_until("the others listen", || sorted(github.polling()) == others);
    wait_until("it says which variable is missing", || {
        fleet.cli(&["explain", "missing-runner-2"]).out().contains("RUNNER_TOKEN_2")
    });
    // A renewed `.env` and `up` are enough.
    let lines: String = (1..=3).map(|n| format!("RUNNER_TOKEN_{n}={token}\n")).collect();
    fleet.write(".env", lines);
    fleet.cli(&["up", "-d"]).ok();
    wait_until("all listen", || github.polling().len() == 3);
    github.no_violations();
}

#[test]
fn docker_restarts_a_kept_runner_while_no_supervisor_runs() {
    let github = GitHub::start();
    let token = github.registration_token("me/site");
    let fleet = homelab_with(&github, "restarted", 1, &[(1, &token)]);
    fleet.cli(&["up", "-d"]).ok();
    wait_until("it listens", || github.polling().len() == 1);
    let container = container_of(&fleet, "restarted-runner-1");
    fleet.kill_supervisor();
    // From now on no token is good any more: only the kept registration is left.
    github.post("clock", &json!({"advance_seconds": 7200}));
    docker(&["exec", "-u", "0", &container, "sh", "-c", "kill -9 -1; true"]);
    docker(&["restart", "-t", "5", &container]).ok();
    wait_until("it listens again", || {
        github.runners().iter().any(|one| one["polls"] == true && one["sessions"] != 1)
    });
    let id = github.queue(&json!({"labels": ["self-hosted"], "steps": ["true"]}));
    wait_until("it takes a job", || github.job(id)["conclusion"] == "success");
    fleet.cli(&["up", "-d"]).ok();
    assert_eq!(github.runners().len(), 1);
    github.no_violations();
}

#[test]
fn the_health_check_says_registered_and_a_lost_registration_is_made_again() {
    let github = GitHub::start();
    let token = github.registration_token("me/site");
    let fleet = homelab_with(&github, "healthy", 1, &[(1, &token)]);
    fleet.cli(&["up", "-d"]).ok();
    wait_until("it listens", || github.polling().len() == 1);
    let health = |fleet: &Fleet| {
        inspect(&container_of(fleet, "healthy-runner-1"))["State"]["Health"].clone()
    };
    wait_until("it is healthy", || health(&fleet)["Status"] == "healthy");
    let said = health(&fleet)["Log"].to_string();
    assert!(said.contains("registered"), "{said}");
    let before = github.runners()[0]["id"].clone();
    let answer = github.ask("DELETE", "/_control/runners/healthy-runner-1", &[], "");
    assert_eq!(answer.status, 200);
    wait_until("it is registered anew", || {
        let now = github.runners();
        now.len() == 1 && now[0]["id"] != before && now[0]["polls"] == true
    });
    github.no_violations();
}

#[test]
fn down_keeps_a_registration_and_down_with_volumes_removes_it() {
    let github = GitHub::start();
    let token = github.registration_token("me/site");
    let fleet = homelab_with(&github, "kept", 1, &[(1, &token)]);
    fleet.cli(&["up", "-d"]).ok();
    wait_until("it listens", || github.polling().len() == 1);
    fleet.cli(&["down"]).ok();
    let names: Vec<String> = github.runners().iter().map(name_of).collect();
    assert_eq!(names, ["kept-runner-1"], "GitHub still knows it");
    fleet.write(".env", "");
    fleet.cli(&["up", "-d"]).ok();
    wait_until("it listens without a token", || github.polling().len() == 1);
    let sessions: Vec<Value> = github.runners().iter().map(|one| one["sessions"].clone()).collect();
    assert_eq!(sessions, [json!(2)], "the same registration, a second session");
    github.no_violations();
}
