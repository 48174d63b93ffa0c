//! Who gets which runner.

use super::jobs::given;
use super::{ready, refusal, tells, with};
use crate::fleet::effect::RefusalKind;
use crate::fleet::event::{Cordon, Request};
use crate::fleet::view::JobStatus;
use crate::ids::{JobId, SlotId};
use crate::sim::Sim;
use crate::sim::script::{pool, work};
use crate::units::MilliCpu;

fn pool_of(sim: &Sim, job: JobId) -> String {
    let slot = sim.job(job).and_then(|job| job.runner).expect("it was given a runner");
    sim.slot(slot.0).expect("the slot stays").pool.to_string()
}

#[test]
fn a_light_job_takes_a_standard_runner_only_when_no_light_one_is_idle() {
    let mut sim = ready(with([pool("standard", 1), pool("light", 1)]));
    let first = sim.submit(work(5).on("light")).expect("it is accepted");
    let second = sim.submit(work(5).on("light")).expect("it is accepted");
    let third = sim.submit(work(5).on("standard")).expect("it is accepted");
    assert_eq!(pool_of(&sim, first), "light");
    assert_eq!(pool_of(&sim, second), "standard");
    assert_eq!(sim.status(third), Some(JobStatus::Queued));
    sim.settle().expect("all is well again");
    tells(&sim, "a_light_job_takes_a_standard_runner_only_when_no_light_one_is_idle");
}

#[test]
fn lanes_and_pools_restrict() {
    let spec = with([pool("light", 1), pool("light", 1).named("other")]).with_lane(
        "verify",
        &["other"],
        0,
    );
    let mut sim = ready(spec);
    let in_pool = sim.submit(work(5).on("light").in_pool("light")).expect("it is accepted");
    let in_lane = sim.submit(work(5).on("light").in_lane("verify")).expect("it is accepted");
    let waits = sim.submit(work(5).on("light").in_lane("verify")).expect("it is accepted");
    assert_eq!(pool_of(&sim, in_pool), "light");
    assert_eq!(pool_of(&sim, in_lane), "other");
    assert_eq!(sim.status(waits), Some(JobStatus::Queued));
    let nobody = work(1).on("standard").in_lane("verify");
    assert_eq!(refusal(sim.ask(Request::Submit(Box::new(nobody)))), Some(RefusalKind::NoCapacity));
    let unknown = work(1).in_lane("verfy");
    assert_eq!(refusal(sim.ask(Request::Submit(Box::new(unknown)))), Some(RefusalKind::NotFound));
    sim.settle().expect("all is well again");
    tells(&sim, "lanes_and_pools_restrict");
}

#[test]
fn no_more_workflow_runs_than_allowed_run_at_a_time() {
    let mut spec = with([pool("light", 4)]);
    spec.limits.max_parallel_workflows = 2;
    let mut sim = ready(spec);
    for run in ["1", "2", "3", "1"] {
        sim.submit(work(3).of("ci", run));
    }
    let free = sim.submit(work(3)).expect("it is accepted");
    assert_eq!(given(&sim), ["job-1", "job-2", "job-4", "job-5"]);
    let third = sim.job(JobId(3)).expect("it waits");
    let why = "2 workflow runs are under way, the most that may run at a time";
    assert_eq!((third.status, third.reason.as_deref()), (JobStatus::Queued, Some(why)));
    assert_eq!(sim.status(free), Some(JobStatus::Assigned));
    sim.settle().expect("all is well again");
    tells(&sim, "no_more_workflow_runs_than_allowed_run_at_a_time");
}

#[test]
fn a_cordoned_slot_takes_no_job_until_it_is_opened() {
    let mut sim = ready(with([pool("light", 1)]));
    sim.ask(Request::Cordon { slots: vec![SlotId(1)], to: Cordon::Closed });
    let job = sim.submit(work(2)).expect("it is accepted");
    assert_eq!(sim.status(job), Some(JobStatus::Queued));
    sim.ask(Request::Cordon { slots: vec![SlotId(1)], to: Cordon::Open });
    assert_eq!(sim.status(job), Some(JobStatus::Assigned));
    sim.settle().expect("all is well again");
    tells(&sim, "a_cordoned_slot_takes_no_job_until_it_is_opened");
}

#[test]
fn a_container_made_too_small_gets_no_job_of_the_edited_profile() {
    let spec = with([pool("light", 1)]);
    let mut sim = ready(spec.clone());
    sim.up(spec.edit("light", |it| it.cpus = MilliCpu::cpus(4)));
    let job = sim.submit(work(2)).expect("it is accepted");
    assert_eq!(sim.status(job), Some(JobStatus::Queued), "the old container has one CPU");
    sim.settle().expect("all is well again");
    assert_eq!(sim.status(job), Some(JobStatus::Succeeded));
    tells(&sim, "a_container_made_too_small_gets_no_job_of_the_edited_profile");
}

#[test]
fn a_card_is_given_to_the_next_only_when_its_last_holder_is_gone() {
    let mut spec = with([pool("gpu_max", 2), pool("gpu_light", 0)]);
    spec.limits.overcommit_memory = crate::spec::Overcommit::Allow;
    let mut sim = ready(spec);
    let job = sim.submit(work(60).on("gpu_max")).expect("it is accepted");
    sim.run_till_job(job, JobStatus::Running);
    let second = sim.submit(work(60).on("gpu_max")).expect("it is accepted");
    sim.run_till_job(second, JobStatus::Running);
    sim.scale(&[("gpu_max", 0), ("gpu_light", 1)]);
    let old: Vec<_> = sim.containers().into_iter().collect();
    sim.run_for(std::time::Duration::from_secs(10));
    assert_eq!(sim.containers().into_iter().collect::<Vec<_>>(), old);
    sim.settle().expect("all is well again");
    assert_eq!(sim.containers().len(), 1);
    tells(&sim, "a_card_is_given_to_the_next_only_when_its_last_holder_is_gone");
}
