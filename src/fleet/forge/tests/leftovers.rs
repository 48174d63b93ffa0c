//! What is left at a forge, and how it goes.

use super::*;
use crate::fleet::event::DownMode;
use crate::fleet::forge::testing::forge_pool;
use crate::fleet::forge::{ForgeError, ForgeErrorClass};

const OLD: &str = "demo-ci-i1-01234567";

/// A runner that died while it was idle.
fn died() -> Desk {
    let mut desk = Desk::new([forge_pool("ci", &["linux"])]);
    desk.register_all();
    desk.listens(1);
    desk.ends(1, 2, 0);
    desk
}

#[test]
fn an_entry_is_gone_only_when_a_later_list_does_not_show_it() {
    let mut desk = died();
    assert_eq!(desk.answer(ForgeOutcome::Removed), format!("remove {OLD}"));
    desk.register_all();
    assert_eq!(desk.leftovers(), [OLD]);
    desk.wait(31);
    assert!(desk.seen.contains(&"look".to_owned()));
    desk.runners(&[(OLD, false, false)]);
    assert_eq!(desk.answer(ForgeOutcome::Removed), format!("remove {OLD}"), "it is still there");
    desk.wait(1);
    desk.runners(&[]);
    assert_eq!(desk.leftovers(), [] as [&str; 0]);
}

#[test]
fn an_entry_that_its_forge_keeps_is_tried_again_and_holds_up_nobody() {
    let mut desk = died();
    desk.answer(ForgeOutcome::Busy);
    desk.register_all();
    desk.listens(2);
    assert_eq!(desk.states(), ["idle"], "its replacement does not wait for it");
    desk.wait(7);
    desk.answer(ForgeOutcome::Busy);
    desk.restart();
    assert_eq!(desk.leftovers(), [OLD], "the next supervisor goes on with it");
    assert!(desk.asked.iter().any(|(_, _, it)| words(it) == format!("remove {OLD}")));
}

#[test]
fn after_its_job_an_entry_gets_two_minutes_to_go_by_itself() {
    let mut desk = Desk::new([forge_pool("ci", &["linux"])]);
    desk.register_all();
    desk.works(1);
    desk.ends(1, 0, 1);
    desk.register_all();
    desk.wait(60);
    desk.runners(&[(OLD, false, true)]);
    assert_eq!((desk.leftovers(), desk.asked.len()), (vec![OLD.to_owned()], 0));
    desk.wait(61);
    desk.runners(&[(OLD, false, false)]);
    assert_eq!(desk.answer(ForgeOutcome::Removed), format!("remove {OLD}"));
}

#[test]
fn ghosts_of_this_fleet_are_removed_and_others_are_never_touched() {
    let mut desk = Desk::new([forge_pool("ci", &["linux"])]);
    desk.register_all();
    desk.listens(1);
    let list = [
        (OLD, true, false),
        ("demo-ci-i77-01234567", false, false),
        ("demo-ci-i78-01234567", true, false),
        ("demo-ci-i79-01234567", false, true),
        ("demo-ci-i80-99999999", false, false),
        ("homelab-runner-1", false, false),
        ("i81-01234567", false, false),
    ];
    desk.runners(&list);
    desk.wait(29);
    desk.runners(&list);
    assert_eq!(desk.asked.len(), 0, "one look is no proof");
    desk.wait(2);
    desk.runners(&list);
    let asked: Vec<String> = desk.asked.iter().map(|(_, _, it)| words(it)).collect();
    assert_eq!(asked, ["remove demo-ci-i77-01234567"]);
    // The numbers of ghosts are never given again.
    desk.ends(1, 2, 0);
    assert!(desk.containers.contains_key(&IncarnationId(80)), "{:?}", desk.containers);
}

#[test]
fn a_runner_that_lists_do_not_show_is_looked_for_and_then_replaced() {
    let mut desk = Desk::new([forge_pool("ci", &["linux"])]);
    desk.register_all();
    desk.listens(1);
    for _ in 0..9 {
        desk.wait(30);
        desk.runners(&[]);
    }
    assert_eq!(desk.states(), ["idle"], "new runners are hidden for five minutes");
    desk.runners(&[(OLD, true, false)]);
    desk.wait(60);
    desk.runners(&[]);
    desk.wait(31);
    assert_eq!(desk.seen, ["look"]);
    desk.runners(&[]);
    assert_eq!(desk.states(), ["idle"]);
    desk.wait(1);
    desk.runners(&[]);
    assert_eq!(desk.states(), ["stopping"]);
    assert_eq!(desk.answer(ForgeOutcome::Removed), format!("remove {OLD}"));
}

#[test]
fn one_that_flaps_or_is_offline_for_a_moment_is_left_alone() {
    let mut desk = Desk::new([forge_pool("ci", &["linux"])]);
    desk.register_all();
    desk.listens(1);
    for round in 0..60 {
        desk.wait(60);
        desk.runners(&[(OLD, round % 5 == 0, false)]);
    }
    assert_eq!((desk.states(), desk.asked.len()), (vec!["idle".to_owned()], 0));
    for _ in 0..17 {
        desk.wait(60);
        desk.runners(&[(OLD, false, false)]);
    }
    assert_eq!(desk.states(), ["stopping"], "offline for 15 minutes");
}

/// A runner whose registration nobody knows the outcome of; its successor is not taken at all.
fn lost() -> Desk {
    let mut desk = Desk::new([forge_pool("ci", &["linux"])]);
    desk.answer(ForgeOutcome::Unknown("the connection broke".to_owned()));
    refuse_successor(&mut desk);
    desk
}

/// The forge does not take the runner that comes next.
fn refuse_successor(desk: &mut Desk) {
    let at = desk.asked.iter().position(|(_, _, it)| words(it).starts_with("register"));
    let (op, ..) = desk.asked.remove(at.expect("a successor is registered"));
    let class = ForgeErrorClass::Denied;
    let outcome = ForgeOutcome::Failed(ForgeError { class, message: "no".to_owned() });
    desk.hear(Event::ForgeOperation { op, outcome });
}

fn down(desk: &mut Desk) {
    desk.ask(Request::Down(DownMode::Drain));
    assert_eq!(desk.containers.len(), 0);
}

fn is_finished(desk: &Desk) -> bool {
    desk.seen.contains(&"finish".to_owned())
}

#[test]
fn a_lost_registration_that_is_found_by_its_name_is_done_with() {
    let mut desk = lost();
    assert_eq!(desk.answer(ForgeOutcome::Removed), format!("remove {OLD}"));
    down(&mut desk);
    assert!(is_finished(&desk), "the forge's word is enough for a `down`");
    let mut desk = lost();
    desk.answer(ForgeOutcome::Removed);
    desk.wait(1);
    desk.runners(&[]);
    assert_eq!(desk.leftovers(), [] as [&str; 0]);
}

#[test]
fn a_lost_registration_that_is_not_found_is_looked_for_while_lists_may_hide_it() {
    let mut desk = lost();
    assert_eq!(desk.answer(ForgeOutcome::NotListed), format!("remove {OLD}"));
    desk.wait(200);
    desk.runners(&[]);
    assert_eq!((desk.leftovers(), desk.asked.len()), (vec![OLD.to_owned()], 0));
    desk.runners(&[(OLD, false, false)]);
    assert_eq!(desk.answer(ForgeOutcome::Removed), format!("remove {OLD}"), "there it is");
    let mut desk = lost();
    desk.answer(ForgeOutcome::NotListed);
    desk.wait(301);
    desk.runners(&[]);
    assert_eq!(desk.leftovers(), [] as [&str; 0], "it was never registered");
}

#[test]
fn down_takes_a_list_that_was_begun_after_it_for_enough() {
    let mut desk = lost();
    desk.answer(ForgeOutcome::NotListed);
    down(&mut desk);
    desk.runners(&[]);
    desk.wait(29);
    desk.runners(&[]);
    assert!(!is_finished(&desk), "too soon to be a proof");
    desk.wait(1);
    desk.runners(&[]);
    assert!(is_finished(&desk));
}

#[test]
fn down_is_patient_with_a_forge_from_its_own_beginning_on() {
    let mut desk = died();
    desk.answer(ForgeOutcome::Busy);
    refuse_successor(&mut desk);
    desk.wait(600);
    down(&mut desk);
    desk.wait(299);
    assert!(!is_finished(&desk), "it would be left behind at once");
    desk.wait(2);
    assert!(is_finished(&desk));
}
