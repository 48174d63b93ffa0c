//! On the way into a forge's list.
//!
//! A runner is registered when its container is up and its agent listens, so that nothing that
//! fails before leaves an entry behind, and the secret goes over the agent's own channel.

use std::time::Duration;

use super::decision::{ForgeDecision, ForgeOp, ForgeOpKind};
use super::fact::{ForgeError, ForgeErrorClass, ForgeOutcome, ListenerStage};
use super::known::Listener;
use super::order::{ListenMode, ListenOrder, RegisterOrder};
use super::registration::{Registered, Registration};
use super::{ForgeCause, backoff, holds, names};
use crate::fleet::desired;
use crate::fleet::effect::{AgentOrder, Effect, ForgeAction};
use crate::fleet::order;
use crate::fleet::plan::Decision;
use crate::fleet::runner::{Cause, InFlight, OpKind, Runner};
use crate::fleet::slot::{Fate, Slot};
use crate::fleet::state::State;
use crate::fleet::transition::retire;
use crate::ids::IncarnationId;
use crate::units::Time;

/// A listener that was ordered to listen does so after this long.
const DEADLINE: Duration = Duration::from_secs(180);
/// An agent that has a listener says so in its new session within this time.
const SPEAKS_WITHIN: Duration = Duration::from_secs(2);
/// What a runner registers with is lost if its agent has said nothing of it after this time.
pub(super) const LOST_AFTER: Duration = Duration::from_secs(10);
/// An idle runner whose agent says nothing of its listener for this long has none.
const MUTE_AFTER: Duration = Duration::from_secs(30);

/// The next step of a runner that is not in its forge's list yet, or not seen to listen.
pub(super) fn plan(state: &State, now: Time, runner: &Runner) -> Option<Decision> {
    let enlistment = runner.enlistment()?;
    // A spare is registered when it fills a slot: before, it would be one runner too many.
    let slot = state.slot(runner.slot?)?;
    let contact = state.contact(runner.id);
    let listener = state.forge.listeners.get(&runner.id);
    let session_since = contact.session_since?;
    let listen = || {
        is_to_be_told(state, now, runner, session_since)
            .then_some(Decision::Forge(ForgeDecision::Listen(runner.id)))
    };
    let lost = Decision::Retire(runner.id, Cause::Forge(ForgeCause::Lost));
    match (&enlistment.mode, runner.registration.as_ref().map(|it| it.stage)) {
        (ListenMode::OneJob, None) => {
            let may = obstacle(state, now, (runner, slot)).is_none();
            may.then_some(Decision::Forge(ForgeDecision::Register(runner.id)))
        }
        // Nothing is in flight, so the supervisor that asked is gone.
        (ListenMode::OneJob, Some(Registered::Asked)) => Some(lost),
        (ListenMode::OneJob, Some(_)) if !is_granted(listener) => {
            let is_silent = listener.is_none_or(|it| it.status.is_none());
            let is_lost = is_silent && state.awake.patience_used(now, session_since) > LOST_AFTER;
            if is_lost { Some(lost) } else { overdue(state, now, runner) }
        }
        (ListenMode::OneJob, Some(_)) | (ListenMode::Kept { .. }, _) => {
            listen().or_else(|| overdue(state, now, runner))
        }
    }
}

/// An idle runner whose agent came back and says nothing of a listener has none any more.
pub(super) fn plan_again(state: &State, now: Time, runner: &Runner) -> Option<Decision> {
    let contact = state.contact(runner.id);
    let session_since = contact.session_since?;
    let listener = state.forge.listeners.get(&runner.id);
    if listener.is_some_and(|it| it.status.is_some()) {
        return None;
    }
    match runner.enlistment()?.mode {
        ListenMode::Kept { .. } => is_to_be_told(state, now, runner, session_since)
            .then_some(Decision::Forge(ForgeDecision::Listen(runner.id))),
        ListenMode::OneJob => (state.awake.patience_used(now, session_since) > MUTE_AFTER)
            .then_some(Decision::Retire(runner.id, Cause::Forge(ForgeCause::Lost))),
    }
}

/// Whether an agent is to be told to listen: for the first time, or because the order may have been
/// lost with its session.
fn is_to_be_told(state: &State, now: Time, runner: &Runner, session_since: Time) -> bool {
    let listener = state.forge.listeners.get(&runner.id);
    let said = listener.is_some_and(|it| it.status.is_some());
    let has_had_time = now.since(session_since) >= SPEAKS_WITHIN;
    match listener.and_then(|it| it.told) {
        // By this supervisor; the one before it may have told it already.
        None => !said && (runner.registration.is_none() || is_granted(listener) || has_had_time),
        Some(told) => !said && told < session_since && has_had_time,
    }
}

/// Whether what a one-job runner registers with is at hand.
fn is_granted(listener: Option<&Listener>) -> bool {
    listener.is_some_and(|it| it.is_granted)
}

/// A listener that does not come online in time is thrown away with its registration.
fn overdue(state: &State, now: Time, runner: &Runner) -> Option<Decision> {
    let ordered = state.forge.listeners.get(&runner.id)?.ordered?;
    let is_late = state.awake.patience_used(now, ordered) > DEADLINE;
    let why = Cause::Forge(ForgeCause::NeverOnline);
    is_late.then_some(Decision::Forge(ForgeDecision::Leave(runner.id, why)))
}

/// Why a runner is not registered now.
pub(super) fn obstacle(
    state: &State,
    now: Time,
    (runner, slot): (&Runner, &Slot),
) -> Option<String> {
    if state.is_going_down() || slot.fate == Fate::Leave {
        return Some("it is to go".to_owned());
    }
    if state.forge.fleet.is_none() {
        return Some("the supervisor has not said yet which fleet this is".to_owned());
    }
    if let Some(hold) = holds::of_slot(state, slot) {
        return Some(hold.to_owned());
    }
    if let Some(why) = state.disks.trouble() {
        return Some(why);
    }
    let scope = &runner.enlistment()?.scope;
    if let Some(why) = holds::silence(state, scope) {
        return Some(why);
    }
    let listener = state.forge.listeners.get(&runner.id)?;
    (now < listener.retry_at).then(|| listener.why.clone().unwrap_or_default())
}

/// Asks the forge. The name is recorded before: whatever happens, it is known what to look for.
pub(super) fn register(state: &mut State, now: Time, id: IncarnationId) {
    let Some(fleet) = state.forge.fleet.clone() else { return };
    let Some(runner) = state.runner(id) else { return };
    let Some(enlistment) = runner.enlistment().cloned() else { return };
    let name = names::one_job((&state.spec.project, &runner.build.template.pool), id, &fleet);
    if let Some(runner) = state.runner_mut(id) {
        runner.registration = Some(Registration::asked(name.clone()));
    }
    state.tell_runner(now, id, "registration asked", format!("as {name}"));
    let order = RegisterOrder { name, enlistment };
    operate(state, (id, ForgeOpKind::Register), ForgeAction::Register(Box::new(order)));
}

/// Begins an operation at a forge that is about a runner in service.
pub(super) fn operate(
    state: &mut State,
    (id, kind): (IncarnationId, ForgeOpKind),
    action: ForgeAction,
) {
    let op = state.next_op();
    let is_about = match kind {
        ForgeOpKind::Register => Some(OpKind::Register),
        ForgeOpKind::Deregister => Some(OpKind::Deregister),
        ForgeOpKind::Clean => None,
    };
    if let (Some(kind), Some(contact)) = (is_about, state.contacts.get_mut(&id)) {
        contact.op = Some(InFlight { op, kind });
    }
    state.forge.ops.insert(op, ForgeOp { incarnation: id, kind });
    state.effect(Effect::Forge { op, incarnation: id, action });
}

/// The forge's answer to a registration.
pub(super) fn ended(state: &mut State, now: Time, id: IncarnationId, outcome: ForgeOutcome) {
    match outcome {
        ForgeOutcome::Registered(number) => {
            let registration = state.runner_mut(id).and_then(|it| it.registration.as_mut());
            let Some(registration) = registration else { return };
            // Where runners register themselves, their number is not known yet.
            registration.stage = Registered::Yes(Some(number).filter(|it| it.0 != 0));
            let listener = state.forge.listener(id);
            (listener.is_granted, listener.tries, listener.why) = (true, 0, None);
            state.tell_runner(now, id, "registered", format!("as number {number}"));
        }
        ForgeOutcome::Failed(error) => failed(state, now, id, error),
        ForgeOutcome::Unknown(why) => {
            let why = format!("nobody knows whether it is registered: {why}");
            retire(state, now, id, Cause::Forge(ForgeCause::NotRegistered(why)));
        }
        // These answer another question.
        ForgeOutcome::Removed | ForgeOutcome::NotListed | ForgeOutcome::Busy => {}
    }
}

fn failed(state: &mut State, now: Time, id: IncarnationId, error: ForgeError) {
    let ForgeError { class, message } = error;
    if class == ForgeErrorClass::NameTaken {
        retire(state, now, id, Cause::Forge(ForgeCause::NotRegistered(message)));
        return;
    }
    // It certainly did not happen, so the name is free for another try.
    if let Some(runner) = state.runner_mut(id) {
        runner.registration = None;
    }
    state.tell_runner(now, id, "not registered", &message);
    let listener = state.forge.listener(id);
    listener.tries = listener.tries.saturating_add(1);
    listener.retry_at = backoff::next(now, class, listener.tries, id);
    listener.why = Some(message.clone());
    if matches!(class, ForgeErrorClass::Denied | ForgeErrorClass::Invalid)
        && let Some(runner) = state.runner(id)
    {
        let pool = runner.build.template.pool.clone();
        holds::refuse(state, now, pool, message);
    }
}

/// Tells an agent to listen.
pub(super) fn listen(state: &mut State, now: Time, id: IncarnationId) {
    let Some(runner) = state.runner(id) else { return };
    let Some(slot) = runner.slot.and_then(|slot| state.slot(slot)) else { return };
    let Some(enlistment) = runner.enlistment().cloned() else { return };
    let (token_env, name) = match (&enlistment.mode, &runner.registration) {
        (ListenMode::OneJob, Some(registration)) => (None, registration.name.clone()),
        (ListenMode::OneJob, None) => return,
        (ListenMode::Kept { variable }, _) => {
            let number = desired::number(state, slot).to_string();
            (Some(variable.replace("{n}", &number)), slot.name.clone())
        }
    };
    let order = ListenOrder {
        name: name.clone(),
        enlistment,
        token_env,
        user: runner.build.template.user,
        env: order::of_listener(state, runner, slot),
        proxy: state.spec.proxy.clone(),
        docker: runner.build.template.docker,
    };
    if runner.registration.is_none()
        && let Some(runner) = state.runner_mut(id)
    {
        runner.registration = Some(Registration::asked(name));
    }
    let listener = state.forge.listener(id);
    listener.ordered.get_or_insert(now);
    listener.told = Some(now);
    let order = AgentOrder::Listen(Box::new(order));
    state.effect(Effect::Agent { incarnation: id, order });
}

/// The variable of a kept runner's token.
pub(super) fn variable(state: &State, runner: &Runner) -> Option<String> {
    let ListenMode::Kept { variable } = &runner.enlistment()?.mode else { return None };
    let slot = state.slot(runner.slot?)?;
    Some(variable.replace("{n}", &desired::number(state, slot).to_string()))
}

/// A listener was seen to listen or work, so it is in the list, whoever put it there.
pub(super) fn seen(state: &mut State, now: Time, id: IncarnationId) {
    let Some(listener) = state.forge.listeners.get_mut(&id) else { return };
    listener.ordered.get_or_insert(now);
    let status = listener.status.as_ref();
    let is_in = status.is_some_and(|status| {
        matches!(status.stage, ListenerStage::Listening | ListenerStage::Working(_))
    });
    let number = status.and_then(|status| status.runner);
    let Some(runner) = state.runner(id).filter(|_| is_in) else { return };
    let stands = runner.registration.as_ref().map(|it| it.stage);
    let slot = runner.slot.and_then(|slot| state.slot(slot));
    let name = slot.map_or_else(|| runner.name.clone(), |slot| slot.name.clone());
    let is_news = match stands {
        None | Some(Registered::Asked) => true,
        Some(Registered::Yes(known)) => number.is_some() && known != number,
        Some(Registered::Removed) => false,
    };
    if is_news && let Some(runner) = state.runner_mut(id) {
        let registration = runner.registration.get_or_insert_with(|| Registration::asked(name));
        registration.stage = Registered::Yes(number.or_else(|| registration.id()));
    }
}
