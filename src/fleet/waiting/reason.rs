//! Why jobs wait, found from the state: first what holds for the whole fleet, then for the job,
//! then for the pools that could serve it.

use std::collections::{BTreeMap, BTreeSet};

use crate::fleet::assignment::{self, Fits, Loads, Seat};
use crate::fleet::backoff::Backoff;
use crate::fleet::event::Cordon;
use crate::fleet::forge::{self, holds};
use crate::fleet::gpus;
use crate::fleet::job::{Job, JobState};
use crate::fleet::lanes::Rooms;
use crate::fleet::pause;
use crate::fleet::plan::{may_run, running_workflows};
use crate::fleet::queue::Kind;
use crate::fleet::runner::{Phase, Runner};
use crate::fleet::slot::{Fate, Slot};
use crate::fleet::state::{EngineContact, Image, Place, State};
use crate::fleet::view::{SizeReason, WaitCode, WaitReason};
use crate::fleet::{demand, desired, scale};
use crate::ids::PoolName;
use crate::spec::Pool;
use crate::units::Time;

/// What jobs wait for, looked at once for all that are asked about.
pub(in crate::fleet) struct Reasons<'a> {
    state: &'a State,
    now: Time,
    runs: BTreeSet<String>,
    seats: Vec<Seat<'a>>,
    loads: Loads,
    rooms: Rooms<'a>,
    sizes: BTreeMap<PoolName, (SizeReason, u32)>,
    kinds: BTreeMap<Kind, WaitReason>,
}

impl<'a> Reasons<'a> {
    pub fn new(state: &'a State, now: Time) -> Self {
        Self {
            state,
            now,
            runs: running_workflows(state),
            seats: assignment::seats(state),
            loads: Loads::of(state),
            rooms: Rooms::of(state),
            sizes: scale::reasons(state, now),
            kinds: BTreeMap::new(),
        }
    }

    /// Why a job of the fleet's own waits that has so many before it.
    pub fn of(&mut self, job: &Job, ahead: u32) -> WaitReason {
        if let Some(why) = of_fleet(self.state) {
            return why;
        }
        let kind = Kind::of(job);
        if let Some(why) = self.rooms.reason(&kind) {
            return why;
        }
        if !may_run(self.state, &self.runs, job) {
            return self.workflow_limit();
        }
        self.of_kind(&kind).behind(ahead)
    }

    pub fn workflow_limit(&self) -> WaitReason {
        let under_way = u32::try_from(self.runs.len()).unwrap_or(u32::MAX);
        WaitReason::WorkflowLimit { under_way, most: self.state.spec.limits.max_parallel_workflows }
    }

    /// Why a job of a kind waits that nothing but its pools holds up.
    pub fn of_kind(&mut self, kind: &Kind) -> WaitReason {
        if let Some(known) = self.kinds.get(kind) {
            return known.clone();
        }
        let found = self.look(kind);
        self.kinds.insert(kind.clone(), found.clone());
        found
    }

    fn look(&self, kind: &Kind) -> WaitReason {
        let spec = &self.state.spec;
        let pools: Vec<&Pool> = assignment::serving(spec, kind).collect();
        if pools.is_empty() {
            let open = assignment::open_to(spec, kind).map(|pool| pool.name.clone());
            return WaitReason::NoPool { profile: kind.profile.clone(), too_small: open.collect() };
        }
        if let Some(why) = pause::reason(self.state, &pools) {
            return why;
        }
        let taken = BTreeSet::new();
        let runner = Fits::of(spec, kind, &self.seats, &self.loads).take(&self.loads, &taken);
        if let Some(pool) = runner.and_then(|id| self.state.runner(id)) {
            return WaitReason::Next { pool: pool.build.template.pool.clone() };
        }
        let is_paused = |pool: &&Pool| pause::is_paused(self.state, &pool.name);
        let open: Vec<&Pool> = pools.into_iter().filter(|pool| !is_paused(pool)).collect();
        of_pools(self.state, self.now, &open, &self.sizes)
    }
}

/// Why a job waits that an operator holds back.
pub(in crate::fleet) fn of_hold(job: &Job) -> Option<WaitReason> {
    let JobState::OnHold { since, by } = &job.state else { return None };
    Some(WaitReason::Held { job: job.id, since: *since, by: by.clone() })
}

/// Counts the jobs that wait, the forges' too, by why they do. Each counts for one pool: the first
/// with its exact profile, else the first in the file's order; for none where no pool serves it.
pub(in crate::fleet) fn counts(
    state: &State,
    now: Time,
) -> BTreeMap<(Option<PoolName>, WaitCode), u32> {
    let mut reasons = Reasons::new(state, now);
    let is_full = reasons.runs.len() >= state.spec.limits.max_parallel_workflows as usize;
    let mut counts = BTreeMap::new();
    let small = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    for (kind, line) in state.queue_lines() {
        let pool = demand::in_order(state, kind).first().map(|pool| pool.name.clone());
        let whole = of_fleet(state).or_else(|| reasons.rooms.reason(kind));
        let is_limited = is_full && whole.is_none();
        let admitted = if is_limited { line.count(&reasons.runs) } else { line.len() };
        let held = small(line.len().saturating_sub(admitted));
        let code = whole.unwrap_or_else(|| reasons.of_kind(kind)).code();
        for (code, count) in [(code, small(admitted)), (WaitCode::WorkflowLimit, held)] {
            if count > 0 {
                *counts.entry((pool.clone(), code)).or_default() += count;
            }
        }
    }
    let mut pools: BTreeMap<Kind, Option<PoolName>> = BTreeMap::new();
    for job in state.jobs_on_hold() {
        let kind = Kind::of(job);
        let first = || demand::in_order(state, &kind).first().map(|pool| pool.name.clone());
        let pool = pools.entry(kind.clone()).or_insert_with(first).clone();
        *counts.entry((pool, WaitCode::Held)).or_default() += 1;
    }
    forge::demand::waits(state, now, &reasons.sizes, &mut counts);
    counts
}

/// What holds up every job of the fleet's own.
pub(in crate::fleet) fn of_fleet(state: &State) -> Option<WaitReason> {
    if state.is_going_down() {
        return Some(WaitReason::GoingDown);
    }
    state.disks.trouble().map(|why| WaitReason::DiskLow { why })
}

/// Why jobs wait for pools that are not paused, and none of whose runners is idle.
pub(in crate::fleet) fn of_pools(
    state: &State,
    now: Time,
    pools: &[&Pool],
    sizes: &BTreeMap<PoolName, (SizeReason, u32)>,
) -> WaitReason {
    let slots: Vec<&Slot> = state
        .slots()
        .filter(|it| it.fate == Fate::Stay && pools.iter().any(|pool| pool.name == it.pool))
        .collect();
    let names = || pools.iter().map(|pool| pool.name.clone()).collect::<Vec<_>>();
    let count = |is: &dyn Fn(&Slot) -> bool| {
        u32::try_from(slots.iter().filter(|slot| is(slot)).count()).unwrap_or(u32::MAX)
    };
    let runner = |slot: &Slot| slot.runner.and_then(|id| state.runner(id));
    let busy = count(&|slot| runner(slot).is_some_and(Runner::is_at_work));
    let starting = count(&|slot| slot.cordon == Cordon::Open && is_starting(state, now, slot));
    let (all, closed) = (count(&|_| true), count(&|slot| slot.cordon == Cordon::Closed));
    if starting > 0 {
        return WaitReason::Starting { pools: names(), starting, ahead: 0 };
    }
    if let Some(why) = growth(state, now, pools, (sizes, busy)) {
        return why;
    }
    if all == 0 {
        return WaitReason::NoRunners { pools: names() };
    }
    if closed == all {
        return WaitReason::Cordoned { closed };
    }
    let open = slots.iter().filter(|it| it.cordon == Cordon::Open);
    if busy == 0
        && let Some(why) = open.clone().find_map(|slot| obstacle(state, now, slot))
    {
        return why;
    }
    let lighter = count(&|slot| slot.downgrade.is_some());
    WaitReason::AllBusy { pools: names(), busy, all, lighter, ahead: 0 }
}

/// Whether a slot will have a runner for a job soon, and nothing is known to hold that up.
fn is_starting(state: &State, now: Time, slot: &Slot) -> bool {
    if matches!(state.engine, EngineContact::Unreachable(_)) {
        return false;
    }
    let Some(runner) = slot.runner.and_then(|id| state.runner(id)) else {
        return obstacle(state, now, slot).is_none() && demand::may_fill(state, now, slot);
    };
    match &runner.phase {
        Phase::Planned
        | Phase::Created { .. }
        | Phase::Booting { .. }
        | Phase::Registering { .. }
        | Phase::Leaving { .. }
        | Phase::Retiring { .. } => true,
        // Its agent is away for a moment; one that is here and takes no job does not suit it.
        Phase::Idle { .. } => !state.contact(runner.id).is_connected(),
        Phase::Working { .. } | Phase::Busy { .. } => false,
    }
}

/// What keeps a slot empty.
fn obstacle(state: &State, now: Time, slot: &Slot) -> Option<WaitReason> {
    if let EngineContact::Unreachable(why) = &state.engine {
        return Some(WaitReason::EngineUnreachable { why: why.clone() });
    }
    if slot.runner.is_some() {
        return None;
    }
    let pool = desired::pool(&state.spec, &slot.pool)?;
    if let Some(why) = holds::of_slot(state, slot) {
        return Some(WaitReason::NeedsOperator { pool: pool.name.clone(), why: why.to_owned() });
    }
    let image = desired::template_as(&state.spec, pool, slot.profile_now())?.image;
    if let Some(Image::Missing { why, retry_at }) = state.images.get(&image) {
        let why = format!("image {image}: {why}");
        return Some(WaitReason::ImageMissing { why, next_try: *retry_at });
    }
    let backoff = state.backoffs.get(&Place::Slot(slot.id));
    if let Some(why) = backoff.filter(|it| !it.is_over(now)).and_then(|it| failing(it, now)) {
        return Some(why);
    }
    if let Some(why) = gpus::seat::waits(state, slot) {
        return Some(WaitReason::NoGpu { why });
    }
    backoff.and_then(|backoff| failing(backoff, now))
}

fn failing(backoff: &Backoff, now: Time) -> Option<WaitReason> {
    let next_try = Some(backoff.until()).filter(|_| !backoff.is_over(now));
    let (why, failures) = (backoff.why()?.to_owned(), backoff.failures());
    Some(WaitReason::Failing { why, failures, next_try })
}

/// What keeps pools from growing that could.
fn growth(
    state: &State,
    now: Time,
    pools: &[&Pool],
    (sizes, busy): (&BTreeMap<PoolName, (SizeReason, u32)>, u32),
) -> Option<WaitReason> {
    pools.iter().find_map(|pool| {
        let elastic = demand::following(state, pool)?;
        let size = state.slots().filter(|it| it.pool == pool.name && it.fate == Fate::Stay).count();
        if size >= elastic.max as usize {
            return None;
        }
        let name = pool.name.clone();
        Some(match sizes.get(&pool.name).map(|(size, _)| size) {
            Some(SizeReason::Held { why, .. }) => held(state, now, pool, why),
            _ => WaitReason::GrowthDelayed {
                pool: name,
                threshold: elastic.scale_up_threshold,
                delay: elastic.scale_up_delay,
                busy,
            },
        })
    })
}

/// What stands in the way of more slots of a pool.
fn held(state: &State, now: Time, pool: &Pool, why: &str) -> WaitReason {
    let slots = || state.slots().filter(|it| it.pool == pool.name && it.fate == Fate::Stay);
    let size = u32::try_from(slots().count()).unwrap_or(u32::MAX);
    if let Some(why) = slots().find_map(|slot| obstacle(state, now, slot)) {
        return why;
    }
    let image = desired::template(&state.spec, pool).map(|it| it.image);
    match image.and_then(|image| state.images.get(&image)) {
        Some(Image::Missing { retry_at, .. }) => {
            WaitReason::ImageMissing { why: why.to_owned(), next_try: *retry_at }
        }
        _ if scale::lacks_card(state, now, pool, size) => WaitReason::NoGpu { why: why.to_owned() },
        _ => WaitReason::CannotGrow { pool: pool.name.clone(), why: why.to_owned() },
    }
}
