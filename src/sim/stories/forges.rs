//! Runners at a forge: one job each, or kept; how they come, work and leave.

use std::time::Duration;

use super::{ready, start, tells, with};
use crate::fleet::event::DownMode;
use crate::fleet::view::RunnerStatus;
use crate::ids::ContainerId;
use crate::sim::Sim;
use crate::sim::fault::Fault;
use crate::sim::script::pool;
use crate::sim::world::forge::{JobStage, Token};
use crate::sim::world::trouble::LiveRestore;

pub(super) const LABELS: &[&str] = &["self-hosted", "linux"];

/// A fleet whose runners are at the forge and wait.
fn listening(sim: &mut Sim) {
    let is_so = |sim: &Sim| sim.is_settled().is_ok();
    assert!(sim.run_till(is_so), "{:?}", sim.is_settled());
}

/// The container of slot 1.
pub(super) fn first(sim: &Sim) -> ContainerId {
    sim.container(1).expect("it has a container")
}

#[test]
fn a_runner_of_a_forge_has_one_job_and_is_gone() {
    let mut sim = start(with([pool("light", 1).at_forge(LABELS)]));
    assert!(sim.run_till_slot(1, RunnerStatus::Idle));
    let job = sim.push(LABELS, 20);
    assert!(sim.run_till_all_over());
    assert_eq!(sim.pushed(job), Some(JobStage::Over));
    sim.run_for(Duration::from_secs(20));
    tells(&sim, "a_runner_of_a_forge_has_one_job_and_is_gone");
}

#[test]
fn a_pool_at_a_forge_grows_for_its_jobs_and_shrinks_after_them() {
    let mut sim = ready(with([pool("light", 0).at_forge(LABELS).between(0, 2).elastic(|it| {
        it.scale_up_threshold = 0;
        it.scale_up_delay = Duration::ZERO;
        it.scale_down_delay = Duration::from_secs(60);
    })]));
    sim.push(LABELS, 5);
    assert!(sim.run_till_all_over());
    let none = |sim: &Sim| sim.containers().is_empty() && sim.world.forge.entries.is_empty();
    assert!(sim.run_till(none));
    sim.run_for(Duration::from_secs(40));
    tells(&sim, "a_pool_at_a_forge_grows_for_its_jobs_and_shrinks_after_them");
}

/// The forge gives a job to a runner that is about to go; the job is done all the same.
fn a_job_comes_as_its_runner_leaves(mut sim: Sim, name: &str) {
    sim.push(LABELS, 30);
    sim.run_for(Duration::from_millis(100));
    sim.scale(&[("light", 0)]);
    assert!(sim.run_till_all_over());
    sim.run_for(Duration::from_secs(10));
    assert_eq!(sim.ends(), ["success"]);
    tells(&sim, name);
}

// The forge refuses to remove it.
#[test]
fn a_runner_that_gets_a_job_as_it_leaves_stays_for_it() {
    let sim = ready(with([pool("light", 1).at_forge(LABELS)]));
    a_job_comes_as_its_runner_leaves(sim, "a_runner_that_gets_a_job_as_it_leaves_stays_for_it");
}

// The forge's own view lags behind: it removes a runner that has just got a job.
#[test]
fn a_runner_that_its_forge_removes_while_it_works_is_left_alone() {
    let mut sim = ready(with([pool("light", 1).at_forge(LABELS)]));
    sim.world.faults.set(Fault::ForgeBlind, 1000);
    let name = "a_runner_that_its_forge_removes_while_it_works_is_left_alone";
    a_job_comes_as_its_runner_leaves(sim, name);
}

// Its silence is counted from its new session, not from the one that is over.
#[test]
fn an_agent_that_calls_again_before_its_last_session_is_told_over_keeps_its_job() {
    let mut sim = ready(with([pool("light", 1).at_forge(LABELS)]));
    sim.run_for(Duration::from_secs(60));
    sim.world.faults.set(Fault::SessionBreaks, 1000);
    sim.world.faults.set(Fault::GoodbyeLate, 1000);
    let job = sim.push(LABELS, 30);
    assert!(sim.run_till_pushed_runs(job));
    sim.run_for(Duration::from_millis(100));
    sim.world.faults.set(Fault::SessionBreaks, 0);
    assert!(sim.run_till_all_over());
    sim.run_for(Duration::from_secs(10));
    assert_eq!(sim.ends(), ["success"]);
    tells(&sim, "an_agent_that_calls_again_before_its_last_session_is_told_over_keeps_its_job");
}

#[test]
fn an_idle_runner_that_is_not_wanted_is_deregistered_first() {
    let mut sim = ready(with([pool("light", 1).at_forge(LABELS)]));
    sim.scale(&[("light", 0)]);
    sim.run_for(Duration::from_secs(45));
    assert!(sim.containers().is_empty() && sim.world.forge.entries.is_empty());
    tells(&sim, "an_idle_runner_that_is_not_wanted_is_deregistered_first");
}

#[test]
fn a_lost_webhook_costs_one_poll_and_no_job() {
    let mut sim = ready(with([pool("light", 0).at_forge(LABELS).between(0, 1).elastic(|it| {
        it.scale_up_threshold = 0;
        it.scale_up_delay = Duration::ZERO;
    })]));
    sim.world.forge.has_webhooks = false;
    let job = sim.push(LABELS, 5);
    let begun = sim.now();
    assert!(sim.run_till_pushed_runs(job));
    assert!(sim.now().since(begun) < Duration::from_secs(40), "{:?}", sim.now().since(begun));
    assert!(sim.run_till_all_over());
    tells(&sim, "a_lost_webhook_costs_one_poll_and_no_job");
}

#[test]
fn a_supervisor_that_dies_between_registration_and_hand_over_leaves_no_ghost() {
    let mut sim = start(with([pool("light", 1).at_forge(LABELS)]));
    assert!(sim.run_till(|sim| sim.world.forge.entries.len() == 1));
    sim.crash(Duration::from_secs(5));
    listening(&mut sim);
    assert_eq!(sim.world.forge.entries.len(), 1);
    tells(&sim, "a_supervisor_that_dies_between_registration_and_hand_over_leaves_no_ghost");
}

#[test]
fn a_runner_works_on_without_its_supervisor_and_its_end_is_learned_later() {
    let mut sim = ready(with([pool("light", 1).at_forge(LABELS)]));
    let job = sim.push(LABELS, 30);
    assert!(sim.run_till_pushed_runs(job));
    sim.run_for(Duration::from_secs(2));
    sim.crash(Duration::from_secs(60));
    sim.run_for(Duration::from_secs(120));
    assert_eq!(sim.ends(), ["success"]);
    listening(&mut sim);
    tells(&sim, "a_runner_works_on_without_its_supervisor_and_its_end_is_learned_later");
}

#[test]
fn a_forge_that_is_away_for_an_hour_costs_no_runner_and_no_local_job() {
    let mut sim = ready(with([pool("light", 1), pool("standard", 1).at_forge(LABELS)]));
    sim.world.forge_away(Duration::from_secs(3600));
    sim.run_for(Duration::from_secs(40));
    sim.scale(&[("standard", 0)]);
    let job = sim.submit(crate::sim::script::work(5)).expect("local jobs go on");
    sim.run_for(Duration::from_secs(60));
    assert_eq!(sim.status(job), Some(crate::fleet::view::JobStatus::Succeeded));
    sim.run_for(Duration::from_secs(3400));
    let served: Vec<_> = sim.world.forge.own().filter(|(_, entry)| entry.is_online()).collect();
    assert_eq!(served.len(), 1, "who may get a job is not taken away");
    sim.run_for(Duration::from_secs(300));
    assert_eq!(sim.world.forge.entries.len(), 0);
    tells(&sim, "a_forge_that_is_away_for_an_hour_costs_no_runner_and_no_local_job");
}

#[test]
fn a_listener_that_is_too_old_holds_its_pool_until_the_operator_has_seen_to_it() {
    let mut sim = start(with([pool("light", 2).at_forge(LABELS)]));
    sim.world.forge.is_too_old = true;
    sim.run_for(Duration::from_secs(600));
    assert!(sim.records.meta.incarnation <= 3, "{} containers", sim.records.meta.incarnation);
    sim.world.forge.is_too_old = false;
    sim.up(with([pool("light", 2).at_forge(LABELS)]));
    listening(&mut sim);
    tells(&sim, "a_listener_that_is_too_old_holds_its_pool_until_the_operator_has_seen_to_it");
}

#[test]
fn kept_runners_serve_job_after_job_and_one_without_a_token_says_which() {
    let mut sim = start(with([pool("light", 2).kept_at_forge(LABELS)]));
    sim.give_tokens(&[1]);
    assert!(sim.run_till_slot(1, RunnerStatus::Idle));
    sim.push(LABELS, 5);
    sim.push(LABELS, 5);
    assert!(sim.run_till_all_over());
    sim.run_for(Duration::from_secs(5));
    let reason = sim.slot(2).and_then(|it| it.reason).unwrap_or_default();
    assert!(reason.contains("RUNNER_TOKEN_2"), "{reason}");
    assert_eq!(sim.ends(), ["success", "success"]);
    sim.give_tokens(&[2]);
    sim.up(with([pool("light", 2).kept_at_forge(LABELS)]));
    listening(&mut sim);
    tells(&sim, "kept_runners_serve_job_after_job_and_one_without_a_token_says_which");
}

// Item 12: "Restart a static-token runner 61 minutes later: it comes back without a token."
#[test]
fn a_kept_runner_comes_back_without_a_token_even_while_no_supervisor_runs() {
    let mut sim = start(with([pool("light", 1).kept_at_forge(LABELS)]));
    sim.give_tokens(&[1]);
    listening(&mut sim);
    sim.run_for(Duration::from_secs(61 * 60));
    sim.world.forge.tokens.insert("RUNNER_TOKEN_1".to_owned(), Token::Expired);
    let container = first(&sim);
    sim.crash(Duration::from_secs(60));
    sim.world.die(&container, 137);
    sim.run_for(Duration::from_secs(20));
    assert!(sim.world.forge.own().all(|(_, entry)| entry.is_online()), "it serves again by itself");
    listening(&mut sim);
    assert_eq!(sim.world.forge.entries.len(), 1);
    tells(&sim, "a_kept_runner_comes_back_without_a_token_even_while_no_supervisor_runs");
}

/// A fleet goes down while it has a job; how that ends.
fn goes_down(mode: DownMode, seconds: u64, end: &str, name: &str) {
    let mut sim = ready(with([pool("light", 2).at_forge(LABELS)]));
    let job = sim.push(LABELS, seconds);
    assert!(sim.run_till_pushed_runs(job));
    sim.run_for(Duration::from_secs(1));
    sim.down(mode);
    assert!(sim.run_till(Sim::is_finished));
    assert_eq!(sim.ends(), [end]);
    assert_eq!(sim.world.forge.entries.len(), 0);
    tells(&sim, name);
}

#[test]
fn a_fleet_that_goes_down_leaves_nothing_at_its_forge() {
    let name = "a_fleet_that_goes_down_leaves_nothing_at_its_forge";
    goes_down(DownMode::Now, 600, "cancelled", name);
}

#[test]
fn a_fleet_that_drains_lets_its_forge_s_jobs_end() {
    let name = "a_fleet_that_drains_lets_its_forge_s_jobs_end";
    goes_down(DownMode::Drain, 100, "success", name);
}

// Item 8: "Power-cut test: after the host returns, all runners are online in two minutes and no log
// shows a session-conflict loop."
#[test]
fn after_a_power_cut_runners_register_anew_and_meet_no_session_of_their_own() {
    let mut sim = ready(with([pool("light", 2).at_forge(LABELS)]));
    sim.world.faults.set(Fault::SessionHeld, 1000);
    sim.crash(Duration::from_secs(10));
    sim.world.engine_restarts(Duration::from_secs(5), LiveRestore::Off);
    sim.run_for(Duration::from_secs(130));
    let online = sim.world.forge.own().filter(|(_, entry)| entry.is_online()).count();
    assert_eq!(online, 2);
    listening(&mut sim);
    assert_eq!(sim.world.forge.entries.len(), 2);
    tells(&sim, "after_a_power_cut_runners_register_anew_and_meet_no_session_of_their_own");
}
