//! What an edited fleet file changes, and what not.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{ready, tells, with};
use crate::fleet::event::{Request, RestartTime};
use crate::fleet::view::{JobStatus, RunnerStatus};
use crate::ids::{ImageRef, ProfileName, SlotId};
use crate::sim::Sim;
use crate::sim::script::{pool, work};
use crate::units::MilliCpu;

fn incarnations(sim: &Sim) -> BTreeMap<u32, Option<u64>> {
    let view = sim.fleet().expect("it lives").view(sim.now());
    view.runners.iter().map(|it| (it.id.0, it.incarnation.map(|id| id.0))).collect()
}

#[test]
fn the_same_file_again_changes_nothing() {
    let spec = with([pool("light", 1), pool("standard", 1).spares(1)]);
    let mut sim = ready(spec.clone());
    let before = incarnations(&sim);
    sim.up(spec);
    sim.settle().expect("all is well again");
    assert_eq!(incarnations(&sim), before);
    tells(&sim, "the_same_file_again_changes_nothing");
}

#[test]
fn an_edited_profile_replaces_its_idle_runners_only_and_busy_ones_after_their_job() {
    let spec = with([pool("light", 2), pool("standard", 1)]);
    let mut sim = ready(spec.clone());
    let job = sim.submit(work(10).on("light")).expect("it is accepted");
    sim.run_till_job(job, JobStatus::Running);
    let before = incarnations(&sim);
    sim.up(spec.edit("light", |it| it.cpus = MilliCpu::cpus(2)));
    sim.run_for(Duration::from_secs(5));
    let between = incarnations(&sim);
    assert_eq!(between[&1], before[&1], "it has a job");
    assert_ne!(between[&2], before[&2], "it was idle");
    assert_eq!(between[&3], before[&3], "its profile is as it was");
    sim.settle().expect("all is well again");
    assert_ne!(incarnations(&sim)[&1], before[&1]);
    assert_eq!(sim.status(job), Some(JobStatus::Succeeded));
    tells(&sim, "an_edited_profile_replaces_its_idle_runners_only_and_busy_ones_after_their_job");
}

#[test]
fn an_image_built_anew_replaces_runners_at_the_next_up() {
    let spec = with([pool("light", 1)]);
    let mut sim = ready(spec.clone());
    sim.world.image_build = 2;
    let before = incarnations(&sim);
    sim.run_for(Duration::from_secs(120));
    assert_eq!(incarnations(&sim), before);
    sim.up(spec);
    sim.settle().expect("all is well again");
    assert_ne!(incarnations(&sim), before);
    tells(&sim, "an_image_built_anew_replaces_runners_at_the_next_up");
}

#[test]
fn a_missing_image_is_told_and_used_when_it_appears() {
    let spec = with([pool("light", 1)]);
    let mut sim = ready(with([]));
    sim.world.missing_images.insert(ImageRef::new("runner:1"));
    sim.up(spec);
    sim.run_for(Duration::from_secs(10));
    let slot = sim.slot(1).expect("it is wanted");
    assert_eq!(slot.status, RunnerStatus::Error);
    assert_eq!(slot.reason.as_deref(), Some("image runner:1: no such image"));
    sim.world.missing_images.clear();
    sim.settle().expect("the fleet comes up");
    tells(&sim, "a_missing_image_is_told_and_used_when_it_appears");
}

#[test]
fn a_pool_s_new_profile_renames_its_slots_unless_the_file_names_them() {
    let mut named = pool("light", 1).named("box");
    named.runner_name = Some("box-{n}".to_owned());
    let spec = with([pool("light", 1), named]);
    let mut sim = ready(spec.clone());
    let mut next = spec;
    for pool in &mut next.pools {
        pool.profile = ProfileName::new("standard");
    }
    sim.up(next);
    sim.settle().expect("all is well again");
    let called: Vec<_> = [1, 2].iter().filter_map(|id| Some(sim.slot(*id)?.name)).collect();
    assert_eq!(called, ["demo-standard-01", "box-1"]);
    tells(&sim, "a_pool_s_new_profile_renames_its_slots_unless_the_file_names_them");
}

#[test]
fn restart_replaces_an_idle_container_and_forgets_its_failures() {
    let mut sim = ready(with([pool("light", 2)]));
    let before = incarnations(&sim);
    sim.ask(Request::Restart { slots: vec![SlotId(2)], when: RestartTime::AfterJob });
    sim.settle().expect("all is well again");
    let after = incarnations(&sim);
    assert_eq!(after[&1], before[&1]);
    assert_ne!(after[&2], before[&2]);
    tells(&sim, "restart_replaces_an_idle_container_and_forgets_its_failures");
}
