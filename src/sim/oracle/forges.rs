//! Runners at a forge: none goes while it has a job there, and none while it may still get one.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Oracle, SILENCE};
use crate::fleet::Step;
use crate::fleet::effect::{AgentOrder, Effect, EngineAction, ForgeAction, Patience};
use crate::fleet::event::{DownMode, Event};
use crate::fleet::forge::{ForgeCause, ForgeContact, ForgeEvent, ListenMode};
use crate::fleet::runner::{Cause, Phase, Runner};
use crate::ids::{IncarnationId, PoolName, ScopeUrl};
use crate::sim::records::Records;
use crate::sim::world::forge::{Entry, JobStage, Whose, matches};
use crate::sim::world::{Container, World};
use crate::spec::{ForgeAccess, Pool, PoolSize};
use crate::units::Time;

/// What was said to runners, and by their forges.
#[derive(Debug, Default)]
pub(super) struct ForgeBook {
    /// Listeners that were told to give up their jobs: when first, and with which grace.
    cancelled: BTreeMap<IncarnationId, (Time, Duration)>,
    contact: BTreeMap<ScopeUrl, ForgeContact>,
}

impl ForgeBook {
    /// A supervisor starts and knows nothing.
    pub(super) fn started(&mut self) {
        self.contact.clear();
    }

    /// The core is told of something.
    pub(super) fn heard(&mut self, event: &Event) {
        if let Event::Forge(ForgeEvent::Contact { scope, contact }) = event {
            self.contact.insert(scope.clone(), contact.clone());
        }
    }
}

impl Oracle {
    /// What a step does to runners at a forge.
    pub(super) fn check_forge_step(&mut self, world: &World, records: &Records, step: &Step) {
        for effect in &step.effects {
            match effect {
                Effect::Engine {
                    incarnation,
                    action: EngineAction::Remove { container, .. },
                    ..
                } => {
                    let container = container.as_ref().and_then(|id| world.containers.get(id));
                    let phase = records.runners.get(incarnation).map(|runner| &runner.phase);
                    if let (Some(container), Some(Phase::Retiring { why, .. })) = (container, phase)
                    {
                        self.check_forge_removal(world, (*incarnation, container), why);
                    }
                }
                Effect::Agent {
                    incarnation,
                    order: AgentOrder::StopListening(Patience::Cancel(grace)),
                } => {
                    let runner = records.runners.get(incarnation).map(|runner| &runner.phase);
                    let is_stuck = matches!(
                        runner,
                        Some(Phase::Leaving { why: Cause::Forge(ForgeCause::Stuck(_)), .. })
                    );
                    if records.meta.going_down != Some(DownMode::Now) && !is_stuck {
                        self.breach(format!("{incarnation} is to give up its job for nothing"));
                    }
                    let told = (world.now(), *grace);
                    self.forges.cancelled.entry(*incarnation).or_insert(told);
                }
                Effect::Forge { incarnation, action: ForgeAction::Remove(entry), .. } => {
                    let phase = records.runners.get(incarnation).map(|runner| &runner.phase);
                    let contact = self.forges.contact.get(&entry.scope);
                    let is_silent = contact.is_some_and(|it| *it != ForgeContact::Good);
                    if let Some(Phase::Leaving { why: Cause::Surplus, .. }) = phase
                        && is_silent
                        && records.meta.going_down.is_none()
                    {
                        self.breach(format!(
                            "{incarnation} is surplus, and its forge is {contact:?}"
                        ));
                    }
                }
                _ => {}
            }
        }
    }

    fn check_forge_removal(
        &mut self,
        world: &World,
        (id, container): (IncarnationId, &Container),
        why: &Cause,
    ) {
        if let Some(job) = container.forge_work() {
            if !self.may_end_job(world, (id, container), why) {
                self.breach(format!("{id} is removed with the forge's job {job}, because {why}"));
            }
            return;
        }
        let is_own_wish =
            matches!(why, Cause::Surplus | Cause::Outdated | Cause::Restart | Cause::Reclaimed(_));
        let is_offered = world.forge.made.get(&id).into_iter().flatten().any(|runner| {
            let entry = world.forge.entries.get(runner);
            entry.is_some_and(|entry| entry.is_ephemeral && entry.is_online())
        });
        if is_own_wish && is_offered {
            self.breach(format!("{id} goes and may still get a job, because {why}"));
        }
    }

    /// A job of a forge is lost only by the operator's word, or with its container.
    fn may_end_job(
        &self,
        world: &World,
        (id, container): (IncarnationId, &Container),
        why: &Cause,
    ) -> bool {
        match why {
            Cause::Forced | Cause::CardLost(_) | Cause::GpuOveruse(_) => true,
            Cause::Stale => world.now().since(container.agent.heard) >= SILENCE,
            Cause::Died(_) | Cause::Forge(_) => self.is_unheard(world, container),
            Cause::Down => {
                let told = self.forges.cancelled.get(&id);
                let is_told = told.is_some_and(|(at, grace)| world.now().since(*at) >= *grace);
                is_told || is_silent_since(world, container)
            }
            _ => false,
        }
    }

    /// Nobody could know of a container's job: its agent has said nothing since that began. Either
    /// its word is on its way, or it could not say any, and the newest list is older than its life.
    fn is_unheard(&self, world: &World, container: &Container) -> bool {
        let is_on_its_way = container.agent.session.is_some() && container.agent.has_spoken;
        let is_new = self.care.listed() < container.since;
        is_silent_since(world, container) && (is_on_its_way || is_new)
    }
}

/// Whether a container's agent has said nothing since its job of the forge began.
fn is_silent_since(world: &World, container: &Container) -> bool {
    let work = container.forge_work().and_then(|job| world.forge.jobs.get(&job));
    let begun = work.and_then(|job| job.started);
    begun.is_some_and(|begun| container.agent.heard <= begun)
}

/// Whether a kept runner came back when its slot was gone or filled already: it serves on until it
/// may leave.
pub(super) fn is_back(records: &Records, runner: &Runner) -> bool {
    let is_kept = runner.enlistment().is_some_and(|it| it.mode != ListenMode::OneJob);
    let slot = runner.slot.and_then(|slot| records.slots.get(&slot));
    is_kept && slot.is_none_or(|slot| slot.runner != Some(runner.id))
}

/// What is still missing at the forge for a fleet at rest: its list shows the fleet's runners and
/// no others of it, and no job waits that a runner of the fleet could have.
///
/// # Errors
/// The first thing that is not as it should be.
pub(super) fn settled(world: &World, records: &Records) -> Result<(), String> {
    for entry in world.forge.entries.values() {
        if entry.whose == Whose::Fleet && is_owed(records, entry) && !is_served(world, entry) {
            return Err(format!("the forge lists {}, and nobody serves it", entry.name));
        }
    }
    if let Some(left) = records.meta.leftovers.values().next() {
        return Err(format!("{} may be left at the forge", left.entry.name));
    }
    for (id, job) in world.forge.open_jobs() {
        let is_waited_for = match job.stage {
            JobStage::Queued => may_be_served(records, &job.labels, job.is_fork),
            JobStage::Held | JobStage::Given(_) | JobStage::Running(_) => true,
            JobStage::Over => false,
        };
        if is_waited_for {
            return Err(format!("job {id} of the forge is {:?}", job.stage));
        }
    }
    Ok(())
}

/// Whether the fleet has to see to it that a runner in the list is served, or goes. What a kept
/// runner of a slot that is gone was registered as stays: nobody has the right to remove it.
fn is_owed(records: &Records, entry: &Entry) -> bool {
    let is_kept = |pool: &PoolName| {
        let spec = records.meta.spec.as_ref();
        let mut pools = spec.iter().flat_map(|spec| &spec.pools).filter(|it| it.name == *pool);
        let access = pools.next().and_then(|pool| pool.forge.as_ref()).map(|it| &it.access);
        matches!(access, Some(ForgeAccess::Tokens(_)))
    };
    let mut slots = records.slots.values();
    entry.is_ephemeral || slots.any(|slot| slot.name == entry.name && is_kept(&slot.pool))
}

/// Whether a runner in the list is a container that lives.
fn is_served(world: &World, entry: &Entry) -> bool {
    let session = entry.session.as_ref();
    session.is_some_and(|it| world.containers.contains_key(&it.container)) && !entry.is_done
}

/// A fleet whose first `up` was refused has no pools.
fn may_be_served(records: &Records, labels: &[String], is_fork: bool) -> bool {
    let Some(spec) = &records.meta.spec else { return false };
    let grows = |pool: &Pool| match pool.size {
        PoolSize::Elastic(it) => it.max > 0 && !records.meta.scaled.contains_key(&pool.name),
        PoolSize::Fixed(_) => false,
    };
    let has_slot = |pool: &Pool| records.slots.values().any(|slot| slot.pool == pool.name);
    spec.pools.iter().any(|pool| {
        pool.forge.as_ref().is_some_and(|it| matches(&it.labels, labels))
            && (has_slot(pool) || (grows(pool) && !is_fork))
    })
}
