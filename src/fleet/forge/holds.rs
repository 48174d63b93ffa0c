//! Pools and slots that get no new runners before an operator does something.
//!
//! What would fail again in the same way is not tried again: not a token that is missing, not a
//! program that is too old, not a right that is not there. `up` begins anew.

use serde::{Deserialize, Serialize};

use super::fact::ForgeContact;
use crate::fleet::desired;
use crate::fleet::slot::Slot;
use crate::fleet::state::{Image, State};
use crate::fleet::view::clock;
use crate::ids::{ImageId, IncarnationId, PoolName, ScopeUrl, SlotId};
use crate::spec::{ForgeAccess, Pool};
use crate::units::Time;

/// Why nothing is made in a place; survives a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// In words, with what to do.
    pub why: String,
    /// Since when.
    pub since: Time,
    /// The image whose program is too old; another one ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageId>,
}

/// What stands in a slot's way: its own hold, or its pool's.
pub(in crate::fleet) fn of_slot<'a>(state: &'a State, slot: &Slot) -> Option<&'a str> {
    let own = state.meta.slot_holds.get(&slot.id).map(|hold| hold.why.as_str());
    own.or_else(|| of_pool(state, desired::pool(&state.spec, &slot.pool)?))
}

/// What stands in a pool's way that only an operator can remove.
pub(in crate::fleet) fn of_pool<'a>(state: &'a State, pool: &Pool) -> Option<&'a str> {
    let forge = pool.forge.as_ref()?;
    let hold = state.meta.pool_holds.get(&pool.name);
    if let Some(hold) = hold.filter(|hold| is_in_force(state, pool, hold)) {
        return Some(&hold.why);
    }
    if matches!(forge.access, ForgeAccess::Tokens(_)) {
        return None;
    }
    match state.forge.scopes.get(&forge.scope)?.contact.as_ref()? {
        ForgeContact::Denied(why) => Some(why),
        ForgeContact::Good | ForgeContact::Unreachable(_) | ForgeContact::Limited { .. } => None,
    }
}

fn is_in_force(state: &State, pool: &Pool, hold: &Hold) -> bool {
    let Some(too_old) = &hold.image else { return true };
    let image = desired::template(&state.spec, pool).and_then(|it| state.images.get(&it.image));
    !matches!(image, Some(Image::Known(image)) if image != too_old)
}

/// Why a scope cannot be asked for anything now.
pub(in crate::fleet) fn silence(state: &State, scope: &ScopeUrl) -> Option<String> {
    match state.forge.scopes.get(scope).and_then(|known| known.contact.as_ref()) {
        Some(ForgeContact::Good) => None,
        None => Some(format!("{scope} was not reached yet")),
        Some(ForgeContact::Unreachable(why)) => Some(format!("{scope} does not answer: {why}")),
        Some(ForgeContact::Limited { until, why }) => {
            Some(format!("{scope} is limited until {}: {why}", clock(*until)))
        }
        Some(ForgeContact::Denied(why)) => Some(why.clone()),
    }
}

/// What makes more runners of a pool useless for now.
pub(in crate::fleet) fn hindrance(state: &State, pool: &Pool) -> Option<String> {
    let forge = pool.forge.as_ref()?;
    if let Some(why) = of_pool(state, pool) {
        return Some(why.to_owned());
    }
    match forge.access {
        ForgeAccess::Tokens(_) => None,
        ForgeAccess::Personal(_) | ForgeAccess::App(_) => silence(state, &forge.scope),
    }
}

/// A slot's runner has no token, or one that is not taken.
pub(super) fn need_token(state: &mut State, now: Time, slot: SlotId, why: String) {
    state.tell(now, slot, "held", &why);
    let hold = Hold { why, since: now, image: None };
    state.meta_mut().slot_holds.insert(slot, hold);
}

/// A runner's program is too old.
pub(super) fn need_upgrade(state: &mut State, now: Time, id: IncarnationId, why: String) {
    let Some(runner) = state.runner(id) else { return };
    let (pool, image) = (runner.build.template.pool.clone(), runner.build.image.clone());
    hold(state, now, pool, Hold { why, since: now, image: Some(image) });
}

/// The forge refuses what a pool asks for.
pub(super) fn refuse(state: &mut State, now: Time, pool: PoolName, why: String) {
    hold(state, now, pool, Hold { why, since: now, image: None });
}

fn hold(state: &mut State, now: Time, pool: PoolName, hold: Hold) {
    if state.meta.pool_holds.get(&pool).is_some_and(|before| before.why == hold.why) {
        return;
    }
    state.tell(now, format!("pool {pool}"), "held", &hold.why);
    state.meta_mut().pool_holds.insert(pool, hold);
}

/// `up` tries everything anew.
pub(in crate::fleet) fn forgive_all(state: &mut State) {
    state.forge.is_rest_told = false;
    if !state.meta.pool_holds.is_empty() || !state.meta.slot_holds.is_empty() {
        let meta = state.meta_mut();
        meta.pool_holds.clear();
        meta.slot_holds.clear();
    }
    for listener in state.forge.listeners.values_mut() {
        listener.retry_at = Time(0);
    }
}

/// An operator opens or restarts a slot: it is tried anew.
pub(in crate::fleet) fn forgive(state: &mut State, slot: SlotId) {
    if state.meta.slot_holds.contains_key(&slot) {
        state.meta_mut().slot_holds.remove(&slot);
    }
}

/// A scope that refused everything answers again: what it refused to pools is asked for anew.
pub(super) fn forgive_scope(state: &mut State, scope: &ScopeUrl) {
    let is_of = |pool: &&Pool| pool.forge.as_ref().is_some_and(|forge| forge.scope == *scope);
    let pools: Vec<PoolName> = state
        .spec
        .pools
        .iter()
        .filter(is_of)
        .map(|pool| pool.name.clone())
        .filter(|pool| state.meta.pool_holds.get(pool).is_some_and(|hold| hold.image.is_none()))
        .collect();
    for pool in pools {
        state.meta_mut().pool_holds.remove(&pool);
    }
}
