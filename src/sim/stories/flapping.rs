//! How the rule of elastic pools does on random arrivals, beside a policy that knows the future.
//!
//! `cargo test --lib flapping -- --nocapture` prints the table.

use std::collections::BTreeMap;
use std::time::Duration;

use super::with;
use crate::fleet::view::JobStatus;
use crate::ids::{JobId, SlotId};
use crate::sim::Sim;
use crate::sim::rng::Rng;
use crate::sim::script::{host, pool, work};
use crate::sim::transcript::Writing;

/// Seconds of each pattern: long enough for several pauses of `scale_down_delay`.
const LENGTH: u64 = 4 * 3600;
const MIN: u32 = 1;
const MAX: u32 = 12;
/// Seconds that a runner is idle before it goes; `between` has specification 4's ten minutes.
const REST: u64 = 600;

/// Jobs as their second of arrival and their seconds of work.
type Jobs = Vec<(u64, u64)>;

/// Whether a job comes in a second with this chance in 10,000.
fn comes(rng: &mut Rng, chance: u64) -> bool {
    rng.below(10_000) < chance
}

fn poisson(rng: &mut Rng) -> Jobs {
    (0..LENGTH).filter(|_| comes(rng, 500)).map(|at| (at, 30 + at % 60)).collect()
}

fn bursts(rng: &mut Rng) -> Jobs {
    let mut jobs = Jobs::new();
    let mut at = 0;
    while at < LENGTH {
        let count = 5 + rng.below(25);
        jobs.extend((0..count).map(|_| (at, 60)));
        at += 300 + rng.below(1800);
    }
    jobs
}

/// Quiet, a rising morning, a busy noon, and quiet again.
fn day(rng: &mut Rng) -> Jobs {
    let chance = |at: u64| 1_200 * (at.min(LENGTH - at)) / LENGTH;
    (0..LENGTH).filter(|at| comes(rng, chance(*at))).map(|at| (at, 90)).collect()
}

/// What a run costs.
#[derive(Debug, Default)]
struct Cost {
    /// Seconds that jobs waited, in all.
    waited: u64,
    /// Seconds of runners, whether they worked or not.
    runners: u64,
    /// Changes of direction: growth after shrinking, or the other way round.
    turns: u32,
}

/// The pool follows its queue through the pattern.
fn follow(jobs: &Jobs, seed: u64) -> Cost {
    let spec = with([pool("light", 0).between(MIN, MAX).persistent()]);
    let mut sim = Sim::new(seed, Writing::Off, (spec.clone(), host()));
    sim.oracle.watches = false;
    sim.up(spec);
    sim.run_for(Duration::from_secs(5));
    let begun = sim.now();
    let mut cost = Cost::default();
    let mut ids: Vec<JobId> = Vec::new();
    let mut next = jobs.iter().peekable();
    let (mut size, mut rose) = (MIN, None);
    let mut made: BTreeMap<SlotId, u64> = BTreeMap::new();
    for second in 0..LENGTH + REST * 3 {
        while let Some((_, span)) = next.next_if(|(at, _)| *at == second) {
            ids.extend(sim.submit(work(*span)));
        }
        sim.run_until(begun + Duration::from_secs(second + 1));
        made.retain(|slot, made| {
            let stays = sim.records.slots.contains_key(slot);
            assert!(stays || second - *made > REST, "{slot}: made at {made}, gone at {second}");
            stays
        });
        sim.records.slots.keys().for_each(|slot| _ = made.entry(*slot).or_insert(second));
        let count = u32::try_from(made.len()).unwrap_or(u32::MAX);
        assert!((MIN..=MAX).contains(&count), "{count} runners at {second}");
        cost.runners += u64::from(count);
        if count != size {
            cost.turns += u32::from(rose.is_some_and(|rose: bool| rose != (count > size)));
            (rose, size) = (Some(count > size), count);
        }
    }
    assert_eq!(size, MIN, "all is quiet again");
    assert_eq!(ids.len(), jobs.len(), "every job is taken in");
    let waits = ids.iter().map(|id| {
        let job = sim.job(*id).expect("a job is not forgotten");
        assert_eq!(job.status, JobStatus::Succeeded, "{id}");
        job.assigned_at.expect("it was given to a runner").since(job.queued_at)
    });
    cost.waited = waits.sum::<Duration>().as_secs();
    cost
}

/// A policy that knows the future: as many runners as ever help are ready when a job comes, and
/// each costs only while it works, or is one of the fewest.
///
/// Jobs are served in their order, so no pool that serves them in this order has them wait less.
fn all_knowing(jobs: &Jobs) -> Cost {
    let mut free: Vec<u64> = vec![0; MAX as usize];
    let mut cost = Cost::default();
    let mut busy: BTreeMap<u64, i64> = BTreeMap::new();
    for (at, span) in jobs {
        let first = free.iter_mut().min().expect("there are runners");
        let start = (*first).max(*at);
        *first = start + span;
        cost.waited += start - at;
        *busy.entry(start).or_default() += 1;
        *busy.entry(start + span).or_default() -= 1;
    }
    let mut now_busy = 0;
    for second in 0..LENGTH + REST * 3 {
        now_busy += busy.get(&second).copied().unwrap_or(0);
        cost.runners += u64::try_from(now_busy).unwrap_or(0).max(u64::from(MIN));
    }
    cost
}

/// All idle runners have work when a pool grows, so it shrinks only after a whole rest: it turns
/// twice in that time at most.
fn check(name: &str, cost: &Cost, best: &Cost) {
    assert!(u64::from(cost.turns) <= 2 * (LENGTH / REST + 3), "{name}: {} turns", cost.turns);
    assert!(cost.waited >= best.waited, "{name}: no policy is better than {best:?}: {cost:?}");
}

/// How jobs arrive.
type Arrivals = fn(&mut Rng) -> Jobs;

#[test]
fn sizes_do_not_flap_whatever_the_arrivals() {
    let patterns: [(&str, Arrivals); 3] = [("poisson", poisson), ("bursts", bursts), ("day", day)];
    println!("pattern seed jobs | wait/job s: pool, best | runner-s: pool, best | turns/h");
    for (name, make) in patterns {
        for seed in 1..=2 {
            let jobs = make(&mut Rng::new(seed));
            let cost = follow(&jobs, seed);
            let best = all_knowing(&jobs);
            let tenths = |part: u64, of: u64| format!("{}.{}", part / of, part * 10 / of % 10);
            let each = |seconds: u64| tenths(seconds, jobs.len() as u64);
            println!(
                "{name:8} {seed} {:4} | {:>6} {:>6} | {:6} {:6} | {}",
                jobs.len(),
                each(cost.waited),
                each(best.waited),
                cost.runners,
                best.runners,
                tenths(u64::from(cost.turns) * 3600, LENGTH + REST * 3)
            );
            check(name, &cost, &best);
        }
    }
}
