//! Other numbers of slots: what the host can carry, and the slots made so. `up`, `scale` and the
//! pools that follow their queue come here.

use std::collections::BTreeMap;

use super::desired::{self, Counts, Shape};
use super::effect::{Refusal, RefusalKind};
use super::event::Cordon;
use super::gpus::cards::Cards;
use super::pins;
use super::slot::{Fate, GpuLease, Slot};
use super::state::State;
use crate::ids::{PoolName, ProfileName, SlotId};
use crate::spec::{Overcommit, Spec};
use crate::units::words::{agree, counted};
use crate::units::{Bytes, Time};

fn refuse(message: String) -> Refusal {
    Refusal { kind: RefusalKind::NoCapacity, message }
}

/// All runners together; a number too large to count is refused like any that is too large.
pub(super) fn total_of(counts: &Counts) -> u32 {
    counts.values().fold(0, |sum, count| sum.saturating_add(*count))
}

/// A change of slots that the host can carry.
pub(super) struct Admitted {
    pub shape: Shape,
    pub leases: BTreeMap<SlotId, GpuLease>,
}

/// More runners than the file lets there be.
pub(super) fn refuse_total(total: u32, max: u32) -> Refusal {
    refuse(format!(
        "{} {} more than `limits.scale_max` ({max}); raise it or ask for fewer",
        counted(total, "runner"),
        agree(&total, "is", "are")
    ))
}

/// Checks a number of runners against the bounds of the spec and the host.
pub(super) fn admit(state: &State, spec: &Spec, counts: &Counts) -> Result<Admitted, Refusal> {
    carries(state, spec, counts)?;
    let shape = desired::shape(state, spec, counts);
    let leases = lease(state, spec, &shape)?;
    Ok(Admitted { shape, leases })
}

/// The same without the cards.
pub(super) fn carries(state: &State, spec: &Spec, counts: &Counts) -> Result<(), Refusal> {
    let total = total_of(counts);
    if total > spec.limits.scale_max {
        return Err(refuse_total(total, spec.limits.scale_max));
    }
    let memory = memory_of(spec, counts);
    let host = state.host.memory;
    if memory > host && spec.limits.overcommit_memory == Overcommit::Refuse {
        let message = format!(
            "{} may use {memory} of memory, and the host has {host}; ask for fewer, or set \
             `limits.overcommit: {{memory: true}}`",
            counted(total, "runner")
        );
        return Err(refuse(message));
    }
    Ok(())
}

/// The memory limits of all runners together.
pub(super) fn memory_of(spec: &Spec, counts: &Counts) -> Bytes {
    let per_pool = spec.pools.iter().map(|pool| {
        let memory = spec.profiles.get(&pool.profile).map_or(0, |profile| profile.memory.0);
        memory.saturating_mul(u64::from(counts.get(&pool.name).copied().unwrap_or(0)))
    });
    Bytes(per_pool.fold(0, u64::saturating_add))
}

/// Leases cards to the slots that need one and have none.
fn lease(state: &State, spec: &Spec, shape: &Shape) -> Result<BTreeMap<SlotId, GpuLease>, Refusal> {
    let stay: Vec<&Slot> = shape.stay.iter().filter_map(|id| state.slot(*id)).collect();
    let is_alike = |slot: &Slot| profile_of(spec, &slot.pool) == Some(&slot.profile);
    let pins = pins::wished(state, spec, shape)?;
    let is_pinned = |id: &SlotId| pins.contains_key(id);
    let is_kept = |slot: &Slot| is_alike(slot) && slot.fate == Fate::Stay && !is_pinned(&slot.id);
    let kept = stay.iter().copied().filter(|slot| is_kept(slot));
    let mut cards = Cards::leased(state, spec, kept);
    // What a slot that was to leave held may have been promised to others meanwhile.
    let is_renewed = |slot: &Slot, cards: &mut Cards<'_>| {
        is_alike(slot)
            && !is_pinned(&slot.id)
            && slot.gpu.as_ref().is_some_and(|it| cards.try_renew(&slot.profile, it))
    };
    let mut changed: Vec<&Slot> = stay.iter().copied().filter(|slot| !is_kept(slot)).collect();
    changed.retain(|slot| !is_renewed(slot, &mut cards));
    let mut wanting: Vec<(SlotId, &PoolName)> = changed
        .iter()
        .map(|slot| (slot.id, &slot.pool))
        .chain(shape.add.iter().map(|place| (place.id, &place.pool)))
        .collect();
    // Nobody takes the place of those that have no other.
    wanting.sort_by_key(|(id, _)| !is_pinned(id));
    let mut leases = BTreeMap::new();
    for (id, pool) in wanting {
        let Some(profile) = profile_of(spec, pool) else { continue };
        let lease = match pins.get(&id) {
            Some(card) => cards
                .lease_on(profile, *card)
                .map(Some)
                .map_err(|why| pins::refuse(id, *card, &why))?,
            None => cards.lease(profile).map_err(refuse)?,
        };
        leases.extend(lease.map(|lease| (id, lease)));
    }
    Ok(leases)
}

fn profile_of<'a>(spec: &'a Spec, pool: &PoolName) -> Option<&'a ProfileName> {
    desired::pool(spec, pool).map(|pool| &pool.profile)
}

/// Makes the slots as admitted.
pub(super) fn reshape(state: &mut State, now: Time, admitted: Admitted) {
    let Admitted { shape, mut leases } = admitted;
    for id in shape.leave {
        if let Some(slot) = state.slot_mut(id) {
            slot.fate = Fate::Leave;
        }
    }
    for id in &shape.stay {
        stay(state, now, (*id, leases.remove(id)));
    }
    for place in shape.add {
        let Some(profile) = profile_of(&state.spec, &place.pool).cloned() else { continue };
        state.tell(now, place.id, "wanted", format!("{} in pool {}", place.name, place.pool));
        state.insert_slot(Slot {
            id: place.id,
            name: place.name,
            pool: place.pool,
            profile,
            downgrade: None,
            gpu: leases.remove(&place.id),
            fate: Fate::Stay,
            cordon: Cordon::Open,
            runner: None,
            filled: now,
            tasks_completed: 0,
            last_failure: None,
        });
    }
}

/// Gives the slots the names that a changed file wants.
pub(super) fn rename(state: &mut State, now: Time) {
    let staying: Vec<SlotId> =
        state.slots().filter(|slot| slot.fate == Fate::Stay).map(|slot| slot.id).collect();
    for id in staying {
        let name = state.slot(id).and_then(|slot| desired::renamed(state, &state.spec, slot));
        if let Some(name) = name
            && let Some(slot) = state.slot_mut(id)
        {
            let before = std::mem::replace(&mut slot.name, name.clone());
            let told = ("renamed", "the fleet file names it otherwise");
            state.tell_change(now, id, told, (before, name));
        }
    }
}

/// A slot stays, on its pool's profile of now.
fn stay(state: &mut State, now: Time, (id, lease): (SlotId, Option<GpuLease>)) {
    let pool = state.slot(id).map(|slot| slot.pool.clone());
    let profile = pool.and_then(|pool| profile_of(&state.spec, &pool).cloned());
    let Some(slot) = state.slot(id) else { return };
    if slot.fate == Fate::Stay && profile.as_ref() == Some(&slot.profile) && lease.is_none() {
        return;
    }
    let Some(slot) = state.slot_mut(id) else { return };
    slot.fate = Fate::Stay;
    let before = slot.gpu.clone();
    if let Some(profile) = profile
        && profile != slot.profile
    {
        slot.profile = profile;
        slot.gpu = lease;
    } else if lease.is_some() {
        slot.gpu = lease;
    }
    let after = slot.gpu.clone();
    if before != after {
        let words = |gpu: Option<GpuLease>| gpu.map_or_else(String::new, |it| it.uuid.to_string());
        let told = ("card changed", "the fleet's files want it so");
        state.tell_change(now, id, told, (words(before), words(after)));
    }
}
