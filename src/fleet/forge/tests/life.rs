//! A runner at a forge, from its registration to its end.

use super::*;
use crate::fleet::forge::testing::{forge_pool, kept_pool};
use crate::fleet::forge::{ForgeError, ForgeErrorClass};

fn failed(class: ForgeErrorClass) -> ForgeOutcome {
    let message = "says the forge".to_owned();
    ForgeOutcome::Failed(ForgeError { class, message })
}

#[test]
fn a_one_job_runner_registers_when_it_is_up_works_once_and_is_replaced() {
    let mut desk = Desk::new([forge_pool("ci", &["linux"])]);
    assert_eq!(desk.states(), ["registering"]);
    assert_eq!(desk.take_told(), [] as [&str; 0]);
    let registered = ForgeOutcome::Registered(ForgeRunnerId(9));
    assert_eq!(desk.answer(registered), "register demo-ci-i1-01234567");
    assert_eq!(desk.take_told(), ["i1 listen as demo-ci-i1-01234567"]);
    desk.says(1, ListenerStage::Starting, 0);
    assert_eq!(desk.states(), ["registering"]);
    desk.listens(1);
    assert_eq!(desk.states(), ["idle"]);
    desk.works(1);
    assert_eq!(desk.states(), ["running"]);
    let forge = desk.slot(1).forge.expect("it has a forge");
    assert_eq!(
        (forge.id, forge.work.and_then(|it| it.run)),
        (Some(ForgeRunnerId(9)), Some(ForgeRunId(7)))
    );
    desk.ends(1, 0, 1);
    assert_eq!(desk.seen, ["i1 publishes CI/7", "i1 removed"]);
    assert_eq!(desk.slot(1).tasks_completed, 1);
    assert!(desk.slot(1).last_failure.is_none());
    desk.wait(1);
    assert_eq!(desk.answer(ForgeOutcome::Busy), "register demo-ci-i2-01234567");
}

#[test]
fn nothing_is_registered_before_the_forge_and_the_fleet_are_known() {
    let mut desk = Desk::before([forge_pool("ci", &["linux"])]);
    desk.wait(5);
    desk.contact(ForgeContact::Good);
    assert_eq!((desk.asked.len(), desk.states()), (0, vec!["registering".to_owned()]));
    desk.contact(ForgeContact::Unreachable("no route".to_owned()));
    desk.hear(Event::Forge(ForgeEvent::Identity(FleetId::new("0123456789abcdef"))));
    assert_eq!(desk.asked.len(), 0);
    let reason = desk.slot(1).reason.expect("a reason");
    assert!(reason.contains("does not answer: no route"), "{reason}");
    desk.contact(ForgeContact::Good);
    assert_eq!(desk.asked.len(), 1);
}

#[test]
fn each_failure_to_register_has_its_reaction() {
    for class in [ForgeErrorClass::Denied, ForgeErrorClass::Invalid] {
        let mut desk = Desk::new([forge_pool("ci", &["linux"])]);
        desk.answer(failed(class));
        desk.wait(400);
        assert_eq!(desk.asked.len(), 0, "the pool is held");
        let forge = desk.slot(1).forge.expect("it has a forge");
        assert_eq!(forge.hold.as_deref(), Some("says the forge"));
        desk.up();
        assert_eq!(desk.asked.len(), 1, "`up` begins anew");
        assert!(desk.seen.is_empty(), "with the same container");
    }
    let mut desk = Desk::new([forge_pool("ci", &["linux"])]);
    desk.answer(failed(ForgeErrorClass::Retry));
    desk.wait(4);
    assert_eq!(desk.asked.len(), 0);
    desk.wait(3);
    assert_eq!(
        desk.answer(failed(ForgeErrorClass::Limited(desk.now + Duration::from_secs(100)))),
        "register demo-ci-i1-01234567"
    );
    desk.wait(99);
    assert_eq!(desk.asked.len(), 0);
    desk.wait(8);
    desk.answer(failed(ForgeErrorClass::NameTaken));
    assert_eq!(desk.seen, ["i1 removed"]);
    assert_eq!(desk.leftovers(), ["demo-ci-i1-01234567"]);
    let asked: Vec<String> = desk.asked.iter().map(|(_, _, action)| words(action)).collect();
    assert_eq!(asked, ["remove demo-ci-i1-01234567", "register demo-ci-i2-01234567"]);
}

#[test]
fn a_registration_that_nobody_knows_of_is_never_tried_again_under_its_name() {
    let mut desk = Desk::new([forge_pool("ci", &["linux"])]);
    desk.answer(ForgeOutcome::Unknown("no answer".to_owned()));
    let asked: Vec<String> = desk.asked.iter().map(|(_, _, action)| words(action)).collect();
    assert_eq!(asked, ["remove demo-ci-i1-01234567", "register demo-ci-i2-01234567"]);
    desk.answer(ForgeOutcome::NotListed);
    desk.wait(100);
    desk.runners(&[]);
    assert_eq!(desk.leftovers().len(), 1, "it may show up yet");
    desk.wait(30);
    desk.runners(&[("demo-ci-i1-01234567", false, false)]);
    desk.wait(200);
    desk.runners(&[("demo-ci-i1-01234567", false, false)]);
    assert!(desk.asked.iter().any(|(_, _, it)| words(it) == "remove demo-ci-i1-01234567"));
}

#[test]
fn a_supervisor_that_dies_before_the_hand_over_has_lost_the_registration() {
    for is_answered in [false, true] {
        let mut desk = Desk::new([forge_pool("ci", &["linux"])]);
        if is_answered {
            desk.answer(ForgeOutcome::Registered(ForgeRunnerId(9)));
        }
        desk.restart();
        desk.agent(IncarnationId(1), AgentEvent::Connected { holding: None });
        desk.wait(12);
        assert_eq!(desk.seen, ["i1 removed"]);
        assert_eq!(desk.leftovers(), ["demo-ci-i1-01234567"]);
        assert!(desk.asked.iter().any(|(_, _, it)| words(it) == "register demo-ci-i2-01234567"));
    }
}

#[test]
fn a_supervisor_that_dies_later_changes_nothing() {
    let mut desk = Desk::new([forge_pool("ci", &["linux"])]);
    desk.register_all();
    desk.works(1);
    desk.restart();
    assert_eq!(desk.states(), ["running"]);
    desk.agent(IncarnationId(1), AgentEvent::Connected { holding: None });
    desk.works(1);
    desk.wait(60);
    assert_eq!((desk.states(), desk.asked.len()), (vec!["running".to_owned()], 0));
    desk.ends(1, 0, 1);
    assert_eq!(desk.slot(1).tasks_completed, 1);
}

#[test]
fn a_listener_that_does_not_come_online_is_thrown_away_with_its_registration() {
    let mut desk = Desk::new([forge_pool("ci", &["linux"])]);
    desk.register_all();
    desk.says(1, ListenerStage::Starting, 0);
    desk.wait(179);
    assert_eq!((desk.asked.len(), desk.states()), (0, vec!["registering".to_owned()]));
    desk.wait(3);
    assert_eq!(desk.answer(ForgeOutcome::Removed), "remove demo-ci-i1-01234567");
    desk.wait(80);
    assert_eq!(
        desk.slot(1).last_failure.map(|it| it.cause),
        Some("the forge did not see it online in time".to_owned())
    );
}

#[test]
fn a_program_that_is_too_old_holds_its_pool_and_is_not_tried_in_a_loop() {
    let mut desk = Desk::new([forge_pool("ci", &["linux"])]);
    desk.register_all();
    desk.listens(1);
    desk.ends(1, 7, 0);
    desk.wait(3600);
    assert_eq!(desk.seen, ["i1 removed"], "no other was made");
    assert!(desk.containers.is_empty());
    let hold = desk.slot(1).forge.and_then(|it| it.hold).expect("it is held");
    assert!(hold.contains("too old"), "{hold}");
    desk.up();
    assert_eq!(desk.containers.len(), 1);
}

#[test]
fn a_listener_without_a_job_is_a_failure_and_its_entry_goes_at_once() {
    let mut desk = Desk::new([forge_pool("ci", &["linux"])]);
    desk.register_all();
    desk.listens(1);
    desk.ends(1, 0, 0);
    assert_eq!(desk.answer(ForgeOutcome::Removed), "remove demo-ci-i1-01234567");
    assert_eq!((desk.slot(1).tasks_completed, desk.slot(1).last_failure.is_some()), (0, true));
}

#[test]
fn a_kept_runner_without_a_token_is_held_alone_and_the_variable_is_named() {
    let mut desk = Desk::before([kept_pool(4)]);
    let told: Vec<String> = desk.take_told();
    assert_eq!(told[2], "i3 listen as homelab-runner-3 with RUNNER_TOKEN_3");
    for id in [1, 2, 4] {
        desk.listens(id);
    }
    desk.says(3, ListenerStage::Over(ListenerEnd::NeedsToken), 0);
    desk.wait(3600);
    assert_eq!(desk.states(), ["idle", "idle", "error", "idle"]);
    assert_eq!(desk.seen, ["i3 removed"]);
    let reason = desk.slot(3).reason.expect("a reason");
    assert!(reason.contains("RUNNER_TOKEN_3 is not set"), "{reason}");
    assert_eq!(desk.asked.len(), 0, "nobody has a right to ask its forge");
    desk.up();
    assert_eq!(desk.take_told(), ["i5 listen as homelab-runner-3 with RUNNER_TOKEN_3"]);
}

#[test]
fn a_kept_runner_counts_each_job_and_goes_on() {
    let mut desk = Desk::before([kept_pool(1)]);
    desk.listens(1);
    desk.works(1);
    desk.says(1, ListenerStage::Listening, 1);
    assert_eq!((desk.slot(1).tasks_completed, desk.states()), (1, vec!["idle".to_owned()]));
    assert_eq!(desk.seen, ["i1 publishes CI/7"]);
    // Two jobs while nobody listened to the agent.
    desk.says(1, ListenerStage::Listening, 3);
    assert_eq!(desk.slot(1).tasks_completed, 3);
    assert_eq!(desk.seen.len(), 1, "of those nothing is known");
    desk.ends(1, 1, 3);
    desk.wait(2);
    assert_eq!(desk.containers.keys().copied().collect::<Vec<_>>(), [IncarnationId(2)]);
    assert_eq!(desk.leftovers(), [] as [&str; 0], "its registration is kept");
}

#[test]
fn a_plan_says_which_kept_runner_needs_a_new_token() {
    let mut desk = Desk::before([kept_pool(2)]);
    desk.listens(1);
    desk.listens(2);
    let mut pool = kept_pool(2);
    let forge = pool.forge.as_mut().expect("it has a forge");
    forge.labels.push("big".to_owned());
    forge.group = Some("ci".to_owned());
    let reasons = |pool: Pool| -> Vec<String> {
        let plan = desk.fleet.preview(&spec().with(pool));
        plan.changes.into_iter().map(|change| change.reason).collect()
    };
    let told = reasons(pool);
    let why = "forge labels self-hosted linux -> self-hosted linux big, group default -> ci; \
               it registers anew and needs a new token in RUNNER_TOKEN_2";
    assert_eq!(told[1], why);
    let other = Pool { profile: crate::ids::ProfileName::new("standard"), ..kept_pool(2) };
    assert!(!reasons(other).concat().contains("token"), "the same registration serves");
}
