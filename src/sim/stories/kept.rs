//! Runners that stay, and that the engine starts again by itself: what they have then is theirs.

use std::time::Duration;

use super::forges::{LABELS, first};
use super::{start, tells, with};
use crate::fleet::runner::{OpKind, Runner};
use crate::fleet::view::RunnerStatus;
use crate::sim::Sim;
use crate::sim::script::pool;

fn listening() -> Sim {
    let mut sim = start(with([pool("light", 1).kept_at_forge(LABELS)]));
    sim.give_tokens(&[1]);
    assert!(sim.run_till_slot(1, RunnerStatus::Idle));
    sim
}

// Its removal is on record and not done when the supervisor dies; the engine starts it again, and
// its forge gives it a job.
#[test]
fn a_kept_runner_that_was_to_go_and_came_back_with_a_job_keeps_it() {
    let mut sim = listening();
    let container = first(&sim);
    sim.world.failing.push(OpKind::Remove);
    sim.world.kill_listener(&container);
    let is_retiring = |sim: &Sim| sim.records.runners.values().all(Runner::is_retiring);
    assert!(sim.run_till(is_retiring));
    sim.crash(Duration::from_secs(60));
    sim.world.failing.clear();
    let job = sim.push(LABELS, 120);
    assert!(sim.run_till_pushed_runs(job), "{:?}", sim.pushed(job));
    assert!(sim.fleet().is_none(), "no supervisor has seen that");
    assert!(sim.run_till_slot(1, RunnerStatus::Running));
    assert!(sim.run_till_all_over());
    sim.settle().expect("all is well");
    assert_eq!((sim.ends(), first(&sim)), (vec!["success"], container));
    tells(&sim, "a_kept_runner_that_was_to_go_and_came_back_with_a_job_keeps_it");
}

// The next supervisor hears of the death when it is long over.
#[test]
fn a_kept_runner_that_the_engine_started_again_is_not_replaced_for_its_old_death() {
    let mut sim = listening();
    let container = first(&sim);
    sim.crash(Duration::from_secs(6));
    sim.world.die(&container, 137);
    assert!(sim.run_till(|sim| sim.fleet().is_some()));
    sim.run_for(Duration::from_secs(40));
    sim.settle().expect("all is well");
    assert_eq!((first(&sim), sim.records.meta.incarnation), (container, 1));
    tells(&sim, "a_kept_runner_that_the_engine_started_again_is_not_replaced_for_its_old_death");
}
