//! What must hold after every step, said without the core's help.
//!
//! It sees the world (which processes live), the records (what the core believes) and the step,
//! and keeps its own book of what was promised.

mod audit;
mod bounds;
mod cards;
mod care;
mod causes;
pub mod edges;
mod elastic;
mod forges;
mod memory;
mod order;
mod rest;
mod steering;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use audit::AuditBook;
use bounds::Effort;
use cards::CardBook;
use care::Care;
use edges::Edges;
pub use rest::{false_end, settled};

use super::records::Records;
use super::world::World;
use crate::fleet::effect::{Answer, Effect, EngineAction};
use crate::fleet::event::{ContainerState, Event, Request};
use crate::fleet::job::{Job, JobState, Verdict};
use crate::fleet::runner::{Phase, Runner};
use crate::fleet::slot::Fate;
use crate::fleet::state::Record;
use crate::fleet::view::JobStatus;
use crate::fleet::{Fleet, Step};
use crate::ids::{GpuUuid, IncarnationId, JobId, PoolName, SlotId};
use crate::spec::{GpuSharing, Pool, Spec};
use crate::units::Time;

/// Specification 1: "No heartbeat > 5 min".
const SILENCE: Duration = Duration::from_secs(300);
/// A slot's former containers that may wait for their removal before no more are made.
const LEFTOVERS_MAX: usize = 3;

/// The whole of the records is compared in one step of so many; it is as long as all others.
const RECORDS_EVERY: u32 = 64;
/// A plan is made once more in one step of so many: it doubles the step.
const FIXED_POINT_EVERY: u32 = 8;

/// The book of promises, and every breach.
#[derive(Debug)]
pub struct Oracle {
    /// What was seen that must never be.
    pub violations: Vec<String>,
    accepted: BTreeSet<JobId>,
    unseen: Vec<JobId>,
    ended: BTreeMap<JobId, Verdict>,
    names: BTreeMap<SlotId, (PoolName, String)>,
    audit: AuditBook,
    retired: BTreeSet<IncarnationId>,
    may_rename: bool,
    rest: elastic::Rest,
    care: Care,
    memory: memory::Memory,
    cards: CardBook,
    forges: forges::ForgeBook,
    effort: Effort,
    order: order::OrderBook,
    orders: steering::Orders,
    cancelled: BTreeSet<JobId>,
    was_down: bool,
    /// The ways that runners and jobs went.
    pub edges: Edges,
    checks: u32,
    /// Whether it looks at all; large fleets are simulated faster without.
    pub watches: bool,
}

impl Default for Oracle {
    fn default() -> Self {
        Self {
            violations: Vec::new(),
            accepted: BTreeSet::new(),
            unseen: Vec::new(),
            ended: BTreeMap::new(),
            names: BTreeMap::new(),
            audit: AuditBook::default(),
            retired: BTreeSet::new(),
            may_rename: false,
            rest: elastic::Rest::default(),
            care: Care::default(),
            memory: memory::Memory::default(),
            cards: CardBook::default(),
            forges: forges::ForgeBook::default(),
            effort: Effort::default(),
            order: order::OrderBook::default(),
            orders: steering::Orders::default(),
            cancelled: BTreeSet::new(),
            was_down: false,
            edges: Edges::default(),
            checks: 0,
            watches: true,
        }
    }
}

impl Oracle {
    /// A supervisor starts: it knows nothing of the engine yet.
    pub fn started(&mut self, now: Time) {
        self.care.started();
        self.cards.started();
        self.forges.started();
        self.effort.reset(now);
    }

    /// The core is told of something.
    pub fn heard(&mut self, now: Time, events: &[Event]) {
        for event in events {
            self.care.heard(now, event);
            self.cards.heard(now, event);
            self.forges.heard(event);
        }
    }

    /// Something is asked for.
    pub fn asked(&mut self, now: Time, request: &Request) {
        self.may_rename |= matches!(request, Request::Apply(_));
        self.rest.asked(request);
        self.cards.asked(request);
        self.orders.asked(request);
        self.was_down |= matches!(request, Request::Down(_));
        if let Request::Cancel(job) = request {
            self.cancelled.insert(*job);
        }
        if !matches!(request, Request::Submit(_) | Request::Cancel(_)) {
            self.effort.reset(now);
        }
    }

    /// A client has got its answer: what it says is a promise now.
    pub fn answered(&mut self, answer: &Answer) {
        self.orders.answered(answer);
        match answer {
            Answer::Submitted(job) => {
                self.accepted.insert(*job);
                self.unseen.push(*job);
            }
            Answer::SubmittedAll { first, last } => {
                self.accepted.extend((first.0..=last.0).map(JobId));
            }
            Answer::Accepted | Answer::Refused(_) => {}
        }
    }

    /// A step was recorded, and its effects are about to be run.
    pub fn decided(&mut self, world: &World, records: &Records, step: &Step) {
        self.violations.extend(self.audit.check(&step.records));
        self.violations.extend(self.care.check(&step.effects));
        self.violations.extend(self.cards.check(world.now(), records, &step.records));
        self.violations.extend(self.effort.check(world.now(), records, step));
        self.violations.extend(self.order.check(world.now(), &step.records));
        self.violations.extend(self.orders.check(records, step));
        self.edges.follow(&step.records);
        for record in &step.records {
            match record {
                Record::Runner(_, Some(runner)) => self.memory.given(runner),
                Record::Job(_, Some(job)) => {
                    self.check_attempts(job);
                    self.violations.extend(self.memory.check_job(job));
                    self.check_end(job);
                }
                Record::Job(id, None) if self.accepted.contains(id) => {
                    self.breach(format!("{id} was accepted and is lost"));
                }
                Record::Job(_, None)
                | Record::Slot(..)
                | Record::Runner(_, None)
                | Record::Meta(_)
                | Record::Audit(_) => {}
            }
        }
        self.check_forge_step(world, records, step);
        for effect in &step.effects {
            if let Effect::Engine {
                incarnation,
                action: EngineAction::Remove { container, .. },
                ..
            } = effect
            {
                let container = container.as_ref().and_then(|id| world.containers.get(id));
                let why = records.runners.get(incarnation).map(|runner| &runner.phase);
                self.removal(world, *incarnation, (container, why));
            }
        }
    }

    /// Looks at everything after a step.
    pub fn check(&mut self, world: &World, records: &Records, fleet: &mut Fleet) {
        if !self.watches {
            return;
        }
        self.violations.extend(world.truth.violations.iter().cloned());
        self.checks += 1;
        if self.checks.is_multiple_of(RECORDS_EVERY) {
            self.check_records(records, fleet);
        }
        let lost: Vec<JobId> =
            self.unseen.drain(..).filter(|id| !records.jobs.contains_key(id)).collect();
        for id in lost {
            self.breach(format!("{id} was accepted and was never recorded"));
        }
        self.check_live(world, records);
        self.check_slots(records);
        self.check_elastic(world.now(), records);
        self.check_retirements(world, records);
        self.check_cards(world, fleet.spec());
        self.check_memory(world.now(), records, fleet.spec());
        self.violations.extend(bounds::over_limits(records));
        if self.checks.is_multiple_of(FIXED_POINT_EVERY) {
            self.check_fixed_point(world.now(), fleet);
        }
    }

    /// What is recorded is what the core believes: nothing durable changes unrecorded.
    fn check_records(&mut self, records: &Records, fleet: &Fleet) {
        let believed = fleet.durable();
        let recorded = records.restored();
        if believed != recorded {
            self.breach("the core believes what it did not record".to_owned());
        }
    }

    /// Every attempt is on record, within what the job may have, and only the last may live.
    fn check_attempts(&mut self, job: &Job) {
        let lives = matches!(job.state, JobState::Given { .. } | JobState::Publishing { .. });
        let open = job.attempts.iter().filter(|attempt| attempt.end.is_none()).count();
        let last_is_open = job.attempts.last().is_some_and(|attempt| attempt.end.is_none());
        let is_whole = job.attempts.len() == job.attempt.0 as usize
            && job.attempt.0 <= job.retries + 1
            && (open == 0 || (open == 1 && last_is_open))
            && last_is_open == lives;
        if !is_whole {
            self.breach(format!("{} is {:?} with {:?}", job.id, job.state, job.attempts));
        }
    }

    /// An end is an end.
    fn check_end(&mut self, job: &Job) {
        let verdict = match &job.state {
            JobState::Ended { verdict, .. } => Some(verdict),
            JobState::Queued
            | JobState::OnHold { .. }
            | JobState::Given { .. }
            | JobState::Publishing { .. }
            | JobState::Fenced { .. } => None,
        };
        match (self.ended.get(&job.id), verdict) {
            (None, Some(verdict)) => {
                let is_asked = self.was_down || self.cancelled.contains(&job.id);
                if verdict.status == JobStatus::Cancelled && !is_asked {
                    self.breach(format!("{} was cancelled by nobody", job.id));
                }
                self.ended.insert(job.id, verdict.clone());
            }
            (Some(before), verdict) if Some(before) != verdict => {
                self.breach(format!("{} had ended as {before:?}, and now {verdict:?}", job.id));
            }
            (Some(_), _) | (None, None) => {}
        }
    }

    /// Every live attempt is the one that the core gave there, and is not given elsewhere.
    fn check_live(&mut self, world: &World, records: &Records) {
        for (id, container) in &world.containers {
            let Some((job, attempt)) = container.live_work() else { continue };
            let record = records.jobs.get(&job);
            let is_known = record.is_some_and(|record| {
                record.attempt == attempt
                    && match record.state {
                        JobState::Given { runner, .. } | JobState::Fenced { runner, .. } => {
                            runner == container.incarnation
                        }
                        JobState::Queued
                        | JobState::OnHold { .. }
                        | JobState::Publishing { .. }
                        | JobState::Ended { .. } => false,
                    }
            });
            if !is_known {
                let state = record.map(|record| &record.state);
                self.breach(format!(
                    "{job}.{attempt} lives in {id}, and the record says {state:?}"
                ));
            }
        }
    }

    /// Slots are looked at once something may be decided at all.
    fn check_memory(&mut self, now: Time, records: &Records, spec: &Spec) {
        if self.care.is_engine_known() {
            let slots = records.slots.values();
            self.violations.extend(slots.filter_map(|slot| memory::check_slot(now, spec, slot)));
        }
    }

    fn check_slots(&mut self, records: &Records) {
        let mut names = BTreeSet::new();
        for slot in records.slots.values() {
            if !names.insert(&slot.name) {
                self.breach(format!("two slots are called {}", slot.name));
            }
            let before = self.names.get(&slot.id);
            // A number that was free for a moment is another pool's slot now.
            let is_renamed =
                before.is_some_and(|(pool, name)| *pool == slot.pool && *name != slot.name);
            if is_renamed && !self.may_rename {
                self.breach(format!("{} is called {} now", slot.id, slot.name));
            }
            if slot.runner.is_some_and(|id| !records.runners.contains_key(&id)) {
                self.breach(format!("{} has a runner that is gone", slot.id));
            }
        }
        self.names =
            records.slots.values().map(|it| (it.id, (it.pool.clone(), it.name.clone()))).collect();
        self.may_rename = false;
        if let Some(spec) = &records.meta.spec {
            for pool in &spec.pools {
                self.check_pool(records, pool);
            }
        }
    }

    fn check_pool(&mut self, records: &Records, pool: &Pool) {
        let wanted = wanted(records, pool);
        let slots = records.slots.values().filter(|slot| slot.pool == pool.name);
        let stay = slots.filter(|slot| slot.fate == Fate::Stay).count();
        if stay != wanted as usize {
            self.breach(format!("pool {} wants {wanted} slots and has {stay}", pool.name));
        }
        if !self.care.is_engine_known() {
            return;
        }
        // One whose operation is not over yet goes after it.
        let in_service = |runner: &&Runner| match runner.phase {
            Phase::Booting { .. }
            | Phase::Registering { .. }
            | Phase::Idle { .. }
            | Phase::Working { .. }
            | Phase::Leaving { .. }
            | Phase::Busy { .. } => true,
            Phase::Planned | Phase::Created { .. } | Phase::Retiring { .. } => false,
        };
        let of_pool = |runner: &&Runner| runner.build.template.pool == pool.name;
        let runners = records.runners.values().filter(in_service).filter(of_pool);
        let runners = runners.filter(|runner| !forges::is_back(records, runner));
        let slots = records.slots.values().filter(|slot| slot.pool == pool.name).count();
        let most = slots + pool.spares as usize;
        let count = runners.count();
        if count > most {
            self.breach(format!(
                "pool {} has {count} runners in service, {most} at most",
                pool.name
            ));
        }
        let mut leftovers: BTreeMap<SlotId, usize> = BTreeMap::new();
        for runner in records.runners.values().filter(|runner| runner.is_retiring()) {
            if let Some(slot) = runner.slot {
                *leftovers.entry(slot).or_default() += 1;
            }
        }
        for (slot, count) in leftovers {
            // One more may have been filled by a spare, and died at once.
            if count > LEFTOVERS_MAX + 1 {
                self.breach(format!("{slot} has left {count} containers behind"));
            }
        }
    }

    /// No card holds more than it has, by the containers that really run.
    fn check_cards(&mut self, world: &World, spec: &Spec) {
        let mut cards: BTreeMap<&GpuUuid, Vec<(u32, GpuSharing)>> = BTreeMap::new();
        for container in world.containers.values() {
            let profile = spec.profiles.get(&container.profile);
            let demand = profile.and_then(|profile| profile.gpu);
            if let (ContainerState::Running, Some(card), Some(demand)) =
                (container.state, &container.gpu, demand)
            {
                cards.entry(card).or_default().push((demand.memory.0, demand.sharing));
            }
        }
        for (card, held) in cards {
            let alone = held.iter().any(|(_, sharing)| *sharing == GpuSharing::Exclusive);
            let sum: u32 = held.iter().map(|(memory, _)| memory).sum();
            if (alone && held.len() > 1) || sum > CARD_MEMORY {
                self.breach(format!("card {card} is overcommitted: {held:?}"));
            }
        }
    }

    /// Asked again without news, the core wants nothing more.
    fn check_fixed_point(&mut self, now: Time, fleet: &mut Fleet) {
        let again = fleet.handle(now, Vec::new());
        let is_end = again.effects == [Effect::Finish];
        if !(again.records.is_empty() && (again.effects.is_empty() || is_end)) {
            self.breach(format!("a plan was left over: {again:?}"));
        }
    }

    fn breach(&mut self, what: String) {
        self.violations.push(what);
    }
}

/// Cards of simulated hosts have this much memory, in MiB.
pub const CARD_MEMORY: u32 = 16_384;

fn wanted(records: &Records, pool: &Pool) -> u32 {
    let grown = records.meta.elastic.get(&pool.name).map(|standing| standing.count);
    let own = grown.unwrap_or(pool.size.at_rest());
    records.meta.scaled.get(&pool.name).copied().unwrap_or(own)
}
