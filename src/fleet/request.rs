//! What clients ask for: checked whole, then done or refused. A refusal changes nothing.

mod hold;
mod jobs;
mod pause;
mod size;
mod tasks;

use super::audit::Client;
use super::desired;
use super::downgrade;
use super::effect::{Answer, Effect, Refusal, RefusalKind};
use super::event::{Cordon, DownMode, Request, RestartTime, TokenChange};
use super::failures;
use super::forge;
use super::gpus;
use super::job::StopBy;
use super::runner::{Cause, Runner};
use super::state::{Place, State};
use super::transition::{retire, stop};
use crate::ids::{JobId, RequestId, SlotId, TokenId};
use crate::spec::Reuse;
use crate::units::Time;

/// Why, where nobody says more.
const ASKED: &str = "an operator asked for it";

/// Does what is asked, or refuses it, and answers.
pub(super) fn answer(
    state: &mut State,
    now: Time,
    (id, by): (RequestId, &Client),
    request: Request,
) {
    let answer = match request {
        Request::Apply(spec) => size::apply(state, now, *spec),
        Request::Submit(job) => jobs::submit(state, now, *job, by),
        Request::SubmitAll(jobs) => jobs::submit_all(state, now, jobs, by),
        Request::Cancel(job) => jobs::cancel(state, now, job),
        Request::Hold(jobs) => hold::hold(state, now, &jobs, by),
        Request::Release(jobs) => hold::release(state, now, &jobs),
        Request::Complete { job, end } => tasks::complete(state, now, job, end),
        Request::Scale(request) => size::scale(state, now, &request),
        Request::Down(mode) => Ok(down(state, now, mode)),
        Request::Cordon { slots, to } => cordon(state, now, &slots, to),
        Request::Pause { pools, to } => pause::pause(state, now, (&pools, to), by),
        Request::CordonCards { cards, to } => gpus::request::cordon(state, now, &cards, to),
        Request::Restart { slots, when } => restart(state, now, &slots, when),
        Request::Token { token, change, why } => Ok(note_token(state, now, &token, (change, why))),
    };
    let answer = answer.unwrap_or_else(Answer::Refused);
    state.effect(Effect::Answer { request: id, answer });
}

fn refuse(kind: RefusalKind, message: impl Into<String>) -> Refusal {
    Refusal { kind, message: message.into() }
}

fn refuse_while_down(state: &State) -> Result<(), Refusal> {
    match state.is_going_down() {
        false => Ok(()),
        true => Err(refuse(
            RefusalKind::Conflict,
            "the fleet is going down; wait for `slate-fleet down` to end, then `slate-fleet up`",
        )),
    }
}

fn refuse_before_up(state: &State) -> Result<(), Refusal> {
    match state.was_applied() {
        true => Ok(()),
        false => Err(refuse(
            RefusalKind::Conflict,
            "there is no fleet yet: its first `slate-fleet up` was not carried out",
        )),
    }
}

fn down(state: &mut State, now: Time, mode: DownMode) -> Answer {
    let before = if state.is_going_down() { "going down" } else { "up" };
    state.meta_mut().going_down = Some(mode);
    state.forge.down_since = now;
    let told = ("going down", format!("{mode:?}").to_lowercase());
    state.tell_change(now, "fleet", told, (before, "going down"));
    if mode == DownMode::Now {
        let held: Vec<JobId> = state.held_jobs().map(|job| job.id).collect();
        for job in held {
            stop(state, now, job, StopBy::Down);
        }
    }
    Answer::Accepted
}

fn cordon(state: &mut State, now: Time, slots: &[SlotId], to: Cordon) -> Result<Answer, Refusal> {
    known(state, slots)?;
    for &id in slots {
        if to == Cordon::Open {
            failures::forgive(state, &Place::Slot(id));
            forge::holds::forgive(state, id);
            downgrade::end(state, now, id, ASKED);
        }
        let Some(slot) = state.slot_mut(id) else { continue };
        let before = std::mem::replace(&mut slot.cordon, to);
        let what = match to {
            Cordon::Open => "uncordoned",
            Cordon::Closed => "cordoned",
        };
        let states = (before.word(), to.word());
        state.tell_change(now, id, (what, ASKED), states);
    }
    Ok(Answer::Accepted)
}

/// Replaces runners. A used one-job container is replaced anyway; a persistent one must be idle,
/// unless it is to go whatever it does.
fn restart(
    state: &mut State,
    now: Time,
    slots: &[SlotId],
    when: RestartTime,
) -> Result<Answer, Refusal> {
    known(state, slots)?;
    let runner = |id: &SlotId| state.slot(*id)?.runner.and_then(|runner| state.runner(runner));
    let busy = slots.iter().find(|id| {
        runner(id).is_some_and(|runner| {
            runner.is_at_work() && runner.build.template.reuse == Reuse::Persistent
        })
    });
    if let Some(busy) = busy
        && when == RestartTime::AfterJob
    {
        let message = format!(
            "{busy} has a job; drain it first: `slate-fleet drain {busy}`, or take the runner \
             from its job: `slate-fleet restart --force {busy}`"
        );
        return Err(refuse(RefusalKind::Conflict, message));
    }
    // Whoever is registered at a forge may have got a job that nobody here knows yet.
    let cause = |runner: &Runner| match (when, runner.is_at_work()) {
        (RestartTime::AfterJob, true) => None,
        (RestartTime::Now, true) => Some(Cause::Forced),
        (RestartTime::Now, false) if runner.registration.is_some() => Some(Cause::Forced),
        (_, false) => Some(Cause::Restart),
    };
    let to_go: Vec<_> = slots
        .iter()
        .filter_map(runner)
        .filter_map(|runner| Some((runner.id, cause(runner)?)))
        .collect();
    for (id, cause) in to_go {
        match when {
            RestartTime::Now => retire(state, now, id, cause),
            RestartTime::AfterJob => forge::leave::begin(state, now, id, cause),
        }
    }
    for slot in slots {
        forge::holds::forgive(state, *slot);
        state.tell(now, *slot, "restart asked", "");
        failures::forgive(state, &Place::Slot(*slot));
    }
    Ok(Answer::Accepted)
}

/// Who may use the API is on record, too; whoever asks for it is checked before it comes here.
fn note_token(
    state: &mut State,
    now: Time,
    token: &TokenId,
    (change, why): (TokenChange, String),
) -> Answer {
    let what = match change {
        TokenChange::Made => "made",
        TokenChange::Revoked => "revoked",
    };
    state.tell(now, format!("token {token}"), what, why);
    Answer::Accepted
}

fn known(state: &State, slots: &[SlotId]) -> Result<(), Refusal> {
    match slots.iter().find(|id| state.slot(**id).is_none()) {
        None => Ok(()),
        Some(id) => Err(refuse(RefusalKind::NotFound, format!("there is no runner {id}"))),
    }
}

/// Whether the spec has a pool of this name, for messages that list what there is.
fn pool_names(state: &State) -> String {
    let names: Vec<&str> = state.spec.pools.iter().map(|pool| pool.name.as_str()).collect();
    names.join(", ")
}

/// The pool that a name of the command line means: a pool, or a profile that one pool has.
fn pool_called(state: &State, name: &str) -> Result<crate::ids::PoolName, Refusal> {
    let exact = desired::pool(&state.spec, &crate::ids::PoolName::new(name));
    if let Some(pool) = exact {
        return Ok(pool.name.clone());
    }
    let mut of_profile = state.spec.pools.iter().filter(|pool| pool.profile.as_str() == name);
    match (of_profile.next(), of_profile.next()) {
        (Some(pool), None) => Ok(pool.name.clone()),
        (Some(_), Some(_)) => Err(refuse(
            RefusalKind::Invalid,
            format!("several pools have the profile {name}; name one of {}", pool_names(state)),
        )),
        (None, _) => Err(refuse(
            RefusalKind::NotFound,
            format!("there is no pool {name}; this fleet has {}", pool_names(state)),
        )),
    }
}
