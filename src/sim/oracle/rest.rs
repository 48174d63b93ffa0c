//! Whether a fleet has come to rest: it is as the spec says, and no work is left that it could do.

use std::collections::BTreeSet;

use crate::fleet::Fleet;
use crate::fleet::assignment::is_at_least;
use crate::fleet::event::TaskEnd;
use crate::fleet::job::{Job, JobState, Verdict};
use crate::fleet::runner::{Phase, Runner};
use crate::fleet::view::{FleetPhase, JobStatus, RunnerStatus, RunnerView, SizeReason};
use crate::ids::{JobId, PoolName};
use crate::sim::records::Records;
use crate::sim::world::World;
use crate::spec::{Pool, PoolSize, Spec};

/// What is still missing for the fleet to be as the spec says, with no work left that it could do.
///
/// # Errors
/// The first thing that is not as it should be.
pub fn settled(world: &World, records: &Records, fleet: &Fleet) -> Result<(), String> {
    if let Some(runner) = records.runners.values().find(|runner| !is_at_home(world, runner)) {
        return Err(format!("{} is {:?}", runner.id, runner.phase));
    }
    if world.containers.len() != records.runners.len() {
        let known = records.runners.len();
        return Err(format!("{} containers and {known} runners", world.containers.len()));
    }
    super::forges::settled(world, records)?;
    let view = fleet.view(world.now());
    // A slot may wait for a card that idle runners hold, as long as no job needs it.
    let waits = |it: &RunnerView| {
        let slot = records.slots.get(&it.id);
        let profile = fleet.spec().profiles.get(&it.profile);
        it.status == RunnerStatus::Planned
            && profile.is_some_and(|profile| profile.gpu.is_some())
            && slot.is_some_and(|slot| slot.runner.is_none() && slot.gpu.is_none())
    };
    let at_rest = |it: &RunnerView| it.status == RunnerStatus::Idle || waits(it);
    let is_partly = view.runners.iter().any(waits) && view.runners.iter().all(at_rest);
    if view.phase != FleetPhase::Ready && !is_partly {
        return Err(format!("the fleet is {:?}: {:?}", view.phase, view.troubles));
    }
    let held: BTreeSet<PoolName> = view
        .pools
        .into_iter()
        .filter(|pool| pool.scaled || matches!(pool.why, SizeReason::Held { .. }))
        .map(|pool| pool.name)
        .collect();
    match records.jobs.values().find(|job| !is_done(records, fleet.spec(), &held, job)) {
        Some(job) => Err(format!("{} is {:?}", job.id, job.state)),
        None => Ok(()),
    }
}

fn is_at_home(world: &World, runner: &Runner) -> bool {
    let container = runner.container().and_then(|id| world.containers.get(id));
    let Some(container) = container else { return false };
    let is_at_forge = runner.enlistment().is_some();
    let is_ready = match runner.phase {
        // A spare of a forge's pool is registered when it fills a slot.
        Phase::Registering { .. } => runner.slot.is_none() && runner.registration.is_none(),
        Phase::Idle { .. } => !is_at_forge || container.listens(),
        _ => false,
    };
    is_ready
        && container.agent.session.is_some()
        && container.live_work().is_none()
        && container.forge_work().is_none()
}

fn is_done(records: &Records, spec: &Spec, held: &BTreeSet<PoolName>, job: &Job) -> bool {
    match &job.state {
        // Whoever holds a job has to release it.
        JobState::Ended { .. } | JobState::OnHold { .. } => true,
        JobState::Queued => !is_servable(records, spec, held, job),
        JobState::Given { .. } | JobState::Publishing { .. } | JobState::Fenced { .. } => false,
    }
}

/// Whether there is a slot for a job, or will be: pools that are not held grow for it.
fn is_servable(records: &Records, spec: &Spec, held: &BTreeSet<PoolName>, job: &Job) -> bool {
    let lane = job.spec.lane.as_ref().and_then(|lane| spec.lanes.get(lane));
    let allows = |pool: &PoolName| {
        job.spec.pool.as_ref().is_none_or(|wanted| wanted == pool)
            && lane.is_none_or(|lane| lane.pools.contains(pool))
    };
    let Some(need) = spec.profiles.get(&job.profile) else { return false };
    let grows = |pool: &Pool| {
        matches!(pool.size, PoolSize::Elastic(it) if it.max > 0) && !held.contains(&pool.name)
    };
    spec.pools.iter().any(|pool| {
        let offer = spec.profiles.get(&pool.profile);
        allows(&pool.name)
            && pool.forge.is_none()
            && (records.slots.values().any(|slot| slot.pool == pool.name) || grows(pool))
            && offer.is_some_and(|offer| is_at_least(offer, need))
    })
}

/// How the world's own book explains a job's end; `None` if it fits.
#[must_use]
pub fn false_end(world: &World, job: &Job) -> Option<String> {
    let JobState::Ended { verdict, .. } = &job.state else { return None };
    if job.is_external() {
        return false_completion(world, job.id, verdict);
    }
    let truth = world.truth.ends.get(&(job.id, job.attempt));
    let fits = match verdict.status {
        JobStatus::Succeeded | JobStatus::Failed => {
            let is_short = world.truth.short.contains(&(job.id, job.attempt));
            truth.is_some_and(|end| Verdict::of(end, None).status == verdict.status) && !is_short
        }
        JobStatus::Oom if verdict.in_words().starts_with("out of GPU memory") => {
            world.truth.short.contains(&(job.id, job.attempt))
        }
        JobStatus::Queued | JobStatus::Assigned | JobStatus::Running => false,
        JobStatus::Cancelled | JobStatus::TimedOut | JobStatus::Oom | JobStatus::Lost => true,
    };
    (!fits).then(|| format!("{} ended as {verdict:?}, and really {truth:?}", job.id))
}

/// Work that is driven from outside ends well or badly by its driver's word alone.
fn false_completion(world: &World, job: JobId, verdict: &Verdict) -> Option<String> {
    let said = |end| world.truth.completed.contains(&(job, end));
    let fits = match verdict.status {
        JobStatus::Succeeded => said(TaskEnd::Succeeded),
        JobStatus::Failed => said(TaskEnd::Failed),
        JobStatus::Queued | JobStatus::Assigned | JobStatus::Running | JobStatus::Oom => false,
        JobStatus::Cancelled | JobStatus::TimedOut | JobStatus::Lost => true,
    };
    (!fits).then(|| format!("{job} ended as {verdict:?}, and nobody said so"))
}

/// Names of work from outside are unique among what is not over, and what runs holds a runner.
pub(super) fn false_tasks(records: &Records) -> Option<String> {
    let mut names = BTreeSet::new();
    for job in records.jobs.values() {
        let Some(task) = &job.spec.task else { continue };
        if !matches!(job.state, JobState::Ended { .. }) && !names.insert(task) {
            return Some(format!("two jobs are task {task}"));
        }
        let JobState::Given { runner, .. } = job.state else { continue };
        let holds = records.runners.get(&runner).and_then(Runner::job);
        if holds != Some((job.id, job.attempt)) {
            return Some(format!("task {task} is on {runner}, which holds {holds:?}"));
        }
        if job.started_at.is_none() || job.attempt.0 != 1 {
            return Some(format!("task {task} is not begun, or begun again"));
        }
    }
    None
}
