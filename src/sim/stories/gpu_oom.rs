//! Out of GPU memory: the job says so, its slot is lighter for a while, and nobody gets less.

use std::time::Duration;

use super::{crowded, ready, tells};
use crate::fleet::attempt::{Fault, RetryOn};
use crate::fleet::event::{Cordon, Event, Request};
use crate::fleet::job::JobState;
use crate::fleet::oom::Finding;
use crate::fleet::view::{JobStatus, RunnerStatus};
use crate::ids::{AttemptNo, JobId, SlotId};
use crate::sim::Sim;
use crate::sim::script::{command, pool, work};
use crate::spec::Pool;

const MINUTE: Duration = Duration::from_secs(60);

/// What each attempt of a job ran as, and how it ended.
fn attempts(sim: &Sim, job: JobId) -> Vec<(String, JobStatus)> {
    let attempts = sim.job(job).map(|job| job.attempts).unwrap_or_default();
    let told = |slot: SlotId| sim.slot(slot.0).map(|it| it.pool.to_string()).unwrap_or_default();
    attempts.into_iter().filter_map(|it| Some((told(it.slot), it.end?.status))).collect()
}

fn profile(sim: &Sim, slot: u32) -> String {
    sim.slot(slot).map(|slot| slot.profile.to_string()).unwrap_or_default()
}

/// What the cards say of memory: all that is used, and what a slot's runner holds.
fn read(sim: &mut Sim, slot: u32, used: u32, own: u32) {
    super::read(sim, slot, Some(used), (own, None));
}

// Specification 1, "Error States": oom, GPU out of memory, downgrade to lighter profile.
#[test]
fn a_slot_that_ran_out_of_gpu_memory_is_lighter_for_ten_minutes() {
    let mut sim = ready(crowded([pool("gpu_heavy", 1)]));
    let job = sim.submit(work(5).on("gpu_heavy").needing(9000)).expect("a runner is there");
    sim.run_till_job(job, JobStatus::Oom);
    let view = sim.job(job).expect("it is kept");
    assert_eq!((view.exit_code, view.fault), (Some(1), Some(Fault::Job)));
    let reason = view.reason.expect("it says why");
    assert!(reason.starts_with("out of GPU memory: CUDA out of memory."), "{reason}");
    let slot = sim.slot(1).expect("it is wanted");
    assert_eq!(slot.last_failure.map(|it| it.status), Some(RunnerStatus::Oom));
    assert_eq!(profile(&sim, 1), "gpu_light");
    let waits = sim.submit(work(5).on("gpu_heavy").needing(7000)).expect("a pool serves it");
    sim.run_for(9 * MINUTE);
    let why = sim.job(waits).and_then(|job| job.reason).unwrap_or_default();
    assert!(why.contains("1 of them is lighter for a while"), "{why}");
    let light = sim.submit(work(5).on("gpu_light").needing(1000)).expect("a pool serves it");
    sim.run_till_job(light, JobStatus::Succeeded);
    assert_eq!(sim.status(waits), Some(JobStatus::Queued));
    sim.settle().expect("all is well again");
    assert_eq!(
        (profile(&sim, 1).as_str(), sim.status(waits)),
        ("gpu_heavy", Some(JobStatus::Succeeded))
    );
    tells(&sim, "a_slot_that_ran_out_of_gpu_memory_is_lighter_for_ten_minutes");
}

// A job that lacked memory is never given less: that would be a loop.
#[test]
fn a_job_that_asks_for_it_is_tried_once_more_with_more_gpu_memory_and_never_with_less() {
    let pools = || [pool("gpu_light", 1), pool("gpu_heavy", 1), pool("gpu_max", 1)];
    let mut sim = ready(crowded(pools()));
    let job = work(5).on("gpu_light").needing(7000).retried(2, RetryOn::Oom);
    let job = sim.submit(job).expect("a runner is there");
    sim.settle().expect("all is well again");
    let wanted =
        [("gpu_light".to_owned(), JobStatus::Oom), ("gpu_heavy".to_owned(), JobStatus::Succeeded)];
    assert_eq!(attempts(&sim, job), wanted);
    tells(
        &sim,
        "a_job_that_asks_for_it_is_tried_once_more_with_more_gpu_memory_and_never_with_less",
    );

    let ends = |pools: Vec<Pool>, mib: u32, retries: u32, on: RetryOn| {
        let mut sim = ready(crowded(pools));
        let job = work(5).on("gpu_light").needing(mib).retried(retries, on);
        let job = sim.submit(job).expect("a runner is there");
        sim.settle().expect("all is well again");
        attempts(&sim, job).into_iter().map(|(pool, _)| pool).collect::<Vec<_>>()
    };
    let all = || pools().to_vec();
    assert_eq!(ends(all(), 15_000, 9, RetryOn::Oom), ["gpu_light", "gpu_heavy"], "once");
    assert_eq!(ends(all(), 7000, 0, RetryOn::Oom), ["gpu_light"], "no retries at all");
    assert_eq!(ends(all(), 7000, 9, RetryOn::Infrastructure), ["gpu_light"]);
    assert_eq!(ends(all(), 7000, 9, RetryOn::Any), ["gpu_light", "gpu_heavy"]);
    let only_light = || vec![pool("gpu_light", 2), pool("standard", 1)];
    assert_eq!(ends(only_light(), 7000, 9, RetryOn::Oom), ["gpu_light"], "nothing has more");
    assert_eq!(ends(only_light(), 7000, 9, RetryOn::Any), ["gpu_light", "gpu_light"]);
}

#[test]
fn a_lighter_slot_goes_no_lower_than_there_are_profiles_and_resume_brings_it_back() {
    let mut sim = ready(crowded([pool("gpu_max", 1)]));
    for (needs, now) in [(15_000, "gpu_heavy"), (9000, "gpu_light"), (3000, "standard")] {
        let on = profile(&sim, 1);
        let job = sim.submit(work(1).on(&on).needing(needs)).expect("a runner is there");
        sim.run_till_job(job, JobStatus::Oom);
        assert_eq!(profile(&sim, 1), now);
        sim.run_till(|sim| sim.slot(1).is_some_and(|slot| slot.status == RunnerStatus::Idle));
    }
    assert_eq!(sim.slot(1).and_then(|slot| slot.gpu), None, "it has no card now");
    let job = sim.submit(work(1).on("standard").needing(3000)).expect("a runner is there");
    sim.run_till_job(job, JobStatus::Succeeded);
    sim.crash(Duration::from_secs(1));
    sim.run_for(MINUTE);
    assert_eq!(profile(&sim, 1), "standard", "a restart changes nothing");
    sim.ask(Request::Cordon { slots: vec![SlotId(1)], to: Cordon::Open });
    assert_eq!(profile(&sim, 1), "gpu_max");
    sim.settle().expect("all is well again");
    assert_eq!(sim.slot(1).and_then(|slot| slot.gpu), Some(0));
}

#[test]
fn plan_wants_nothing_of_a_lighter_slot_and_a_file_without_downgrades_ends_them() {
    let spec = crowded([pool("gpu_heavy", 1)]);
    let mut sim = ready(spec.clone());
    let job = sim.submit(work(1).on("gpu_heavy").needing(9000)).expect("a runner is there");
    sim.run_till_job(job, JobStatus::Oom);
    sim.run_till(|sim| sim.slot(1).is_some_and(|slot| slot.status == RunnerStatus::Idle));
    let preview = sim.fleet().map(|fleet| fleet.preview(&spec)).expect("a supervisor");
    let changes: Vec<_> = preview.changes.iter().map(|it| (it.change, &it.reason)).collect();
    assert_eq!(changes, [(crate::fleet::view::Change::Keep, &String::new())]);
    sim.up(spec.clone());
    sim.run_for(MINUTE);
    assert_eq!(profile(&sim, 1), "gpu_light", "the same file again changes nothing");
    let mut never = spec;
    never.gpu.downgrade_for = None;
    sim.up(never);
    sim.settle().expect("all is well again");
    assert_eq!(profile(&sim, 1), "gpu_heavy");
    let job = sim.submit(work(1).on("gpu_heavy").needing(9000)).expect("a runner is there");
    sim.settle().expect("all is well again");
    assert_eq!((profile(&sim, 1).as_str(), sim.status(job)), ("gpu_heavy", Some(JobStatus::Oom)));
}

#[test]
fn a_neighbours_use_costs_the_slot_nothing_and_the_job_no_retry_of_its_own() {
    let mut sim = ready(crowded([pool("gpu_heavy", 1)]));
    let job = sim.submit(work(20).on("gpu_heavy").needing(9000)).expect("a runner is there");
    sim.run_till_job(job, JobStatus::Running);
    read(&mut sim, 1, 16_100, 5000);
    sim.run_till_job(job, JobStatus::Queued);
    let first = sim.job(job).and_then(|job| job.attempts.into_iter().next()).expect("it ran");
    let end = first.end.expect("it is over");
    assert_eq!((end.status, end.fault), (JobStatus::Oom, Some(Fault::Infrastructure)));
    assert!(end.reason.is_some_and(|why| why.contains("others held 11100 MiB")));
    assert_eq!(profile(&sim, 1), "gpu_heavy");
    tells(&sim, "a_neighbours_use_costs_the_slot_nothing_and_the_job_no_retry_of_its_own");
}

#[test]
fn the_peak_of_an_attempt_is_kept_and_is_evidence() {
    let mut sim = ready(crowded([pool("gpu_heavy", 1).persistent()]));
    let before = sim.submit(work(20).on("gpu_heavy")).expect("a runner is there");
    sim.run_till_job(before, JobStatus::Running);
    read(&mut sim, 1, 7900, 7900);
    sim.run_till_job(before, JobStatus::Succeeded);
    let red = sim.submit(command(&["work", "60000", "1"]).on("gpu_heavy")).expect("it is idle");
    sim.run_till_job(red, JobStatus::Running);
    read(&mut sim, 1, 300, 300);
    sim.run_till_job(red, JobStatus::Failed);
    let reason = |sim: &Sim, job| sim.job(job).and_then(|job| job.reason);
    assert_eq!(reason(&sim, red), None, "the one before had its own peak");

    let noted = sim.submit(command(&["work", "60000", "1"]).on("gpu_heavy")).expect("it is idle");
    sim.run_till_job(noted, JobStatus::Running);
    for used in [500, 7300, 400] {
        read(&mut sim, 1, used, used);
    }
    sim.run_till_job(noted, JobStatus::Failed);
    let why = reason(&sim, noted).expect("a note");
    assert!(why.starts_with("its GPU memory was used up (it held 7300 of 8000 MiB"), "{why}");

    let oom = sim.submit(work(60).on("gpu_heavy").needing(9000)).expect("it is idle");
    sim.run_till_job(oom, JobStatus::Running);
    read(&mut sim, 1, 7300, 7300);
    sim.run_till_job(oom, JobStatus::Oom);
    let why = reason(&sim, oom).expect("it says why");
    assert!(why.ends_with("GiB (it held 7300 of 8000 MiB reserved at most)"), "{why}");
}

#[test]
fn what_is_told_late_of_an_earlier_attempt_is_no_evidence_of_a_later_one() {
    let mut sim = ready(crowded([pool("gpu_heavy", 1).persistent()]));
    let red = command(&["work", "1000", "1"]).on("gpu_heavy").retried(1, RetryOn::Any);
    let job = sim.submit(red).expect("a runner is there");
    sim.run_till(|sim| {
        sim.records.jobs.get(&job).is_some_and(|job| {
            job.attempt == AttemptNo(2) && matches!(job.state, JobState::Publishing { .. })
        })
    });
    let found = Finding::Line("CUDA out of memory".to_owned());
    let late = |attempt| Event::Published { job, attempt, outcome: Ok(()), found: found.clone() };
    sim.hear(late(AttemptNo(1)));
    assert_eq!(sim.status(job), Some(JobStatus::Running), "its own word is awaited");
    sim.settle().expect("all is well again");
    let red = ("gpu_heavy".to_owned(), JobStatus::Failed);
    assert_eq!(attempts(&sim, job), [red.clone(), red.clone()]);
    sim.hear(late(AttemptNo(2)));
    assert_eq!(attempts(&sim, job), [red.clone(), red]);
    assert_eq!(profile(&sim, 1), "gpu_heavy");
}

#[test]
fn a_job_that_ran_out_of_gpu_memory_just_before_it_was_stopped_is_told_so_and_not_tried_again() {
    let mut sim = ready(crowded([pool("gpu_heavy", 1), pool("gpu_max", 1)]));
    let job = command(&["work", "5000", "0", "stubborn"]).on("gpu_heavy").needing(9000);
    let job = sim.submit(job.retried(2, RetryOn::Oom)).expect("a runner is there");
    sim.run_till_job(job, JobStatus::Running);
    sim.run_for(Duration::from_secs(4));
    sim.ask(Request::Cancel(job));
    sim.settle().expect("all is well again");
    assert_eq!(attempts(&sim, job), [("gpu_heavy".to_owned(), JobStatus::Oom)]);
}

#[test]
fn a_restart_while_reports_are_stored_loses_no_evidence() {
    let mut sim = ready(crowded([pool("gpu_heavy", 1)]));
    let job = sim.submit(work(20).on("gpu_heavy").needing(9000)).expect("a runner is there");
    sim.run_till_job(job, JobStatus::Running);
    read(&mut sim, 1, 7900, 7900);
    sim.run_till(|sim| {
        let job = sim.records.jobs.get(&job);
        job.is_some_and(|job| matches!(job.state, JobState::Publishing { .. }))
    });
    sim.crash(Duration::from_secs(1));
    sim.run_till_job(job, JobStatus::Oom);
    let why = sim.job(job).and_then(|job| job.reason).expect("it says why");
    assert!(why.contains("(it held 7900 of 8000 MiB reserved at most, 8484 of"), "{why}");
    sim.settle().expect("all is well again");
}

#[test]
fn a_pool_that_follows_its_queue_does_not_count_on_a_lighter_slot() {
    let spec = crowded([pool("gpu_heavy", 0).between(1, 2)]);
    let mut sim = ready(spec);
    let job = sim.submit(work(1).on("gpu_heavy").needing(9000)).expect("a runner is there");
    sim.run_till_job(job, JobStatus::Oom);
    let next = sim.submit(work(5).on("gpu_heavy").needing(7000)).expect("a pool serves it");
    sim.run_for(2 * MINUTE);
    assert_eq!(sim.status(next), Some(JobStatus::Succeeded), "the pool grew for it");
    sim.settle().expect("all is well again");
}
