//! Causes and cures: what is tried again, what is not, and what is kept of each attempt.

use std::time::Duration;

use super::{ready, refusal, start, tells, with};
use crate::fleet::attempt::{Attempt, Fault, RetryOn};
use crate::fleet::effect::RefusalKind;
use crate::fleet::event::{Cordon, JobSpec, Request, RestartTime};
use crate::fleet::runner::OpKind;
use crate::fleet::view::{JobStatus, RunnerStatus};
use crate::ids::{JobId, SlotId};
use crate::sim::Sim;
use crate::sim::fault::Fault as Mishap;
use crate::sim::script::{command, pool, work};

/// How the attempts of a job ended, and whose fault that was.
fn attempts(sim: &Sim, job: JobId) -> Vec<(JobStatus, Option<Fault>)> {
    let attempts = sim.job(job).map(|job| job.attempts).unwrap_or_default();
    let ends = attempts.into_iter().filter_map(|attempt: Attempt| attempt.end);
    ends.map(|end| (end.status, end.fault)).collect()
}

fn retried(job: JobSpec, retries: u32, on: RetryOn) -> JobSpec {
    JobSpec { retries: Some(retries), retry_on: on, ..job }
}

const LOST: (JobStatus, Option<Fault>) = (JobStatus::Lost, Some(Fault::Infrastructure));
const RED: (JobStatus, Option<Fault>) = (JobStatus::Failed, Some(Fault::Job));
const GREEN: (JobStatus, Option<Fault>) = (JobStatus::Succeeded, None);

// Pain 46: each end is of the job or of the infrastructure; only the latter is tried again by
// itself, never a failed step; both attempts stay visible.
#[test]
fn a_red_test_is_not_tried_again_and_a_lost_runner_is() {
    let mut sim = ready(with([pool("light", 2)]));
    let red = sim.submit(command(&["work", "1000", "1"])).expect("a runner is there");
    let lost = sim.submit(work(10)).expect("a runner is there");
    sim.run_till_job(lost, JobStatus::Running);
    let container = sim.container(2).expect("it runs");
    sim.world.die(&container, 137);
    sim.settle().expect("all is well again");
    assert_eq!(attempts(&sim, red), [RED]);
    assert_eq!(attempts(&sim, lost), [LOST, GREEN]);
    tells(&sim, "a_red_test_is_not_tried_again_and_a_lost_runner_is");
}

#[test]
fn a_job_without_retries_is_lost_with_its_first_runner() {
    let mut sim = ready(with([pool("light", 1)]));
    let never =
        [retried(work(10), 0, RetryOn::Infrastructure), retried(work(10), 5, RetryOn::Never)];
    for job in never {
        let job = sim.submit(job).expect("a runner is there");
        sim.run_till_job(job, JobStatus::Running);
        let container = sim.container(1).expect("it runs");
        sim.world.die(&container, 1);
        sim.settle().expect("all is well again");
        assert_eq!(attempts(&sim, job), [LOST]);
        let job = sim.job(job).expect("it is kept");
        assert_eq!(job.status, JobStatus::Lost);
        assert_eq!(job.reason.as_deref(), Some("the container ended with exit code 1"));
    }
    let greedy = retried(work(1), 11, RetryOn::Any);
    let refused = sim.ask(Request::Submit(Box::new(greedy)));
    assert_eq!(refusal(refused), Some(RefusalKind::Invalid));
}

#[test]
fn a_failed_step_is_tried_again_when_that_was_asked_for() {
    let mut sim = ready(with([pool("light", 1), pool("standard", 1).persistent()]));
    for profile in ["light", "standard"] {
        let red = command(&["work", "1000", "3"]).on(profile).in_pool(profile);
        let job = sim.submit(retried(red, 1, RetryOn::Any)).expect("a runner is there");
        sim.settle().expect("all is well again");
        assert_eq!(attempts(&sim, job), [RED, RED]);
        assert_eq!(sim.job(job).and_then(|job| job.exit_code), Some(3));
    }
    tells(&sim, "a_failed_step_is_tried_again_when_that_was_asked_for");
}

#[test]
fn a_cancelled_job_is_never_tried_again() {
    let mut sim = ready(with([pool("light", 1)]));
    let job = sim.submit(retried(work(60), 5, RetryOn::Any)).expect("a runner is there");
    sim.run_till_job(job, JobStatus::Running);
    sim.ask(Request::Cancel(job));
    sim.settle().expect("all is well again");
    assert_eq!(attempts(&sim, job), [(JobStatus::Cancelled, Some(Fault::Operator))]);
}

// Issue 4: alive is not working: an agent that answers but makes no progress is replaced.
#[test]
fn an_agent_that_answers_and_does_not_begin_its_job_is_replaced_after_two_minutes() {
    let mut sim = ready(with([pool("light", 1)]));
    sim.world.faults.set(Mishap::JobUnbegun, 1000);
    let job = sim.submit(work(5)).expect("a runner is there");
    sim.run_for(Duration::from_secs(10));
    sim.settle().expect("all is well again");
    assert_eq!(attempts(&sim, job), [LOST, GREEN]);
    let failure = sim.slot(1).and_then(|slot| slot.last_failure).expect("it is kept");
    assert_eq!((failure.status, failure.job), (RunnerStatus::Stale, Some(job)));
    tells(&sim, "an_agent_that_answers_and_does_not_begin_its_job_is_replaced_after_two_minutes");
}

#[test]
fn a_busy_runner_is_restarted_by_force_and_its_job_runs_again() {
    let mut sim = ready(with([pool("light", 1), pool("standard", 1).persistent()]));
    let restart = |slot, when| Request::Restart { slots: vec![SlotId(slot)], when };
    for (slot, profile) in [(1, "light"), (2, "standard")] {
        let job = sim.submit(work(20).on(profile).in_pool(profile)).expect("a runner is there");
        sim.run_till_job(job, JobStatus::Running);
        sim.ask(restart(slot, RestartTime::AfterJob));
        assert_eq!(sim.status(job), Some(JobStatus::Running));
        let before = sim.container(slot);
        sim.ask(restart(slot, RestartTime::Now));
        sim.settle().expect("all is well again");
        assert_ne!(sim.container(slot), before);
        let forced = (JobStatus::Lost, Some(Fault::Operator));
        assert_eq!(attempts(&sim, job), [forced, GREEN]);
    }
    tells(&sim, "a_busy_runner_is_restarted_by_force_and_its_job_runs_again");
}

#[test]
fn nobodys_silence_counts_while_the_supervisor_stands_still() {
    let mut sim = ready(with([pool("light", 1)]));
    let job = sim.submit(work(2000).timeout(3000)).expect("a runner is there");
    sim.run_till_job(job, JobStatus::Running);
    let container = sim.container(1);
    sim.world.sleep(Duration::from_secs(900));
    sim.settle().expect("all is well again");
    assert_eq!(attempts(&sim, job), [GREEN]);
    assert_ne!(sim.container(1), container, "it was for one job");
    let told = sim.records.audit.iter().filter(|entry| entry.what == "woke up").count();
    assert_eq!(told, 1);
}

#[test]
fn a_job_that_is_to_stop_gets_its_grace_after_a_crash_too() {
    let mut sim = ready(with([pool("light", 1)]));
    let job = sim.submit(command(&["work", "600000", "0", "stubborn"])).expect("a runner is there");
    sim.run_till_job(job, JobStatus::Running);
    sim.ask(Request::Cancel(job));
    sim.crash(Duration::from_secs(120));
    sim.run_for(Duration::from_secs(121));
    sim.settle().expect("all is well again");
    assert_eq!(attempts(&sim, job), [(JobStatus::Cancelled, Some(Fault::Operator))]);
    let stuck = sim.records.audit.iter().filter(|entry| entry.why.contains("did not stop"));
    assert_eq!(stuck.count(), 0, "its agent had seen to it, and nobody had listened");
}

#[test]
fn an_end_that_is_told_too_late_is_kept_and_changes_nothing() {
    let mut sim = ready(with([pool("light", 2)]));
    let job = sim.submit(work(400).timeout(900)).expect("a runner is there");
    sim.run_till_job(job, JobStatus::Running);
    let container = sim.container(1).expect("it runs");
    sim.world.hang_for(&container, Duration::from_secs(450));
    sim.world.failing = vec![OpKind::Remove];
    sim.run_for(Duration::from_secs(470));
    let view = sim.job(job).expect("it is kept");
    let first = view.attempts.first().expect("it was given out");
    assert_eq!(first.late.as_deref(), Some("succeeded: exit code 0"));
    assert_eq!(view.status, JobStatus::Running, "its container is not known to be gone");
    sim.world.failing.clear();
    sim.settle().expect("all is well again");
    assert_eq!(attempts(&sim, job), [LOST, GREEN]);
    tells(&sim, "an_end_that_is_told_too_late_is_kept_and_changes_nothing");
}

#[test]
fn a_crash_loop_is_remembered_over_a_restart_and_forgiven_by_resume() {
    let mut sim = start(with([pool("light", 1)]));
    sim.world.failing = vec![OpKind::Create];
    sim.run_for(Duration::from_secs(40));
    let before = sim.slot(1).and_then(|slot| slot.last_failure).expect("it is kept");
    assert!(before.in_a_row >= 6, "{before:?}");
    sim.crash(Duration::from_secs(1));
    sim.run_for(Duration::from_secs(2));
    let slot = sim.slot(1).expect("it is wanted");
    assert_eq!(slot.status, RunnerStatus::Error);
    assert_eq!(slot.last_failure.as_ref(), Some(&before), "nothing was tried meanwhile");
    sim.world.failing.clear();
    sim.ask(Request::Cordon { slots: vec![SlotId(1)], to: Cordon::Open });
    sim.run_for(Duration::from_secs(1));
    let slot = sim.slot(1).expect("it is wanted");
    assert_eq!(slot.status, RunnerStatus::Idle);
    assert_eq!(slot.last_failure.map(|failure| failure.in_a_row), Some(0));
}

#[test]
fn a_container_without_memory_shows_so_in_its_slot_and_is_no_fault_of_the_job() {
    let mut sim = ready(with([pool("light", 1)]));
    let job = sim.submit(retried(work(10), 0, RetryOn::default())).expect("a runner is there");
    sim.run_till_job(job, JobStatus::Running);
    let container = sim.container(1).expect("it runs");
    sim.world.die_of_memory(&container);
    sim.settle().expect("all is well again");
    let failure = sim.slot(1).and_then(|slot| slot.last_failure).expect("it is kept");
    assert_eq!(failure.status, RunnerStatus::Oom);
    assert_eq!(attempts(&sim, job), [(JobStatus::Oom, Some(Fault::Infrastructure))]);
    let job = sim.job(job).expect("it is kept");
    assert_eq!(job.reason.as_deref(), Some("the container ran out of memory (exit code 137)"));
}
