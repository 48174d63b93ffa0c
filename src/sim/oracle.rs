//! What must hold after every step, said without the core's help.
//!
//! It sees the world (which processes live), the records (what the core believes) and the step,
//! and keeps its own book of what was promised.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::records::Records;
use super::world::{Container, World};
use crate::fleet::effect::{Answer, Effect, EngineAction};
use crate::fleet::event::{ContainerState, EngineEvent, Event, Request};
use crate::fleet::job::{Job, JobState, Verdict};
use crate::fleet::placement::is_at_least;
use crate::fleet::runner::{Cause, Phase, Runner};
use crate::fleet::slot::Fate;
use crate::fleet::state::Record;
use crate::fleet::view::{FleetPhase, JobStatus};
use crate::fleet::{Fleet, Step};
use crate::ids::{GpuUuid, IncarnationId, JobId, PoolName, SlotId};
use crate::spec::{GpuSharing, Pool, Spec};
use crate::units::Time;

/// Specification 1: "No heartbeat > 5 min".
const SILENCE: Duration = Duration::from_secs(300);
/// A slot's former containers that may wait for their removal before no more are made.
const LEFTOVERS_MAX: usize = 3;

/// The whole of the records is compared in one step of so many; it is as long as all others.
const RECORDS_EVERY: u32 = 16;

/// The book of promises, and every breach.
#[derive(Debug)]
pub struct Oracle {
    /// What was seen that must never be.
    pub violations: Vec<String>,
    accepted: BTreeSet<JobId>,
    ended: BTreeMap<JobId, Verdict>,
    names: BTreeMap<SlotId, String>,
    history_seq: u64,
    retired: BTreeSet<IncarnationId>,
    may_rename: bool,
    is_engine_known: bool,
    checks: u32,
    /// Whether it looks at all; large fleets are simulated faster without.
    pub watches: bool,
}

impl Default for Oracle {
    fn default() -> Self {
        Self {
            violations: Vec::new(),
            accepted: BTreeSet::new(),
            ended: BTreeMap::new(),
            names: BTreeMap::new(),
            history_seq: 0,
            retired: BTreeSet::new(),
            may_rename: false,
            is_engine_known: false,
            checks: 0,
            watches: true,
        }
    }
}

impl Oracle {
    /// A supervisor starts: it knows nothing of the engine yet.
    pub fn started(&mut self) {
        self.is_engine_known = false;
    }

    /// The core is told of something.
    pub fn heard(&mut self, events: &[Event]) {
        for event in events {
            match event {
                Event::Engine(EngineEvent::Listed { .. }) => self.is_engine_known = true,
                Event::Engine(EngineEvent::Unreachable { .. }) => self.is_engine_known = false,
                Event::Engine(_)
                | Event::Operation { .. }
                | Event::Agent { .. }
                | Event::Request { .. }
                | Event::Published { .. }
                | Event::Host(_)
                | Event::Tick => {}
            }
        }
    }

    /// Something is asked for.
    pub fn asked(&mut self, request: &Request) {
        self.may_rename |= matches!(request, Request::Apply(_));
    }

    /// A client has got its answer: what it says is a promise now.
    pub fn answered(&mut self, answer: &Answer) {
        match answer {
            Answer::Submitted(job) => {
                self.accepted.insert(*job);
            }
            Answer::Accepted | Answer::Refused(_) => {}
        }
    }

    /// A step was recorded, and its effects are about to be run.
    pub fn decided(&mut self, world: &World, records: &Records, step: &Step) {
        for record in &step.records {
            if let Record::History(entry) = record {
                self.history_seq += 1;
                if entry.seq != self.history_seq {
                    let wanted = self.history_seq;
                    self.breach(format!("history entry {} follows {}", entry.seq, wanted - 1));
                    self.history_seq = entry.seq;
                }
            }
        }
        for effect in &step.effects {
            if let Effect::Engine {
                incarnation, action: EngineAction::Remove { container }, ..
            } = effect
            {
                let container = container.as_ref().and_then(|id| world.containers.get(id));
                let why = records.runners.get(incarnation).map(|runner| &runner.phase);
                self.removal(world, *incarnation, (container, why));
            }
        }
    }

    /// A runner is removed: nothing may live in it, but for reasons that allow that.
    fn removal(
        &mut self,
        world: &World,
        id: IncarnationId,
        (container, phase): (Option<&Container>, Option<&Phase>),
    ) {
        let Some(Phase::Retiring { why, .. }) = phase else {
            self.breach(format!("{id} is removed and not retiring: {phase:?}"));
            return;
        };
        let Some(container) = container else { return };
        let Some((job, _)) = container.live_work() else { return };
        let is_allowed = match why {
            Cause::Stuck => true,
            Cause::Stale => world.now().since(container.agent.heard) >= SILENCE,
            Cause::Used
            | Cause::Outdated
            | Cause::Surplus
            | Cause::Down
            | Cause::Restart
            | Cause::Orphan
            | Cause::Died(_)
            | Cause::Vanished
            | Cause::Failed(_)
            | Cause::NeverSpoke
            | Cause::LostJob => false,
        };
        if !is_allowed {
            self.breach(format!("{id} is removed with {job} living in it, because {why}"));
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
        self.check_jobs(records);
        self.check_live(world, records);
        self.check_slots(records);
        self.check_retirements(world, records);
        self.check_cards(world, fleet.spec());
        self.check_fixed_point(world.now(), fleet);
    }

    /// What is recorded is what the core believes: nothing durable changes unrecorded.
    fn check_records(&mut self, records: &Records, fleet: &Fleet) {
        let believed = fleet.durable();
        let recorded = records.restored();
        if believed != recorded {
            self.breach("the core believes what it did not record".to_owned());
        }
    }

    fn check_jobs(&mut self, records: &Records) {
        let missing: Vec<JobId> =
            self.accepted.iter().filter(|id| !records.jobs.contains_key(id)).copied().collect();
        for id in missing {
            self.breach(format!("{id} was accepted and is lost"));
            self.accepted.remove(&id);
        }
        for job in records.jobs.values() {
            self.check_end(job);
        }
    }

    /// An end is an end.
    fn check_end(&mut self, job: &Job) {
        let verdict = match &job.state {
            JobState::Ended { verdict, .. } => Some(verdict),
            JobState::Queued
            | JobState::Given { .. }
            | JobState::Publishing { .. }
            | JobState::Fenced { .. } => None,
        };
        match (self.ended.get(&job.id), verdict) {
            (None, Some(verdict)) => {
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
                        JobState::Queued | JobState::Publishing { .. } | JobState::Ended { .. } => {
                            false
                        }
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

    fn check_slots(&mut self, records: &Records) {
        let mut names = BTreeSet::new();
        for slot in records.slots.values() {
            if !names.insert(&slot.name) {
                self.breach(format!("two slots are called {}", slot.name));
            }
            let before = self.names.get(&slot.id);
            if before.is_some_and(|before| *before != slot.name) && !self.may_rename {
                self.breach(format!("{} is called {} now", slot.id, slot.name));
            }
            if slot.runner.is_some_and(|id| !records.runners.contains_key(&id)) {
                self.breach(format!("{} has a runner that is gone", slot.id));
            }
        }
        self.names = records.slots.values().map(|slot| (slot.id, slot.name.clone())).collect();
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
        if !self.is_engine_known {
            return;
        }
        // One whose operation is not over yet goes after it.
        let in_service = |runner: &&Runner| match runner.phase {
            Phase::Booting { .. } | Phase::Idle { .. } | Phase::Busy { .. } => true,
            Phase::Planned | Phase::Created { .. } | Phase::Retiring { .. } => false,
        };
        let of_pool = |runner: &&Runner| runner.build.template.pool == pool.name;
        let runners = records.runners.values().filter(in_service).filter(of_pool);
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

    /// A cause is a statement about the world; it must be true.
    fn check_retirements(&mut self, world: &World, records: &Records) {
        let retiring = records.runners.values().filter(|runner| runner.is_retiring());
        let new: Vec<&Runner> =
            retiring.filter(|runner| !self.retired.contains(&runner.id)).collect();
        for runner in new {
            self.retired.insert(runner.id);
            let Phase::Retiring { container, why } = &runner.phase else { continue };
            let container = container.as_ref().and_then(|id| world.containers.get(id));
            if !is_true(world, container, why) {
                self.breach(format!("{} was retired because {why}, which is not so", runner.id));
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

fn is_true(world: &World, container: Option<&Container>, why: &Cause) -> bool {
    let state = container.map(|container| container.state);
    let is_running = state == Some(ContainerState::Running);
    match why {
        // Agents of this world lose a job only with their life, when a late start revives them.
        Cause::LostJob => {
            container.is_some_and(|it| it.served.values().any(|life| *life != it.agent.life))
        }
        Cause::Died(_) => !is_running || container.is_some_and(|it| it.agent.session.is_none()),
        Cause::Vanished => container.is_none() || state == Some(ContainerState::Removing),
        Cause::Stale => {
            container.is_none_or(|it| !is_running || world.now().since(it.agent.heard) >= SILENCE)
        }
        Cause::NeverSpoke => {
            container.is_none_or(|it| !is_running || it.agent.hangs || it.agent.session.is_none())
        }
        Cause::Used
        | Cause::Outdated
        | Cause::Surplus
        | Cause::Down
        | Cause::Restart
        | Cause::Orphan
        | Cause::Failed(_)
        | Cause::Stuck => true,
    }
}

fn wanted(records: &Records, pool: &Pool) -> u32 {
    records.meta.scaled.get(&pool.name).copied().unwrap_or(pool.size.at_rest())
}

/// What is still missing for the fleet to be as the spec says, with no work left that it could do.
///
/// # Errors
/// The first thing that is not as it should be.
pub fn settled(world: &World, records: &Records, fleet: &Fleet) -> Result<(), String> {
    let view = fleet.view(world.now());
    if view.phase != FleetPhase::Ready {
        return Err(format!("the fleet is {:?}: {:?}", view.phase, view.troubles));
    }
    if let Some(runner) = records.runners.values().find(|runner| !is_at_home(world, runner)) {
        return Err(format!("{} is {:?}", runner.id, runner.phase));
    }
    if world.containers.len() != records.runners.len() {
        let known = records.runners.len();
        return Err(format!("{} containers and {known} runners", world.containers.len()));
    }
    match records.jobs.values().find(|job| !is_done(records, fleet.spec(), job)) {
        Some(job) => Err(format!("{} is {:?}", job.id, job.state)),
        None => Ok(()),
    }
}

fn is_at_home(world: &World, runner: &Runner) -> bool {
    let container = runner.container().and_then(|id| world.containers.get(id));
    matches!(runner.phase, Phase::Idle { .. })
        && container.is_some_and(|it| it.agent.session.is_some() && it.live_work().is_none())
}

fn is_done(records: &Records, spec: &Spec, job: &Job) -> bool {
    match &job.state {
        JobState::Ended { .. } => true,
        JobState::Queued => !is_servable(records, spec, job),
        JobState::Given { .. } | JobState::Publishing { .. } | JobState::Fenced { .. } => false,
    }
}

fn is_servable(records: &Records, spec: &Spec, job: &Job) -> bool {
    let lane = job.spec.lane.as_ref().and_then(|lane| spec.lanes.get(lane));
    let allows = |pool: &PoolName| {
        job.spec.pool.as_ref().is_none_or(|wanted| wanted == pool)
            && lane.is_none_or(|lane| lane.pools.contains(pool))
    };
    let Some(need) = spec.profiles.get(&job.profile) else { return false };
    spec.pools.iter().any(|pool| {
        let offer = spec.profiles.get(&pool.profile);
        allows(&pool.name)
            && records.slots.values().any(|slot| slot.pool == pool.name)
            && offer.is_some_and(|offer| is_at_least(offer, need))
    })
}

/// How the world's own book explains a job's end; `None` if it fits.
#[must_use]
pub fn false_end(world: &World, job: &Job) -> Option<String> {
    let JobState::Ended { verdict, .. } = &job.state else { return None };
    let truth = world.truth.ends.get(&(job.id, job.attempt));
    let fits = match verdict.status {
        JobStatus::Succeeded | JobStatus::Failed => {
            truth.is_some_and(|end| Verdict::of(end, None).status == verdict.status)
        }
        JobStatus::Queued | JobStatus::Assigned | JobStatus::Running => false,
        JobStatus::Cancelled | JobStatus::TimedOut | JobStatus::Oom | JobStatus::Lost => true,
    };
    (!fits).then(|| format!("{} ended as {verdict:?}, and really {truth:?}", job.id))
}
