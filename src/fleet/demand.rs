//! What waits for which pool, and what the pools have to serve it.
//!
//! A waiting job counts for one pool: of those that may serve it, the first with its exact profile,
//! else the first in the file's order. A pool that cannot grow takes what its free runners will
//! take, and the rest counts for the next.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::assignment;
use super::desired;
use super::forge;
use super::gpus::seat::needs_card;
use super::lanes::Rooms;
use super::pause::{self, is_paused};
use super::plan::{is_closed, leftovers, most_leftovers, running_workflows};
use super::queue::{Kind, Line};
use super::runner::{Phase, Runner};
use super::slot::{Fate, Slot};
use super::state::{Place, State};
use crate::ids::{PoolName, SlotId};
use crate::spec::{Elastic, Pool, PoolSize};
use crate::units::Time;

/// An idle runner whose agent is away for longer than this is not counted on.
const ABSENCE_MAX: Duration = Duration::from_secs(90);

/// What a pool has, and what waits for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// Its slots.
    pub size: u32,
    /// Those that will take a job: idle, or on their way to be.
    pub free: u32,
    /// Those with a job.
    pub busy: u32,
    /// Those that were idle for longer than `scale_down_delay`, the longest first.
    pub rested: Vec<SlotId>,
    /// Jobs that wait for it.
    pub waiting: u32,
    /// Jobs that its idle runners should get and do not: no more runners are made for them, and
    /// none goes while they wait.
    pub ignored: u32,
    /// Those that wait for longer than `scale_up_delay`; not counted far beyond the threshold.
    pub overdue: u32,
    /// Those of the overdue for which no pool before it has a runner.
    pub forsaken: u32,
}

/// The load of every pool.
pub(super) fn loads(state: &State, now: Time) -> BTreeMap<PoolName, Load> {
    let leftovers = leftovers(state);
    let mut loads: BTreeMap<PoolName, Load> =
        state.spec.pools.iter().map(|pool| (pool.name.clone(), Load::default())).collect();
    let mut rested: Vec<(Time, SlotId, &PoolName)> = Vec::new();
    for slot in state.slots().filter(|slot| slot.fate == Fate::Stay) {
        let Some(pool) = desired::pool(&state.spec, &slot.pool) else { continue };
        let Some(load) = loads.get_mut(&pool.name) else { continue };
        let runner = slot.runner.and_then(|id| state.runner(id));
        load.size += 1;
        load.busy += u32::from(runner.is_some_and(Runner::is_at_work));
        if !pause::is_open(state, slot) {
            continue;
        }
        let left = leftovers.get(&slot.id).copied().unwrap_or(0);
        let is_free = slot.downgrade.is_none()
            && match runner {
                Some(runner) => is_to_serve(state, now, runner),
                None => {
                    left < most_leftovers(pool.reuse)
                        && may_fill(state, now, slot)
                        && !is_closed(state, pool, slot)
                }
            };
        load.free += u32::from(is_free);
        if let Some(since) = runner.and_then(|runner| idle_since(slot, runner))
            && is_rested(pool, now.since(since))
            && !runner.is_some_and(|runner| forge::plan::is_claimed(state, runner))
        {
            rested.push((since, slot.id, &slot.pool));
        }
    }
    // The longest idle first; of those that are so equally long, the highest number.
    rested.sort_by_key(|(since, id, _)| (*since, std::cmp::Reverse(*id)));
    for (_, id, pool) in rested {
        if let Some(load) = loads.get_mut(pool) {
            load.rested.push(id);
        }
    }
    allot(state, now, &mut loads);
    forge::demand::count(state, now, &mut loads);
    loads
}

/// Idle time counts from when the runner was ready in this slot, or its last job ended.
fn idle_since(slot: &Slot, runner: &Runner) -> Option<Time> {
    matches!(runner.phase, Phase::Idle { .. }).then(|| runner.since.max(slot.filled))
}

fn is_rested(pool: &Pool, idle: Duration) -> bool {
    match pool.size {
        PoolSize::Fixed(_) => false,
        PoolSize::Elastic(elastic) => idle > elastic.scale_down_delay,
    }
}

/// Whether a runner takes a job now, or will soon; its deadlines see to it that it does not count
/// as one for ever.
fn is_to_serve(state: &State, now: Time, runner: &Runner) -> bool {
    let contact = state.contact(runner.id);
    match runner.phase {
        Phase::Planned
        | Phase::Created { .. }
        | Phase::Booting { .. }
        | Phase::Registering { .. } => true,
        Phase::Idle { .. } => contact.is_connected() || now.since(contact.heard) <= ABSENCE_MAX,
        Phase::Working { .. }
        | Phase::Leaving { .. }
        | Phase::Busy { .. }
        | Phase::Retiring { .. } => false,
    }
}

/// Whether an empty slot is about to be filled. One that waits after failures or for a card is not.
pub(super) fn may_fill(state: &State, now: Time, slot: &Slot) -> bool {
    let backoff = state.backoffs.get(&Place::Slot(slot.id));
    let has_card = slot.gpu.is_some() || !needs_card(state, slot);
    has_card && backoff.is_none_or(|backoff| backoff.is_over(now))
}

/// The bounds of a pool that follows its queue now: not fixed, and not set by `scale`.
pub(super) fn following(state: &State, pool: &Pool) -> Option<Elastic> {
    match pool.size {
        PoolSize::Elastic(elastic) if !state.meta.scaled.contains_key(&pool.name) => Some(elastic),
        PoolSize::Elastic(_) | PoolSize::Fixed(_) => None,
    }
}

/// Counts every job that may start for one pool.
fn allot(state: &State, now: Time, loads: &mut BTreeMap<PoolName, Load>) {
    let mut rooms = Rooms::of(state);
    let served = served_kinds(state, loads, &rooms);
    let is_served = |id| state.job(id).is_some_and(|job| served.contains(&Kind::of(job)));
    let runs = state.admissible_runs(running_workflows(state), is_served);
    let mut free: BTreeMap<PoolName, u32> =
        loads.iter().map(|(name, load)| (name.clone(), load.free)).collect();
    for (kind, line) in state.queue_lines() {
        let mut crowd = Crowd { state, now, line, runs: &runs, taken: 0, is_forsaken: true };
        let mut left = u32::try_from(line.count(&runs)).unwrap_or(u32::MAX);
        left = rooms.left(kind).map_or(left, |room| room.min(left));
        rooms.take(kind, left);
        let mut pools = in_order(state, kind);
        // A paused pool takes nothing; where no other may, it shows what waits.
        pools.sort_by_key(|pool| is_paused(state, &pool.name));
        for pool in &pools {
            let Some(load) = loads.get_mut(&pool.name) else { continue };
            let elastic = following(state, pool);
            let may_grow = elastic.is_some_and(|elastic| load.size < elastic.max);
            let take = match may_grow && !is_paused(state, &pool.name) {
                true => left,
                false => {
                    let free = free.entry(pool.name.clone()).or_default();
                    let take = left.min(*free);
                    *free -= take;
                    take
                }
            };
            crowd.take(load, elastic, take);
            left -= take;
        }
        // Nobody can grow any more; the first of those that once could shows what waits.
        let first = pools.iter().find_map(|pool| Some((pool, following(state, pool)?)));
        if let Some((pool, elastic)) = first
            && let Some(load) = loads.get_mut(&pool.name)
        {
            crowd.take(load, Some(elastic), left);
        }
    }
}

/// The kinds that wait and have room in their lane, and a pool with a slot, or one that may grow.
fn served_kinds(
    state: &State,
    loads: &BTreeMap<PoolName, Load>,
    rooms: &Rooms<'_>,
) -> BTreeSet<Kind> {
    let may_serve = |pool: &Pool| {
        let has_slots = loads.get(&pool.name).is_some_and(|load| load.size > 0);
        let may_grow = || following(state, pool).is_some_and(|elastic| elastic.max > 0);
        !is_paused(state, &pool.name) && (has_slots || may_grow())
    };
    let kinds = state.queue_lines().map(|(kind, _)| kind).filter(|kind| rooms.has(kind));
    let served = kinds.filter(|kind| assignment::serving(&state.spec, kind).any(may_serve));
    served.cloned().collect()
}

/// The pools that may serve a kind: its exact profile first, then the file's order.
pub(super) fn in_order<'a>(state: &'a State, kind: &Kind) -> Vec<&'a Pool> {
    let mut pools: Vec<&Pool> = assignment::serving(&state.spec, kind).collect();
    pools.sort_by_key(|pool| pool.profile != kind.profile);
    pools
}

/// The jobs of one kind while they are counted for pools, the oldest first.
struct Crowd<'a> {
    state: &'a State,
    now: Time,
    line: &'a Line,
    runs: &'a BTreeSet<String>,
    taken: u32,
    /// Whether no pool so far has a runner.
    is_forsaken: bool,
}

impl Crowd<'_> {
    fn take(&mut self, load: &mut Load, elastic: Option<Elastic>, count: u32) {
        if let Some(elastic) = elastic
            && count > 0
        {
            let overdue = self.overdue(&elastic, count);
            load.waiting = load.waiting.saturating_add(count);
            load.overdue = load.overdue.saturating_add(overdue);
            load.forsaken += if self.is_forsaken { overdue } else { 0 };
        }
        self.taken = self.taken.saturating_add(count);
        self.is_forsaken &= load.free + load.busy == 0;
    }

    /// How many of the next jobs wait for longer than the pool lets them. It is enough to know that
    /// they are more than its threshold.
    fn overdue(&self, elastic: &Elastic, count: u32) -> u32 {
        let enough = elastic.scale_up_threshold.saturating_add(1).min(count);
        let is_old = |id| {
            self.state
                .job(id)
                .is_some_and(|job| self.now.since(job.queued_at) > elastic.scale_up_delay)
        };
        let most = self.taken.saturating_add(enough) as usize;
        let old = self.line.count_old(self.runs, most, is_old);
        u32::try_from(old).unwrap_or(u32::MAX).saturating_sub(self.taken)
    }
}
