//! GPU time: what a job had of its card's time, and what of that nobody can tell.

use std::time::Duration;

use super::{crowded, ready, with};
use crate::fleet::attempt::GpuTime;
use crate::fleet::view::JobStatus;
use crate::ids::JobId;
use crate::sim::Sim;
use crate::sim::script::{pool, work};
use crate::spec::Spec;
use crate::units::Time;

/// One runner of a profile with a card.
fn one(profile: &str) -> Spec {
    crowded([pool(profile, 1)])
}

fn running(sim: &mut Sim, seconds: u64, profile: &str) -> (JobId, Time) {
    let job = sim.submit(work(seconds).on(profile)).expect("a runner is there");
    assert!(sim.run_till_job(job, JobStatus::Running));
    let given = sim.job(job).and_then(|job| job.assigned_at).expect("it has a runner");
    (job, given)
}

/// After so many seconds, the cards say how busy the job keeps them.
fn read(sim: &mut Sim, after: u64, percent: u8) {
    sim.run_for(Duration::from_secs(after));
    super::read(sim, 1, None, (100, Some(percent)));
}

fn time(sim: &mut Sim, job: JobId) -> GpuTime {
    assert!(sim.run_till_job(job, JobStatus::Succeeded));
    sim.job(job).and_then(|job| job.gpu_time).expect("it had a card")
}

#[test]
fn a_job_says_what_it_reserved_of_its_card_and_how_busy_it_kept_it() {
    let mut sim = ready(one("gpu_heavy"));
    let (job, given) = running(&mut sim, 20, "gpu_heavy");
    assert_eq!(sim.job(job).and_then(|job| job.gpu_time), None, "it is not over");
    read(&mut sim, 4, 50);
    let first = u64::try_from(sim.now().since(given).as_millis()).expect("seconds");
    read(&mut sim, 4, 25);
    // The reading before is too long ago.
    read(&mut sim, 11, 100);
    let had = time(&mut sim, job);
    assert_eq!(had.busy_ms, Some((first * 50 + 4000 * 25) / 100));
    let wall = had.unknown_ms + first + 4000;
    assert!((20_000..22_000).contains(&wall), "{had:?}");
    assert_eq!(had.reserved_ms, wall * 8000 / 16_384);
    let (unread, _) = running(&mut sim, 5, "gpu_heavy");
    assert_eq!(time(&mut sim, unread).busy_ms, None, "the one before had its own readings");
}

#[test]
fn a_restart_costs_a_job_the_readings_before_it_and_nothing_of_what_it_reserved() {
    let mut sim = ready(one("gpu_max"));
    let (job, _) = running(&mut sim, 40, "gpu_max");
    read(&mut sim, 4, 50);
    sim.crash(Duration::from_secs(1));
    read(&mut sim, 15, 90);
    read(&mut sim, 4, 30);
    let had = time(&mut sim, job);
    assert_eq!(had.busy_ms, Some(1200));
    assert!((40_000..43_000).contains(&had.reserved_ms), "{had:?}");
    assert_eq!(had.unknown_ms, had.reserved_ms - 4000, "alone on its card, it had all of it");
    sim.crash(Duration::from_secs(1));
    sim.settle().expect("all is well again");
    assert_eq!(sim.job(job).and_then(|job| job.gpu_time), Some(had), "it is on record");
}

#[test]
fn a_job_without_a_card_has_no_gpu_time() {
    let mut sim = ready(with([pool("standard", 1)]));
    let (job, _) = running(&mut sim, 5, "standard");
    assert!(sim.run_till_job(job, JobStatus::Succeeded));
    assert_eq!(sim.job(job).and_then(|job| job.gpu_time), None);
}
