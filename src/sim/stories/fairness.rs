//! Whose job is next: shares between lanes and submitters, and jobs that wait for long.

use std::time::Duration;

use super::{ready, tells, with};
use crate::fleet::event::JobSpec;
use crate::fleet::view::{JobStatus, WaitCode, WaitReason};
use crate::ids::{JobId, LaneName, PoolName};
use crate::sim::Sim;
use crate::sim::script::{pool, work};

impl JobSpec {
    fn by(mut self, submitter: &str) -> Self {
        submitter.clone_into(&mut self.submitter);
        self
    }
}

fn submit(sim: &mut Sim, count: usize, job: &JobSpec) -> Vec<JobId> {
    (0..count).map(|_| sim.submit(job.clone()).expect("it is accepted")).collect()
}

/// Jobs in the order in which they were given to runners.
fn begun(sim: &Sim) -> Vec<JobId> {
    let given = sim.records.jobs.values().filter(|job| job.assigned_at.is_some());
    let mut given: Vec<_> = given.map(|job| (job.assigned_at, job.id)).collect();
    given.sort_unstable();
    given.into_iter().map(|(_, id)| id).collect()
}

fn waits(sim: &Sim, job: JobId) -> bool {
    sim.status(job) == Some(JobStatus::Queued)
}

fn unbroken(sim: &Sim) {
    assert!(sim.oracle.violations.is_empty(), "{:?}", sim.oracle.violations);
}

// Item 33: "Lanes: with 500 jobs from one lane queued, a job of another lane starts before the 2nd
// next free slot"; and so with submitters, and after a restart.
#[test]
fn a_job_of_another_lane_or_submitter_goes_before_five_hundred_of_one() {
    let lanes = with([pool("light", 2)]).with_lane("bulk", &["light"], 0);
    let mut sim = ready(lanes.with_lane("quick", &["light"], 0));
    submit(&mut sim, 500, &work(5).on("light").in_lane("bulk").by("ana"));
    sim.run_for(Duration::from_secs(60));
    for (other, restarts) in [
        (work(5).on("light").in_lane("quick").by("ana"), false),
        (work(5).on("light").in_lane("bulk").by("ben"), false),
        (work(5).on("light").in_lane("bulk").by("cleo"), true),
    ] {
        if restarts {
            sim.crash(Duration::from_secs(1));
            sim.run_for(Duration::from_secs(30));
        }
        let before = begun(&sim).len();
        let job = sim.submit(other).expect("it is accepted");
        let place = sim.job(job).and_then(|it| it.position);
        assert!(place.is_some_and(|place| place <= 2), "{place:?}");
        assert!(sim.run_till(|sim| !waits(sim, job)));
        let passed = begun(&sim).len() - before;
        assert!(passed <= 2, "{passed} began meanwhile");
    }
    unbroken(&sim);
}

#[test]
fn two_who_hand_in_many_take_turns_and_each_keeps_the_order_of_his_own() {
    let mut sim = ready(with([pool("light", 1)]));
    let of_ana = submit(&mut sim, 20, &work(2).on("light").by("ana"));
    let of_ben = submit(&mut sim, 20, &work(2).on("light").by("ben"));
    sim.run_for(Duration::from_secs(60));
    let begun = begun(&sim);
    assert!(begun.len() > 10, "{begun:?}");
    let rank =
        |jobs: &[JobId]| begun.iter().filter(|id| jobs.contains(id)).copied().collect::<Vec<_>>();
    let (ana, ben) = (rank(&of_ana), rank(&of_ben));
    assert!(ana.len().abs_diff(ben.len()) <= 2, "{} and {}", ana.len(), ben.len());
    assert!(ana.is_sorted() && ben.is_sorted());
    unbroken(&sim);
}

// Item 34: "Higher priority starts first and an aged job is never overtaken more than N times."
#[test]
fn higher_priority_goes_first_and_a_job_of_age_is_passed_three_times_at_most() {
    let mut sim = ready(with([pool("light", 1)]));
    let high = work(10).on("light").priority(5);
    submit(&mut sim, 2, &high);
    let low = sim.submit(work(1).on("light")).expect("it is accepted");
    let step = |sim: &mut Sim| {
        sim.run_for(Duration::from_secs(10));
        submit(sim, 1, &high);
    };
    let came = sim.now();
    while sim.now().since(came) < Duration::from_secs(29 * 60) {
        step(&mut sim);
        assert!(waits(&sim, low), "as long as there is more of higher priority");
    }
    while sim.now().since(came) < Duration::from_secs(30 * 60) {
        step(&mut sim);
    }
    let before = begun(&sim).len();
    while waits(&sim, low) {
        step(&mut sim);
        assert!(begun(&sim).len() <= before + 5, "it was passed too often");
    }
    let order = begun(&sim);
    let place = order.iter().position(|id| *id == low).expect("it began");
    assert!(place - before <= 3, "{} went before it", place - before);
    unbroken(&sim);
}

// What no runner suits holds up nobody, however old it is.
#[test]
fn a_job_of_age_that_nobody_serves_changes_nothing_for_the_others() {
    let mut sim = ready(with([pool("light", 1), pool("standard", 1)]));
    let stuck = sim.submit(work(1).on("standard")).expect("it is accepted");
    assert!(sim.run_till(|sim| !waits(sim, stuck)));
    sim.scale(&[("standard", 0)]);
    sim.run_for(Duration::from_secs(60));
    let stuck = sim.submit(work(1).on("standard")).expect("it is accepted");
    sim.run_for(Duration::from_secs(40 * 60));
    assert!(waits(&sim, stuck));
    let low = submit(&mut sim, 8, &work(2).on("light"));
    let high = submit(&mut sim, 8, &work(2).on("light").priority(1));
    let is_over = |sim: &Sim| high.iter().all(|id| !waits(sim, *id));
    assert!(sim.run_till(is_over));
    let passed = low.iter().filter(|id| !waits(&sim, **id)).count();
    assert!(passed <= 1, "{passed} of lower priority began before");
    unbroken(&sim);
}

// Item 33: "limits per lane and repository hold at every step of the simulation".
#[test]
fn of_a_lane_with_a_limit_no_more_run_at_once_and_others_pass() {
    let spec = |most| {
        let lanes = with([pool("light", 4)]).with_lane("verify", &["light"], 100);
        lanes.limiting("verify", most)
    };
    let mut sim = ready(spec(2));
    let of_lane = submit(&mut sim, 4, &work(5).on("light").in_lane("verify"));
    let other = sim.submit(work(5).on("light")).expect("it is accepted");
    assert!(!waits(&sim, other), "two runners are free for it");
    let why = sim.job(of_lane[2]).and_then(|it| it.wait).expect("it waits");
    let verify = LaneName::new("verify");
    assert_eq!(why, WaitReason::LaneLimit { lane: verify, running: 2, most: 2 });
    assert_eq!(why.to_string(), "2 jobs of lane verify run, and 2 may at a time");
    let fleet = sim.fleet().expect("it runs");
    let light = Some(PoolName::new("light"));
    let counts = fleet.waiting_counts();
    assert_eq!(counts.get(&(light, WaitCode::LaneLimit)), Some(&2), "{counts:?}");
    let lane = fleet.view(sim.now()).lanes.remove(0);
    assert_eq!((lane.limit, lane.running, lane.queued), (Some(2), 2, 2));
    assert!(sim.run_till_job(of_lane[3], JobStatus::Succeeded));
    let last = submit(&mut sim, 3, &work(5).on("light").in_lane("verify"));
    assert!(waits(&sim, last[2]));
    sim.up(spec(0));
    assert!(!waits(&sim, last[2]), "the file has no limit any more");
    unbroken(&sim);
    tells(&sim, "of_a_lane_with_a_limit_no_more_run_at_once_and_others_pass");
}

#[test]
fn no_runner_is_made_for_what_the_limit_of_a_lane_keeps_waiting() {
    let elastic = pool("light", 0).between(0, 8).elastic(|it| {
        it.scale_up_threshold = 0;
        it.scale_up_delay = Duration::ZERO;
    });
    let spec = with([elastic]).with_lane("verify", &["light"], 0).limiting("verify", 2);
    let mut sim = ready(spec);
    submit(&mut sim, 8, &work(600).on("light").in_lane("verify"));
    sim.run_for(Duration::from_secs(300));
    assert_eq!(sim.containers().len(), 2);
    unbroken(&sim);
}
