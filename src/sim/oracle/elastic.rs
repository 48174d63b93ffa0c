//! Pools that follow their queue: their bounds, and who may leave.

use std::collections::BTreeMap;

use super::Oracle;
use crate::fleet::event::Request;
use crate::fleet::runner::{Phase, Runner};
use crate::fleet::slot::{Fate, Slot};
use crate::ids::{PoolName, SlotId};
use crate::sim::records::Records;
use crate::spec::{Elastic, Pool, PoolSize};
use crate::units::Time;

/// When slots last did something else than waiting for a job, by what the oracle saw itself.
#[derive(Debug, Default)]
pub(super) struct Rest {
    active: BTreeMap<SlotId, Time>,
    /// The slots that stayed, and their pools.
    stayed: BTreeMap<SlotId, PoolName>,
    /// An operator asked for other numbers, or the time of such a number may be over.
    is_asked: bool,
}

impl Rest {
    /// Something is asked for.
    pub(super) fn asked(&mut self, request: &Request) {
        self.is_asked |=
            matches!(request, Request::Apply(_) | Request::Scale(_) | Request::Down(_));
    }
}

impl Oracle {
    /// Bounds hold, and only what has rested for long enough leaves.
    pub(super) fn check_elastic(&mut self, now: Time, records: &Records) {
        for pool in records.meta.spec.iter().flat_map(|spec| &spec.pools) {
            let PoolSize::Elastic(elastic) = pool.size else { continue };
            self.check_bounds(records, pool, &elastic);
            if !self.rest.is_asked {
                self.check_leaving(now, records, (pool, &elastic));
            }
        }
        for slot in records.slots.values() {
            if !is_waiting(records, slot) || !self.rest.active.contains_key(&slot.id) {
                self.rest.active.insert(slot.id, now);
            }
        }
        self.rest.active.retain(|id, _| records.slots.contains_key(id));
        let stay = records.slots.values().filter(|slot| slot.fate == Fate::Stay);
        self.rest.stayed = stay.map(|slot| (slot.id, slot.pool.clone())).collect();
        self.rest.is_asked = false;
    }

    fn check_bounds(&mut self, records: &Records, pool: &Pool, elastic: &Elastic) {
        let slots = records.slots.values().filter(|slot| slot.pool == pool.name);
        let count = slots.filter(|slot| slot.fate == Fate::Stay).count();
        if count > elastic.max as usize {
            self.breach(format!("pool {} has {count} of {} slots", pool.name, elastic.max));
        }
        let is_set = records.meta.scaled.contains_key(&pool.name);
        if count < elastic.min as usize && !is_set {
            self.breach(format!("pool {} has {count} slots, {} at least", pool.name, elastic.min));
        }
    }

    fn check_leaving(&mut self, now: Time, records: &Records, (pool, rule): (&Pool, &Elastic)) {
        let stays = |id: &SlotId| records.slots.get(id).is_some_and(|it| it.fate == Fate::Stay);
        let stayed = self.rest.stayed.iter().filter(|(_, of)| **of == pool.name);
        let left: Vec<SlotId> = stayed.map(|(id, _)| *id).filter(|id| !stays(id)).collect();
        for id in left {
            let rested = self.rest.active.get(&id).map(|active| now.since(*active));
            let runner = records.slots.get(&id).and_then(|slot| slot.runner);
            let job = runner.and_then(|id| records.runners.get(&id)).and_then(Runner::job);
            if job.is_some() || rested.is_none_or(|rested| rested < rule.scale_down_delay) {
                self.breach(format!("{id} leaves, idle for {rested:?}, with {job:?}"));
            }
        }
    }
}

/// Whether a slot's runner waits for a job.
fn is_waiting(records: &Records, slot: &Slot) -> bool {
    let runner = slot.runner.and_then(|id| records.runners.get(&id));
    runner.is_some_and(|runner| matches!(runner.phase, Phase::Idle { .. }))
}
