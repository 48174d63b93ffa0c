//! The engine itself ends, is killed, hangs.

use std::time::Duration;

use rustix::process::Signal;

use crate::fleet::Fleet;
use crate::process::wait_until;
use crate::recovery::Fault;
use crate::second::{IMAGE, SecondEngine};

/// Jobs that run while the engine is restarted.
const JOBS: usize = 20;
/// Pain 82: without live restore the fleet is back in two minutes.
const BACK: Duration = Duration::from_secs(120);
/// How long the engine hangs.
const HANG: Duration = Duration::from_secs(30);

/// A line for each start; the first attempt lasts until something ends it.
const JOB: &str = "echo $SLATE_ATTEMPT >>$SLATE_REPORTS/$SLATE_JOB_ID; \
                   [ $SLATE_ATTEMPT -gt 1 ] || sleep 1000";

fn fleet_on(engine: &SecondEngine, count: usize) -> Fleet {
    let fleet = Fleet::on(
        engine.hosts(),
        &format!(
            "image: '{IMAGE}'\nlimits: {{max_parallel_workflows: 50}}\nreports: {{shared: true}}\n\
             pools: [{{name: light, profile: light, count: {count}, spares: 0}}]\n"
        ),
    );
    fleet.cli(&["up", "-d"]).ok();
    fleet
}

fn submit(fleet: &Fleet, count: usize) -> Vec<String> {
    let options = ["--workflow", "w", "--run-id", "1"];
    let jobs: Vec<String> = (0..count).map(|_| fleet.submit_with(&options, JOB)).collect();
    for job in &jobs {
        fleet.wait_for_status(job, "running");
    }
    jobs
}

/// Every job was begun again once, and nothing is left of the first attempts.
fn all_done_again(fleet: &Fleet, jobs: &[String], count: u64) {
    fleet.cli(&["wait", "--for", "idle"]).ok();
    fleet.settle(count);
    for job in jobs {
        let shown = fleet.show(job);
        assert_eq!((&shown["status"], &shown["attempt"]), (&"succeeded".into(), &2.into()));
        assert_eq!(fleet.read(&format!("reports/w/1/{job}")), "1\n2\n", "{job}");
    }
}

/// Pain 82: without live restore all jobs end as infrastructure, once, and the fleet is back in
/// two minutes.
#[test]
fn an_engine_restarted_under_20_jobs_costs_each_one_attempt_and_no_more() {
    let mut engine = SecondEngine::start();
    let fleet = fleet_on(&engine, JOBS);
    let jobs = submit(&fleet, JOBS);
    let fault = Fault::now("engine restarted under 20 jobs (to all done again)");
    engine.end_and_start(Signal::TERM);
    all_done_again(&fleet, &jobs, JOBS as u64);
    fault.recovered_within(BACK);
}

#[test]
fn an_engine_that_is_killed_loses_no_job() {
    let mut engine = SecondEngine::start();
    let fleet = fleet_on(&engine, 3);
    let jobs = submit(&fleet, 3);
    let fault = Fault::now("engine killed under 3 jobs (to all done again)");
    engine.end_and_start(Signal::KILL);
    all_done_again(&fleet, &jobs, 3);
    fault.recovered_within(BACK);
}

#[test]
fn an_engine_that_hangs_loses_no_job() {
    let engine = SecondEngine::start();
    let fleet = fleet_on(&engine, 3);
    let job = fleet.submit_with(&["--workflow", "w", "--run-id", "2"], "sleep 1; exit 7");
    fleet.wait_for_status(&job, "running");
    engine.signal(Signal::STOP);
    let hung = Fault::now("job's end told while the engine hangs");
    fleet.wait_for_status(&job, "failed");
    hung.recovered();
    std::thread::park_timeout(HANG);
    engine.signal(Signal::CONT);
    let fault = Fault::now("engine hung for 30 s (from its first answer)");
    wait_until("the supervisor sees the engine again", || fleet.cli(&["wait"]).code == 0);
    fleet.settle(3);
    fault.recovered();
    assert_eq!(fleet.show(&job)["attempt"], 1);
}
