//! What the engine, the agents and the supervisor do to a fleet.

use std::time::Duration;

use super::{ready, start, tells, with};
use crate::fleet::job::JobState;
use crate::fleet::runner::OpKind;
use crate::fleet::view::{JobStatus, RunnerStatus};
use crate::sim::Sim;
use crate::sim::fault::Fault;
use crate::sim::script::{pool, work};

#[test]
fn a_runner_that_cannot_be_made_is_tried_again_after_0_1_2_and_4_seconds() {
    let mut sim = start(with([pool("light", 1)]));
    sim.world.failing = vec![OpKind::Create];
    sim.run_for(Duration::from_secs(6));
    let slot = sim.slot(1).expect("it is wanted");
    assert_eq!(slot.status, RunnerStatus::Error);
    let reason = slot.reason.expect("it says why");
    assert!(
        reason.starts_with("the engine refused; failed 4 times in a row, next try in"),
        "{reason}"
    );
    sim.world.failing.clear();
    sim.settle().expect("the fleet comes up");
    tells(&sim, "a_runner_that_cannot_be_made_is_tried_again_after_0_1_2_and_4_seconds");
}

#[test]
fn a_job_whose_runner_died_is_queued_again_only_after_the_removal() {
    let mut sim = ready(with([pool("light", 2)]));
    let job = sim.submit(work(10)).expect("a runner is there");
    sim.run_till_job(job, JobStatus::Running);
    let container = sim.container(1).expect("it runs");
    sim.world.die(&container, 137);
    sim.run_for(Duration::from_millis(50));
    assert_eq!(sim.status(job), Some(JobStatus::Running), "its container is not gone yet");
    sim.settle().expect("all is well again");
    let job = sim.job(job).expect("it is kept");
    assert_eq!((job.status, job.attempt.0), (JobStatus::Succeeded, 2));
    tells(&sim, "a_job_whose_runner_died_is_queued_again_only_after_the_removal");
}

#[test]
fn a_job_that_lost_three_runners_is_lost() {
    let mut sim = ready(with([pool("light", 1)]));
    let job = sim.submit(work(10)).expect("a runner is there");
    for _ in 0..3 {
        assert!(sim.run_till_job(job, JobStatus::Running));
        let attempt = sim.job(job).map(|job| job.attempt);
        let container = sim.container(1).expect("it runs");
        sim.world.die(&container, 139);
        sim.run_till(|sim| {
            sim.job(job).is_some_and(|it| {
                it.status.is_final() || it.attempt != attempt.unwrap_or(it.attempt)
            })
        });
    }
    sim.settle().expect("all is well again");
    let job = sim.job(job).expect("it is kept");
    assert_eq!(job.status, JobStatus::Lost);
    let why = "the container ended with exit code 139; it was tried 3 times";
    assert_eq!(job.reason.as_deref(), Some(why));
    tells(&sim, "a_job_that_lost_three_runners_is_lost");
}

#[test]
fn a_silent_agent_is_replaced_after_five_minutes_and_its_job_run_again() {
    let mut sim = ready(with([pool("light", 1)]));
    let job = sim.submit(work(400)).expect("a runner is there");
    sim.run_till_job(job, JobStatus::Running);
    let container = sim.container(1).expect("it runs");
    sim.world.hang(&container);
    sim.settle().expect("all is well again");
    let job = sim.job(job).expect("it is kept");
    assert_eq!((job.status, job.attempt.0), (JobStatus::Succeeded, 2));
    tells(&sim, "a_silent_agent_is_replaced_after_five_minutes_and_its_job_run_again");
}

#[test]
fn an_agent_that_never_speaks_is_replaced_after_90_seconds() {
    let mut sim = start(with([pool("light", 1)]));
    sim.world.faults.set(Fault::AgentMute, 1000);
    sim.run_for(Duration::from_secs(10));
    sim.settle().expect("the fleet comes up");
    tells(&sim, "an_agent_that_never_speaks_is_replaced_after_90_seconds");
}

#[test]
fn an_operation_of_unknown_outcome_is_looked_at_before_anything_is_done() {
    let mut sim = start(with([pool("light", 1)]));
    sim.world.faults.set(Fault::OpUnknown, 1000);
    sim.run_till(|sim| !sim.world.truth.limbo.is_empty());
    sim.settle().expect("the fleet comes up");
    assert_eq!(sim.containers().len(), 1);
    tells(&sim, "an_operation_of_unknown_outcome_is_looked_at_before_anything_is_done");
}

#[test]
fn an_engine_that_does_not_answer_costs_no_runner_and_no_job() {
    let mut sim = ready(with([pool("light", 2)]));
    let job = sim.submit(work(10)).expect("a runner is there");
    sim.run_till_job(job, JobStatus::Running);
    sim.world.engine_away(Duration::from_secs(60));
    sim.run_for(Duration::from_secs(1));
    let second = sim.submit(work(10)).expect("agents still listen");
    sim.settle().expect("all is well again");
    for job in [job, second] {
        let job = sim.job(job).expect("it is kept");
        assert_eq!((job.status, job.attempt.0), (JobStatus::Succeeded, 1));
    }
    tells(&sim, "an_engine_that_does_not_answer_costs_no_runner_and_no_job");
}

#[test]
fn a_slot_does_not_pile_up_containers_that_cannot_be_removed() {
    let mut sim = ready(with([pool("light", 1)]));
    for _ in 0..6 {
        sim.submit(work(1));
    }
    sim.run_till_job(crate::ids::JobId(1), JobStatus::Running);
    sim.world.failing = vec![OpKind::Remove];
    sim.run_for(Duration::from_secs(120));
    assert_eq!(sim.containers().len(), 3);
    let reason = sim.slot(1).and_then(|slot| slot.reason);
    assert_eq!(reason.as_deref(), Some("the engine does not remove 3 of its former containers"));
    sim.world.failing.clear();
    sim.settle().expect("all is well again");
    assert!(sim.records.jobs.values().all(|job| job.status() == JobStatus::Succeeded));
    tells(&sim, "a_slot_does_not_pile_up_containers_that_cannot_be_removed");
}

#[test]
fn what_was_never_recorded_never_was() {
    let mut sim = ready(with([pool("light", 1)]));
    sim.world.faults.set(Fault::Crash, 400);
    let answers: Vec<_> = (0..20).filter_map(|_| answer_under_fire(&mut sim)).collect();
    sim.settle().expect("all is well again");
    let ends = answers.iter().filter(|job| sim.status(**job) == Some(JobStatus::Succeeded)).count();
    assert_eq!(ends, answers.len());
}

fn answer_under_fire(sim: &mut Sim) -> Option<crate::ids::JobId> {
    sim.run_till(|sim| sim.fleet().is_some());
    sim.submit(work(1))
}

#[test]
fn a_result_counts_even_when_its_container_goes_while_reports_are_stored() {
    let mut sim = ready(with([pool("light", 1)]));
    let job = sim.submit(work(2)).expect("a runner is there");
    let container = sim.container(1).expect("it runs");
    sim.run_till(|sim| {
        let job = sim.records.jobs.get(&job);
        job.is_some_and(|job| matches!(job.state, JobState::Publishing { .. }))
    });
    sim.world.remove_by_hand(&container);
    sim.settle().expect("all is well again");
    let job = sim.job(job).expect("it is kept");
    assert_eq!((job.status, job.attempt.0), (JobStatus::Succeeded, 1));
    tells(&sim, "a_result_counts_even_when_its_container_goes_while_reports_are_stored");
}

#[test]
fn agents_get_time_to_call_again_after_a_long_absence_of_the_supervisor() {
    let mut sim = start(with([pool("light", 1)]));
    sim.run_till(|sim| sim.slot(1).is_some_and(|slot| slot.status == RunnerStatus::Starting));
    sim.run_till(|sim| sim.records.runners.values().any(|it| it.container().is_some()));
    sim.run_for(Duration::from_millis(60));
    sim.crash(Duration::from_secs(600));
    sim.run_for(Duration::from_secs(601));
    sim.settle().expect("the fleet comes up");
    assert_eq!(sim.records.meta.incarnation, 1, "its container is the first one still");
    tells(&sim, "agents_get_time_to_call_again_after_a_long_absence_of_the_supervisor");
}

#[test]
fn containers_of_two_pools_never_want_the_same_name() {
    let mut sim =
        ready(with([pool("standard", 1), pool("standard", 12).named("stay").persistent()]));
    for _ in 0..12 {
        sim.submit(work(1).in_pool("standard"));
    }
    sim.settle().expect("all is well again");
    let clashes = sim.records.audit.iter().filter(|entry| entry.why.contains("in use")).count();
    assert_eq!(clashes, 0);
}
