//! The core: pure and synchronous. Facts and requests go in, effects and records come out.
//!
//! No clock, no I/O, no async, no randomness, no unordered maps: the same input gives the same
//! output on every machine. Start with [`event`] and [`effect`], the two alphabets of the border;
//! then `observe` (facts into state), `plan` (state into decisions), `commit` (decisions into
//! state and effects).

pub mod assignment;
pub mod attempt;
pub mod audit;
mod awake;
pub mod backoff;
pub mod cluster;
mod commit;
pub mod death;
mod demand;
mod desired;
pub mod disk;
pub mod downgrade;
pub mod effect;
mod ending;
pub mod event;
mod failures;
pub mod forge;
pub mod gpu;
mod gpu_memory;
mod gpu_processes;
pub mod gpus;
pub mod holdings;
pub mod host;
pub mod job;
mod lanes;
mod observe;
pub mod oom;
mod order;
pub mod pause;
mod pins;
mod plan;
mod preview;
mod queue;
mod raise;
mod request;
mod resize;
pub mod runner;
pub mod scale;
pub mod slot;
pub mod state;
pub mod stats;
mod task;
mod transition;
mod turns;
pub mod view;
mod views;
pub mod waiting;

use std::collections::BTreeMap;

use effect::{Effect, Refusal};
use event::Event;
use forge::ForgeJobView;
use holdings::Holdings;
use state::{Record, Restored, State};
use stats::StatsView;
use view::{FleetView, JobFilter, JobView, PlanView, WaitCode};
use waiting::{PoolQueue, WaitingView};

use crate::ids::{JobId, PoolName};
use crate::spec::Spec;
use crate::units::{Bytes, Time};

pub use order::CA_BUNDLE;

/// Each round decides on a state that knows the rounds before. Jobs are given out one a round, so
/// the bound is the number of slots and then some; reaching it means a rule that undoes another.
const ROUNDS_MAX: usize = 10_000;

/// The fleet as the core knows it.
#[derive(Debug)]
pub struct Fleet {
    state: State,
}

/// What one step changed and wants done. The records must be durable before any effect is run.
#[derive(Debug, Default)]
pub struct Step {
    /// Durable changes, to be stored in one transaction.
    pub records: Vec<Record>,
    /// Things to do, in order.
    pub effects: Vec<Effect>,
}

impl Fleet {
    /// The fleet after a start, from what was recorded.
    #[must_use]
    pub fn restore(spec: Spec, restored: Restored, now: Time) -> Self {
        let mut state = State::restore(spec, restored, now);
        views::resume_publishing(&mut state);
        Self { state }
    }

    /// Takes in what happened, decides, and says what to record and what to do.
    pub fn handle(&mut self, now: Time, events: Vec<Event>) -> Step {
        awake::note(&mut self.state, now);
        gpus::note(&mut self.state, now);
        for event in events {
            observe::observe(&mut self.state, now, event);
        }
        for _ in 0..ROUNDS_MAX {
            let plan = plan::plan(&self.state, now);
            let is_settled = plan.is_empty();
            let is_end = plan.contains(&plan::Decision::Finish);
            for decision in plan {
                commit::commit(&mut self.state, now, decision);
            }
            if is_settled || is_end {
                break;
            }
        }
        let (records, effects) = self.state.take_notes();
        Step { records, effects }
    }

    /// The spec in force.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.state.spec
    }

    /// All that would survive a restart now: the sum of all records so far.
    #[must_use]
    pub fn durable(&self) -> Restored {
        self.state.durable()
    }

    /// The whole fleet, for readers.
    #[must_use]
    pub fn view(&self, now: Time) -> FleetView {
        views::fleet(&self.state, now)
    }

    /// Jobs, newest first.
    #[must_use]
    pub fn jobs(&self, filter: &JobFilter) -> Vec<JobView> {
        views::jobs(&self.state, self.state.awake.last(), filter)
    }

    /// The jobs of forges that are not over, newest first.
    #[must_use]
    pub fn forge_jobs(&self, limit: usize) -> Vec<ForgeJobView> {
        forge::demand::jobs(&self.state, self.state.awake.last(), limit)
    }

    /// One job.
    #[must_use]
    pub fn job(&self, id: JobId) -> Option<JobView> {
        views::job(&self.state, self.state.awake.last(), id)
    }

    /// What is in use, and what is over: for whoever removes the rest.
    #[must_use]
    pub fn holdings(&self) -> Holdings {
        holdings::holdings(&self.state)
    }

    /// What became of the jobs that ended since a moment.
    #[must_use]
    pub fn stats(&self, since: Time, now: Time) -> StatsView {
        stats::of(&self.state, since, now)
    }

    /// How large a working folder may be, or why none may come in now.
    ///
    /// # Errors
    /// When a disk has too little space.
    pub fn room(&self) -> Result<Bytes, Refusal> {
        disk::refuse_while_low(&self.state)?;
        Ok(self.state.spec.limits.workspace_max)
    }

    /// What a job stands behind; none unless it waits.
    #[must_use]
    pub fn waiting(&self, id: JobId) -> Option<WaitingView> {
        waiting::of(&self.state, self.state.awake.last(), id)
    }

    /// The jobs that wait for a pool.
    #[must_use]
    pub fn waiting_for(&self, pool: &PoolName) -> PoolQueue {
        waiting::for_pool(&self.state, self.state.awake.last(), pool)
    }

    /// How many jobs wait, the forges' too, by the pool that each counts for (the first with its
    /// exact profile, else the first of the file; none if no pool serves it) and by why.
    #[must_use]
    pub fn waiting_counts(&self) -> BTreeMap<(Option<PoolName>, WaitCode), u32> {
        waiting::reason::counts(&self.state, self.state.awake.last())
    }

    /// What a spec would change, without changing anything.
    #[must_use]
    pub fn preview(&self, spec: &Spec) -> PlanView {
        preview::preview(&self.state, spec)
    }
}
