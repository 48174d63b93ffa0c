//! What operators of other tools suffered from when pools scale; each test has the acceptance
//! sentence that it answers.

use std::collections::BTreeSet;
use std::time::Duration;

use super::elastic::{desired, hand_in, pool_view};
use super::{ready, with};
use crate::fleet::event::DownMode;
use crate::fleet::runner::OpKind;
use crate::fleet::view::{JobStatus, SizeReason};
use crate::ids::JobId;
use crate::sim::Sim;
use crate::sim::fault::Fault;
use crate::sim::script::{host, pool, work};
use crate::sim::transcript::Writing;
use crate::units::Time;

fn all_done(sim: &Sim, jobs: &[JobId]) -> bool {
    jobs.iter().all(|job| sim.status(*job) == Some(JobStatus::Succeeded))
}

fn unbroken(sim: &Sim) {
    assert!(sim.oracle.violations.is_empty(), "{:?}", sim.oracle.violations);
}

// Item 15: "deregister (the forge refuses if busy), look again, stop. 10,000 simulated races: no
// job lost." Without a forge between, giving out and taking away are decisions of one loop; a job
// comes within a few milliseconds of the moment when its runner goes. SLATE_SIM_RACES sets their
// number.
#[test]
fn a_job_that_comes_as_its_runner_goes_is_not_lost() {
    let races = std::env::var("SLATE_SIM_RACES").ok().and_then(|it| it.parse().ok());
    let worlds = races.unwrap_or(RACES_AT_ONCE).div_ceil(RACES_AT_ONCE);
    let (mut late, mut early) = (0, 0);
    for seed in 1..=worlds {
        for size in race(seed) {
            match size {
                0 => late += 1,
                _ => early += 1,
            }
        }
    }
    println!("{late} jobs came too late and {early} in time");
    assert!(late > 10 && early > 10, "{late} jobs came too late and {early} in time");
}

/// Races in one world: the oracle looks at each job after each step, so more of them get slow.
const RACES_AT_ONCE: u64 = 150;

/// The sizes of the pool at the moments when the jobs come.
fn race(seed: u64) -> Vec<u32> {
    let spec = with([pool("light", 0).between(0, 1).persistent().elastic(|it| {
        it.scale_up_delay = Duration::ZERO;
        it.scale_down_delay = Duration::from_secs(1);
    })]);
    let mut sim = Sim::new(seed, Writing::Off, (spec.clone(), host()));
    sim.world.tick_every = Duration::from_millis(10);
    sim.up(spec);
    let mut sizes = Vec::new();
    for race in 0..RACES_AT_ONCE {
        let job = sim.submit(work(0)).expect("it is taken in");
        assert!(sim.run_till_job(job, JobStatus::Succeeded), "seed {seed}, race {race}");
        let attempt = sim.job(job).map(|job| job.attempt.0);
        assert_eq!(attempt, Some(1), "seed {seed}, race {race}");
        let ended = sim.now();
        sim.run_until(ended + Duration::from_millis(990 + race * 7 % 40));
        sizes.push(desired(&sim));
    }
    unbroken(&sim);
    sizes
}

// Item 16: "Capacity is derived from the list of what exists on every pass; with 20 % of events
// dropped the fleet still reaches the exact target."
#[test]
fn the_exact_size_is_reached_though_events_are_dropped() {
    for seed in 0..8 {
        let spec = with([pool("light", 0).between(2, 20)]);
        let mut sim = Sim::new(seed, Writing::Off, (spec.clone(), host()));
        sim.world.faults.set(Fault::EventLost, 200);
        sim.world.faults.set(Fault::SessionBreaks, 200);
        sim.up(spec);
        sim.run_for(Duration::from_secs(5));
        let jobs = hand_in(&mut sim, 12, 100);
        assert!(sim.run_till(|sim| desired(sim) == 8), "seed {seed}: {}", desired(&sim));
        assert!(sim.run_till(|sim| all_done(sim, &jobs)), "seed {seed}");
        assert!(sim.run_till(|sim| desired(sim) == 2), "seed {seed}: {}", desired(&sim));
        unbroken(&sim);
    }
}

// Item 18: "Idle time counts from "online" or the end of the last job; no removal before
// `scale_down_delay`, never below `min_runners`, never before the start deadline, even when the
// image takes 3 minutes to pull."
#[test]
fn a_runner_that_is_long_in_coming_is_not_removed_before_it_was_idle_for_long() {
    let mut sim = ready(with([pool("light", 0).between(1, 4).elastic(|it| {
        it.scale_down_delay = Duration::from_secs(60);
    })]));
    sim.world.slow_reports = Duration::from_secs(80);
    let jobs = hand_in(&mut sim, 9, 500);
    assert!(sim.run_till(|sim| desired(sim) == 4));
    let grown = sim.now();
    for job in jobs {
        sim.ask(crate::fleet::event::Request::Cancel(job));
    }
    // All that was asked for is cancelled, and yet nothing is removed on its way.
    sim.run_until(grown + Duration::from_secs(79));
    assert_eq!(desired(&sim), 4);
    assert!(sim.run_till(|sim| desired(sim) == 1));
    assert!(sim.now().since(grown) > Duration::from_secs(60 + 80), "{:?}", sim.now().since(grown));
    unbroken(&sim);
}

// Item 19: "A burst of N jobs creates at most N + min_runners containers and none of them is
// removed unused before `scale_down_delay`."
#[test]
fn a_burst_makes_no_more_runners_than_it_has_jobs() {
    for count in [1, 6, 7, 12, 40] {
        let mut sim = ready(with([pool("light", 0).between(2, 50).persistent()]));
        sim.world.slow_reports = Duration::from_secs(20);
        let before = sim.records.meta.incarnation;
        let begun = sim.now();
        let jobs = hand_in(&mut sim, count, 90);
        assert!(sim.run_till(|sim| all_done(sim, &jobs)));
        let made = sim.records.meta.incarnation - before;
        assert!(made <= count as u64, "{made} containers for {count} jobs");
        let busy = sim.now();
        sim.run_until(begun + Duration::from_secs(600));
        assert!(desired(&sim) >= 2 && sim.records.meta.incarnation - before == made);
        assert!(sim.run_till(|sim| desired(sim) == 2));
        assert!(sim.now() > busy || count < 7);
        unbroken(&sim);
    }
}

// Item 20: "capacity = live, registered or starting within deadline; 50 records stuck in removal do
// not lower the number of runners started."
#[test]
fn containers_that_cannot_be_removed_are_no_capacity() {
    let mut sim = ready(with([pool("light", 0).between(2, 40).elastic(|it| {
        it.scale_up_threshold = 0;
        it.scale_up_delay = Duration::from_secs(1);
    })]));
    sim.world.failing = vec![OpKind::Remove];
    let mut jobs = Vec::new();
    let stuck = |sim: &Sim| sim.records.runners.values().filter(|it| it.is_retiring()).count();
    while stuck(&sim) < 50 {
        jobs.extend(hand_in(&mut sim, 10, 1));
        assert!(sim.run_till(|sim| all_done(sim, &jobs)), "{} are stuck", stuck(&sim));
    }
    let burst = hand_in(&mut sim, 10, 100);
    let running = |job: &JobId, sim: &Sim| sim.status(*job) == Some(JobStatus::Running);
    assert!(sim.run_till(|sim| burst.iter().all(|job| running(job, sim))));
    assert!(stuck(&sim) >= 50);
    sim.world.failing.clear();
    assert!(sim.run_till(|sim| stuck(sim) == 0 && desired(sim) == 2));
    unbroken(&sim);
}

// Item 21: "A hard cap outside the planner: even with an engine that lists nothing, or stale lists,
// the fleet never creates more than `max_runners` plus the rollout surge."
#[test]
fn an_engine_that_lists_nothing_does_not_get_more_than_the_most() {
    for seed in 0..4 {
        let spec = with([pool("light", 0).between(2, 4).spares(1)]);
        let mut sim = Sim::new(seed, Writing::Off, (spec.clone(), host()));
        sim.oracle.watches = false;
        sim.up(spec);
        sim.run_for(Duration::from_secs(20));
        sim.world.lists_nothing = seed % 2 == 0;
        sim.world.slow_lists = Duration::from_secs(if seed % 2 == 0 { 0 } else { 45 });
        hand_in(&mut sim, 100, 400);
        let end = sim.now() + Duration::from_secs(1200);
        let mut most = 0;
        while sim.now() < end && sim.step() {
            most = most.max(sim.containers().len());
        }
        // The surge: a used one or two of each slot may still be on their way out.
        assert!(most <= 4 + 1 + 4, "seed {seed}: {most} containers");
    }
}

// Item 22: "Demand is the set of waiting job ids; replaying any permutation or duplication of the
// same events gives the same number of runners."
#[test]
fn events_that_come_twice_or_late_make_no_other_size() {
    for seed in 0..8 {
        let spec = with([pool("light", 0).between(2, 20)]);
        let mut sim = Sim::new(seed, Writing::Off, (spec.clone(), host()));
        sim.world.faults.set(Fault::EventDoubled, 1000);
        sim.world.faults.set(Fault::EventLate, 500);
        sim.up(spec);
        sim.run_for(Duration::from_secs(5));
        // Late ends of earlier jobs are told while new ones come.
        let earlier = hand_in(&mut sim, 2, 3);
        assert!(sim.run_till(|sim| all_done(sim, &earlier)), "seed {seed}");
        hand_in(&mut sim, 16, 300);
        sim.run_for(Duration::from_secs(60));
        assert_eq!(desired(&sim), 2 + 10, "seed {seed}");
        unbroken(&sim);
    }
}

// Item 76: "`count: 10` gives ten stable names, ten volumes, and the same ones after `down` and
// `up`." The names; a volume is a job's own and is new with each.
#[test]
fn names_are_the_same_after_down_and_up() {
    let spec = with([pool("light", 10)]);
    let names = |sim: &Sim| -> BTreeSet<String> {
        sim.records.slots.values().map(|slot| slot.name.clone()).collect()
    };
    let first = ready(spec.clone());
    let before = names(&first);
    assert_eq!(before.len(), 10);
    let mut down = first;
    down.down(DownMode::Now);
    assert!(down.run_till(Sim::is_finished));
    assert_eq!(names(&ready(spec)), before);
}

#[test]
fn a_pool_of_none_starts_one_for_a_job_and_goes_back_to_none() {
    let mut sim = ready(with([pool("light", 0).between(0, 3)]));
    let begun: Time = sim.now();
    let job = sim.submit(work(5)).expect("it is taken in");
    assert!(sim.run_till_job(job, JobStatus::Succeeded));
    assert!(sim.now().since(begun) < Duration::from_secs(40));
    assert!(sim.run_till(|sim| desired(sim) == 0));
    sim.settle().expect("all is well again");
    assert_eq!(sim.containers().len(), 0);
}

#[test]
fn warm_runners_are_there_before_the_burst_and_are_made_again_at_once() {
    let mut sim = ready(with([pool("light", 0).between(1, 8).elastic(|it| it.warm = 3)]));
    assert_eq!(desired(&sim), 3);
    let jobs = hand_in(&mut sim, 3, 300);
    sim.run_for(Duration::from_millis(500));
    assert!(jobs.iter().all(|job| sim.status(*job) == Some(JobStatus::Running)));
    sim.run_for(Duration::from_secs(2));
    let view = pool_view(&sim);
    assert_eq!((view.running, view.idle, view.why), (3, 3, SizeReason::Warm));
    hand_in(&mut sim, 5, 300);
    sim.run_for(Duration::from_secs(3));
    assert_eq!(desired(&sim), 8);
    unbroken(&sim);
}

#[test]
fn what_the_host_cannot_carry_is_told_and_not_tried_again_and_again() {
    let spec = with([pool("standard", 0).between(1, 40)]).edit("standard", |it| {
        it.memory = crate::units::Bytes::gib(8);
    });
    let mut sim = ready(spec);
    hand_in(&mut sim, 30, 3000);
    sim.run_for(Duration::from_secs(120));
    let view = pool_view(&sim);
    assert_eq!(view.desired, 4, "the host has 32 GiB");
    assert!(matches!(view.why, SizeReason::Held { waiting: 26, .. }), "{:?}", view.why);
    let fleet = sim.fleet().expect("it lives").view(sim.now());
    assert!(fleet.troubles.iter().any(|it| it.contains("cannot grow")), "{:?}", fleet.troubles);
    let lines = sim.records.audit.len();
    sim.run_for(Duration::from_secs(300));
    assert_eq!(sim.records.audit.len(), lines);
    unbroken(&sim);
}

#[test]
fn two_pools_do_not_both_grow_for_a_job() {
    let mut sim = ready(with([pool("standard", 0).between(0, 10), pool("light", 0).between(0, 4)]));
    let jobs: Vec<_> = (0..8).filter_map(|_| sim.submit(work(300).on("light"))).collect();
    sim.run_for(Duration::from_secs(60));
    let view = sim.fleet().expect("it lives").view(sim.now());
    let sizes: Vec<u32> = view.pools.iter().map(|pool| pool.desired).collect();
    assert_eq!(sizes, [0, 4], "the exact profile first");
    let more: Vec<_> = (0..20).filter_map(|_| sim.submit(work(300).on("light"))).collect();
    sim.run_for(Duration::from_secs(60));
    let view = sim.fleet().expect("it lives").view(sim.now());
    let sizes: Vec<u32> = view.pools.iter().map(|pool| pool.desired).collect();
    assert_eq!((sizes, jobs.len() + more.len()), (vec![10, 4], 28), "then the next");
    unbroken(&sim);
}

#[test]
fn jobs_of_runs_that_have_to_wait_do_not_count() {
    let mut spec = with([pool("light", 0).between(1, 20).elastic(|it| it.scale_up_threshold = 0)]);
    spec.limits.max_parallel_workflows = 2;
    let mut sim = ready(spec);
    for run in 0..10 {
        sim.submit(work(300).of("ci", &run.to_string()));
    }
    sim.run_for(Duration::from_secs(60));
    assert_eq!(desired(&sim), 2);
}

#[test]
fn a_number_of_scale_ends_by_itself_and_survives_a_restart() {
    let mut sim = ready(with([pool("light", 0).between(1, 8)]));
    let begun = sim.now();
    sim.scale_for("light", 5, Duration::from_secs(7200));
    sim.settle().expect("all is well again");
    sim.crash(Duration::from_secs(2));
    sim.run_until(begun + Duration::from_secs(7100));
    let view = pool_view(&sim);
    let until = Some(begun + Duration::from_secs(7200));
    assert_eq!((view.desired, view.why), (5, SizeReason::Set { until }));
    sim.run_until(begun + Duration::from_secs(7202));
    // It follows its queue again; its runners were idle for long enough.
    assert_eq!((desired(&sim), pool_view(&sim).scaled), (1, false));
    unbroken(&sim);
}
