//! What dies is replaced or taken over, and no job is lost.

use rustix::process::{Signal, kill_process};

use crate::docker::{containers, docker, exists};
use crate::fleet::{Fleet, GATE, NO_SPARE, ONE_LIGHT, open_gate};
use crate::process::wait_until;

/// Five megabytes of numbered lines in two halves, with the gate between.
fn two_halves() -> String {
    format!("seq 1 400000; echo half >&2; {GATE}; seq 400001 720000; echo whole >&2; exit 5")
}

fn numbers() -> String {
    (1..=720_000).map(|n| format!("{n}\n")).collect()
}

#[test]
fn a_job_goes_on_without_its_supervisor_and_the_next_one_has_it_all() {
    let fleet = Fleet::up(NO_SPARE);
    let container = fleet.containers()[0].clone();
    let job = fleet.submit(&two_halves());
    fleet.wait_for_status(&job, "running");
    fleet.kill_supervisor();
    open_gate(&container);
    fleet.cli(&["jobs"]).expect_code(8);
    fleet.cli(&["up", "-d"]).ok();
    assert_eq!(fleet.cli(&["wait", &job]).expect_code(5).word(), format!("{job} 5"));
    let logs = fleet.cli(&["logs", &job]).ok();
    assert!(logs.out() == numbers(), "{} bytes of {}", logs.stdout.len(), numbers().len());
    assert_eq!(logs.err(), "half\nwhole\n");
    assert_eq!(fleet.show(&job)["attempt"], 1);
}

#[test]
fn run_waits_for_the_next_supervisor_and_misses_nothing() {
    let fleet = Fleet::up(NO_SPARE);
    let container = fleet.containers()[0].clone();
    let mut job = fleet.start_job(&two_halves());
    job.wait_for_stderr("half");
    fleet.kill_supervisor();
    job.wait_for_stderr("the supervisor went away");
    fleet.cli(&["up", "-d"]).ok();
    assert_eq!(
        fleet.containers(),
        std::slice::from_ref(&container),
        "the same container is adopted"
    );
    open_gate(&container);
    let ended = job.finish().expect_code(5);
    assert!(ended.out() == numbers(), "{} bytes of {}", ended.stdout.len(), numbers().len());
}

#[test]
fn up_adopts_the_runners_of_a_supervisor_that_died() {
    let fleet = Fleet::up("pools: [{name: light, profile: light, count: 2}]\n");
    fleet.settle(3);
    let before = containers(&fleet.project);
    let slots = fleet.containers();
    fleet.kill_supervisor();
    fleet.cli(&["up", "-d"]).ok();
    fleet.settle(3);
    assert_eq!(fleet.containers(), slots);
    assert_eq!(containers(&fleet.project), before, "the spare, too");
    assert_eq!(fleet.job("echo works").ok().word(), "works");
}

#[test]
fn queued_jobs_survive_their_supervisor() {
    let fleet = Fleet::up(NO_SPARE);
    let container = fleet.containers()[0].clone();
    let holder = fleet.submit(GATE);
    let jobs: Vec<String> = (1..=6).map(|n| fleet.submit(&format!("echo {n}"))).collect();
    fleet.wait_for_status(&holder, "running");
    fleet.kill_supervisor();
    fleet.cli(&["up", "-d"]).ok();
    open_gate(&container);
    fleet.cli(&["wait", "--for", "idle"]).ok();
    for (job, n) in jobs.iter().zip(1..) {
        assert_eq!(fleet.cli(&["logs", job]).ok().word(), n.to_string());
        assert_eq!(fleet.show(job)["attempt"], 1, "{job} ran twice");
    }
}

#[test]
fn a_supervisor_killed_again_and_again_loses_no_job_and_runs_none_twice() {
    let fleet = Fleet::up("pools: [{name: light, profile: light, count: 2}]\n");
    let script = "echo begin >>$SLATE_REPORTS/$SLATE_JOB_ID; sleep 0.3";
    let options = ["--workflow", "w", "--run-id", "1"];
    let jobs: Vec<String> = (0..10).map(|_| fleet.submit_with(&options, script)).collect();
    for done in [1, 3, 5, 7] {
        let ended = || jobs.iter().filter(|job| fleet.status_of(job) == "succeeded").count();
        wait_until("some jobs are done", || ended() >= done);
        fleet.kill_supervisor();
        fleet.cli(&["up", "-d"]).ok();
    }
    fleet.cli(&["wait", "--for", "idle"]).ok();
    for job in &jobs {
        assert_eq!(fleet.status_of(job), "succeeded");
        assert_eq!(fleet.read(&format!("reports/w/1/{job}")), "begin\n", "{job} ran twice");
    }
}

#[test]
fn a_job_whose_container_is_removed_is_done_again_on_a_new_one() {
    let fleet = Fleet::up(NO_SPARE);
    let container = fleet.containers()[0].clone();
    let mut job = fleet.start_job(&format!(
        "echo attempt $SLATE_ATTEMPT; [ $SLATE_ATTEMPT = 2 ] || {{ {GATE}; }}"
    ));
    job.wait_for_stdout("attempt 1");
    docker(&["rm", "-f", &container]).ok();
    let ended = job.finish().ok();
    assert_eq!(ended.out(), "attempt 1\nattempt 2\n");
    assert!(ended.err().contains("begins again"), "{ended}");
    assert_eq!(fleet.show("job-1")["attempt"], 2);
    assert!(!fleet.containers().contains(&container));
}

#[test]
fn an_idle_container_that_somebody_removes_is_replaced() {
    let fleet = Fleet::up(NO_SPARE);
    let container = fleet.containers()[0].clone();
    docker(&["rm", "-f", &container]).ok();
    wait_until("there is another container", || {
        fleet.containers().first().is_some_and(|id| !id.is_empty() && *id != container)
    });
    fleet.cli(&["wait"]).ok();
    assert_eq!(fleet.job("echo works").ok().word(), "works");
}

#[test]
fn an_idle_runner_that_is_killed_is_replaced() {
    let fleet = Fleet::up(ONE_LIGHT);
    fleet.settle(2);
    let container = fleet.containers()[0].clone();
    docker(&["kill", &container]).ok();
    wait_until("the dead container is gone", || !exists(&container));
    assert_eq!(fleet.job("echo works").ok().word(), "works");
}

#[test]
fn a_runner_that_is_stopped_and_started_by_hand_does_not_confuse_the_fleet() {
    let fleet = Fleet::up(NO_SPARE);
    let container = fleet.containers()[0].clone();
    docker(&["stop", "-t", "1", &container]);
    wait_until("another container serves", || {
        fleet.containers().first().is_some_and(|id| !id.is_empty() && *id != container)
    });
    assert_eq!(fleet.job("echo works").ok().word(), "works");
}

#[test]
fn a_second_supervisor_refuses_and_says_who_is_there() {
    let fleet = Fleet::up(NO_SPARE);
    let pid = fleet.supervisor().as_raw_nonzero().to_string();
    let refused = fleet.cli(&["supervise"]).expect_code(1);
    assert!(refused.err().contains("already holds") && refused.err().contains(&pid), "{refused}");
    assert_eq!(fleet.job("echo works").ok().word(), "works");
}

#[test]
fn a_terminated_supervisor_leaves_the_runners_and_their_jobs() {
    let fleet = Fleet::up(NO_SPARE);
    let container = fleet.containers()[0].clone();
    let job = fleet.submit(&format!("{GATE}; echo done"));
    fleet.wait_for_status(&job, "running");
    kill_process(fleet.supervisor(), Signal::TERM).expect("told");
    wait_until("the supervisor is gone", || fleet.cli(&["healthz"]).code == 8);
    assert!(exists(&container));
    fleet.cli(&["up", "-d"]).ok();
    open_gate(&container);
    fleet.cli(&["wait", &job]).ok();
    assert_eq!(fleet.cli(&["logs", &job]).ok().word(), "done");
}

#[test]
fn a_job_that_kills_every_process_it_can_ends_alone() {
    let fleet = Fleet::up(ONE_LIGHT);
    fleet.job("kill -9 -1; sleep 1; exit 0");
    assert_ne!(fleet.status_of("job-1"), "lost", "the agent was killed");
    assert_eq!(fleet.job("echo works").ok().word(), "works");
}
