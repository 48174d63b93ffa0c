//! Pools in which an operator lets nothing begin, and opens again.

use std::time::Duration;

use super::forges::LABELS;
use super::{ready, refusal, tells, with};
use crate::fleet::effect::RefusalKind;
use crate::fleet::forge::ForgeJobView;
use crate::fleet::view::{FleetPhase, JobStatus, PoolView, RunnerStatus, SizeReason, WaitCode};
use crate::ids::{JobId, PoolName};
use crate::sim::Sim;
use crate::sim::script::{pool, work};
use crate::sim::world::forge::JobStage;

fn submit(sim: &mut Sim, profile: &str, seconds: u64) -> JobId {
    sim.submit(work(seconds).on(profile)).expect("it is accepted")
}

fn code(sim: &Sim, job: JobId) -> Option<WaitCode> {
    sim.job(job)?.reason_code
}

fn pool_view(sim: &Sim, name: &str) -> PoolView {
    let view = sim.fleet().expect("it lives").view(sim.now());
    view.pools.into_iter().find(|pool| pool.name.as_str() == name).expect("it is in the file")
}

fn unbroken(sim: &Sim) {
    assert!(sim.oracle.violations.is_empty(), "{:?}", sim.oracle.violations);
}

#[test]
fn a_paused_pool_lets_its_job_end_and_begins_none_before_it_is_opened() {
    let mut sim = ready(with([pool("light", 1)]));
    let runs = submit(&mut sim, "light", 5);
    sim.run_till_job(runs, JobStatus::Running);
    let waits = submit(&mut sim, "light", 1);
    sim.pause(&["light"]);
    assert!(sim.run_till_job(runs, JobStatus::Succeeded));
    sim.crash(Duration::from_secs(1));
    assert!(sim.run_till(|sim| sim.fleet().is_some()));
    sim.run_for(Duration::from_secs(60));
    let job = sim.job(waits).expect("it is kept");
    assert_eq!((job.status, job.reason_code), (JobStatus::Queued, Some(WaitCode::Paused)));
    let why = job.reason.expect("it says why it waits");
    let who = "UTC by operator; `slate-fleet resume light` lets jobs begin there";
    assert!(why.starts_with("pool light is paused since ") && why.ends_with(who), "{why}");
    let view = sim.fleet().expect("it lives").view(sim.now());
    assert_eq!(view.phase, FleetPhase::Ready, "its runner is ready for what comes");
    assert_eq!(pool_view(&sim, "light").idle, 1);
    sim.resume(&[]);
    assert!(sim.run_till_job(waits, JobStatus::Succeeded));
    tells(&sim, "a_paused_pool_lets_its_job_end_and_begins_none_before_it_is_opened");
}

#[test]
fn what_waits_for_a_paused_pool_goes_to_another_that_may_serve_it() {
    let elastic = pool("standard", 0).between(0, 2).elastic(|it| {
        it.scale_up_threshold = 0;
        it.scale_up_delay = Duration::ZERO;
    });
    let mut sim = ready(with([pool("light", 2), elastic]));
    sim.pause(&["light"]);
    let job = submit(&mut sim, "light", 1);
    assert!(sim.run_till_job(job, JobStatus::Succeeded), "{:?}", sim.job(job));
    let slot = sim.job(job).and_then(|job| job.runner_name);
    assert_eq!(slot.as_deref(), Some("demo-standard-03"));
    sim.pause(&["standard"]);
    let job = submit(&mut sim, "light", 1);
    sim.run_for(Duration::from_secs(60));
    assert_eq!(code(&sim, job), Some(WaitCode::Paused));
    let counts = sim.fleet().expect("it runs").waiting_counts();
    let light = Some(PoolName::new("light"));
    assert_eq!(counts.get(&(light, WaitCode::Paused)), Some(&1), "{counts:?}");
    unbroken(&sim);
}

#[test]
fn a_paused_pool_neither_grows_nor_shrinks_until_it_is_opened() {
    let mut sim = ready(with([pool("light", 0).between(1, 4).elastic(|it| {
        it.scale_up_threshold = 0;
        it.scale_up_delay = Duration::ZERO;
        it.scale_down_delay = Duration::from_secs(60);
    })]));
    let jobs: Vec<JobId> = (0..2).map(|_| submit(&mut sim, "light", 20)).collect();
    assert!(sim.run_till(|sim| pool_view(sim, "light").running == 2));
    sim.pause(&["light"]);
    let more: Vec<JobId> = (0..3).map(|_| submit(&mut sim, "light", 1)).collect();
    assert!(sim.run_till_job(jobs[1], JobStatus::Succeeded));
    sim.run_for(Duration::from_secs(1800));
    let view = pool_view(&sim, "light");
    assert_eq!((view.desired, view.idle, view.waiting), (2, 2, 3));
    assert_eq!((view.why, view.paused.is_some()), (SizeReason::Paused, true));
    sim.resume(&["light"]);
    assert!(sim.run_till(|sim| pool_view(sim, "light").desired > 2), "it grows again");
    assert!(sim.run_till_job(more[2], JobStatus::Succeeded));
    assert!(sim.run_till(|sim| pool_view(sim, "light").desired == 1), "and shrinks");
    unbroken(&sim);
}

#[test]
fn a_paused_pool_of_a_forge_lets_its_idle_runners_leave_and_its_busy_ones_end() {
    let mut sim = ready(with([pool("light", 2).at_forge(LABELS)]));
    let runs = sim.push(LABELS, 60);
    assert!(sim.run_till_pushed_runs(runs));
    sim.pause(&[]);
    let others_are_gone = |sim: &Sim| sim.containers().len() == 1;
    assert!(sim.run_till(others_are_gone));
    assert!(matches!(sim.pushed(runs), Some(JobStage::Running(_))), "it goes on");
    let waits = sim.push(LABELS, 1);
    assert!(sim.run_till(|sim| sim.pushed(runs) == Some(JobStage::Over)));
    sim.run_for(Duration::from_secs(120));
    assert!(sim.containers().is_empty() && sim.world.forge.entries.is_empty());
    let fleet = sim.fleet().expect("it lives");
    assert_eq!(fleet.view(sim.now()).phase, FleetPhase::Ready);
    let jobs: Vec<ForgeJobView> = fleet.forge_jobs(10);
    let code = jobs.iter().find(|it| it.job.id == waits).and_then(|it| it.reason_code);
    assert_eq!(code, Some(WaitCode::Paused), "{jobs:?}");
    sim.resume(&["light"]);
    assert!(sim.run_till_all_over());
    assert!(sim.run_till_slot(1, RunnerStatus::Idle));
    tells(&sim, "a_paused_pool_of_a_forge_lets_its_idle_runners_leave_and_its_busy_ones_end");
}

#[test]
fn a_pause_outlives_the_file_as_long_as_that_has_the_pool() {
    let both = || with([pool("light", 1), pool("standard", 1)]);
    let mut sim = ready(both());
    let wrong = sim.pause(&["light", "heavy"]);
    assert_eq!(refusal(wrong), Some(RefusalKind::NotFound));
    assert_eq!(pool_view(&sim, "light").paused, None, "all or none");
    sim.pause(&[]);
    sim.up(both());
    assert!(pool_view(&sim, "light").paused.is_some());
    sim.up(with([pool("light", 1)]));
    sim.up(both());
    assert!(pool_view(&sim, "light").paused.is_some());
    assert_eq!(pool_view(&sim, "standard").paused, None, "it is another pool now");
    let since = pool_view(&sim, "light").paused;
    sim.run_for(Duration::from_secs(60));
    sim.pause(&["light"]);
    assert_eq!(pool_view(&sim, "light").paused, since, "it is paused already");
    unbroken(&sim);
}

// The end of what `scale` set waits until the pool is open.
#[test]
fn the_end_of_a_scale_waits_for_the_end_of_the_pause() {
    let mut sim = ready(with([pool("light", 3)]));
    sim.scale_for("light", 1, Duration::from_secs(60));
    sim.settle().expect("all is well");
    sim.pause(&["light"]);
    sim.run_for(Duration::from_secs(600));
    assert_eq!(pool_view(&sim, "light").desired, 1);
    sim.resume(&["light"]);
    assert!(sim.run_till(|sim| pool_view(sim, "light").desired == 3));
    unbroken(&sim);
}
