//! Slots and spares: what is missing, and what fills it.

use std::collections::BTreeMap;

use super::{Decision, Name, pool_named};
use crate::fleet::desired::{Model, Models};
use crate::fleet::forge::holds;
use crate::fleet::gpus::cards::Cards;
use crate::fleet::pause;
use crate::fleet::runner::{Phase, Runner};
use crate::fleet::slot::{Fate, Slot};
use crate::fleet::state::{Image, Place, State};
use crate::ids::{PoolName, SlotId};
use crate::spec::{Pool, Reuse};
use crate::units::Time;

/// A slot whose former containers cannot be removed gets no more than this many new ones: a host
/// full of what the engine will not let go is worse than a slot that waits.
const LEFTOVERS_MAX: usize = 3;

pub(super) fn plan(state: &State, now: Time, models: &Models, plan: &mut Vec<Decision>) {
    for slot in state.slots().filter(|slot| slot.runner.is_none()) {
        if slot.fate == Fate::Leave {
            plan.push(Decision::DropSlot(slot.id));
        }
    }
    if state.is_going_down() {
        return;
    }
    for model in models.iter() {
        plan_image(state, now, model, plan);
    }
    plan_slots(state, now, models, plan);
    for pool in &state.spec.pools {
        if let Some(model) = models.of_pool(pool) {
            plan_spares(state, now, (pool, model), plan);
        }
    }
}

fn plan_image(state: &State, now: Time, model: &Model, plan: &mut Vec<Decision>) {
    let ask = match state.images.get(model.image()) {
        None => true,
        Some(Image::Missing { retry_at, .. }) => now >= *retry_at,
        Some(Image::Asked | Image::Known(_)) => false,
    };
    let decision = Decision::AskImage(model.image().clone());
    if ask && !plan.contains(&decision) {
        plan.push(decision);
    }
}

/// Fills empty slots: with a spare where one suits, else with a new runner.
fn plan_slots(state: &State, now: Time, models: &Models, plan: &mut Vec<Decision>) {
    let empty: Vec<&Slot> =
        state.slots().filter(|slot| slot.runner.is_none() && slot.fate == Fate::Stay).collect();
    if empty.is_empty() {
        return;
    }
    let leftovers = leftovers(state);
    let mut cards = Cards::held(state);
    let mut spares: BTreeMap<&PoolName, Vec<&Runner>> = BTreeMap::new();
    for slot in empty {
        let Some(pool) = pool_named(state, &slot.pool) else { continue };
        let left = leftovers.get(&slot.id).copied().unwrap_or(0);
        let Some(build) = models.of_slot(slot).and_then(|model| model.build(Some(slot))) else {
            continue;
        };
        if left >= most_leftovers(pool.reuse) || is_closed(state, pool, slot) {
            continue;
        }
        let spares = spares.entry(&pool.name).or_insert_with(|| self::spares(state, pool));
        if let Some(spare) = spares.iter().position(|spare| spare.build == build) {
            let spare = spares.remove(spare).id;
            plan.push(Decision::Fill { slot: slot.id, spare });
        } else if may_try(state, now, &Place::Slot(slot.id)) && cards.try_hold(&build) {
            let name = match pool.reuse {
                Reuse::Persistent => Name::Slot(slot.name.clone()),
                Reuse::OneJob => Name::Incarnation,
            };
            plan.push(Decision::Make { slot: Some(slot.id), name, build: Box::new(build) });
        }
    }
}

/// Whether nobody should fill a slot of a forge: an operator closed it or its pool, or has to do
/// something.
pub(in crate::fleet) fn is_closed(state: &State, pool: &Pool, slot: &Slot) -> bool {
    let is_shut = || !pause::is_open(state, slot) || holds::of_slot(state, slot).is_some();
    pool.forge.is_some() && is_shut()
}

/// Runners that once filled a slot and are not known to be gone.
pub(in crate::fleet) fn leftovers(state: &State) -> BTreeMap<SlotId, usize> {
    let mut leftovers = BTreeMap::new();
    for slot in state.runners().filter_map(|runner| runner.slot) {
        *leftovers.entry(slot).or_default() += 1;
    }
    leftovers
}

/// A container that is named by its slot needs the name for itself.
pub(in crate::fleet) fn most_leftovers(reuse: Reuse) -> usize {
    match reuse {
        Reuse::Persistent => 1,
        Reuse::OneJob => LEFTOVERS_MAX,
    }
}

/// The pool's spares, the readiest first.
fn spares<'a>(state: &'a State, pool: &Pool) -> Vec<&'a Runner> {
    let mut spares: Vec<&Runner> = state
        .runners()
        .filter(|runner| runner.slot.is_none() && !runner.is_retiring())
        .filter(|runner| runner.build.template.pool == pool.name)
        .collect();
    spares.sort_by_key(|runner| (readiness(state, runner), runner.id));
    spares
}

/// One whose agent is away may be back in a moment, or never.
fn readiness(state: &State, runner: &Runner) -> u8 {
    match &runner.phase {
        Phase::Idle { .. } | Phase::Registering { .. } => {
            if state.contact(runner.id).is_connected() { 0 } else { 4 }
        }
        Phase::Booting { .. } => 1,
        Phase::Created { .. } => 2,
        Phase::Planned
        | Phase::Working { .. }
        | Phase::Leaving { .. }
        | Phase::Busy { .. }
        | Phase::Retiring { .. } => 3,
    }
}

/// Makes spares, but not before every slot of the pool is served: what was asked for goes first.
fn plan_spares(state: &State, now: Time, (pool, model): (&Pool, &Model), plan: &mut Vec<Decision>) {
    let mut slots = state.slots().filter(|slot| slot.pool == pool.name);
    let served = |slot: &Slot| {
        let runner = slot.runner.and_then(|id| state.runner(id));
        runner.is_some_and(|it| matches!(it.phase, Phase::Idle { .. }) || it.is_at_work())
    };
    let has_gpu = state.spec.profiles.get(&pool.profile).is_some_and(|p| p.gpu.is_some());
    if has_gpu || pool.reuse == Reuse::Persistent || !slots.all(served) {
        return;
    }
    if !may_try(state, now, &Place::Spares(pool.name.clone())) {
        return;
    }
    let Some(build) = model.build(None) else { return };
    for _ in spares(state, pool).len()..wanted_spares(state, pool) {
        let build = Box::new(build.clone());
        plan.push(Decision::Make { slot: None, name: Name::Incarnation, build });
    }
}

/// A pool without slots needs no spares, and never more than it has slots.
pub(super) fn wanted_spares(state: &State, pool: &Pool) -> usize {
    let slots =
        state.slots().filter(|slot| slot.pool == pool.name && slot.fate == Fate::Stay).count();
    slots.min(pool.spares as usize)
}

fn may_try(state: &State, now: Time, place: &Place) -> bool {
    state.backoffs.get(place).is_none_or(|backoff| backoff.is_over(now))
}
