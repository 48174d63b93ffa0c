//! Jobs: who gets a runner now, and which ended ones are forgotten.

use std::collections::BTreeSet;

use super::Decision;
use crate::fleet::event::Cordon;
use crate::fleet::job::Job;
use crate::fleet::placement;
use crate::fleet::runner::Phase;
use crate::fleet::state::State;
use crate::ids::{LaneName, PoolName, ProfileName};
use crate::units::Time;

/// Ended jobs that are kept for `jobs` and `logs`; older ones go with their output.
const ENDED_KEPT: usize = 10_000;

pub(super) fn plan(state: &State, _now: Time, plan: &mut Vec<Decision>) {
    if !state.is_going_down() {
        plan.extend(give_one(state));
    }
    let surplus = state.ended_len().saturating_sub(ENDED_KEPT);
    plan.extend(state.ended_jobs().take(surplus).map(|job| Decision::ForgetJob(job.id)));
}

/// What jobs ask for; when one of a kind finds no runner, the others of its kind will not either.
type Kind<'a> = (&'a ProfileName, Option<&'a PoolName>, Option<&'a LaneName>);

/// The first job in the queue's order that a runner can serve. One at a time: each decision is
/// made on a state that knows the ones before.
fn give_one(state: &State) -> Option<Decision> {
    if !has_idle(state) {
        return None;
    }
    let runs = running_workflows(state);
    let mut hopeless: BTreeSet<Kind<'_>> = BTreeSet::new();
    for job in state.queue() {
        let kind = (&job.profile, job.spec.pool.as_ref(), job.spec.lane.as_ref());
        if hopeless.contains(&kind) || !may_run(state, &runs, job) {
            continue;
        }
        match placement::choose(state, job) {
            Some(runner) => return Some(Decision::Give { job: job.id, runner }),
            None => hopeless.insert(kind),
        };
    }
    None
}

fn has_idle(state: &State) -> bool {
    state.slots().any(|slot| {
        let runner = slot.runner.and_then(|id| state.runner(id));
        slot.cordon == Cordon::Open
            && runner.is_some_and(|runner| matches!(runner.phase, Phase::Idle { .. }))
    })
}

/// The distinct workflow runs that have a job on a runner.
pub(in crate::fleet) fn running_workflows(state: &State) -> BTreeSet<String> {
    state.held_jobs().filter_map(Job::workflow_run).collect()
}

/// Whether `max_parallel_workflows` lets this job start.
pub(in crate::fleet) fn may_run(state: &State, runs: &BTreeSet<String>, job: &Job) -> bool {
    let max = state.spec.limits.max_parallel_workflows as usize;
    job.workflow_run().is_none_or(|run| runs.contains(&run) || runs.len() < max)
}
