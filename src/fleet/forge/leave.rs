//! Leaving safely: the forge is asked first, then the agent, and only then the container goes.
//!
//! The forge's word alone is no proof: it may call a runner idle that has just got a job, and let
//! it be removed. So each leave ends with the agent's own word. Whoever has a job stays until its
//! end, whatever was wanted of it.

use std::time::Duration;

use super::decision::{ForgeDecision, ForgeOpKind};
use super::fact::{ForgeErrorClass, ForgeOutcome};
use super::order::{ForgeEntry, ListenMode};
use super::registration::Registered;
use super::{backoff, register};
use crate::fleet::effect::{ForgeAction, Patience};
use crate::fleet::event::DownMode;
use crate::fleet::plan::Decision;
use crate::fleet::runner::{Cause, Phase, Runner};
use crate::fleet::state::State;
use crate::fleet::transition::retire;
use crate::ids::IncarnationId;
use crate::units::Time;

/// A job that was given out just before the removal shows up within this time.
const SETTLE: Duration = Duration::from_secs(10);
/// A runner that its forge did not let go is not asked for again before this.
const BUSY_WAIT: Duration = Duration::from_secs(60);
/// An idle listener ends within 30 s of being asked to; this is twice that.
const STOP_PATIENCE: Duration = Duration::from_secs(60);
/// An order that brought no answer is told again after this long.
const STOP_AGAIN: Duration = Duration::from_secs(20);
/// What a cancelled job may take beyond its grace.
const CANCEL_MARGIN: Duration = Duration::from_secs(15);
/// Nor does one that answers, and does not let a runner go for this long.
const DOWN_LEAVE: Duration = Duration::from_secs(300);
/// A forge that does not answer for this long holds up no `down`.
pub(super) const DOWN_PATIENCE: Duration = Duration::from_secs(60);

/// Lets a runner go. One that never asked its forge for anything has nobody to ask.
pub(in crate::fleet) fn begin(state: &mut State, now: Time, id: IncarnationId, why: Cause) {
    let Some(runner) = state.runner(id) else { return };
    let (Some(container), true) = (runner.container().cloned(), runner.registration.is_some())
    else {
        retire(state, now, id, why);
        return;
    };
    let is_removed = runner.registration.as_ref().is_some_and(|it| it.stage == Registered::Removed);
    let listener = state.forge.listener(id);
    (listener.retry_at, listener.stopping, listener.tries) = (now, None, 0);
    listener.is_fresh = !is_removed;
    let words = why.to_string();
    state.enter(now, id, Phase::Leaving { container, why }, words);
}

/// It stays after all.
pub(super) fn back(state: &mut State, now: Time, id: IncarnationId, why: &str) {
    let Some(Phase::Leaving { container, .. }) = state.runner(id).map(|it| it.phase.clone()) else {
        return;
    };
    state.forge.listener(id).stopping = None;
    state.enter(now, id, Phase::Idle { container }, why);
}

/// The next step of a runner that leaves. `is_wanted`: nothing speaks against it any more.
pub(super) fn plan(
    state: &State,
    now: Time,
    (runner, why): (&Runner, &Cause),
    is_wanted: bool,
) -> Option<Decision> {
    let mode = &runner.enlistment()?.mode;
    // After a restart nothing is known of it before its agent speaks.
    let listener = state.forge.listeners.get(&runner.id).cloned().unwrap_or_default();
    let stands = runner.registration.as_ref().map(|it| it.stage);
    let is_in_list = matches!(stands, Some(Registered::Yes(_) | Registered::Asked));
    if *mode != ListenMode::OneJob || !is_in_list {
        let since = listener.removed.unwrap_or(runner.since);
        let settle = match *mode == ListenMode::OneJob && !is_down_now(state) {
            true => SETTLE,
            false => Duration::ZERO,
        };
        let is_stuck = matches!(why, Cause::Forge(super::ForgeCause::Stuck(_)));
        return match now.since(since) >= settle {
            // What it claimed and does not begin would make any other order void.
            true if is_stuck => end_stuck(state, now, (runner, why)),
            true => stop(state, now, (runner, why)),
            false => None,
        };
    }
    let is_refused = listener.refused.is_some_and(|at| at >= runner.since);
    if is_down_now(state) && is_refused {
        return cancel(state, now, runner);
    }
    // Its forge gives it the same job again and again, and it never begins it.
    if is_refused && listener.stuck().is_some() {
        return stop(state, now, (runner, why));
    }
    if is_wanted && listener.is_fresh && is_a_wish(why) {
        return Some(Decision::Forge(ForgeDecision::Stay(runner.id)));
    }
    let scope = &runner.enlistment()?.scope;
    if state.is_going_down() && now.since(runner.since) > DOWN_LEAVE {
        return stop(state, now, (runner, why));
    }
    if state.forge.is_good(scope) {
        let is_due = now >= listener.retry_at;
        return is_due.then_some(Decision::Forge(ForgeDecision::Deregister(runner.id)));
    }
    // A fleet that goes down does not wait for a forge that is not there.
    let since = runner.since.max(state.forge.contact_since(scope));
    let is_given_up = state.is_going_down() && now.since(since) > DOWN_PATIENCE;
    if is_given_up { stop(state, now, (runner, why)) } else { None }
}

/// Whether a cause may pass: the fleet may come to want the runner again.
fn is_a_wish(why: &Cause) -> bool {
    use super::ForgeCause::{Cordoned, Paused};
    matches!(why, Cause::Surplus | Cause::Outdated | Cause::Forge(Cordoned | Paused))
}

fn is_down_now(state: &State) -> bool {
    state.meta.going_down == Some(DownMode::Now)
}

/// Asks the agent to end its listener; its answer is the end of that, or a job.
fn stop(state: &State, now: Time, (runner, why): (&Runner, &Cause)) -> Option<Decision> {
    let listener = state.forge.listeners.get(&runner.id).cloned().unwrap_or_default();
    let contact = state.contact(runner.id);
    let session_since = contact.session_since?;
    if listener.ordered.is_none() && listener.status.is_none() {
        // An agent that has a listener says so as soon as its session is open.
        let is_none = state.awake.patience_used(now, session_since) > register::LOST_AFTER;
        return is_none.then(|| Decision::Retire(runner.id, why.clone()));
    }
    let (since, told) = match listener.stopping {
        Some((since, told)) => (since.max(session_since), told),
        None => (now, Time(0)),
    };
    if state.awake.patience_used(now, since) > STOP_PATIENCE {
        // One that says nothing at all may have a job; its silence is looked at elsewhere.
        let is_heard = contact.heard >= told || state.is_going_down();
        return is_heard.then(|| Decision::Retire(runner.id, why.clone()));
    }
    let is_due = told < session_since || now.since(told) >= STOP_AGAIN;
    is_due.then_some(Decision::Forge(ForgeDecision::Stop(runner.id, Patience::Spare)))
}

/// Ends a listener that makes no progress, with whatever it claimed.
fn end_stuck(state: &State, now: Time, (runner, why): (&Runner, &Cause)) -> Option<Decision> {
    match cancel(state, now, runner)? {
        Decision::Retire(id, _) => Some(Decision::Retire(id, why.clone())),
        decision => Some(decision),
    }
}

/// Ends the job of a runner that has to go now: it gets its grace.
pub(super) fn cancel(state: &State, now: Time, runner: &Runner) -> Option<Decision> {
    let grace = runner.build.template.stop_grace;
    let contact = state.contact(runner.id);
    let stopping = state.forge.listeners.get(&runner.id).and_then(|it| it.stopping);
    let Some((since, told)) = stopping else {
        let decision = ForgeDecision::Stop(runner.id, Patience::Cancel(grace));
        return Some(Decision::Forge(decision));
    };
    if state.awake.patience_used(now, since) > grace + CANCEL_MARGIN {
        return Some(Decision::Retire(runner.id, Cause::Down));
    }
    let session_since = contact.session_since?;
    let decision = ForgeDecision::Stop(runner.id, Patience::Cancel(grace));
    (told < session_since).then_some(Decision::Forge(decision))
}

/// Asks the forge to remove it.
pub(super) fn deregister(state: &mut State, id: IncarnationId) {
    let Some(runner) = state.runner(id) else { return };
    let Some(entry) = entry(runner) else { return };
    state.forge.listener(id).is_fresh = false;
    register::operate(state, (id, ForgeOpKind::Deregister), ForgeAction::Remove(entry));
}

/// A runner's entry at its forge.
pub(super) fn entry(runner: &Runner) -> Option<ForgeEntry> {
    let (enlistment, registration) = (runner.enlistment()?, runner.registration.as_ref()?);
    let (scope, name) = (enlistment.scope.clone(), registration.name.clone());
    Some(ForgeEntry { scope, name, id: registration.id() })
}

/// The forge's answer to a removal.
pub(super) fn ended(state: &mut State, now: Time, id: IncarnationId, outcome: ForgeOutcome) {
    let Some(Phase::Leaving { .. }) = state.runner(id).map(|runner| &runner.phase) else {
        if matches!(outcome, ForgeOutcome::Removed | ForgeOutcome::NotListed) {
            removed(state, now, id);
        }
        return;
    };
    match outcome {
        ForgeOutcome::Removed | ForgeOutcome::NotListed => removed(state, now, id),
        ForgeOutcome::Busy => {
            let listener = state.forge.listener(id);
            (listener.refused, listener.retry_at) = (Some(now), now + BUSY_WAIT);
            let is_stuck = listener.stuck().is_some();
            state.tell_runner(now, id, "kept by its forge", "it has a job, by its forge's word");
            if !is_down_now(state) && !is_stuck {
                back(state, now, id, "its forge says that it has a job");
            }
        }
        ForgeOutcome::Failed(error) => again(state, now, id, (error.class, error.message)),
        ForgeOutcome::Unknown(why) => again(state, now, id, (ForgeErrorClass::Retry, why)),
        ForgeOutcome::Registered(_) => {}
    }
}

fn removed(state: &mut State, now: Time, id: IncarnationId) {
    let listener = state.forge.listener(id);
    (listener.removed, listener.why) = (Some(now), None);
    let registration = state.runner_mut(id).and_then(|it| it.registration.as_mut());
    if let Some(registration) = registration {
        registration.stage = Registered::Removed;
    }
    state.tell_runner(now, id, "deregistered", "its forge gives it no job any more");
}

fn again(state: &mut State, now: Time, id: IncarnationId, (class, why): (ForgeErrorClass, String)) {
    let listener = state.forge.listener(id);
    listener.tries = listener.tries.saturating_add(1);
    listener.retry_at = backoff::next(now, class, listener.tries, id);
    listener.why = Some(why.clone());
    state.tell_runner(now, id, "not deregistered", why);
}
