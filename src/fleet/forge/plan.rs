//! What to do next with runners of forges, and with what they left behind.

use super::decision::ForgeDecision;
use super::fact::ForgeJobStatus;
use super::known::Listener;
use super::lists::{self, Verdict};
use super::order::ListenMode;
use super::registration::Registered;
use super::{ForgeCause, leave, leftovers, register};
use crate::fleet::event::{Cordon, DownMode};
use crate::fleet::pause::is_paused;
use crate::fleet::plan::Decision;
use crate::fleet::runner::{Cause, Phase, Runner};
use crate::fleet::state::State;
use crate::ids::ScopeUrl;
use crate::units::Time;

/// What concerns no runner in service.
pub(in crate::fleet) fn plan(state: &State, now: Time, plan: &mut Vec<Decision>) {
    leftovers::plan(state, now, plan);
    let blocked: Vec<&ScopeUrl> = state
        .runners()
        .filter(|runner| runner.slot.is_some() && is_marked_idle(state, runner))
        .filter_map(|runner| Some(&runner.enlistment()?.scope))
        .collect();
    let looks = lists::to_look_at(state, now, &blocked);
    plan.extend(looks.map(|scope| Decision::Forge(ForgeDecision::Look(scope.clone()))));
}

/// An idle runner that its forge last called busy: perhaps it is not so any more.
fn is_marked_idle(state: &State, runner: &Runner) -> bool {
    matches!(runner.phase, Phase::Idle { .. })
        && is_marked_busy(state, runner)
        && state.forge.listeners.get(&runner.id).is_some_and(Listener::is_listening)
}

fn is_marked_busy(state: &State, runner: &Runner) -> bool {
    let listener = state.forge.listeners.get(&runner.id);
    listener.and_then(|it| it.seen.fact.as_ref()).is_some_and(|fact| fact.busy)
}

/// Whether its forge says that a runner has a job. That it does not say so is no proof.
pub(in crate::fleet) fn is_claimed(state: &State, runner: &Runner) -> bool {
    let (Some(enlistment), Some(registration)) = (runner.enlistment(), &runner.registration) else {
        return false;
    };
    let has_job = || {
        state.forge.scopes.get(&enlistment.scope).is_some_and(|known| {
            known.jobs.iter().any(|it| {
                it.fact.status == ForgeJobStatus::Running
                    && it.fact.runner.as_deref() == Some(registration.name.as_str())
            })
        })
    };
    is_marked_busy(state, runner) || has_job()
}

/// Why a runner of a slot or pool that is closed should go: its forge would give it jobs.
pub(in crate::fleet) fn closed(state: &State, runner: &Runner) -> Option<Cause> {
    runner.enlistment()?;
    let slot = state.slot(runner.slot?)?;
    let why = match slot.cordon {
        Cordon::Closed => ForgeCause::Cordoned,
        Cordon::Open if is_paused(state, &slot.pool) => ForgeCause::Paused,
        Cordon::Open => return None,
    };
    Some(Cause::Forge(why))
}

/// The next step of a runner in service. `unwanted`: why it should go, by what the fleet wants.
pub(in crate::fleet) fn next(
    state: &State,
    now: Time,
    runner: &Runner,
    unwanted: Option<Cause>,
) -> Option<Decision> {
    match &runner.phase {
        Phase::Registering { .. } => {
            let leave = unwanted.and_then(|why| depart(state, now, runner, why));
            leave
                .or_else(|| stuck(state, now, runner))
                .or_else(|| register::plan(state, now, runner))
        }
        Phase::Idle { .. } => {
            let why = unwanted.or_else(|| against(state, runner));
            why.and_then(|why| depart(state, now, runner, why))
                .or_else(|| register::plan_again(state, now, runner))
        }
        Phase::Working { .. } => match state.meta.going_down {
            Some(DownMode::Now) => leave::cancel(state, now, runner),
            Some(DownMode::Drain) | None => stuck(state, now, runner),
        },
        Phase::Leaving { why, .. } => leave::plan(state, now, (runner, why), unwanted.is_none()),
        Phase::Planned
        | Phase::Created { .. }
        | Phase::Booting { .. }
        | Phase::Busy { .. }
        | Phase::Retiring { .. } => None,
    }
}

/// What speaks against an idle runner, by its agent's or its forge's word.
fn against(state: &State, runner: &Runner) -> Option<Cause> {
    let listener = state.forge.listeners.get(&runner.id)?;
    let stands = runner.registration.as_ref().map(|it| it.stage);
    if let Some(how) = listener.stuck() {
        return Some(Cause::Forge(ForgeCause::Stuck(how.to_owned())));
    }
    let is_out = stands == Some(Registered::Removed);
    match lists::verdict(state, &runner.enlistment()?.scope, listener) {
        Some(Verdict::Missing) => Some(Cause::Forge(ForgeCause::Unregistered)),
        Some(Verdict::Offline) => Some(Cause::Forge(ForgeCause::NeverOnline)),
        None => is_out.then_some(Cause::Forge(ForgeCause::Unregistered)),
    }
}

/// A listener that has claimed a job and does not begin it, or does not come on.
fn stuck(state: &State, now: Time, runner: &Runner) -> Option<Decision> {
    let how = state.forge.listeners.get(&runner.id)?.stuck()?;
    let why = Cause::Forge(ForgeCause::Stuck(how.to_owned()));
    depart(state, now, runner, why)
}

/// Lets a runner go, if that may be begun now: nobody says that it has a job, its agent can be
/// asked, and so can its forge.
pub(in crate::fleet) fn depart(
    state: &State,
    now: Time,
    runner: &Runner,
    why: Cause,
) -> Option<Decision> {
    if matches!(runner.phase, Phase::Leaving { .. }) {
        return None;
    }
    let decision = Decision::Forge(ForgeDecision::Leave(runner.id, why.clone()));
    if runner.registration.is_none() {
        return Some(decision);
    }
    let listener = state.forge.listeners.get(&runner.id).cloned().unwrap_or_default();
    let enlistment = runner.enlistment()?;
    let is_down_now = state.meta.going_down == Some(DownMode::Now);
    // Whatever else speaks against it: what it is given it does not begin.
    let is_stuck = listener.stuck().is_some();
    let is_guarded = !is_stuck && !is_down_now && is_claimed(state, runner);
    let is_early = listener.refused.is_some() && now < listener.retry_at && !is_down_now;
    let needs_forge = enlistment.mode == ListenMode::OneJob && !state.is_going_down();
    let is_heard = state.contact(runner.id).is_connected() && listener.status.is_some();
    let is_mute = matches!(runner.phase, Phase::Registering { .. });
    let may = !listener.is_working()
        && !is_guarded
        && !is_early
        && (is_heard || is_mute)
        && (!needs_forge || state.forge.is_good(&enlistment.scope));
    may.then_some(decision)
}
