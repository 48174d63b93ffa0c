//! Leases of idle runners that others need more ("unused reservations can be reclaimed").
//!
//! Only what was idle for a while is given up, never a busy runner, and only for a job that waits
//! and that nobody on the way could serve. What is given up gets a card again when there is room.

use std::collections::BTreeSet;
use std::time::Duration;

use super::cards::Cards;
use super::seat::{Hunger, hungry, is_without, needs_card};
use super::sickness::name;
use crate::fleet::assignment;
use crate::fleet::pause::is_open;
use crate::fleet::plan::Decision;
use crate::fleet::runner::{Cause, Phase};
use crate::fleet::slot::{Fate, Slot};
use crate::fleet::state::State;
use crate::fleet::transition::retire;
use crate::ids::{GpuUuid, PoolName, ProfileName, SlotId};
use crate::units::Time;

/// A lease is given up only when it was idle for this long: a card does not change hands more
/// often.
const IDLE_FOR: Duration = Duration::from_secs(30);

/// Gives up leases for the first job that waits for a slot without a card.
pub(super) fn plan(state: &State, now: Time, plan: &mut Vec<Decision>) {
    let without = |slot: &&Slot| is_open(state, slot) && is_without(state, slot);
    if !state.slots().any(|slot| without(&slot)) {
        return;
    }
    for Hunger { kind, rank } in hungry(state) {
        let pools: BTreeSet<&PoolName> =
            assignment::serving(&state.spec, kind).map(|pool| &pool.name).collect();
        let of_these = |slot: &&Slot| pools.contains(&slot.pool);
        if state.slots().filter(of_these).any(|slot| is_coming(state, slot)) {
            continue;
        }
        let mut waiting = state.slots().filter(of_these).filter(without);
        let decision = waiting.find_map(|slot| {
            let slots = victims(state, now, &slot.profile, &pools)?;
            Some(Decision::Reclaim {
                slots,
                why: format!("{} waits for a {}", rank.id, slot.profile),
            })
        });
        if let Some(decision) = decision {
            plan.push(decision);
            return;
        }
    }
}

/// For a pool that wants to grow and cannot for want of a card: gives up idle leases for it.
pub(in crate::fleet) fn for_growth(state: &State, now: Time, pool: &PoolName) -> Option<Decision> {
    let profile = &state.spec.pools.iter().find(|it| it.name == *pool)?.profile;
    state.spec.profiles.get(profile)?.gpu?;
    let is_it = |it: &Hunger<'_>| {
        assignment::serving(&state.spec, it.kind).any(|serving| serving.name == *pool)
    };
    let hunger = hungry(state).into_iter().find(is_it)?;
    let pools: BTreeSet<&PoolName> =
        assignment::serving(&state.spec, hunger.kind).map(|pool| &pool.name).collect();
    let is_coming = |slot: &Slot| pools.contains(&slot.pool) && is_coming(state, slot);
    if state.slots().any(is_coming) {
        return None;
    }
    let slots = victims(state, now, profile, &pools)?;
    let why = format!("{} waits for a {profile}", hunger.rank.id);
    Some(Decision::Reclaim { slots, why })
}

/// Whether a runner is on its way into a slot, or will be made as soon as its card is free.
fn is_coming(state: &State, slot: &Slot) -> bool {
    if slot.fate != Fate::Stay || !is_open(state, slot) {
        return false;
    }
    match slot.runner.and_then(|id| state.runner(id)).map(|runner| &runner.phase) {
        Some(
            Phase::Planned
            | Phase::Created { .. }
            | Phase::Booting { .. }
            | Phase::Registering { .. },
        ) => true,
        Some(
            Phase::Idle { .. }
            | Phase::Working { .. }
            | Phase::Leaving { .. }
            | Phase::Busy { .. }
            | Phase::Retiring { .. },
        ) => false,
        None => needs_card(state, slot) && slot.gpu.is_some() && !is_failing(state, slot),
    }
}

fn is_failing(state: &State, slot: &Slot) -> bool {
    let place = crate::fleet::state::Place::Slot(slot.id);
    state.backoffs.contains_key(&place)
}

/// The idle leases that have to be given up for a profile: the fewest on one card, then the longest
/// idle.
fn victims(
    state: &State,
    now: Time,
    profile: &ProfileName,
    not_of: &BTreeSet<&PoolName>,
) -> Option<Vec<SlotId>> {
    let stay = state.slots().filter(|slot| slot.fate == Fate::Stay);
    if Cards::leased(state, &state.spec, stay).lease(profile).is_ok() {
        // Whatever stands in the way, it is not the cards.
        return None;
    }
    let best = state.host.gpus.iter().filter_map(|card| {
        let mut idle: Vec<(Time, SlotId)> = state
            .slots()
            .filter(|slot| !not_of.contains(&slot.pool) && is_on(state, slot, &card.uuid))
            .filter_map(|slot| Some((idle_since(state, slot)?, slot.id)))
            .filter(|(since, _)| now.since(*since) >= IDLE_FOR)
            .collect();
        idle.sort_unstable();
        let most = idle.len();
        let enough = (1..=most).find(|count| {
            let given_up: BTreeSet<SlotId> = idle.iter().take(*count).map(|(_, id)| *id).collect();
            let kept = state
                .slots()
                .filter(|slot| slot.fate == Fate::Stay && !given_up.contains(&slot.id));
            Cards::leased(state, &state.spec, kept).has_room(profile, &card.uuid)
        })?;
        let longest = idle.first()?.0;
        let slots: Vec<SlotId> = idle.iter().take(enough).map(|(_, id)| *id).collect();
        Some((enough, longest, card.index, slots))
    });
    best.min().map(|(_, _, _, slots)| slots)
}

fn is_on(state: &State, slot: &Slot, card: &GpuUuid) -> bool {
    slot.fate == Fate::Stay
        && is_open(state, slot)
        && slot.gpu.as_ref().is_some_and(|lease| lease.uuid == *card)
}

/// Since when nobody makes use of a slot's lease; none while somebody does, or will.
fn idle_since(state: &State, slot: &Slot) -> Option<Time> {
    let runner = slot.runner.and_then(|id| state.runner(id))?;
    // A runner of a forge is not taken from it for the fleet's own jobs.
    let is_idle = matches!(runner.phase, Phase::Idle { .. }) && runner.enlistment().is_none();
    is_idle.then(|| runner.since.max(slot.filled))
}

/// These slots give up their cards, and their idle runners go.
pub(in crate::fleet) fn commit(state: &mut State, now: Time, slots: &[SlotId], why: &str) {
    for id in slots {
        let Some(slot) = state.slot_mut(*id) else { continue };
        let Some(lease) = slot.gpu.take() else { continue };
        let runner = slot.runner;
        let states = (name(&lease.uuid), "no card");
        state.tell_change(now, *id, ("reclaimed", why), states);
        if let Some(runner) = runner {
            retire(state, now, runner, Cause::Reclaimed(why.to_owned()));
        }
    }
}
