//! Slots and their cards: one that lost its card gets another, or waits for one.
//!
//! A slot with a runner has its card until the runner goes. An empty one has it only as long as it
//! fits there: what others use may have grown, or the card may be sick.

use std::collections::BTreeMap;

use super::cards::Cards;
use super::ledger;
use super::sickness::name;
use crate::fleet::assignment::{self, Fits, Loads};
use crate::fleet::job::Rank;
use crate::fleet::lanes::Rooms;
use crate::fleet::plan::{Decision, running_workflows};
use crate::fleet::queue::{Admission, Kind};
use crate::fleet::runner::Runner;
use crate::fleet::slot::{Fate, GpuLease, Slot};
use crate::fleet::state::State;
use crate::ids::{PoolName, SlotId};
use crate::units::Time;

/// A job that waits and finds no runner, and the pools that could serve its kind.
pub(super) struct Hunger<'a> {
    /// What it asks for.
    pub kind: &'a Kind,
    /// Its place in the queue.
    pub rank: Rank,
}

/// The first job of each kind for which nobody is idle.
pub(super) fn hungry(state: &State) -> Vec<Hunger<'_>> {
    if state.is_going_down() || state.disks.trouble().is_some() {
        return Vec::new();
    }
    let seats = assignment::seats(state);
    let loads = Loads::of(state);
    let runs = running_workflows(state);
    let admission = match runs.len() < state.spec.limits.max_parallel_workflows as usize {
        true => Admission::All,
        false => Admission::Only(&runs),
    };
    let rooms = Rooms::of(state);
    let open = state.queue_lines().filter(|(kind, _)| rooms.has(kind));
    let first = open.filter_map(|(kind, line)| {
        let rank = line.first(None, admission)?.rank();
        Fits::of(&state.spec, kind, &seats, &loads).is_empty().then_some(Hunger { kind, rank })
    });
    let mut hungry: Vec<Hunger<'_>> = first.collect();
    hungry.sort_by_key(|it| it.rank);
    hungry
}

/// Whether a slot's profile needs a card.
pub(in crate::fleet) fn needs_card(state: &State, slot: &Slot) -> bool {
    state.spec.profiles.get(&slot.profile).is_some_and(|profile| profile.gpu.is_some())
}

/// Whether a slot that stays has no card and needs one.
pub(in crate::fleet) fn is_without(state: &State, slot: &Slot) -> bool {
    let is_empty = slot.runner.is_none() && slot.gpu.is_none();
    slot.fate == Fate::Stay && is_empty && needs_card(state, slot)
}

/// Gives empty slots other cards where theirs do not take them any more.
pub(super) fn plan(state: &State, plan: &mut Vec<Decision>) {
    let stay = || state.slots().filter(|it| it.fate == Fate::Stay && needs_card(state, it));
    if stay().all(|slot| slot.runner.is_some()) {
        return;
    }
    let mut cards = Cards::leased(state, &state.spec, stay().filter(|it| it.runner.is_some()));
    let mut without: Vec<&Slot> = Vec::new();
    let mut lost: Vec<SlotId> = Vec::new();
    for slot in stay().filter(|slot| slot.runner.is_none()) {
        let Some(lease) = &slot.gpu else {
            without.push(slot);
            continue;
        };
        if !cards.try_renew(&slot.profile, lease) {
            lost.push(slot.id);
            without.push(slot);
        }
    }
    if without.is_empty() {
        return;
    }
    let urgency = urgency(state);
    without
        .sort_by_key(|slot| (urgency.get(&slot.pool).copied().unwrap_or(Urgency::None), slot.id));
    for slot in without {
        let (lease, why) = match cards.lease(&slot.profile) {
            Ok(lease) => (lease, String::new()),
            Err(why) => (None, why),
        };
        if lease.is_some() || lost.contains(&slot.id) {
            plan.push(Decision::Seat { slot: slot.id, lease, why });
        }
    }
}

/// How much a pool's slots are needed; the first is served first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    /// This job waits for them.
    Job(Rank),
    /// Nobody does.
    None,
}

fn urgency(state: &State) -> BTreeMap<PoolName, Urgency> {
    let mut urgency = BTreeMap::new();
    for Hunger { kind, rank } in hungry(state) {
        for pool in assignment::serving(&state.spec, kind) {
            urgency.entry(pool.name.clone()).or_insert(Urgency::Job(rank));
        }
    }
    urgency
}

/// A slot gets a card, or waits for one.
pub(in crate::fleet) fn commit(
    state: &mut State,
    now: Time,
    id: SlotId,
    (lease, why): (Option<GpuLease>, String),
) {
    let Some(before) = state.slot(id).map(|slot| slot.gpu.clone()) else { return };
    let told = |lease: &Option<GpuLease>| {
        lease.as_ref().map_or_else(|| "no card".to_owned(), |it| name(&it.uuid))
    };
    let states = (told(&before), told(&lease));
    let (what, why) = match &lease {
        Some(_) => ("placed", "another card has room for it".to_owned()),
        None => ("without card", why),
    };
    if let Some(slot) = state.slot_mut(id) {
        slot.gpu = lease;
    }
    state.tell_change(now, id, (what, why), states);
}

/// What an empty slot waits for on the cards, if it does.
pub(in crate::fleet) fn waits(state: &State, slot: &Slot) -> Option<String> {
    if slot.runner.is_some() || slot.fate != Fate::Stay || !needs_card(state, slot) {
        return None;
    }
    let Some(lease) = &slot.gpu else {
        let others = state.slots().filter(|it| it.fate == Fate::Stay && it.id != slot.id);
        let cards = Cards::leased(state, &state.spec, others);
        return Some(format!("it waits for a card: {}", cards.refusal(&slot.profile)));
    };
    let cards = Cards::held(state);
    if cards.has_room(&slot.profile, &lease.uuid) {
        return None;
    }
    if let Some((id, _)) = state.meta.sweeping.iter().find(|(_, it)| it.hold.card == lease.uuid) {
        return Some(format!("it waits until nothing of {id} is left on GPU {}", lease.index));
    }
    let is_cordoned = ledger::cordon(state, &lease.uuid).is_some();
    (is_cordoned || !state.runners().any(Runner::is_retiring))
        .then(|| format!("it waits for its card: {}", cards.refusal(&slot.profile)))
}
