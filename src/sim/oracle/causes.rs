//! Why runners go: each reason is true, and only some of them may cost a job.

use super::{Oracle, SILENCE};
use crate::fleet::event::ContainerState;
use crate::fleet::runner::{Cause, Phase, Runner};
use crate::ids::{ContainerId, IncarnationId};
use crate::sim::records::Records;
use crate::sim::world::{Container, World};

impl Oracle {
    /// A runner is removed: nothing may live in it, but for reasons that allow that.
    pub(super) fn removal(
        &mut self,
        world: &World,
        id: IncarnationId,
        (container, phase): (Option<&Container>, Option<&Phase>),
    ) {
        let job = container.and_then(Container::live_work).map(|(job, _)| job);
        let why = match (phase, job) {
            (Some(Phase::Retiring { why, .. }), Some(_)) => why,
            (Some(Phase::Retiring { .. }) | None, None) => return,
            (phase, job) => {
                self.breach(format!("{id} is removed, with {job:?} in it, and is {phase:?}"));
                return;
            }
        };
        let (Some(container), Some(job)) = (container, job) else { return };
        let is_allowed = match why {
            Cause::Stuck
            | Cause::TimedOut
            | Cause::Forced
            | Cause::CardLost(_)
            | Cause::GpuOveruse(_) => true,
            Cause::NoProgress => !container.agent.is_working(),
            Cause::Stale => world.now().since(container.agent.heard) >= SILENCE,
            // It died, was started again by the engine, and its death was told late.
            Cause::Died(_) => container.is_revived(),
            Cause::Used
            | Cause::Outdated
            | Cause::Surplus
            | Cause::Down
            | Cause::Restart
            | Cause::Forge(_)
            | Cause::Vanished
            | Cause::Failed(_)
            | Cause::NeverSpoke
            | Cause::LostJob
            | Cause::DeviceLost(_)
            | Cause::Unfit(_)
            | Cause::GpuOom(_)
            | Cause::CardOut(_)
            | Cause::Reclaimed(_) => false,
        };
        if !is_allowed {
            self.breach(format!("{id} is removed with {job} living in it, because {why}"));
        }
    }

    /// A cause is a statement about the world; it must be true.
    pub(super) fn check_retirements(&mut self, world: &World, records: &Records) {
        let retiring = records.runners.values().filter(|runner| runner.is_retiring());
        let new: Vec<&Runner> =
            retiring.filter(|runner| !self.retired.contains(&runner.id)).collect();
        for runner in new {
            self.retired.insert(runner.id);
            let Phase::Retiring { container, why } = &runner.phase else { continue };
            if !is_true(world, container.as_ref(), why) {
                self.breach(format!("{} was retired because {why}, which is not so", runner.id));
            }
        }
    }
}

fn is_true(world: &World, id: Option<&ContainerId>, why: &Cause) -> bool {
    let container = id.and_then(|id| world.containers.get(id));
    let state = container.map(|container| container.state);
    let is_running = state == Some(ContainerState::Running);
    match why {
        // Agents of this world lose a job only with their life, when a late start revives them.
        Cause::LostJob => {
            container.is_some_and(|it| it.served.values().any(|life| *life != it.agent.life))
        }
        Cause::Died(_) => id.is_some_and(|id| world.truth.died.contains(id)),
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
        | Cause::Forge(_)
        | Cause::Failed(_)
        | Cause::Stuck
        | Cause::TimedOut
        | Cause::NoProgress
        | Cause::DeviceLost(_)
        | Cause::Unfit(_)
        | Cause::Forced
        | Cause::GpuOom(_)
        | Cause::CardOut(_)
        | Cause::GpuOveruse(_)
        | Cause::Reclaimed(_) => true,
        Cause::CardLost(_) => {
            let card = container.and_then(|it| it.gpu.as_ref()).and_then(|it| world.cards.get(it));
            container.is_none() || card.is_some_and(|card| card.was_lost)
        }
    }
}
