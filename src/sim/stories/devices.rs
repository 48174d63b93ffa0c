//! A host takes devices from containers (pain 50: `systemctl daemon-reload`).

use std::time::Duration;

use super::{ready, with};
use crate::fleet::attempt::Fault;
use crate::fleet::view::JobStatus;
use crate::ids::JobId;
use crate::sim::Sim;
use crate::sim::script::{command, pool, work};

fn ends(sim: &Sim, job: JobId) -> Vec<(JobStatus, Option<Fault>)> {
    let attempts = sim.job(job).map(|job| job.attempts).unwrap_or_default();
    attempts.into_iter().filter_map(|it| it.end).map(|end| (end.status, end.fault)).collect()
}

#[test]
fn an_idle_runner_that_lost_a_device_is_replaced_at_once() {
    let mut sim = ready(with([pool("light", 1)]));
    let before = sim.container(1).expect("it runs");
    sim.world.lose_device(&before);
    sim.run_for(Duration::from_millis(100));
    sim.settle().expect("all is well again");
    assert_ne!(sim.container(1).expect("it runs"), before);
}

#[test]
fn a_job_that_fails_without_its_device_is_the_infrastructures_and_one_that_does_well_counts() {
    let mut sim = ready(with([pool("light", 2)]));
    let fails = sim.submit(command(&["work", "1000", "1"])).expect("a runner is there");
    let does_well = sim.submit(work(2)).expect("a runner is there");
    assert!(sim.run_till_job(does_well, JobStatus::Running));
    for slot in [1, 2] {
        let container = sim.container(slot).expect("it runs");
        sim.world.lose_device(&container);
    }
    sim.settle().expect("all is well again");
    let lost = (JobStatus::Lost, Some(Fault::Infrastructure));
    // Tried again in a container that has the device, it fails by itself.
    assert_eq!(ends(&sim, fails), [lost, (JobStatus::Failed, Some(Fault::Job))]);
    assert_eq!(ends(&sim, does_well), [(JobStatus::Succeeded, None)]);
}
