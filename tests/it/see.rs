//! The commands that answer "is it fine?" on the real engine: `top`, `stats`, `doctor`, and the
//! examples of the README as a user types them.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::fleet::{Fleet, GATE, NO_SPARE, open_gate};
use crate::http;
use crate::process::{self, wait_until};

#[test]
fn top_shows_what_a_real_runner_uses() {
    let fleet = Fleet::up(NO_SPARE);
    let job = fleet.submit(&format!("while [ ! -e /tmp/go ]; do :; done; {GATE}"));
    wait_until("the job runs", || fleet.show(&job)["status"] == "running");
    let socket = fleet.path(".slate/api.sock");
    wait_until("its use is measured", || {
        let usage = http::over_socket(&socket, "/api/v1/usage").json();
        // A busy loop; on a machine full of tests it gets a hundredth of a processor at least.
        usage["runners"][0]["cpus"].as_u64().is_some_and(|cpus| cpus > 10)
    });
    wait_until("its use is seen", || {
        let frame = fleet.cli(&["top", "--once", "--sort", "cpu"]).ok().out();
        let row = frame.lines().find(|line| line.contains(&job)).unwrap_or_default().to_owned();
        // NAME, Running, JOB, AGE, CPU, MEMORY.
        let cells: Vec<&str> = row.split_whitespace().collect();
        let is_number = cells.get(4).is_some_and(|cpu| cpu.parse::<f64>().is_ok());
        is_number && cells.get(5).is_some_and(|memory| memory.ends_with("/512M"))
    });
    open_gate(&fleet.containers().remove(0));
    wait_until("the job is over", || fleet.show(&job)["status"] == "succeeded");
}

#[test]
fn stats_count_what_really_ran() {
    let fleet = Fleet::up(NO_SPARE);
    fleet.cli(&["run", "--no-workspace", "--", "true"]).ok();
    fleet.cli(&["run", "--no-workspace", "--", "sh", "-c", "exit 3"]).expect_code(3);
    let stats: Value = fleet.cli(&["stats", "--format", "json"]).ok().json();
    let all = &stats["all"];
    assert_eq!((&all["jobs"], &all["success_permille"]), (&2.into(), &500.into()), "{stats}");
    assert_eq!((&all["ends"]["succeeded"], &all["ends"]["failed"]), (&1.into(), &1.into()));
    assert_eq!(all["faults"]["job"], 1, "{stats}");
    assert_eq!(stats["causes"][0]["cause"], "exit code 3", "{stats}");
    assert_eq!(stats["pools"][0]["name"], "light", "{stats}");
    let starting = all["starting"]["p99_ms"].as_u64().expect("measured");
    assert!(starting < 60_000, "{stats}");
    let text = fleet.cli(&["stats", "--since", "1h"]).ok().out();
    assert!(text.starts_with("In the last 1h: 2 jobs ended"), "{text}");
    let none = fleet.cli(&["stats", "--since", "2126-01-01T00:00:00Z"]).ok().out();
    assert!(none.starts_with("No job ended"), "{none}");
}

/// The names of the checks and their levels.
fn checks(fleet: &Fleet) -> Vec<(String, String)> {
    let output = fleet.cli(&["doctor", "--format", "json"]);
    let found: Value = output.json();
    let sections = found["sections"].as_array().expect("sections").iter();
    let checks = sections.flat_map(|it| it["checks"].as_array().expect("checks").clone());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    checks.map(|it| (text(&it["id"]), text(&it["level"]))).collect()
}

#[test]
fn doctor_looks_at_a_real_engine_with_and_without_a_supervisor() {
    let fleet = Fleet::new(NO_SPARE);
    let level = |checks: &[(String, String)], id: &str| {
        let found = checks.iter().find(|(name, _)| name == id);
        found.unwrap_or_else(|| panic!("{id} is not checked")).1.clone()
    };
    let before = checks(&fleet);
    let reference =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/doctor.md"))
            .expect("the reference");
    for row in reference.lines().filter_map(|line| line.strip_prefix("| `")) {
        let id = row.split('`').next().unwrap_or_default();
        level(&before, id);
    }
    for id in ["engine", "images-present", "seccomp", "ip-forwarding", "cgroup-controllers"] {
        assert_eq!(level(&before, id), "ok", "{id}");
    }
    assert_eq!(level(&before, "state-folder"), "skipped");
    fleet.cli(&["up", "-d"]).ok();
    let after = checks(&fleet);
    assert_eq!(level(&after, "state-folder"), "ok");
    let text = fleet.cli(&["doctor"]).out();
    assert!(text.contains("the one runner is as the file says"), "{text}");
    let problems = fleet.cli(&["doctor", "--problems"]).out();
    assert!(!problems.contains("\n  ok "), "{problems}");
}

#[test]
fn doctor_goes_on_without_an_engine_and_says_what_it_could_not_look_at() {
    let fleet = Fleet::new(NO_SPARE).with_env("DOCKER_HOST", "unix:///nowhere.sock".into());
    let output = fleet.cli(&["doctor"]).expect_code(1);
    let text = output.out();
    assert!(text.contains("error    cannot connect to the engine"), "{text}");
    assert!(text.contains("skipped  live-restore: the engine does not answer"), "{text}");
    assert!(text.contains("kernel.pid_max"), "the host is looked at all the same: {text}");
}

/// The shell blocks of a page that stand below `<!-- runs -->`.
fn runnable(page: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line.trim() != "<!-- runs -->" {
            continue;
        }
        let opened = lines.next().unwrap_or_default();
        assert!(opened.starts_with("```sh"), "no shell block below the mark: {opened}");
        let block: Vec<&str> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
        blocks.push(block.join("\n"));
    }
    blocks
}

#[test]
fn the_marked_examples_of_the_readme_really_run() {
    let blocks = runnable(include_str!("../../README.md"));
    assert!(blocks.len() >= 4, "{blocks:?}");
    let fleet = Fleet::new(
        "pools:\n  - {name: standard, profile: standard, count: 1}\n  \
         - {name: light, profile: light, count: 2}\n\
         task_types: {tests: standard, lint: light}\n",
    );
    let program = std::path::Path::new(crate::fleet::PROGRAM).parent().expect("a folder");
    let path = std::env::var("PATH").unwrap_or_default();
    fleet.cli(&["up", "-d"]).ok();
    for block in blocks {
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", &block]).current_dir(fleet.folder());
        shell.env("PATH", format!("{}:{path}", program.display())).env_remove("SLATE_STATE_DIR");
        process::run(shell).ok();
    }
}
