//! Runners: the next operation of each, and the reasons to take one out of service.

use std::collections::BTreeMap;
use std::time::Duration;

use super::pools::wanted_spares;
use super::{Decision, pool_named};
use crate::fleet::desired::Models;
use crate::fleet::forge;
use crate::fleet::job::{Job, JobState, StopBy};
use crate::fleet::runner::{Cause, Phase, Runner};
use crate::fleet::slot::Fate;
use crate::fleet::state::State;
use crate::ids::{JobId, PoolName};
use crate::units::Time;

/// A container that runs must have a speaking agent after this long; slow disks need some of it.
const BOOT_DEADLINE: Duration = Duration::from_secs(90);
/// What a job may take beyond its timeout and grace before its runner is taken from it.
const STOP_MARGIN: Duration = Duration::from_secs(15);

pub(super) fn plan(state: &State, now: Time, models: &Models, plan: &mut Vec<Decision>) {
    let mut spares_left: BTreeMap<PoolName, usize> =
        state.spec.pools.iter().map(|it| (it.name.clone(), wanted_spares(state, it))).collect();
    for id in state.orphans.keys() {
        let contact = state.contact(*id);
        if contact.is_free() && now >= contact.retry_at {
            plan.push(Decision::Remove(*id));
        }
    }
    for runner in state.runners() {
        let contact = state.contact(runner.id);
        if !contact.is_free() {
            continue;
        }
        let decision = match &runner.phase {
            Phase::Retiring { .. } if now >= contact.retry_at => Some(Decision::Remove(runner.id)),
            Phase::Retiring { .. } => None,
            Phase::Busy { job, .. } => busy(state, now, runner, *job),
            _ if is_of_forge(runner) => {
                let unwanted = unwanted(state, models, runner, &mut spares_left);
                silent(state, now, runner)
                    .map(|why| Decision::Retire(runner.id, why))
                    .or_else(|| forge::plan::next(state, now, runner, unwanted))
            }
            Phase::Registering { .. } | Phase::Working { .. } | Phase::Leaving { .. } => None,
            Phase::Planned | Phase::Created { .. } | Phase::Booting { .. } | Phase::Idle { .. } => {
                unwanted(state, models, runner, &mut spares_left)
                    .or_else(|| silent(state, now, runner))
                    .map(|why| Decision::Retire(runner.id, why))
                    .or_else(|| next_operation(runner))
            }
        };
        plan.extend(decision);
    }
}

/// Whether its forge or its listener has to be asked before anything is done to it.
fn is_of_forge(runner: &Runner) -> bool {
    let is_in_service = matches!(
        runner.phase,
        Phase::Registering { .. }
            | Phase::Idle { .. }
            | Phase::Working { .. }
            | Phase::Leaving { .. }
    );
    is_in_service && runner.enlistment().is_some()
}

fn next_operation(runner: &Runner) -> Option<Decision> {
    match runner.phase {
        Phase::Planned => Some(Decision::Create(runner.id)),
        Phase::Created { .. } => Some(Decision::Start(runner.id)),
        Phase::Booting { .. }
        | Phase::Registering { .. }
        | Phase::Idle { .. }
        | Phase::Working { .. }
        | Phase::Leaving { .. }
        | Phase::Busy { .. }
        | Phase::Retiring { .. } => None,
    }
}

/// Why a runner without a job should go, if it should.
fn unwanted(
    state: &State,
    models: &Models,
    runner: &Runner,
    spares_left: &mut BTreeMap<PoolName, usize>,
) -> Option<Cause> {
    if state.is_going_down() {
        return Some(Cause::Down);
    }
    let pool = &runner.build.template.pool;
    let slot = runner.slot.and_then(|slot| state.slot(slot));
    let model = pool_named(state, pool).and_then(|pool| models.of(pool, slot));
    let Some(model) = model else { return Some(Cause::Surplus) };
    match (runner.slot, slot) {
        (Some(_), None) => return Some(Cause::Surplus),
        (Some(_), Some(slot)) if slot.fate == Fate::Leave => return Some(Cause::Surplus),
        // Another fills its slot by now.
        (Some(_), Some(slot)) if slot.runner != Some(runner.id) => return Some(Cause::Surplus),
        (Some(_), Some(_)) => {}
        (None, _) => {
            let left = spares_left.get_mut(pool)?;
            match left.checked_sub(1) {
                Some(fewer) => *left = fewer,
                None => return Some(Cause::Surplus),
            }
        }
    }
    let outdated = (!model.is_met(slot, &runner.build)).then_some(Cause::Outdated);
    outdated.or_else(|| forge::plan::closed(state, runner))
}

/// Why a runner's silence is too long, if it is.
fn silent(state: &State, now: Time, runner: &Runner) -> Option<Cause> {
    let heard = state.contact(runner.id).heard;
    match runner.phase {
        Phase::Booting { .. } => {
            // After a restart of the supervisor, agents get the time to call again.
            (now.since(heard.max(runner.since)) > BOOT_DEADLINE).then_some(Cause::NeverSpoke)
        }
        Phase::Registering { .. }
        | Phase::Idle { .. }
        | Phase::Working { .. }
        | Phase::Leaving { .. }
        | Phase::Busy { .. } => {
            (now.since(heard) > state.spec.limits.stale_after).then_some(Cause::Stale)
        }
        Phase::Planned | Phase::Created { .. } | Phase::Retiring { .. } => None,
    }
}

/// A busy runner is taken out of service only by its silence, or by a job that will not stop or
/// does not begin.
fn busy(state: &State, now: Time, runner: &Runner, id: JobId) -> Option<Decision> {
    let job = state.job(id)?;
    let JobState::Given { stop, .. } = job.state else { return None };
    if let Some(why) = silent(state, now, runner) {
        return Some(Decision::Retire(runner.id, why));
    }
    let patience = runner.build.template.stop_grace + STOP_MARGIN;
    if let Some(stop) = stop {
        let why = match stop.by {
            StopBy::Timeout => Cause::TimedOut,
            StopBy::Cancel | StopBy::Down => Cause::Stuck,
        };
        let is_stuck = state.awake.patience_used(now, stop.since) > patience;
        return is_stuck.then_some(Decision::Retire(runner.id, why));
    }
    let Some(started) = job.started_at else {
        let idles = idles(state, now, runner, job);
        return idles.then_some(Decision::Retire(runner.id, Cause::NoProgress));
    };
    let due = started + job.timeout;
    // Nobody else sees to the end of work that is driven from outside.
    let patience = if job.is_external() { Duration::ZERO } else { patience };
    let is_overdue = now > due && state.awake.patience_used(now, due) > patience;
    is_overdue.then_some(Decision::TimeOut(id))
}

/// Alive is not working: an agent that answers must begin its job in time. One that is away may
/// have begun it without a word; its silence is looked at instead.
fn idles(state: &State, now: Time, runner: &Runner, job: &Job) -> bool {
    let contact = state.contact(runner.id);
    let Some(session_since) = contact.session_since else { return false };
    let asked = job.assigned_at.unwrap_or(runner.since).max(session_since);
    state.awake.patience_used(now, asked) > state.spec.limits.start_timeout
}
