//! Jobs that an operator keeps from starting, and lets go again.

use std::time::Duration;

use super::jobs::given;
use super::{ready, refusal, start, tells, with};
use crate::fleet::effect::{Answer, RefusalKind};
use crate::fleet::event::Request;
use crate::fleet::view::{JobFilter, JobOrder, JobStatus, WaitCode};
use crate::ids::{JobId, PoolName};
use crate::sim::Sim;
use crate::sim::script::{pool, work};

fn code(sim: &Sim, job: JobId) -> Option<WaitCode> {
    sim.job(job)?.reason_code
}

fn words(answer: Option<Answer>) -> String {
    match answer {
        Some(Answer::Refused(refusal)) => refusal.message,
        answer => panic!("it is refused, not {answer:?}"),
    }
}

#[test]
fn a_held_job_lets_others_pass_and_goes_on_at_its_old_place() {
    let mut sim = ready(with([pool("light", 1)]));
    let jobs: Vec<JobId> = (0..4).filter_map(|_| sim.submit(work(2).on("light"))).collect();
    sim.hold(&jobs[1..3]);
    let held = sim.job(jobs[1]).expect("it is kept");
    assert_eq!((held.status, held.position), (JobStatus::Queued, None));
    let why = held.reason.expect("it says why it waits");
    assert!(why.ends_with("UTC; `slate-fleet release job-2` lets it go"), "{why}");
    assert!(why.starts_with("operator holds it since "), "{why}");
    sim.run_till_job(jobs[3], JobStatus::Running);
    let late = sim.submit(work(2).on("light")).expect("it is accepted");
    sim.release(&jobs[1..3]);
    assert_eq!(sim.job(late).and_then(|it| it.position), Some(3), "the held ones were first");
    sim.settle().expect("all is well again");
    assert_eq!(given(&sim), ["job-1", "job-4", "job-2", "job-3", "job-5"]);
    tells(&sim, "a_held_job_lets_others_pass_and_goes_on_at_its_old_place");
}

#[test]
fn held_jobs_outlive_restarts_and_can_be_cancelled() {
    let mut sim = ready(with([pool("light", 1)]));
    let kept = sim.submit(work(1).on("light").held()).expect("it is accepted");
    let dropped = sim.submit(work(1).on("light").held()).expect("it is accepted");
    sim.crash(Duration::from_secs(1));
    assert!(sim.run_till(|sim| sim.fleet().is_some()));
    sim.run_for(Duration::from_secs(3600));
    assert_eq!(
        (code(&sim, kept), code(&sim, dropped)),
        (Some(WaitCode::Held), Some(WaitCode::Held))
    );
    sim.ask(Request::Cancel(dropped));
    assert_eq!(sim.status(dropped), Some(JobStatus::Cancelled));
    sim.release(&[kept]);
    assert!(sim.run_till_job(kept, JobStatus::Succeeded));
    tells(&sim, "held_jobs_outlive_restarts_and_can_be_cancelled");
}

#[test]
fn what_does_not_wait_cannot_be_held_and_bad_input_changes_nothing() {
    let mut sim = ready(with([pool("light", 1)]));
    let [over, runs, waits] =
        [1, 60, 60].map(|seconds| sim.submit(work(seconds).on("light")).expect("it is accepted"));
    assert!(sim.run_till_job(runs, JobStatus::Running));
    for (job, kind, told) in [
        (
            runs,
            RefusalKind::Conflict,
            "job-2 has a runner, and only what waits can be held; `slate-fleet cancel job-2` ends \
             it",
        ),
        (over, RefusalKind::Conflict, "job-1 is over already"),
        (JobId(9), RefusalKind::NotFound, "there is no job-9 to hold"),
    ] {
        let answer = sim.hold(&[waits, job]);
        assert_eq!(refusal(answer.clone()), Some(kind));
        assert_eq!(words(answer), told);
        assert_eq!(code(&sim, waits), Some(WaitCode::AllBusy), "all or none");
    }
    assert_eq!(refusal(sim.release(&[waits, runs])), Some(RefusalKind::Conflict));
    assert_eq!(sim.hold(&[waits, waits]), Some(Answer::Accepted));
    assert_eq!(sim.hold(&[waits]), Some(Answer::Accepted), "it stays on hold");
    assert_eq!(sim.release(&[waits, waits]), Some(Answer::Accepted));
    assert_eq!(sim.release(&[waits]), Some(Answer::Accepted), "it waits already");
    let told = sim.records.audit.iter().filter(|it| ["held", "released"].contains(&&*it.what));
    assert_eq!(told.count(), 2, "what changes nothing is not told");
    assert!(sim.oracle.violations.is_empty(), "{:?}", sim.oracle.violations);
}

#[test]
fn the_job_of_a_forge_is_its_forge_s_to_hold() {
    let mut sim = start(with([pool("light", 1).at_forge(&["linux"]), pool("standard", 1)]));
    let pushed = sim.push(&["linux", "nobody-has-this"], 60);
    sim.run_for(Duration::from_secs(60));
    let told = words(sim.hold(&[JobId(pushed.0)]));
    let number = pushed.0;
    let scope = crate::sim::world::forge::SCOPE;
    assert_eq!(
        told,
        format!(
            "{number} is a job of {scope}, which alone decides when it starts; only the fleet's \
             own jobs can be held"
        )
    );
}

#[test]
fn held_jobs_ask_for_no_runner_and_still_take_room_in_the_queue() {
    let mut spec = with([pool("light", 0).between(0, 4).elastic(|it| {
        it.scale_up_threshold = 0;
        it.scale_up_delay = Duration::ZERO;
    })]);
    spec.limits.queue_max = 3;
    let mut sim = ready(spec);
    let held: Vec<JobId> = (0..3).filter_map(|_| sim.submit(work(1).on("light").held())).collect();
    assert_eq!(held.len(), 3);
    assert_eq!(sim.submit(work(1).on("light")), None, "the queue is full");
    sim.run_for(Duration::from_secs(3600));
    assert!(sim.containers().is_empty(), "nobody needs a runner");
    let fleet = sim.fleet().expect("it runs");
    let view = fleet.view(sim.now());
    assert_eq!((view.queued, view.held, view.oldest), (0, 3, None));
    let counts = fleet.waiting_counts();
    let light = Some(PoolName::new("light"));
    assert_eq!(counts.get(&(light, WaitCode::Held)), Some(&3), "{counts:?}");
    let queue = JobFilter { order: JobOrder::Queue, ..JobFilter::newest(10) };
    let listed: Vec<JobId> = fleet.jobs(&queue).iter().map(|job| job.id).collect();
    assert_eq!(listed, held, "they are listed with what waits");
    sim.release(&held);
    assert!(sim.run_till_job(held[2], JobStatus::Succeeded));
    assert!(sim.oracle.violations.is_empty(), "{:?}", sim.oracle.violations);
}

// Of one submitter what comes first goes first, also over a time on hold.
#[test]
fn what_is_handed_in_while_others_are_held_goes_behind_them() {
    let mut sim = ready(with([pool("light", 1)]));
    let jobs: Vec<JobId> = (0..6).filter_map(|_| sim.submit(work(5).on("light"))).collect();
    sim.hold(&jobs[2..]);
    sim.submit(work(5).on("light")).expect("it is accepted");
    sim.release(&jobs[2..]);
    sim.settle().expect("all is well again");
    assert_eq!(given(&sim), ["job-1", "job-2", "job-3", "job-4", "job-5", "job-6", "job-7"]);
}
