//! How runners leave without a job being lost.

use super::*;
use crate::fleet::event::{Cordon, DownMode, RestartTime};
use crate::fleet::forge::testing::{forge_pool, kept_pool};
use crate::fleet::forge::{ForgeError, ForgeErrorClass};

/// A one-job runner that is idle, in a slot that was just closed.
fn closing() -> Desk {
    let mut desk = idle();
    desk.ask(Request::Cordon { slots: vec![SlotId(1)], to: Cordon::Closed });
    desk
}

fn idle() -> Desk {
    let mut desk = Desk::new([forge_pool("ci", &["linux"])]);
    desk.register_all();
    desk.listens(1);
    desk.take_told();
    desk
}

#[test]
fn a_closed_slot_asks_its_forge_then_its_agent_and_stays_empty() {
    let mut desk = closing();
    assert_eq!(desk.states(), ["stopping"]);
    assert_eq!(desk.answer(ForgeOutcome::Removed), "remove demo-ci-i1-01234567");
    desk.wait(9);
    assert_eq!(desk.take_told(), [] as [&str; 0], "a job may be on its way");
    desk.wait(2);
    assert_eq!(desk.take_told(), ["i1 stop"]);
    assert!(desk.seen.is_empty());
    desk.ends(1, 0, 0);
    assert_eq!(desk.seen, ["i1 removed", "look"]);
    desk.wait(60);
    assert!(desk.containers.is_empty());
    desk.ask(Request::Cordon { slots: vec![SlotId(1)], to: Cordon::Open });
    assert_eq!(desk.containers.len(), 1);
}

#[test]
fn a_runner_that_its_forge_calls_busy_stays_and_is_asked_for_again_a_minute_later() {
    let mut desk = closing();
    desk.answer(ForgeOutcome::Busy);
    assert_eq!(desk.states(), ["idle"]);
    desk.wait(59);
    assert_eq!(desk.asked.len(), 0);
    desk.wait(2);
    assert_eq!(desk.answer(ForgeOutcome::Busy), "remove demo-ci-i1-01234567");
    assert!(desk.seen.is_empty());
}

#[test]
fn an_answer_that_is_no_yes_leads_to_nothing_but_the_same_question() {
    let error = ForgeError { class: ForgeErrorClass::Retry, message: "500".to_owned() };
    let outcomes = [ForgeOutcome::Failed(error), ForgeOutcome::Unknown("no answer".to_owned())];
    for outcome in outcomes {
        let mut desk = closing();
        desk.answer(outcome);
        desk.wait(4);
        assert_eq!(desk.asked.len(), 0);
        desk.wait(120);
        assert_eq!(desk.asked.len(), 1);
        assert_eq!((desk.take_told(), desk.seen.len()), (Vec::new(), 0));
    }
}

#[test]
fn a_job_that_came_in_between_is_worked_to_its_end() {
    // At every step of a leave.
    for step in 0..4 {
        let mut desk = closing();
        if step > 0 {
            desk.answer(ForgeOutcome::Removed);
        }
        if step > 1 {
            desk.wait(5);
        }
        if step > 2 {
            desk.wait(8);
        }
        desk.works(1);
        if step == 0 {
            desk.answer(ForgeOutcome::Removed);
        }
        assert_eq!(desk.states(), ["running"], "step {step}");
        desk.take_told();
        desk.wait(3600);
        assert_eq!(desk.states(), ["running"], "step {step}");
        assert_eq!((desk.take_told(), desk.seen.len()), (Vec::new(), 0), "step {step}");
        desk.ends(1, 0, 1);
        assert_eq!(desk.slot(1).tasks_completed, 1);
    }
}

#[test]
fn a_forge_that_is_not_there_lets_nobody_go() {
    let mut desk = idle();
    desk.contact(ForgeContact::Unreachable("gone".to_owned()));
    desk.ask(Request::Cordon { slots: vec![SlotId(1)], to: Cordon::Closed });
    desk.wait(3600);
    assert_eq!((desk.states(), desk.asked.len(), desk.seen.len()), (vec!["idle".to_owned()], 0, 0));
    desk.contact(ForgeContact::Good);
    assert_eq!(desk.asked.len(), 1);
}

#[test]
fn an_idle_runner_that_its_forge_gave_a_job_to_is_not_asked_to_leave() {
    let mut desk = idle();
    let mut running = job(1, &["linux"], desk.now);
    running.status = ForgeJobStatus::Running;
    running.runner = Some("demo-ci-i1-01234567".to_owned());
    desk.jobs(vec![running]);
    desk.ask(Request::Cordon { slots: vec![SlotId(1)], to: Cordon::Closed });
    desk.wait(60);
    assert_eq!((desk.states(), desk.asked.len()), (vec!["idle".to_owned()], 0));
    desk.jobs(Vec::new());
    assert_eq!(desk.asked.len(), 1);
    let mut desk = idle();
    desk.runners(&[("demo-ci-i1-01234567", true, true)]);
    desk.ask(Request::Cordon { slots: vec![SlotId(1)], to: Cordon::Closed });
    assert_eq!(desk.asked.len(), 0);
    desk.wait(31);
    assert_eq!(desk.seen, ["look"], "the list may be old");
}

#[test]
fn a_stuck_listener_is_deregistered_before_it_is_replaced() {
    let mut desk = idle();
    let stuck = Some("no poll for 3 minutes".to_owned());
    let status = ListenerStatus { stage: ListenerStage::Listening, runner: None, jobs: 0, stuck };
    desk.agent(IncarnationId(1), AgentEvent::Listener(status));
    assert!(desk.seen.is_empty());
    assert_eq!(desk.answer(ForgeOutcome::Removed), "remove demo-ci-i1-01234567");
    desk.wait(75);
    assert_eq!(desk.seen.first().map(String::as_str), Some("i1 removed"));
    let failure = desk.slot(1).last_failure.expect("it failed");
    assert_eq!(failure.cause, "its listener lives and makes no progress: no poll for 3 minutes");
}

#[test]
fn a_kept_runner_is_asked_itself() {
    let mut desk = Desk::before([kept_pool(1)]);
    desk.listens(1);
    desk.take_told();
    desk.ask(Request::Restart { slots: vec![SlotId(1)], when: RestartTime::AfterJob });
    assert_eq!((desk.take_told(), desk.asked.len()), (vec!["i1 stop".to_owned()], 0));
    desk.works(1);
    assert_eq!(desk.states(), ["running"]);
    desk.wait(600);
    assert!(desk.seen.is_empty() && desk.take_told().is_empty());
}

#[test]
fn down_waits_for_the_forge_and_ends_jobs_only_with_their_grace() {
    let mut desk = idle();
    desk.ask(Request::Down(DownMode::Now));
    assert_eq!(desk.answer(ForgeOutcome::Removed), "remove demo-ci-i1-01234567");
    desk.wait(1);
    assert_eq!(desk.take_told(), ["i1 stop"]);
    desk.ends(1, 0, 0);
    assert!(desk.seen.contains(&"finish".to_owned()), "{:?}", desk.seen);

    let mut desk = idle();
    desk.works(1);
    desk.ask(Request::Down(DownMode::Now));
    assert_eq!(desk.take_told(), ["i1 cancel within 10s"]);
    desk.wait(24);
    assert!(desk.seen.is_empty());
    desk.wait(3);
    assert!(desk.seen.contains(&"i1 removed".to_owned()), "{:?}", desk.seen);

    let mut desk = idle();
    desk.works(1);
    desk.ask(Request::Down(DownMode::Drain));
    desk.wait(3600);
    assert!(desk.take_told().is_empty() && desk.seen.is_empty());
}

#[test]
fn down_does_not_wait_for_ever_for_a_forge_that_is_not_there() {
    let mut desk = idle();
    desk.contact(ForgeContact::Unreachable("gone".to_owned()));
    desk.ask(Request::Down(DownMode::Now));
    desk.wait(62);
    assert_eq!(desk.take_told(), ["i1 stop"]);
    desk.ends(1, 0, 0);
    desk.wait(62);
    assert_eq!(desk.seen.last().map(String::as_str), Some("finish"));
}
