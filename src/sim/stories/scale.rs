//! More and fewer runners, and what refuses them.

use std::collections::BTreeSet;

use super::{ready, refusal, tells, with};
use crate::fleet::effect::{Answer, RefusalKind};
use crate::fleet::view::JobStatus;
use crate::sim::script::{pool, work};

#[test]
fn scaling_up_adds_the_lowest_free_numbers() {
    let mut sim = ready(with([pool("light", 1)]));
    sim.scale(&[("light", 3)]);
    sim.settle().expect("all is well again");
    assert_eq!(sim.containers().len(), 3);
    tells(&sim, "scaling_up_adds_the_lowest_free_numbers");
}

#[test]
fn scaling_down_takes_idle_runners_first_and_lets_busy_ones_end() {
    let mut sim = ready(with([pool("light", 3)]));
    let jobs: Vec<_> = (0..2).filter_map(|_| sim.submit(work(20))).collect();
    sim.run_till_job(jobs[1], JobStatus::Running);
    sim.scale(&[("light", 1)]);
    sim.settle().expect("all is well again");
    assert_eq!(
        jobs.iter().filter(|job| sim.status(**job) == Some(JobStatus::Succeeded)).count(),
        2
    );
    assert!(sim.slot(1).is_some() && sim.slot(2).is_none() && sim.slot(3).is_none());
    tells(&sim, "scaling_down_takes_idle_runners_first_and_lets_busy_ones_end");
}

#[test]
fn too_many_runners_are_refused_and_nothing_changes() {
    let mut spec = with([pool("light", 1), pool("standard", 1)]);
    spec.limits.scale_max = 40;
    let mut sim = ready(spec.clone());
    let before = (sim.records.slots.clone(), sim.records.runners.clone(), sim.records.meta.clone());
    let too_many = sim.scale(&[("light", 50)]);
    assert_eq!(refusal(too_many), Some(RefusalKind::NoCapacity));
    let too_large = sim.scale(&[("standard", 32)]);
    assert_eq!(refusal(too_large), Some(RefusalKind::NoCapacity));
    let absurd = sim.scale(&[("light", u32::MAX), ("standard", 5)]);
    assert_eq!(refusal(absurd), Some(RefusalKind::NoCapacity));
    let unknown = sim.scale(&[("lihgt", 2)]);
    assert_eq!(refusal(unknown), Some(RefusalKind::NotFound));
    let mut gpus = spec.clone();
    gpus.pools.push(pool("gpu_max", 3));
    gpus.limits.overcommit_memory = crate::spec::Overcommit::Allow;
    assert_eq!(refusal(sim.up(gpus)), Some(RefusalKind::NoCapacity));
    let after = (sim.records.slots.clone(), sim.records.runners.clone(), sim.records.meta.clone());
    assert_eq!(before, after);
    tells(&sim, "too_many_runners_are_refused_and_nothing_changes");
}

#[test]
fn a_total_is_shared_out_in_the_proportions_of_the_file() {
    let mut sim = ready(with([pool("light", 2), pool("standard", 1)]));
    assert_eq!(sim.scale_all(7), Some(Answer::Accepted));
    sim.settle().expect("all is well again");
    let view = sim.fleet().expect("it lives").view(sim.now());
    let counts: Vec<u32> = view.pools.iter().map(|pool| pool.desired).collect();
    assert_eq!(counts, [5, 2]);
    let names: BTreeSet<String> = view.runners.into_iter().map(|runner| runner.name).collect();
    assert_eq!(names.len(), 7);
    tells(&sim, "a_total_is_shared_out_in_the_proportions_of_the_file");
}

#[test]
fn an_empty_file_s_pools_share_a_total_evenly() {
    let mut sim = ready(with([pool("light", 0), pool("standard", 0)]));
    sim.scale_all(3);
    sim.settle().expect("all is well again");
    let view = sim.fleet().expect("it lives").view(sim.now());
    let counts: Vec<u32> = view.pools.iter().map(|pool| pool.desired).collect();
    assert_eq!(counts, [2, 1]);
}

#[test]
fn names_stay_unique_when_more_slots_leave_than_the_file_may_have() {
    let mut spec = with([pool("light", 3).persistent()]);
    spec.limits.scale_max = 3;
    if let Some(pool) = spec.pools.first_mut() {
        pool.runner_name = Some("box-{n}".to_owned());
    }
    let mut sim = ready(spec.clone());
    let jobs: Vec<_> = (0..3).filter_map(|_| sim.submit(work(60))).collect();
    sim.run_till_job(jobs[2], JobStatus::Running);
    let mut other = spec;
    if let Some(pool) = other.pools.first_mut() {
        pool.name = crate::ids::PoolName::new("other");
    }
    assert_eq!(sim.up(other), Some(Answer::Accepted));
    let view = sim.fleet().expect("it lives").view(sim.now());
    let names: BTreeSet<String> = view.runners.iter().map(|runner| runner.name.clone()).collect();
    assert_eq!((view.runners.len(), names.len()), (6, 6));
    sim.settle().expect("all is well again");
}
