//! What becomes of jobs when all goes well, and when people change their minds.

use std::time::Duration;

use super::{ready, refusal, tells, with};
use crate::fleet::effect::{Answer, RefusalKind};
use crate::fleet::event::Request;
use crate::fleet::view::JobStatus;
use crate::ids::JobId;
use crate::sim::Sim;
use crate::sim::fault::Fault;
use crate::sim::script::{command, pool, work};

fn statuses(sim: &Sim, jobs: &[JobId]) -> Vec<JobStatus> {
    jobs.iter().filter_map(|job| sim.status(*job)).collect()
}

/// The order in which jobs were given out.
pub(super) fn given(sim: &Sim) -> Vec<String> {
    let audit = sim.records.audit.iter();
    audit.filter(|entry| entry.what == "assigned").map(|entry| entry.object.clone()).collect()
}

#[test]
fn a_job_gets_an_idle_runner_and_the_spare_takes_its_place() {
    let mut sim = ready(with([pool("light", 1).spares(1)]));
    let job = sim.submit(work(5).on("light")).expect("a runner is there");
    assert_eq!(sim.status(job), Some(JobStatus::Assigned));
    sim.settle().expect("all is well again");
    let job = sim.job(job).expect("it is kept");
    assert_eq!((job.status, job.exit_code), (JobStatus::Succeeded, Some(0)));
    assert_eq!(sim.slot(1).map(|slot| slot.tasks_completed), Some(1));
    tells(&sim, "a_job_gets_an_idle_runner_and_the_spare_takes_its_place");
}

#[test]
fn more_jobs_than_runners_wait_in_order() {
    let mut sim = ready(with([pool("light", 2)]));
    let jobs: Vec<_> = (0..4).filter_map(|_| sim.submit(work(3))).collect();
    let waits = sim.job(jobs[3]).expect("it waits");
    assert_eq!(waits.position, Some(2));
    assert_eq!(waits.reason.as_deref(), Some("2 of 2 runners in light are busy; 1 before it"));
    sim.settle().expect("all is well again");
    assert_eq!(statuses(&sim, &jobs), [JobStatus::Succeeded; 4]);
    assert_eq!(given(&sim), ["job-1", "job-2", "job-3", "job-4"]);
    tells(&sim, "more_jobs_than_runners_wait_in_order");
}

#[test]
fn higher_priority_goes_first_and_equals_in_their_order() {
    let mut sim = ready(with([pool("light", 1)]).with_lane("verify", &["light"], 100));
    sim.submit(work(1));
    sim.submit(work(1));
    sim.submit(work(1).priority(5));
    sim.submit(work(1).in_lane("verify"));
    sim.submit(work(1).priority(5));
    sim.settle().expect("all is well again");
    assert_eq!(given(&sim), ["job-1", "job-4", "job-3", "job-5", "job-2"]);
    tells(&sim, "higher_priority_goes_first_and_equals_in_their_order");
}

#[test]
fn a_queued_job_is_cancelled_at_once_and_a_running_one_stopped() {
    let mut sim = ready(with([pool("light", 1)]));
    let jobs: Vec<_> = (0..2).filter_map(|_| sim.submit(work(60))).collect();
    sim.run_till_job(jobs[0], JobStatus::Running);
    sim.ask(Request::Cancel(jobs[1]));
    assert_eq!(sim.status(jobs[1]), Some(JobStatus::Cancelled));
    sim.ask(Request::Cancel(jobs[0]));
    sim.settle().expect("all is well again");
    assert_eq!(statuses(&sim, &jobs), [JobStatus::Cancelled; 2]);
    assert_eq!(refusal(sim.ask(Request::Cancel(jobs[0]))), Some(RefusalKind::Conflict));
    tells(&sim, "a_queued_job_is_cancelled_at_once_and_a_running_one_stopped");
}

#[test]
fn a_job_that_ignores_its_cancel_loses_its_runner() {
    let mut sim = ready(with([pool("light", 1)]));
    sim.world.faults.set(Fault::JobStuck, 1000);
    let job = sim.submit(work(60)).expect("a runner is there");
    sim.run_till_job(job, JobStatus::Running);
    sim.ask(Request::Cancel(job));
    sim.settle().expect("all is well again");
    assert_eq!(sim.status(job), Some(JobStatus::Cancelled));
    tells(&sim, "a_job_that_ignores_its_cancel_loses_its_runner");
}

#[test]
fn a_job_that_takes_too_long_is_timed_out_by_its_agent() {
    let mut sim = ready(with([pool("light", 1)]));
    let job = sim.submit(work(60).timeout(5)).expect("a runner is there");
    sim.settle().expect("all is well again");
    assert_eq!(sim.status(job), Some(JobStatus::TimedOut));
    tells(&sim, "a_job_that_takes_too_long_is_timed_out_by_its_agent");
}

#[test]
fn a_job_that_no_agent_times_out_is_timed_out_by_the_fleet() {
    let mut sim = ready(with([pool("light", 1)]));
    sim.world.faults.set(Fault::JobStuck, 1000);
    let job = sim.submit(work(60).timeout(5)).expect("a runner is there");
    sim.settle().expect("all is well again");
    assert_eq!(sim.status(job), Some(JobStatus::TimedOut));
    tells(&sim, "a_job_that_no_agent_times_out_is_timed_out_by_the_fleet");
}

#[test]
fn a_persistent_runner_serves_job_after_job_in_one_container() {
    let mut sim = ready(with([pool("light", 1).persistent()]));
    let container = sim.container(1);
    let jobs: Vec<_> = (0..3).filter_map(|_| sim.submit(work(2))).collect();
    sim.settle().expect("all is well again");
    assert_eq!(statuses(&sim, &jobs), [JobStatus::Succeeded; 3]);
    assert_eq!(sim.container(1), container);
    tells(&sim, "a_persistent_runner_serves_job_after_job_in_one_container");
}

#[test]
fn a_lost_order_is_given_again_when_the_agent_calls() {
    let mut sim = ready(with([pool("light", 1)]));
    let container = sim.container(1).expect("it runs");
    let job = sim.submit(work(2)).expect("a runner is there");
    sim.world.disconnect(&container);
    sim.settle().expect("all is well again");
    let job = sim.job(job).expect("it is kept");
    assert_eq!((job.status, job.attempt.0), (JobStatus::Succeeded, 1));
    tells(&sim, "a_lost_order_is_given_again_when_the_agent_calls");
}

#[test]
fn a_job_cancelled_before_its_order_arrived_is_stopped_when_the_agent_calls() {
    let mut sim = ready(with([pool("light", 1)]));
    let container = sim.container(1).expect("it runs");
    let job = sim.submit(work(600)).expect("a runner is there");
    sim.world.disconnect(&container);
    sim.ask(Request::Cancel(job));
    sim.settle().expect("all is well again");
    assert_eq!(sim.status(job), Some(JobStatus::Cancelled));
    let took = sim.job(job).and_then(|job| Some(job.ended_at?.since(job.queued_at)));
    assert!(took < Some(Duration::from_secs(2)), "{took:?}");
    tells(&sim, "a_job_cancelled_before_its_order_arrived_is_stopped_when_the_agent_calls");
}

#[test]
fn a_lost_acknowledgement_costs_a_persistent_runner_nothing() {
    let mut sim = ready(with([pool("light", 1).persistent()]));
    let container = sim.container(1).expect("it runs");
    let jobs: Vec<_> = (0..2).filter_map(|_| sim.submit(work(2))).collect();
    sim.run_till_job(jobs[1], JobStatus::Assigned);
    sim.world.disconnect(&container);
    sim.settle().expect("all is well again");
    assert_eq!(statuses(&sim, &jobs), [JobStatus::Succeeded; 2]);
    assert_eq!(sim.container(1), Some(container));
    tells(&sim, "a_lost_acknowledgement_costs_a_persistent_runner_nothing");
}

#[test]
fn reports_that_cannot_be_stored_are_told_with_the_result() {
    let mut sim = ready(with([pool("light", 1)]));
    sim.world.faults.set(Fault::PublishFails, 1000);
    let job = sim.submit(command(&["work", "1000", "0"])).expect("a runner is there");
    assert!(sim.run_till_job(job, JobStatus::Succeeded));
    let reason = sim.job(job).and_then(|job| job.reason);
    assert_eq!(reason.as_deref(), Some("its reports could not be stored: the disk is full"));
    tells(&sim, "reports_that_cannot_be_stored_are_told_with_the_result");
}

#[test]
fn jobs_handed_in_together_are_taken_all_or_none() {
    let mut sim = ready(with([pool("light", 1)]));
    let taken = sim.ask(Request::SubmitAll(vec![work(5).on("light"); 3]));
    assert_eq!(taken, Some(Answer::SubmittedAll { first: JobId(1), last: JobId(3) }));
    let one_is_wrong = vec![work(5).on("light"), work(5).on("huge")];
    assert_eq!(refusal(sim.ask(Request::SubmitAll(one_is_wrong))), Some(RefusalKind::NotFound));
    let too_many = vec![work(5).on("light"); 1001];
    assert_eq!(refusal(sim.ask(Request::SubmitAll(too_many))), Some(RefusalKind::NoCapacity));
    assert_eq!(refusal(sim.ask(Request::SubmitAll(Vec::new()))), Some(RefusalKind::Invalid));
    sim.run_for(Duration::from_secs(60));
    assert_eq!(sim.records.jobs.len(), 3);
    tells(&sim, "jobs_handed_in_together_are_taken_all_or_none");
}
