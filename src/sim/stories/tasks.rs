//! Work that is driven from outside: `assign` and `complete`.

use std::time::Duration;

use super::{ready, refusal, tells, with};
use crate::fleet::effect::RefusalKind;
use crate::fleet::event::{DownMode, Request, TaskEnd};
use crate::fleet::view::{JobStatus, RunnerStatus};
use crate::ids::{JobId, TaskName};
use crate::sim::Sim;
use crate::sim::script::{pool, task, work};

fn complete(sim: &mut Sim, job: JobId, end: TaskEnd) -> Option<RefusalKind> {
    refusal(sim.ask(Request::Complete { job, end }))
}

// Specification 1, "Assign and update state": status "running", current_task the task.
#[test]
fn a_task_leases_a_runner_until_it_is_completed() {
    let mut sim = ready(with([pool("light", 1)]));
    let first = sim.submit(task("task-1").on("light")).expect("it is accepted");
    let slot = sim.slot(1).expect("the slot stays");
    assert_eq!((slot.status, slot.task), (RunnerStatus::Running, Some(TaskName::new("task-1"))));
    assert_eq!(sim.status(first), Some(JobStatus::Running));
    let again = sim.submit(task("task-1")).expect("it is the same one");
    assert_eq!(again, first);
    let other = sim.ask(Request::Submit(Box::new(task("task-1").on("standard"))));
    assert_eq!(refusal(other), Some(RefusalKind::Conflict));
    let second = sim.submit(task("task-2").on("light")).expect("it is accepted");
    assert_eq!(sim.status(second), Some(JobStatus::Queued), "no runner is available");
    assert_eq!(complete(&mut sim, second, TaskEnd::Succeeded), Some(RefusalKind::Conflict));
    assert_eq!(complete(&mut sim, first, TaskEnd::Succeeded), None);
    sim.run_till_job(second, JobStatus::Running);
    assert_eq!(sim.status(first), Some(JobStatus::Succeeded));
    assert_eq!(complete(&mut sim, first, TaskEnd::Succeeded), Some(RefusalKind::Conflict));
    assert_eq!(complete(&mut sim, second, TaskEnd::Failed), None);
    sim.settle().expect("all is well again");
    assert_eq!(sim.status(second), Some(JobStatus::Failed));
    assert_eq!(sim.slot(1).map(|slot| slot.tasks_completed), Some(2));
    tells(&sim, "a_task_leases_a_runner_until_it_is_completed");
}

#[test]
fn a_task_that_takes_too_long_loses_its_runner() {
    let mut sim = ready(with([pool("light", 1).persistent()]));
    let job = sim.submit(task("long").on("light").timeout(60)).expect("it is accepted");
    let container = sim.container(1);
    sim.run_for(Duration::from_secs(59));
    assert_eq!(sim.status(job), Some(JobStatus::Running));
    sim.settle().expect("all is well again");
    assert_eq!(sim.status(job), Some(JobStatus::TimedOut));
    assert_ne!(sim.container(1), container, "what ran there went with its container");
    let failure = sim.slot(1).and_then(|slot| slot.last_failure).expect("it is told");
    assert_eq!(failure.status, RunnerStatus::TimedOut);
    tells(&sim, "a_task_that_takes_too_long_loses_its_runner");
}

#[test]
fn a_task_outlives_its_supervisor_and_its_agents_session() {
    let mut sim = ready(with([pool("light", 1).persistent()]));
    let job = sim.submit(task("stays").on("light")).expect("it is accepted");
    let container = sim.container(1).expect("it has one");
    sim.crash(Duration::from_secs(5));
    sim.run_till(|sim| sim.fleet().is_some());
    sim.world.disconnect(&container);
    sim.run_for(Duration::from_secs(120));
    assert_eq!(sim.status(job), Some(JobStatus::Running));
    assert_eq!(sim.submit(task("stays")), Some(job));
    assert_eq!(complete(&mut sim, job, TaskEnd::Succeeded), None);
    sim.settle().expect("all is well again");
    assert_eq!(sim.container(1), Some(container), "a persistent runner goes on");
    assert_eq!(sim.slot(1).map(|slot| slot.tasks_completed), Some(1));
    tells(&sim, "a_task_outlives_its_supervisor_and_its_agents_session");
}

#[test]
fn a_task_whose_runner_dies_is_lost_and_not_begun_again() {
    let mut sim = ready(with([pool("light", 1)]));
    let job = sim.submit(task("fragile").on("light")).expect("it is accepted");
    let container = sim.container(1).expect("it has one");
    sim.world.die(&container, 137);
    sim.settle().expect("all is well again");
    assert_eq!(sim.status(job), Some(JobStatus::Lost));
    let again = sim.submit(task("fragile").on("light")).expect("the name is free again");
    assert_ne!(again, job);
    sim.ask(Request::Cancel(again));
    sim.settle().expect("all is well again");
    assert_eq!(sim.status(again), Some(JobStatus::Cancelled));
    tells(&sim, "a_task_whose_runner_dies_is_lost_and_not_begun_again");
}

#[test]
fn a_fleet_that_drains_waits_for_its_tasks() {
    let mut sim = ready(with([pool("light", 2)]));
    let job = sim.submit(task("last").on("light")).expect("it is accepted");
    sim.submit(work(5).on("light"));
    sim.down(DownMode::Drain);
    sim.run_for(Duration::from_secs(60));
    assert_eq!(sim.containers().len(), 1);
    assert_eq!(complete(&mut sim, job, TaskEnd::Succeeded), None);
    assert!(sim.run_till(Sim::is_finished));
    tells(&sim, "a_fleet_that_drains_waits_for_its_tasks");
}
