//! What to do next, from what is. Read-only: the state is not changed here.
//!
//! A plan is made again after each round of commits, until it is empty: a fixed point. So each rule
//! may look at the state alone, and needs not know what the other rules decided.

mod jobs;
mod pools;
mod runners;

pub(super) use jobs::{may_run, passed, running_workflows};
pub(super) use pools::{is_closed, leftovers, most_leftovers};

use super::forge::{self, ForgeDecision};
use super::gpus;
use super::runner::{Build, Cause};
use super::scale::{self, Pressure};
use super::slot::GpuLease;
use super::state::{EngineContact, State};
use super::{desired, downgrade};
use crate::ids::{ImageRef, IncarnationId, JobId, PoolName, SlotId};
use crate::spec::Pool;
use crate::units::Time;

/// One decision. Its reason is part of what it becomes in the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// Ask the engine what an image name means.
    AskImage(ImageRef),
    /// Make a runner for a slot, or a spare.
    Make { slot: Option<SlotId>, name: Name, build: Box<Build> },
    /// Let a spare fill a slot.
    Fill { slot: SlotId, spare: IncarnationId },
    /// Jobs begin to press a pool, or press it no more.
    Press { pool: PoolName, to: Pressure, why: String },
    /// A pool gets more slots.
    Grow { pool: PoolName, to: u32, why: String },
    /// These slots of a pool were idle for too long.
    Shrink { pool: PoolName, slots: Vec<SlotId>, why: String },
    /// The time of a number that `scale` set is over.
    Follow(PoolName),
    /// A slot's lighter time is over; why.
    Restore(SlotId, String),
    /// A slot that nobody wants is empty.
    DropSlot(SlotId),
    /// Make the container.
    Create(IncarnationId),
    /// Start the container.
    Start(IncarnationId),
    /// Remove the container.
    Remove(IncarnationId),
    /// Take a runner out of service.
    Retire(IncarnationId, Cause),
    /// A slot gets another card, or waits for one.
    Seat { slot: SlotId, lease: Option<GpuLease>, why: String },
    /// Idle slots give up their cards.
    Reclaim { slots: Vec<SlotId>, why: String },
    /// A job's time is up, and its agent did not see to it.
    TimeOut(JobId),
    /// Give a job to a runner.
    Give { job: JobId, runner: IncarnationId },
    /// Something about a forge.
    Forge(ForgeDecision),
    /// A job ended long ago.
    ForgetJob(JobId),
    /// Nothing is left.
    Finish,
}

/// How a container is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name {
    /// By its slot, as the operator named it: the container stays in it.
    Slot(String),
    /// By its pool and incarnation: containers come and go.
    Incarnation,
}

/// All that should be done now.
pub(super) fn plan(state: &State, now: Time) -> Vec<Decision> {
    if state.engine == EngineContact::Unknown {
        return Vec::new();
    }
    let mut plan = Vec::new();
    downgrade::plan(state, now, &mut plan);
    if !plan.is_empty() {
        // What fills a slot is decided on its profile of then.
        return plan;
    }
    if state.engine == EngineContact::Listed {
        scale::plan(state, now, &mut plan);
        if !plan.is_empty() {
            // A slot that leaves is given no job in the same round.
            return plan;
        }
        gpus::plan(state, now, &mut plan);
        if !plan.is_empty() {
            // A slot that loses its card is not filled in the same round.
            return plan;
        }
        let models = desired::models(state);
        pools::plan(state, now, &models, &mut plan);
        runners::plan(state, now, &models, &mut plan);
        forge::plan::plan(state, now, &mut plan);
    }
    jobs::plan(state, now, &mut plan);
    if plan.is_empty() && is_down(state, now) {
        plan.push(Decision::Finish);
    }
    plan
}

fn is_down(state: &State, now: Time) -> bool {
    state.is_going_down()
        && state.runners().next().is_none()
        && state.orphans.is_empty()
        && state.held_jobs().next().is_none()
        && state.meta.publishing.is_empty()
        && forge::leftovers::let_finish(state, now)
}

/// The pool of a runner or slot, if the spec still has it.
fn pool_named<'a>(state: &'a State, name: &PoolName) -> Option<&'a Pool> {
    super::desired::pool(&state.spec, name)
}
