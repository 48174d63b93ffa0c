//! Pools that follow their queue.

use std::time::Duration;

use super::{ready, start, tells, with};
use crate::fleet::view::{JobStatus, PoolView, SizeReason};
use crate::ids::JobId;
use crate::sim::Sim;
use crate::sim::script::{pool, work};
use crate::units::Time;

pub(super) fn hand_in(sim: &mut Sim, count: usize, seconds: u64) -> Vec<JobId> {
    (0..count).filter_map(|_| sim.submit(work(seconds))).collect()
}

pub(super) fn pool_view(sim: &Sim) -> PoolView {
    let view = sim.fleet().expect("it lives").view(sim.now());
    view.pools.first().expect("there is a pool").clone()
}

pub(super) fn desired(sim: &Sim) -> u32 {
    pool_view(sim).desired
}

/// Lets time pass by the second until the pool has a size, and says how long that took.
fn until_size(sim: &mut Sim, from: Time, size: u32) -> Duration {
    assert!(sim.run_till(|sim| desired(sim) == size), "the pool has {}", desired(sim));
    sim.now().since(from)
}

// Specification 4, "Scale up on queue pressure": GIVEN a pool configured with min=2, max=20 runners
// WHEN more than 5 workflows are queued for over 30 seconds THEN the system provisions additional
// runners until queue depth < 5 or max is reached.
#[test]
fn scale_up_on_queue_pressure() {
    let mut sim = ready(with([pool("light", 0).between(2, 20)]));
    let begun = sim.now();
    hand_in(&mut sim, 12, 300);
    sim.run_for(Duration::from_secs(30));
    assert_eq!(desired(&sim), 2, "30 seconds are not over 30 seconds");
    // Two run and ten wait: six more runners leave four.
    let took = until_size(&mut sim, begun, 8);
    assert!(took <= Duration::from_secs(31), "{took:?}");
    sim.run_for(Duration::from_secs(5));
    let view = pool_view(&sim);
    assert_eq!((view.running, view.waiting), (8, 4));
    hand_in(&mut sim, 40, 300);
    let took = sim.now();
    until_size(&mut sim, took, 20);
    sim.run_for(Duration::from_secs(5));
    assert_eq!(pool_view(&sim).why, SizeReason::Most { waiting: 32 });
    tells(&sim, "scale_up_on_queue_pressure");
}

// Specification 4, "Scale down on idle": GIVEN runners have been idle for more than 10 minutes WHEN
// the number of runners exceeds the minimum THEN the system terminates idle runners down to the
// minimum.
#[test]
fn scale_down_on_idle() {
    let mut sim = ready(with([pool("light", 0).between(2, 20)]));
    let jobs = hand_in(&mut sim, 12, 60);
    sim.run_till_job(jobs[11], JobStatus::Succeeded);
    sim.run_till(|sim| pool_view(sim).idle == 8);
    let view = sim.fleet().expect("it lives").view(sim.now());
    let longest = view.runners.iter().map(|runner| runner.since).min().expect("there are some");
    sim.run_until(longest + Duration::from_secs(600));
    assert_eq!(desired(&sim), 8, "10 minutes are not more than 10 minutes");
    sim.run_until(longest + Duration::from_secs(601));
    assert!(desired(&sim) < 8);
    until_size(&mut sim, longest, 2);
    sim.settle().expect("all is well again");
    assert_eq!(sim.containers().len(), 2);
    tells(&sim, "scale_down_on_idle");
}

#[test]
fn a_fleet_whose_only_up_was_refused_stays_empty() {
    let warm = pool("light", 0).between(1, 4).elastic(|elastic| elastic.warm = 2);
    let mut sim = start(with([warm, pool("gpu_max", 3)]));
    sim.run_for(Duration::from_secs(60));
    assert!(sim.records.slots.is_empty() && sim.containers().is_empty());
    tells(&sim, "a_fleet_whose_only_up_was_refused_stays_empty");
}
