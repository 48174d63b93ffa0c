//! Kept runners that the engine starts again: deaths that are over, and retirements that are void.

use super::Desk;
use crate::fleet::event::{
    AgentEvent, ContainerExit, ContainerFact, ContainerState, EngineEvent, Event, Request,
    RestartTime,
};
use crate::fleet::forge::testing::kept_pool;
use crate::ids::{ContainerId, IncarnationId, SlotId};

const EXIT: ContainerExit = ContainerExit { code: 137, oom: false };

fn listening() -> Desk {
    let mut desk = Desk::before([kept_pool(1)]);
    desk.wait(1);
    desk.listens(1);
    desk.take_told();
    desk.wait(1);
    desk
}

fn dies(desk: &mut Desk) {
    let container = ContainerId::new("c1");
    desk.hear(Event::Engine(EngineEvent::Ended { container: container.clone(), code: 137 }));
    desk.hear(Event::Engine(EngineEvent::Died { container, exit: EXIT }));
}

/// A list shows its container as dead.
fn lies(desk: &mut Desk, begun_before: u64) {
    let containers = vec![ContainerFact {
        id: ContainerId::new("c1"),
        incarnation: IncarnationId(1),
        state: ContainerState::Exited(EXIT),
    }];
    let begun = crate::units::Time(desk.now.0 - begun_before);
    desk.hear(Event::Engine(EngineEvent::Listed { begun, containers }));
}

#[test]
fn a_death_that_is_told_of_a_runner_at_work_costs_nothing_before_a_list_shows_it() {
    let mut desk = listening();
    desk.works(1);
    dies(&mut desk);
    assert!(desk.seen.is_empty(), "{:?}", desk.seen);
    desk.list();
    desk.works(1);
    assert_eq!((desk.states(), desk.seen.len()), (vec!["running".to_owned()], 0));
}

#[test]
fn a_list_shows_its_death_unless_its_agent_has_spoken_since() {
    let mut desk = listening();
    desk.wait(1);
    lies(&mut desk, 500);
    assert_eq!(desk.states(), ["idle"], "its agent spoke after that list was begun");
    desk.now = desk.now + std::time::Duration::from_millis(1);
    lies(&mut desk, 0);
    assert_eq!(desk.seen.first().map(String::as_str), Some("i1 removed"));
}

/// A supervisor that dies right after it recorded that a runner goes.
fn retired() -> Desk {
    let mut desk = listening();
    desk.stops_removing = true;
    desk.ends(1, 1, 0);
    assert_eq!(desk.states(), ["error"]);
    desk.stops_removing = false;
    desk
}

#[test]
fn a_retired_runner_that_runs_is_asked_before_it_goes() {
    let mut desk = retired();
    desk.restart();
    assert!(desk.seen.is_empty(), "{:?}", desk.seen);
    assert_eq!(desk.states(), ["registering"]);
    desk.agent(IncarnationId(1), AgentEvent::Connected { holding: None });
    desk.works(1);
    assert_eq!(desk.states(), ["running"]);
    desk.wait(3600);
    desk.listens(1);
    assert_eq!((desk.states(), desk.seen.len()), (vec!["idle".to_owned()], 0));
}

#[test]
fn a_retired_runner_whose_listener_is_over_goes_when_its_agent_says_so() {
    let mut desk = retired();
    desk.restart();
    desk.agent(IncarnationId(1), AgentEvent::Connected { holding: None });
    desk.ends(1, 1, 0);
    assert_eq!(desk.seen.first().map(String::as_str), Some("i1 removed"));
}

#[test]
fn a_runner_that_was_to_go_by_force_goes_with_whatever_it_has() {
    let mut desk = listening();
    desk.works(1);
    desk.stops_removing = true;
    desk.ask(Request::Restart { slots: vec![SlotId(1)], when: RestartTime::Now });
    desk.stops_removing = false;
    desk.restart();
    assert!(desk.seen.contains(&"i1 removed".to_owned()), "{:?}", desk.seen);
}
