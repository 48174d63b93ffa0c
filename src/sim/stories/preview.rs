//! `plan` says what `up` then does.

use std::collections::BTreeMap;

use super::{ready, with};
use crate::fleet::view::Change;
use crate::ids::{ImageRef, IncarnationId, SlotId};
use crate::sim::Sim;
use crate::sim::rng::Rng;
use crate::sim::script::pool;
use crate::spec::{PoolSize, Spec};
use crate::units::MilliCpu;

fn some_spec(rng: &mut Rng) -> Spec {
    let mut spec = with([]);
    for profile in ["light", "standard", "gpu_light"] {
        let count = u32::try_from(rng.below(5)).unwrap_or(0);
        if count > 0 {
            spec.pools.push(pool(profile, count));
        }
    }
    if rng.chance(500) {
        spec.pools.push(pool("standard", 2).named("stay").persistent());
    }
    spec
}

fn other_spec(rng: &mut Rng, mut spec: Spec) -> Spec {
    for pool in &mut spec.pools {
        if rng.chance(500) {
            pool.size = PoolSize::Fixed(u32::try_from(rng.below(5)).unwrap_or(0));
        }
    }
    if rng.chance(300) {
        spec.pools.pop();
    }
    if rng.chance(300)
        && let Some(pool) = spec.pools.first_mut()
    {
        pool.profile = crate::ids::ProfileName::new("light");
    }
    match rng.below(4) {
        0 => spec.edit("light", |it| it.cpus = MilliCpu(500)),
        1 => spec.edit("standard", |it| it.image = ImageRef::new("runner:2")),
        2 => spec.edit("gpu_light", |it| it.labels.push("new".to_owned())),
        _ => spec,
    }
}

fn fleet(sim: &Sim) -> BTreeMap<SlotId, (String, Option<IncarnationId>)> {
    let view = sim.fleet().expect("it lives").view(sim.now());
    view.runners.into_iter().map(|it| (it.id, (it.name, it.incarnation))).collect()
}

#[test]
fn plan_says_what_up_then_does() {
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let first = some_spec(&mut rng);
        let second = other_spec(&mut rng, first.clone());
        let mut sim = ready(first);
        let before = fleet(&sim);
        let plan = sim.fleet().expect("it lives").preview(&second);
        sim.up(second);
        sim.settle().expect("all is well again");
        let after = fleet(&sim);
        let planned: BTreeMap<_, _> = plan.changes.iter().map(|it| (it.id, it)).collect();
        for id in before.keys().chain(after.keys()) {
            let really = match (before.get(id), after.get(id)) {
                (None, _) => Change::Create,
                (Some(_), None) => Change::Remove,
                (Some(old), Some(new)) if old.1 == new.1 => Change::Keep,
                (Some(_), Some(_)) => Change::Recreate,
            };
            let said = planned.get(id).map(|it| it.change);
            assert_eq!(said, Some(really), "seed {seed}, {id}: {plan:?}");
            if let (Some(new), Some(said)) = (after.get(id), planned.get(id)) {
                assert_eq!(said.name, new.0, "seed {seed}, {id}");
                let slot = sim.slot(id.0).expect("it is there");
                assert_eq!(said.profile, slot.profile, "seed {seed}, {id}");
            }
        }
        assert_eq!(
            planned.len(),
            before.keys().chain(after.keys()).collect::<std::collections::BTreeSet<_>>().len()
        );
    }
}

#[test]
fn a_plan_changes_nothing() {
    let sim = ready(with([pool("light", 2)]));
    let fleet = sim.fleet().expect("it lives");
    let before = fleet.durable();
    let _plan = fleet.preview(&with([pool("standard", 3)]));
    assert_eq!(fleet.durable(), before);
}

#[test]
fn a_plan_of_the_same_file_keeps_everything() {
    let spec = with([pool("light", 2), pool("gpu_light", 1)]);
    let sim = ready(spec.clone());
    let plan = sim.fleet().expect("it lives").preview(&spec);
    assert!(plan.changes.iter().all(|it| it.change == Change::Keep), "{plan:?}");
}

#[test]
fn a_plan_of_too_many_runners_says_that_up_would_refuse_it() {
    let sim = ready(with([pool("light", 1)]));
    let plan = sim.fleet().expect("it lives").preview(&with([pool("light", u32::MAX)]));
    assert!(plan.changes.is_empty());
    assert!(plan.warnings.iter().any(|it| it.starts_with("`up` would refuse this:")), "{plan:?}");
}

/// What each card would hold, as `GPU 0: 16000: gpu_heavy 1, gpu_light 4`.
fn cards(counts: &[(&str, u32)]) -> Vec<String> {
    let mut spec = with(counts.iter().map(|(profile, count)| pool(profile, *count)));
    spec.limits.overcommit_memory = crate::spec::Overcommit::Allow;
    let plan = ready(with([])).fleet().expect("it lives").preview(&spec);
    assert_eq!(plan.refusal, None);
    let card = |card: &crate::fleet::view::PlannedCard| {
        let runners = card.runners.iter().map(|(profile, count)| format!("{profile} {count}"));
        let runners: Vec<String> = runners.collect();
        format!("GPU {}: {}: {}", card.index, card.leased.0, runners.join(", "))
    };
    plan.cards.iter().map(card).collect()
}

#[test]
fn the_specification_s_gpu_runners_are_placed_as_it_draws_them() {
    let drawn = ["GPU 0: 16000: gpu_heavy 1, gpu_light 4", "GPU 1: 12000: gpu_light 6"];
    assert_eq!(cards(&[("gpu_heavy", 1), ("gpu_light", 10)]), drawn);
    let spread = ["GPU 0: 8000: gpu_heavy 1", "GPU 1: 8000: gpu_heavy 1"];
    assert_eq!(cards(&[("gpu_heavy", 2)]), spread);
}

#[test]
fn a_plan_that_does_not_fit_says_what_is_missing() {
    let sim = ready(with([]));
    let plan = sim.fleet().expect("it lives").preview(&with([pool("gpu_max", 3)]));
    let refusal = plan.refusal.expect("there are two cards");
    assert!(refusal.contains("memory"), "{refusal}");
    let mut spec = with([pool("gpu_max", 3)]);
    spec.limits.overcommit_memory = crate::spec::Overcommit::Allow;
    let plan = sim.fleet().expect("it lives").preview(&spec);
    let refusal = plan.refusal.expect("there are two cards");
    assert!(refusal.contains("gpu_max") && refusal.contains("14,000"), "{refusal}");
    assert!(plan.cards.is_empty(), "nothing is leased");
}
