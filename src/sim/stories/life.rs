//! Coming up, going down, and the lives of containers.

use std::time::Duration;

use super::{ready, start, tells, with};
use crate::fleet::Fleet;
use crate::fleet::audit::Client;
use crate::fleet::effect::{Answer, ContainerPlan, Effect, EngineAction};
use crate::fleet::event::{
    ContainerFact, ContainerState, DownMode, EngineEvent, Event, Outcome, Request,
};
use crate::fleet::state::Restored;
use crate::fleet::view::{JobStatus, RunnerStatus};
use crate::ids::{ContainerId, ImageId, ImageRef, IncarnationId, OpId, RequestId};
use crate::sim::Sim;
use crate::sim::script::{command, host, pool, work};
use crate::sim::world::BEGIN;

#[test]
fn up_makes_the_runners_of_the_file() {
    let mut sim = start(with([pool("standard", 3)]));
    sim.settle().expect("the fleet comes up");
    assert_eq!(sim.containers().len(), 3);
    tells(&sim, "up_makes_the_runners_of_the_file");
}

#[test]
fn spares_are_made_after_the_slots_are_served() {
    let mut sim = start(with([pool("light", 1).spares(1)]));
    sim.settle().expect("the fleet comes up");
    assert_eq!(sim.containers().len(), 2);
    tells(&sim, "spares_are_made_after_the_slots_are_served");
}

#[test]
fn an_agent_may_speak_before_its_start_is_told() {
    let mut sim = start(with([pool("light", 1)]));
    sim.world.pace = crate::sim::world::Pace::Even;
    // The engine answers the start only 2 s later; the agent connects at once.
    sim.run_till(|sim| !sim.containers().is_empty());
    sim.world.slow_reports = Duration::from_secs(2);
    sim.settle().expect("the fleet comes up");
    tells(&sim, "an_agent_may_speak_before_its_start_is_told");
}

#[test]
fn a_job_goes_on_without_its_supervisor_and_is_adopted() {
    let mut sim = ready(with([pool("light", 1)]));
    let job = sim.submit(work(10)).expect("a runner is there");
    sim.run_till_job(job, JobStatus::Running);
    let container = sim.container(1);
    sim.run_for(Duration::from_secs(1));
    sim.crash(Duration::from_secs(3));
    sim.run_for(Duration::from_secs(5));
    assert_eq!(sim.container(1), container);
    assert!(sim.run_till_job(job, JobStatus::Succeeded));
    sim.settle().expect("all is well again");
    tells(&sim, "a_job_goes_on_without_its_supervisor_and_is_adopted");
}

#[test]
fn a_result_waits_for_the_next_supervisor() {
    let mut sim = ready(with([pool("light", 1)]));
    let job = sim.submit(command(&["work", "2000", "3"])).expect("a runner is there");
    sim.run_till_job(job, JobStatus::Running);
    sim.crash(Duration::from_secs(30));
    sim.run_for(Duration::from_secs(31));
    sim.settle().expect("all is well again");
    let job = sim.job(job).expect("it is kept");
    assert_eq!((job.status, job.exit_code, job.attempt.0), (JobStatus::Failed, Some(3), 1));
    tells(&sim, "a_result_waits_for_the_next_supervisor");
}

#[test]
fn a_killed_idle_runner_is_replaced_by_the_spare_at_once() {
    let mut sim = ready(with([pool("light", 2).spares(1)]));
    let container = sim.container(1).expect("it runs");
    sim.world.die(&container, 137);
    sim.run_for(Duration::from_millis(20));
    let slot = sim.slot(1).expect("it stays");
    assert_eq!(slot.status, RunnerStatus::Idle);
    sim.settle().expect("all is well again");
    tells(&sim, "a_killed_idle_runner_is_replaced_by_the_spare_at_once");
}

#[test]
fn a_killed_idle_runner_is_replaced_before_the_engine_says_why() {
    let mut sim = ready(with([pool("light", 1).spares(1)]));
    let container = sim.container(1).expect("it runs");
    sim.world.asking = Some(Duration::from_millis(80));
    sim.world.die_of_memory(&container);
    sim.run_for(Duration::from_millis(20));
    let slot = sim.slot(1).expect("it stays");
    assert_eq!(slot.status, RunnerStatus::Idle);
    sim.settle().expect("all is well again");
    let failure = sim.slot(1).and_then(|slot| slot.last_failure).expect("it is kept");
    assert_eq!(failure.status, RunnerStatus::Oom, "the cause is told late, and is the true one");
    tells(&sim, "a_killed_idle_runner_is_replaced_before_the_engine_says_why");
}

#[test]
fn a_busy_runner_that_was_killed_waits_for_the_engine_to_say_why() {
    let mut sim = ready(with([pool("light", 1).spares(1)]));
    let job = sim.submit(work(10)).expect("a runner is there");
    sim.run_till_job(job, JobStatus::Running);
    let container = sim.container(1).expect("it runs");
    sim.world.asking = Some(Duration::from_millis(80));
    sim.world.die_of_memory(&container);
    sim.run_for(Duration::from_millis(20));
    assert_eq!(sim.container(1), Some(container), "its job's end hangs on the cause");
    sim.settle().expect("all is well again");
    let failure = sim.slot(1).and_then(|slot| slot.last_failure).expect("it is kept");
    assert_eq!(failure.status, RunnerStatus::Oom);
    tells(&sim, "a_busy_runner_that_was_killed_waits_for_the_engine_to_say_why");
}

#[test]
fn a_container_removed_by_hand_is_replaced() {
    let mut sim = ready(with([pool("light", 1)]));
    let container = sim.container(1).expect("it runs");
    sim.world.remove_by_hand(&container);
    sim.settle().expect("all is well again");
    tells(&sim, "a_container_removed_by_hand_is_replaced");
}

#[test]
fn an_orphan_is_removed() {
    let mut sim = ready(with([pool("light", 1)]));
    let plan = ContainerPlan { name: "demo-light-77".to_owned(), ..some_plan() };
    sim.world.leave_orphan(IncarnationId(77), plan);
    sim.run_for(Duration::from_secs(31));
    sim.settle().expect("all is well again");
    assert_eq!(sim.containers().len(), 1);
    assert!(sim.records.meta.incarnation >= 77, "its number is never used again");
    tells(&sim, "an_orphan_is_removed");
}

/// A fleet that has just asked for its first container, with the operation and its plan.
fn asking() -> (Fleet, OpId, ContainerPlan) {
    let spec = with([pool("light", 1)]);
    let mut fleet = Fleet::restore(spec.clone(), Restored::default(), BEGIN);
    let image = ImageRef::new("runner:1");
    let events = vec![
        Event::Host(host()),
        Event::Request {
            id: RequestId(1),
            by: Client::new("operator"),
            request: Request::Apply(Box::new(spec)),
        },
        Event::Engine(EngineEvent::Listed { begun: BEGIN, containers: vec![] }),
        Event::Engine(EngineEvent::Image { image, outcome: Ok(ImageId::new("sha256:1")) }),
    ];
    let step = fleet.handle(BEGIN, events);
    let plan = step.effects.into_iter().find_map(|effect| match effect {
        Effect::Engine { op, action: EngineAction::Create(plan), .. } => Some((op, *plan)),
        _ => None,
    });
    let (op, plan) = plan.expect("a runner is planned");
    (fleet, op, plan)
}

/// Any plan of a container, as the core makes them.
fn some_plan() -> ContainerPlan {
    asking().2
}

#[test]
fn a_list_made_before_a_late_container_does_not_make_it_vanish() {
    let (mut fleet, op, plan) = asking();
    let after = |seconds| BEGIN + Duration::from_secs(seconds);
    let outcome = Outcome::Unknown("no answer in time".to_owned());
    fleet.handle(after(5), vec![Event::Operation { op, outcome }]);
    let late = ContainerFact {
        id: ContainerId::new("c1"),
        incarnation: plan.incarnation,
        state: ContainerState::Created,
    };
    // The engine hung: it answered the first question last, after it had made the container.
    let list = |begun, containers| Event::Engine(EngineEvent::Listed { begun, containers });
    let lists = vec![list(after(6), vec![late.clone()]), list(after(9), vec![])];
    fleet.handle(after(60), lists);
    let view = fleet.view(after(60));
    assert_eq!(view.runners[0].container, Some(late.id), "{:?}", view.runners[0]);
}

#[test]
fn a_list_that_was_begun_before_a_removal_finds_no_orphan() {
    let mut sim = ready(with([pool("light", 1)]));
    sim.world.slow_lists = Duration::from_millis(400);
    sim.run_till(|sim| sim.world.is_list_on_its_way());
    let container = sim.container(1).expect("it runs");
    sim.world.die(&container, 1);
    sim.run_for(Duration::from_secs(2));
    sim.settle().expect("all is well again");
    let lies = sim.records.audit.iter().filter(|entry| entry.what == "orphan found").count();
    assert_eq!(lies, 0);
    tells(&sim, "a_list_that_was_begun_before_a_removal_finds_no_orphan");
}

#[test]
fn down_now_stops_jobs_and_leaves_nothing() {
    let mut sim = ready(with([pool("light", 2).spares(1)]));
    let job = sim.submit(work(600)).expect("a runner is there");
    sim.run_till_job(job, JobStatus::Running);
    sim.down(DownMode::Now);
    assert!(sim.run_till(Sim::is_finished));
    assert_eq!(sim.status(job), Some(JobStatus::Cancelled));
    assert!(sim.containers().is_empty());
    tells(&sim, "down_now_stops_jobs_and_leaves_nothing");
}

#[test]
fn down_with_drain_lets_jobs_end_and_starts_no_other() {
    let mut sim = ready(with([pool("light", 2)]));
    let jobs: Vec<_> = (0..3).filter_map(|_| sim.submit(work(60))).collect();
    sim.run_till_job(jobs[1], JobStatus::Running);
    sim.down(DownMode::Drain);
    assert!(matches!(sim.up(with([pool("light", 2)])), Some(Answer::Refused(_))));
    assert!(sim.run_till(Sim::is_finished));
    let ends: Vec<_> = jobs.iter().filter_map(|job| sim.status(*job)).collect();
    assert_eq!(ends, [JobStatus::Succeeded, JobStatus::Succeeded, JobStatus::Queued]);
    assert!(sim.containers().is_empty());
    tells(&sim, "down_with_drain_lets_jobs_end_and_starts_no_other");
}

#[test]
fn a_fleet_that_goes_down_goes_on_so_after_a_restart() {
    let mut sim = ready(with([pool("light", 1)]));
    let job = sim.submit(work(20)).expect("a runner is there");
    sim.run_till_job(job, JobStatus::Running);
    sim.down(DownMode::Drain);
    sim.crash(Duration::from_secs(1));
    assert!(sim.run_till(|sim| sim.fleet().is_some()));
    assert!(sim.run_till(Sim::is_finished));
    assert_eq!(sim.status(job), Some(JobStatus::Succeeded));
    tells(&sim, "a_fleet_that_goes_down_goes_on_so_after_a_restart");
}

#[test]
fn up_right_after_a_restart_overrules_an_unfinished_down() {
    let spec = with([pool("light", 1)]);
    let mut sim = ready(spec.clone());
    sim.down(DownMode::Drain);
    sim.crash(Duration::from_secs(1));
    assert!(sim.run_till(|sim| sim.fleet().is_some()));
    assert_eq!(sim.up(spec), Some(Answer::Accepted));
    sim.settle().expect("the fleet is up");
    tells(&sim, "up_right_after_a_restart_overrules_an_unfinished_down");
}
