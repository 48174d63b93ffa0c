//! Why jobs wait: each reason where it holds, with its numbers.

use std::time::Duration;

use super::{ready, start, with};
use crate::fleet::event::{Cordon, Request};
use crate::fleet::runner::OpKind;
use crate::fleet::view::{WaitCode, WaitReason};
use crate::ids::{ImageRef, JobId, PoolName, SlotId};
use crate::sim::Sim;
use crate::sim::script::{pool, work};
use crate::units::Bytes;

fn submit(sim: &mut Sim, profile: &str) -> JobId {
    sim.submit(work(3600).on(profile)).expect("it is accepted")
}

fn why(sim: &Sim, job: JobId) -> WaitReason {
    let job = sim.job(job).expect("it is known");
    let why = job.wait.expect("it waits");
    assert_eq!(job.reason_code, Some(why.code()));
    assert_eq!(job.reason, Some(why.to_string()), "the words are those of the reason");
    why
}

fn code(sim: &Sim, job: JobId) -> WaitCode {
    why(sim, job).code()
}

fn names(pools: &[&str]) -> Vec<PoolName> {
    pools.iter().map(|name| PoolName::new(*name)).collect()
}

// Items 31 and 74: the engine's words, word for word, and when it is tried again.
#[test]
fn a_job_whose_runners_cannot_be_made_says_what_the_engine_said() {
    let mut sim = start(with([pool("light", 1)]));
    sim.world.failing.push(OpKind::Create);
    let job = submit(&mut sim, "light");
    let failed = |sim: &Sim| matches!(why(sim, job), WaitReason::Failing { failures: 4.., .. });
    assert!(sim.run_till(failed), "{}", why(&sim, job));
    let WaitReason::Failing { why: words, next_try, .. } = why(&sim, job) else { unreachable!() };
    assert_eq!(words, "the engine refused");
    assert!(next_try.is_some_and(|at| at > sim.now()), "{next_try:?}");
    assert!(why(&sim, job).to_string().starts_with("the engine refused; failed 4 times in a row"));
    sim.world.failing.clear();
    assert!(sim.run_till(|sim| sim.job(job).is_some_and(|job| job.wait.is_none())));
}

#[test]
fn a_job_behind_others_says_how_many_and_where() {
    let mut sim = ready(with([pool("light", 1), pool("standard", 1)]));
    for profile in ["light", "light", "standard"] {
        submit(&mut sim, profile);
    }
    let last = submit(&mut sim, "light");
    let busy = WaitReason::AllBusy {
        pools: names(&["light", "standard"]),
        busy: 2,
        all: 2,
        lighter: 0,
        ahead: 1,
    };
    assert!(sim.run_till(|sim| why(sim, last).code() == WaitCode::AllBusy));
    assert_eq!(why(&sim, last), busy);
    let words = "2 of 2 runners in light, standard are busy; 1 before it";
    assert_eq!(why(&sim, last).to_string(), words);
    let counts = sim.fleet().expect("it runs").waiting_counts();
    let light = Some(PoolName::new("light"));
    assert_eq!(counts.get(&(light, WaitCode::AllBusy)), Some(&1), "{counts:?}");
}

#[test]
fn each_reason_of_the_fleet_and_its_pools_is_told_where_it_holds() {
    let mut sim = ready(with([pool("light", 1), pool("standard", 1)]));
    submit(&mut sim, "standard");
    let job = submit(&mut sim, "standard");
    sim.run_for(Duration::from_secs(1));
    assert_eq!(code(&sim, job), WaitCode::AllBusy);
    sim.find_free(Bytes::mib(1));
    assert_eq!(code(&sim, job), WaitCode::DiskLow);
    sim.find_free(Bytes::gib(50));

    sim.scale(&[("light", 0)]);
    let light = sim.submit(work(1).on("light").in_pool("light")).expect("it is accepted");
    sim.run_for(Duration::from_secs(1));
    assert_eq!(why(&sim, light), WaitReason::NoRunners { pools: names(&["light"]) });
    sim.scale(&[("light", 1)]);
    assert_eq!(code(&sim, light), WaitCode::Starting);
    sim.ask(Request::Cordon { slots: vec![SlotId(1)], to: Cordon::Closed });
    sim.run_for(Duration::from_secs(5));
    assert_eq!(why(&sim, light), WaitReason::Cordoned { closed: 1 });

    sim.up(with([pool("standard", 1)]));
    sim.run_for(Duration::from_secs(1));
    let none = sim.job(light).expect("it is known");
    assert_eq!(none.reason_code, Some(WaitCode::NoPool), "{:?}", none.reason);
    let counts = sim.fleet().expect("it runs").waiting_counts();
    assert_eq!(counts.get(&(None, WaitCode::NoPool)), Some(&1), "{counts:?}");
}

#[test]
fn a_full_house_of_workflow_runs_is_told_with_its_numbers() {
    let mut spec = with([pool("light", 2)]);
    spec.limits.max_parallel_workflows = 1;
    let mut sim = ready(spec);
    let of = |run: &str| work(3600).on("light").of("ci", run);
    sim.submit(of("1"));
    let second = sim.submit(of("2")).expect("it is accepted");
    sim.run_for(Duration::from_secs(1));
    assert_eq!(why(&sim, second), WaitReason::WorkflowLimit { under_way: 1, most: 1 });
    let counts = sim.fleet().expect("it runs").waiting_counts();
    let light = Some(PoolName::new("light"));
    assert_eq!(counts.get(&(light, WaitCode::WorkflowLimit)), Some(&1), "{counts:?}");
}

#[test]
fn what_a_pool_waits_for_that_follows_its_queue_is_told() {
    let mut sim = ready(with([pool("light", 0).between(0, 2)]));
    let job = submit(&mut sim, "light");
    let WaitReason::GrowthDelayed { threshold, delay, .. } = why(&sim, job) else {
        panic!("{}", why(&sim, job));
    };
    assert_eq!((threshold, delay), (5, Duration::from_secs(30)));
    sim.world.missing_images.insert(ImageRef::new("runner:1"));
    let mut sim = start(with([pool("light", 1)]));
    sim.world.missing_images.insert(ImageRef::new("runner:1"));
    let job = submit(&mut sim, "light");
    sim.run_for(Duration::from_secs(1));
    assert_eq!(code(&sim, job), WaitCode::ImageMissing, "{}", why(&sim, job));
    assert!(why(&sim, job).expected().is_some_and(|at| at > sim.now()));
}

#[test]
fn a_job_without_room_on_a_card_says_what_the_cards_have() {
    let mut sim = start(with([pool("gpu_heavy", 1)]));
    sim.world.read_cards(&crate::sim::script::host().gpus);
    for card in ["GPU-0", "GPU-1"] {
        sim.world.use_by_others(&crate::ids::GpuUuid::new(card), 14_000);
    }
    sim.run_for(Duration::from_secs(5));
    let job = submit(&mut sim, "gpu_heavy");
    sim.run_for(Duration::from_secs(20));
    let busy = sim.job(job).expect("it is known");
    assert!(busy.wait.is_some_and(|it| matches!(it.code(), WaitCode::NoGpu)), "{:?}", busy.reason);
}
