//! `/metrics` of a real fleet.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::docker::docker;
use crate::fleet::{Fleet, GATE, NO_SPARE};
use crate::http::{free_address, over_port, over_socket};
use crate::process::{self, wait_until};

/// Names and types of all metrics on a page.
pub fn families(page: &str) -> BTreeMap<String, String> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

/// Every series of a page.
fn series(page: &str) -> BTreeSet<String> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
}

/// The value of a series; none if it is not there.
fn value(page: &str, series: &str) -> Option<f64> {
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok())
}

/// Names and types of all metrics in the documentation.
fn documented() -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let text = std::fs::read_to_string(path).expect("the page is there");
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let name = cells.get(1)?.strip_prefix('`')?.strip_suffix('`')?;
        (cells.len() == 7).then(|| (name.to_owned(), cells[2].to_owned()))
    });
    rows.collect()
}

fn scrape(fleet: &Fleet) -> String {
    let answer = over_socket(&fleet.path(".slate/api.sock"), "/metrics");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

#[test]
fn the_page_and_the_documentation_name_the_same_metrics() {
    let fleet = Fleet::new(NO_SPARE);
    let address = free_address();
    let mut up = fleet.command(&["up", "-d"]);
    up.env("SLATE_LISTEN", &address);
    process::run(up).ok();
    let page = over_port(&address, "localhost", "/metrics").expect("an answer");
    assert_eq!(page.status, 200);
    assert_eq!(families(&page.body), documented());
    assert_eq!(families(&scrape(&fleet)), documented(), "the socket has the same page");
}

#[test]
fn what_happens_to_jobs_and_runners_is_counted() {
    let fleet = Fleet::up(NO_SPARE);
    let page = scrape(&fleet);
    for (series, expected) in [
        ("runners_total", 1.0),
        ("runners_idle", 1.0),
        ("runner_active{pool=\"light\"}", 0.0),
        ("queue_depth{pool=\"light\"}", 0.0),
        ("tasks_completed_total", 0.0),
        ("slate_fleet_phase{phase=\"ready\"}", 1.0),
    ] {
        assert_eq!(value(&page, series), Some(expected), "{series} in\n{page}");
    }
    fleet.job("true").ok();
    fleet.job("exit 3").expect_code(3);
    let job = fleet.submit(GATE);
    fleet.wait_for_status(&job, "running");
    docker(&["kill", &fleet.containers()[0]]).ok();
    wait_until("the job runs again", || fleet.show(&job)["attempt"] == 2);
    fleet.cli(&["cancel", &job]).ok();
    fleet.wait_for_status(&job, "cancelled");
    let page = scrape(&fleet);
    let at_least = |series: &str, least: f64| {
        let found = value(&page, series);
        assert!(found.is_some_and(|it| it >= least), "{series} is {found:?} in\n{page}");
    };
    for (series, least) in [
        ("tasks_completed_total", 2.0),
        ("task_duration_seconds_count", 3.0),
        ("slate_fleet_jobs_submitted_total", 3.0),
        ("slate_fleet_jobs_ended_total{pool=\"light\",status=\"succeeded\"}", 1.0),
        ("slate_fleet_jobs_ended_total{pool=\"light\",status=\"failed\"}", 1.0),
        ("slate_fleet_jobs_ended_total{pool=\"light\",status=\"cancelled\"}", 1.0),
        ("slate_fleet_job_retries_total{fault=\"infrastructure\",pool=\"light\"}", 1.0),
        ("slate_fleet_runner_failures_total{cause=\"died\",pool=\"light\"}", 1.0),
        ("slate_fleet_job_queue_seconds_count{lane=\"\",pool=\"light\"}", 4.0),
        ("slate_fleet_job_start_seconds_count{lane=\"\",pool=\"light\"}", 3.0),
        ("slate_fleet_runner_create_seconds_count{pool=\"light\"}", 3.0),
        ("slate_fleet_runner_start_seconds_count{pool=\"light\"}", 3.0),
        ("slate_fleet_engine_calls_total{call=\"create\",result=\"ok\"}", 3.0),
        ("slate_fleet_engine_calls_total{call=\"list\",result=\"ok\"}", 1.0),
        ("slate_fleet_engine_call_seconds_count{call=\"start\"}", 3.0),
        ("slate_fleet_store_commit_seconds_count", 10.0),
        ("slate_fleet_step_seconds_count", 10.0),
        ("slate_fleet_loop_lag_seconds_count", 1.0),
        ("slate_fleet_store_size_bytes{file=\"database\"}", 4096.0),
        ("slate_fleet_audit_head_seq", 10.0),
        ("process_resident_memory_bytes", 1_000_000.0),
        ("process_open_fds", 5.0),
        ("process_start_time_seconds", 1_700_000_000.0),
    ] {
        at_least(series, least);
    }
    let disk = page.lines().find(|line| line.starts_with("slate_fleet_disk_free_bytes{"));
    assert!(disk.is_some_and(|line| line.contains("state")), "{page}");
}

// Pain 73: 10,000 jobs do not raise the number of series.
#[test]
fn ten_thousand_jobs_add_no_series() {
    let fleet = Fleet::up(
        "pools: [{name: light, profile: light, spares: 0}]\n\
                           limits: {retries: 0}\n",
    );
    fleet.job("true").ok();
    let held = fleet.submit(GATE);
    fleet.wait_for_status(&held, "running");
    // One that waits has a series of its own for the reason why; many for the same reason share it.
    fleet.submit("true");
    let before = series(&scrape(&fleet));
    let line = |number: u32| {
        let run = format!("\"workflow\": \"flow-{number}\", \"run_id\": \"{number}\"");
        format!("{{\"command\": [\"true\"], \"submitter\": \"user-{number}\", {run}}}\n")
    };
    fleet.write("jobs.jsonl", (0..10_000).map(line).collect::<String>());
    fleet.cli(&["submit", "--file", "jobs.jsonl"]).ok();
    let page = scrape(&fleet);
    assert_eq!(value(&page, "queue_depth{pool=\"light\"}"), Some(10_001.0));
    let new = series(&page).difference(&before).cloned().collect::<Vec<String>>();
    // The first job's runner may still be on its way out.
    let new: Vec<&String> = new.iter().filter(|it| !it.contains("_engine_call")).collect();
    assert!(new.is_empty(), "{new:?}");
    assert!(before.len() < 400, "{} series", before.len());
}
