//! Pools that follow their queue: when they grow and shrink, and by how much.
//!
//! [`pressure`] and [`wanted`] are the whole rule, as functions of numbers; the rest finds the
//! numbers, what stands in the way, and carries the decisions out. `docs/adr/0009-elastic-pools.md`
//! says why.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::demand::{Load, following, loads};
use super::desired::{self, Counts};
use super::effect::Refusal;
use super::forge::holds;
use super::gpus::reclaim::for_growth;
use super::gpus::seat::is_without;
use super::pause::is_paused;
use super::plan::Decision;
use super::resize::{Admitted, admit, carries, reshape};
use super::runner::Phase;
use super::slot::Fate;
use super::state::{Image, Place, State};
use super::view::SizeReason;
use crate::ids::{PoolName, SlotId};
use crate::spec::{Elastic, Pool, PoolSize, show_duration};
use crate::units::Time;
use crate::units::words::{agree, counted};

#[cfg(test)]
mod tests;

/// Where a pool that follows its queue stands; survives a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Its slots.
    pub count: u32,
    /// Whether it has to grow.
    pub pressure: Pressure,
}

/// Whether too many jobs wait for a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pressure {
    /// No.
    Calm,
    /// More than `scale_up_threshold` waited longer than `scale_up_delay`, and not yet fewer wait.
    High,
}

/// Where the pools stand.
pub(super) type Grown = BTreeMap<PoolName, Standing>;

/// The most jobs that may wait for a pool that is not pressed any more: fewer than the threshold.
fn rest(elastic: &Elastic) -> u32 {
    elastic.scale_up_threshold.saturating_sub(1)
}

/// Pressure begins when more jobs than the threshold are overdue, and ends when fewer wait.
fn pressure(elastic: &Elastic, before: Pressure, load: &Load) -> Pressure {
    let goes_on = before == Pressure::High && load.waiting > rest(elastic);
    match load.overdue > elastic.scale_up_threshold || goes_on {
        true => Pressure::High,
        false => Pressure::Calm,
    }
}

/// The number of slots that a pool should have.
fn wanted(elastic: &Elastic, pressure: Pressure, load: &Load) -> u32 {
    let is_empty = load.free + load.busy == 0;
    let asked = [
        elastic.warm.saturating_sub(load.free),
        match pressure {
            Pressure::High => load.waiting.saturating_sub(rest(elastic)).saturating_sub(load.free),
            Pressure::Calm => 0,
        },
        u32::from(is_empty && load.forsaken > 0),
    ];
    let more = asked.into_iter().max().unwrap_or(0);
    if more > 0 || pressure == Pressure::High {
        return elastic.bound(load.size.saturating_add(more));
    }
    let rested = u32::try_from(load.rested.len()).unwrap_or(u32::MAX);
    let surplus = load.free.saturating_sub(elastic.warm.max(load.waiting + load.ignored));
    let fewer = rested.min(surplus).min(load.size.saturating_sub(elastic.min));
    load.size.saturating_sub(fewer)
}

/// What a pool has, wants, and can have.
struct Assessment {
    load: Load,
    pressure: Pressure,
    wanted: u32,
    /// As many of the wanted as can be had, and what stands in the way of the others.
    reach: u32,
    obstacle: Option<String>,
}

fn assess(state: &State, now: Time, (pool, elastic): (&Pool, &Elastic), load: Load) -> Assessment {
    let pressure = pressure(elastic, standing(state, pool, elastic).pressure, &load);
    let wanted = wanted(elastic, pressure, &load);
    let (reach, obstacle) = match wanted > load.size {
        false => (wanted, None),
        true => reach(state, now, pool, (load.size, wanted)),
    };
    Assessment { load, pressure, wanted, reach, obstacle }
}

/// Where a pool stands; at rest, if nothing is known.
fn standing(state: &State, pool: &Pool, elastic: &Elastic) -> Standing {
    let at_rest = Standing { count: elastic.at_rest(), pressure: Pressure::Calm };
    state.meta.elastic.get(&pool.name).copied().unwrap_or(at_rest)
}

/// How far a pool can grow now, and what it is that stops it.
fn reach(
    state: &State,
    now: Time,
    pool: &Pool,
    (size, wanted): (u32, u32),
) -> (u32, Option<String>) {
    if let Some(why) = hindrance(state, now, pool) {
        return (size, Some(why));
    }
    let Err(refusal) = admitted(state, pool, wanted) else { return (wanted, None) };
    // What fits does so with fewer, too: the largest such number is found by halving.
    let (mut low, mut high) = (size, wanted);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match admitted(state, pool, middle) {
            Ok(_) => low = middle,
            Err(_) => high = middle,
        }
    }
    (low, Some(refusal.message))
}

/// Whether only cards stand in the way of one more slot.
pub(super) fn lacks_card(state: &State, now: Time, pool: &Pool, size: u32) -> bool {
    let mut counts = desired::counts_now(state);
    counts.insert(pool.name.clone(), size.saturating_add(1));
    hindrance(state, now, pool).is_none() && carries(state, &state.spec, &counts).is_ok()
}

/// What makes more slots useless for now.
fn hindrance(state: &State, now: Time, pool: &Pool) -> Option<String> {
    if let Some(why) = state.disks.trouble() {
        return Some(why);
    }
    if let Some(why) = holds::hindrance(state, pool) {
        return Some(why);
    }
    // The card that a new slot would get is that one's.
    let mut own = state.slots().filter(|slot| slot.pool == pool.name);
    if let Some(slot) = own.find(|slot| is_without(state, slot)) {
        return Some(format!("{} waits for a card, too", slot.name));
    }
    let image = desired::template(&state.spec, pool)?.image;
    match state.images.get(&image) {
        Some(Image::Known(_)) => {}
        Some(Image::Missing { why, .. }) => return Some(format!("image {image}: {why}")),
        Some(Image::Asked) | None => return Some(format!("image {image} is being looked up")),
    }
    failing(state, now, pool)
}

/// Why no runner of a pool comes up, if some fail and none serves.
fn failing(state: &State, now: Time, pool: &Pool) -> Option<String> {
    let slots = || state.slots().filter(|it| it.pool == pool.name && it.fate == Fate::Stay);
    let serves = slots()
        .filter_map(|slot| state.runner(slot.runner?))
        .any(|runner| matches!(runner.phase, Phase::Idle { .. }) || runner.is_at_work());
    let backoffs = slots().filter_map(|slot| state.backoffs.get(&Place::Slot(slot.id)));
    let mut waiting = backoffs.filter(|backoff| !backoff.is_over(now));
    if serves {
        return None;
    }
    waiting.next()?.reason(now)
}

fn admitted(state: &State, pool: &Pool, count: u32) -> Result<Admitted, Refusal> {
    let mut counts = desired::counts_now(state);
    counts.insert(pool.name.clone(), count);
    admit(state, &state.spec, &counts)
}

/// Plans one change at a time: what one pool gets, the next has not.
pub(super) fn plan(state: &State, now: Time, plan: &mut Vec<Decision>) {
    if state.is_going_down() || !state.was_applied() {
        return;
    }
    if let Some(pool) = expired(state, now) {
        plan.push(Decision::Follow(pool));
        return;
    }
    if !state.spec.pools.iter().any(|pool| following(state, pool).is_some()) {
        return;
    }
    let mut loads = loads(state, now);
    for pool in &state.spec.pools {
        let (Some(elastic), Some(load)) = (following(state, pool), loads.remove(&pool.name)) else {
            continue;
        };
        if is_paused(state, &pool.name) {
            continue;
        }
        if let Some(decision) = decide(state, now, (pool, &elastic), load) {
            plan.push(decision);
            return;
        }
    }
}

/// An open pool whose number of `scale` has had its time, if what follows can be had.
fn expired(state: &State, now: Time) -> Option<PoolName> {
    let over = state.meta.scaled_until.iter().filter(|(_, until)| now >= **until);
    let mut open = over.map(|(pool, _)| pool).filter(|pool| !is_paused(state, pool));
    open.find(|pool| after(state, pool).is_ok()).cloned()
}

/// The slots after the end of what `scale` set for a pool.
fn after(state: &State, pool: &PoolName) -> Result<Admitted, Refusal> {
    admit(state, &state.spec, &counts_after(state, pool))
}

fn counts_after(state: &State, pool: &PoolName) -> Counts {
    let mut scaled = state.meta.scaled.clone();
    scaled.remove(pool);
    desired::counts(&state.spec, &scaled, &state.meta.elastic)
}

fn decide(
    state: &State,
    now: Time,
    (pool, elastic): (&Pool, &Elastic),
    load: Load,
) -> Option<Decision> {
    let name = pool.name.clone();
    let before = standing(state, pool, elastic);
    let Assessment { load, pressure, wanted, reach, obstacle } =
        assess(state, now, (pool, elastic), load);
    let numbers = numbers(&load, elastic);
    if pressure != before.pressure {
        return Some(Decision::Press { pool: name, to: pressure, why: numbers });
    }
    if reach > load.size {
        let cause = match pressure {
            Pressure::High => numbers,
            Pressure::Calm if load.forsaken > 0 => format!("it has no runner, and {numbers}"),
            Pressure::Calm => format!("{} of {} warm runners are idle", load.free, elastic.warm),
        };
        return Some(Decision::Grow { pool: name, to: reach, why: cause });
    }
    if obstacle.is_some()
        && lacks_card(state, now, pool, load.size)
        && let Some(decision) = for_growth(state, now, &name)
    {
        return Some(decision);
    }
    let fewer = load.size.saturating_sub(wanted) as usize;
    let slots: Vec<SlotId> = load.rested.iter().take(fewer).copied().collect();
    let why = format!(
        "{} of {} {} idle for longer than {}",
        load.rested.len(),
        load.size,
        agree(&load.rested.len(), "was", "were"),
        show_duration(elastic.scale_down_delay)
    );
    (!slots.is_empty()).then_some(Decision::Shrink { pool: name, slots, why })
}

fn numbers(load: &Load, elastic: &Elastic) -> String {
    let delay = show_duration(elastic.scale_up_delay);
    let overdue = match load.overdue > elastic.scale_up_threshold {
        // They are not counted any further.
        true => format!("more than {}", elastic.scale_up_threshold),
        false => load.overdue.to_string(),
    };
    let (jobs, wait) = (counted(load.waiting, "job"), agree(&load.waiting, "waits", "wait"));
    format!("{jobs} {wait}, {overdue} of them longer than {delay}")
}

/// Records that jobs begin to press a pool, or press it no more.
pub(super) fn press(state: &mut State, now: Time, (name, to): (PoolName, Pressure), why: &str) {
    let (what, states) = match to {
        Pressure::High => ("pressed", ("calm", "pressed")),
        Pressure::Calm => ("calm", ("pressed", "calm")),
    };
    state.tell_change(now, object(&name), (what, why), states);
    stand(state, &name, |standing| standing.pressure = to);
}

/// Gives a pool more slots.
pub(super) fn grow(state: &mut State, now: Time, (name, to): (&PoolName, u32), why: &str) {
    let Some(pool) = desired::pool(&state.spec, name) else { return };
    let before = desired::counts_now(state).get(name).copied().unwrap_or(0);
    // It was admitted when it was planned, and nothing has changed since.
    let Ok(admitted) = admitted(state, pool, to) else { return };
    state.tell_change(now, object(name), ("grown", why), (runners(before), runners(to)));
    stand(state, name, |standing| standing.count = to);
    reshape(state, now, admitted);
}

/// Lets slots of a pool go.
pub(super) fn shrink(
    state: &mut State,
    now: Time,
    (name, slots): (PoolName, &[SlotId]),
    why: &str,
) {
    let before = desired::counts_now(state).get(&name).copied().unwrap_or(0);
    let fewer = u32::try_from(slots.len()).unwrap_or(u32::MAX);
    let to = before.saturating_sub(fewer);
    state.tell_change(now, object(&name), ("shrunk", why), (runners(before), runners(to)));
    stand(state, &name, |standing| standing.count = to);
    for slot in slots {
        if let Some(slot) = state.slot_mut(*slot) {
            slot.fate = Fate::Leave;
        }
    }
}

/// Ends the time of a number that `scale` set: the pool is again as the file and its queue say.
pub(super) fn follow(state: &mut State, now: Time, name: &PoolName) {
    let Ok(admitted) = after(state, name) else { return };
    let before = desired::counts_now(state).get(name).copied().unwrap_or(0);
    let to = counts_after(state, name).get(name).copied().unwrap_or(0);
    let why = "the time of what `scale` set is over";
    state.tell_change(now, object(name), ("follows", why), (runners(before), runners(to)));
    let meta = state.meta_mut();
    meta.scaled.remove(name);
    meta.scaled_until.remove(name);
    reshape(state, now, admitted);
}

fn runners(count: u32) -> String {
    counted(count, "runner")
}

fn object(pool: &PoolName) -> String {
    format!("pool {pool}")
}

fn stand(state: &mut State, name: &PoolName, change: impl FnOnce(&mut Standing)) {
    let pool = desired::pool(&state.spec, name);
    let Some((pool, PoolSize::Elastic(elastic))) = pool.map(|pool| (pool, pool.size)) else {
        return;
    };
    let mut standing = standing(state, pool, &elastic);
    change(&mut standing);
    state.meta_mut().elastic.insert(name.clone(), standing);
}

/// The numbers that pools keep over an `up`: where those of the new file stand, within its bounds.
pub(super) fn kept(spec: &crate::spec::Spec, counts: &Counts, before: &Grown) -> Grown {
    let elastic = spec.pools.iter().filter(|pool| matches!(pool.size, PoolSize::Elastic(_)));
    let standing = |pool: &Pool| {
        let pressure = before.get(&pool.name).map_or(Pressure::Calm, |it| it.pressure);
        let count = counts.get(&pool.name).copied()?;
        Some((pool.name.clone(), Standing { count, pressure }))
    };
    elastic.filter_map(standing).collect()
}

/// Why pools have the sizes that they have, and how many jobs wait for each.
pub(super) fn reasons(state: &State, now: Time) -> BTreeMap<PoolName, (SizeReason, u32)> {
    let mut loads = loads(state, now);
    let reason = |pool: &Pool| {
        let load = loads.remove(&pool.name).unwrap_or_default();
        let waiting = load.waiting;
        (pool.name.clone(), (reason(state, now, pool, load), waiting))
    };
    state.spec.pools.iter().map(reason).collect()
}

fn reason(state: &State, now: Time, pool: &Pool, load: Load) -> SizeReason {
    if state.meta.scaled.contains_key(&pool.name) {
        let until = state.meta.scaled_until.get(&pool.name).copied();
        return SizeReason::Set { until };
    }
    let Some(elastic) = following(state, pool) else { return SizeReason::File };
    if is_paused(state, &pool.name) {
        return SizeReason::Paused;
    }
    let assessment = assess(state, now, (pool, &elastic), load);
    let Assessment { load, pressure, obstacle, .. } = assessment;
    let waiting = load.waiting;
    match (obstacle, pressure) {
        (Some(why), _) => SizeReason::Held { waiting, why },
        (None, Pressure::High) if load.size >= elastic.max => SizeReason::Most { waiting },
        (None, Pressure::High) => SizeReason::Queue { waiting },
        (None, Pressure::Calm) if load.size <= elastic.min => SizeReason::Least,
        (None, Pressure::Calm) if load.free <= elastic.warm && elastic.warm > 0 => SizeReason::Warm,
        (None, Pressure::Calm) => SizeReason::Idle { after: elastic.scale_down_delay },
    }
}
