//! What is bounded: the effort for a pool, the cards that are leased, the memory and the number of
//! runners that were admitted, the workflow runs at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::CARD_MEMORY;
use super::rest::false_tasks;
use crate::fleet::Step;
use crate::fleet::effect::{Effect, EngineAction};
use crate::fleet::job::Job;
use crate::fleet::slot::{Fate, Slot};
use crate::ids::{GpuUuid, PoolName};
use crate::sim::records::Records;
use crate::sim::script::host;
use crate::spec::{GpuSharing, Overcommit, Spec};
use crate::units::{Bytes, Time};

/// Effort is counted over this long.
const WINDOW: Duration = Duration::from_secs(60);
/// Containers that one place may have made in a window by failures alone: at once, after 1, 2, 4,
/// 8 and 16 seconds, and as many again when something resets its backoff.
const TRIES: usize = 12;

/// What was done within the last window.
#[derive(Debug, Default)]
pub(super) struct Effort {
    creates: BTreeMap<PoolName, VecDeque<Time>>,
    /// What makes more containers necessary: jobs given out, for each pool.
    jobs: BTreeMap<PoolName, VecDeque<Time>>,
    /// What makes every container anew or forgets failures: requests, and supervisors' starts.
    resets: VecDeque<Time>,
}

impl Effort {
    /// Somebody asked for something, or a supervisor started.
    pub(super) fn reset(&mut self, now: Time) {
        push(&mut self.resets, now);
    }

    /// Counts what a step does; a pool that does too much comes back.
    pub(super) fn check(&mut self, now: Time, records: &Records, step: &Step) -> Vec<String> {
        let mut breaches = Vec::new();
        for effect in &step.effects {
            match effect {
                Effect::Engine { action: EngineAction::Create(plan), .. } => {
                    let pool = plan.template.pool.clone();
                    let made = push(self.creates.entry(pool.clone()).or_default(), now);
                    let most = self.most(now, records, &pool);
                    if made > most {
                        breaches
                            .push(format!("pool {pool} made {made} in a minute, {most} at most"));
                    }
                }
                Effect::Agent { incarnation, .. } => {
                    if let Some(runner) = records.runners.get(incarnation) {
                        let pool = runner.build.template.pool.clone();
                        push(self.jobs.entry(pool).or_default(), now);
                    }
                }
                _ => {}
            }
        }
        breaches
    }

    fn most(&mut self, now: Time, records: &Records, pool: &PoolName) -> usize {
        let slots = records.slots.values().filter(|slot| slot.pool == *pool).count();
        let spec = records.meta.spec.as_ref();
        let pools = spec.iter().flat_map(|spec| &spec.pools);
        let spares: usize = pools.filter(|it| it.name == *pool).map(|it| it.spares as usize).sum();
        let resets = recent(&mut self.resets, now);
        let jobs = self.jobs.get_mut(pool).map_or(0, |times| recent(times, now));
        (slots + spares + 1) * (TRIES + 3 * resets) + jobs
    }
}

fn push(times: &mut VecDeque<Time>, now: Time) -> usize {
    times.push_back(now);
    recent(times, now)
}

fn recent(times: &mut VecDeque<Time>, now: Time) -> usize {
    while times.front().is_some_and(|time| now.since(*time) > WINDOW) {
        times.pop_front();
    }
    times.len()
}

/// What the fleet promised to keep to, whatever was asked for.
pub(super) fn over_limits(records: &Records) -> Vec<String> {
    let stay: Vec<&Slot> = records.slots.values().filter(|slot| slot.fate == Fate::Stay).collect();
    let Some(spec) = &records.meta.spec else {
        let unasked = stay.iter().map(|slot| format!("{} is there, and no `up` was done", slot.id));
        return unasked.collect();
    };
    let mut breaches = Vec::from_iter(false_tasks(records));
    if stay.len() > spec.limits.scale_max as usize {
        breaches.push(format!("{} slots, {} at most", stay.len(), spec.limits.scale_max));
    }
    let memory = |slot: &&Slot| spec.profiles.get(&slot.profile).map_or(0, |it| it.memory.0);
    let sum = Bytes(stay.iter().map(memory).sum());
    if sum > host().memory && spec.limits.overcommit_memory == Overcommit::Refuse {
        breaches.push(format!("slots for {sum} of memory were admitted"));
    }
    let runs: BTreeSet<String> = records
        .jobs
        .values()
        .filter(|job| job.runner().is_some())
        .filter_map(Job::workflow_run)
        .collect();
    if runs.len() > spec.limits.max_parallel_workflows as usize {
        breaches.push(format!("{} workflow runs at a time: {runs:?}", runs.len()));
    }
    breaches.extend(overleased(spec, &stay));
    breaches
}

/// Cards of which more was promised to slots than they have: somebody would wait for ever.
fn overleased(spec: &Spec, slots: &[&Slot]) -> Vec<String> {
    let mut cards: BTreeMap<&GpuUuid, Vec<(u32, GpuSharing)>> = BTreeMap::new();
    for slot in slots {
        let demand = spec.profiles.get(&slot.profile).and_then(|profile| profile.gpu);
        if let (Some(lease), Some(demand)) = (&slot.gpu, demand) {
            cards.entry(&lease.uuid).or_default().push((demand.memory.0, demand.sharing));
        }
    }
    let is_over = |held: &[(u32, GpuSharing)]| {
        let alone = held.iter().any(|(_, sharing)| *sharing == GpuSharing::Exclusive);
        let sum: u32 = held.iter().map(|(memory, _)| memory).sum();
        (alone && held.len() > 1) || sum > CARD_MEMORY
    };
    let over = cards.into_iter().filter(|(_, held)| is_over(held));
    over.map(|(card, held)| format!("card {card} is leased too often: {held:?}")).collect()
}
