//! The size of the fleet: what `up` and `scale` ask for, and what the host can carry.

use std::collections::BTreeMap;

use super::{pool_called, refuse, refuse_while_down};
use crate::fleet::desired::{self, Shape};
use crate::fleet::effect::{Answer, Refusal, RefusalKind};
use crate::fleet::event::{Cordon, ScaleTarget};
use crate::fleet::placement::Cards;
use crate::fleet::slot::{Fate, GpuLease, Slot};
use crate::fleet::state::{EngineContact, State};
use crate::ids::{PoolName, SlotId};
use crate::spec::{Overcommit, Spec};
use crate::units::{Bytes, Time};

type Counts = BTreeMap<PoolName, u32>;

pub(super) fn apply(state: &mut State, now: Time, spec: Spec) -> Result<Answer, Refusal> {
    // A supervisor that has just started on a fleet that was going down follows the newer wish.
    if state.engine != EngineContact::Unknown {
        refuse_while_down(state)?;
    }
    refuse_moving(state, &spec)?;
    let counts = desired::counts(&spec, &BTreeMap::new());
    let admitted = admit(state, &spec, &counts)?;
    state.tell(now, "fleet", "spec applied", format!("{} runners", total_of(&counts)));
    let meta = state.meta_mut();
    meta.spec = Some(spec.clone());
    meta.scaled.clear();
    meta.going_down = None;
    state.spec = spec;
    state.images.clear();
    state.backoffs.clear();
    reshape(state, now, admitted);
    Ok(Answer::Accepted)
}

/// What every runner was made with cannot change under them.
fn refuse_moving(state: &State, spec: &Spec) -> Result<(), Refusal> {
    let is = &state.spec;
    let moved = [
        ("project", is.project != spec.project),
        ("reports", is.reports.path != spec.reports.path),
        ("reports.shared", is.reports.sharing != spec.reports.sharing),
        ("ca", is.ca != spec.ca),
    ];
    let has_runners = state.slots().next().is_some() || state.runners().next().is_some();
    match moved.iter().find(|(_, moved)| *moved && has_runners) {
        None => Ok(()),
        Some((key, _)) => {
            let message = format!(
                "`{key}` cannot change while the fleet is up: `slate-fleet down`, change it, then \
                 `slate-fleet up -d`"
            );
            Err(refuse(RefusalKind::Conflict, message))
        }
    }
}

pub(super) fn scale(state: &mut State, now: Time, to: &ScaleTarget) -> Result<Answer, Refusal> {
    refuse_while_down(state)?;
    let mut scaled = state.meta.scaled.clone();
    match to {
        ScaleTarget::Total(total) => scaled = share_out(state, *total)?,
        ScaleTarget::Pools(pools) => {
            for (name, count) in pools {
                scaled.insert(pool_called(state, name)?, *count);
            }
        }
    }
    let counts = desired::counts(&state.spec, &scaled);
    let spec = state.spec.clone();
    let admitted = admit(state, &spec, &counts)?;
    let total = total_of(&counts);
    state.tell(now, "fleet", "scaled", format!("to {total} runners, until the next `up`"));
    state.meta_mut().scaled = scaled;
    reshape(state, now, admitted);
    Ok(Answer::Accepted)
}

/// Shares a total out in the proportions of the file; what does not divide goes to the first pools.
fn share_out(state: &State, total: u32) -> Result<Counts, Refusal> {
    let base = desired::counts(&state.spec, &BTreeMap::new());
    let sum: u64 = base.values().map(|count| u64::from(*count)).sum();
    let pools = &state.spec.pools;
    if pools.is_empty() {
        return Err(refuse(RefusalKind::Invalid, "this fleet has no pools to scale"));
    }
    let mut counts = Counts::new();
    let mut left = total;
    for pool in pools {
        let weight =
            if sum == 0 { 1 } else { u64::from(base.get(&pool.name).copied().unwrap_or(0)) };
        let whole = if sum == 0 { pools.len() as u64 } else { sum };
        let share = u32::try_from(u64::from(total) * weight / whole).unwrap_or(total);
        left -= share;
        counts.insert(pool.name.clone(), share);
    }
    for pool in pools.iter().cycle().take(left as usize) {
        if let Some(count) = counts.get_mut(&pool.name) {
            *count += 1;
        }
    }
    Ok(counts)
}

/// All runners together; a number too large to count is refused like any that is too large.
pub(in crate::fleet) fn total_of(counts: &Counts) -> u32 {
    counts.values().fold(0, |sum, count| sum.saturating_add(*count))
}

/// A change of slots that the host can carry.
pub(in crate::fleet) struct Admitted {
    pub shape: Shape,
    pub leases: BTreeMap<SlotId, GpuLease>,
}

/// Checks a number of runners against the bounds of the spec and the host.
pub(in crate::fleet) fn admit(
    state: &State,
    spec: &Spec,
    counts: &Counts,
) -> Result<Admitted, Refusal> {
    let total = total_of(counts);
    if total > spec.limits.scale_max {
        let message = format!(
            "{total} runners are more than `limits.scale_max` ({}); raise it or ask for fewer",
            spec.limits.scale_max
        );
        return Err(refuse(RefusalKind::NoCapacity, message));
    }
    let memory = memory_of(spec, counts);
    let host = state.host.memory;
    if memory > host && spec.limits.overcommit_memory == Overcommit::Refuse {
        let message = format!(
            "{total} runners may use {memory} of memory, and the host has {host}; ask for fewer, \
             or set `limits.overcommit: {{memory: true}}`"
        );
        return Err(refuse(RefusalKind::NoCapacity, message));
    }
    let shape = desired::shape(state, spec, counts);
    let leases = lease(state, spec, &shape)?;
    Ok(Admitted { shape, leases })
}

/// The memory limits of all runners together.
pub(in crate::fleet) fn memory_of(spec: &Spec, counts: &Counts) -> Bytes {
    let per_pool = spec.pools.iter().map(|pool| {
        let memory = spec.profiles.get(&pool.profile).map_or(0, |profile| profile.memory.0);
        memory.saturating_mul(u64::from(counts.get(&pool.name).copied().unwrap_or(0)))
    });
    Bytes(per_pool.fold(0, u64::saturating_add))
}

/// Leases cards to the slots that need one and have none.
fn lease(state: &State, spec: &Spec, shape: &Shape) -> Result<BTreeMap<SlotId, GpuLease>, Refusal> {
    let stay: Vec<&Slot> = shape.stay.iter().filter_map(|id| state.slot(*id)).collect();
    let kept =
        stay.iter().copied().filter(|slot| profile_of(spec, &slot.pool) == Some(&slot.profile));
    let mut cards = Cards::leased(spec, &state.host, kept);
    let changed = stay.iter().filter(|slot| profile_of(spec, &slot.pool) != Some(&slot.profile));
    let wanting = changed
        .map(|slot| (slot.id, &slot.pool))
        .chain(shape.add.iter().map(|place| (place.id, &place.pool)));
    let mut leases = BTreeMap::new();
    for (id, pool) in wanting {
        let Some(profile) = profile_of(spec, pool) else { continue };
        let lease = cards.lease(profile).map_err(|why| refuse(RefusalKind::NoCapacity, why))?;
        leases.extend(lease.map(|lease| (id, lease)));
    }
    Ok(leases)
}

fn profile_of<'a>(spec: &'a Spec, pool: &PoolName) -> Option<&'a crate::ids::ProfileName> {
    desired::pool(spec, pool).map(|pool| &pool.profile)
}

/// Makes the slots as admitted.
fn reshape(state: &mut State, now: Time, admitted: Admitted) {
    let Admitted { shape, mut leases } = admitted;
    for id in shape.leave {
        if let Some(slot) = state.slot_mut(id) {
            slot.fate = Fate::Leave;
        }
    }
    for id in &shape.stay {
        stay(state, *id, leases.remove(id));
    }
    for place in shape.add {
        let Some(profile) = profile_of(&state.spec, &place.pool).cloned() else { continue };
        state.tell(now, place.id, "wanted", format!("{} in pool {}", place.name, place.pool));
        state.insert_slot(Slot {
            id: place.id,
            name: place.name,
            pool: place.pool,
            profile,
            gpu: leases.remove(&place.id),
            fate: Fate::Stay,
            cordon: Cordon::Open,
            runner: None,
            tasks_completed: 0,
        });
    }
    for id in shape.stay {
        let name = state.slot(id).and_then(|slot| desired::renamed(state, &state.spec, slot));
        if let Some(name) = name
            && let Some(slot) = state.slot_mut(id)
        {
            slot.name = name;
        }
    }
}

/// A slot stays, on its pool's profile of now.
fn stay(state: &mut State, id: SlotId, lease: Option<GpuLease>) {
    let pool = state.slot(id).map(|slot| slot.pool.clone());
    let profile = pool.and_then(|pool| profile_of(&state.spec, &pool).cloned());
    let Some(slot) = state.slot_mut(id) else { return };
    slot.fate = Fate::Stay;
    if let Some(profile) = profile
        && profile != slot.profile
    {
        slot.profile = profile;
        slot.gpu = lease;
    }
}
