//! What clients ask for: checked whole, then done or refused. A refusal changes nothing.

mod jobs;
mod size;

pub(super) use size::{admit, memory_of, total_of};

use super::desired;
use super::effect::{Answer, Effect, Refusal, RefusalKind};
use super::event::{Cordon, DownMode, Request};
use super::job::StopBy;
use super::runner::Cause;
use super::state::State;
use super::transition::{retire, stop};
use crate::ids::{JobId, RequestId, SlotId};
use crate::spec::Reuse;
use crate::units::Time;

/// Does what is asked, or refuses it, and answers.
pub(super) fn answer(state: &mut State, now: Time, id: RequestId, request: Request) {
    let answer = match request {
        Request::Apply(spec) => size::apply(state, now, *spec),
        Request::Submit(job) => jobs::submit(state, now, *job),
        Request::Cancel(job) => jobs::cancel(state, now, job),
        Request::Scale(target) => size::scale(state, now, &target),
        Request::Down(mode) => Ok(down(state, now, mode)),
        Request::Cordon { slots, to } => cordon(state, now, &slots, to),
        Request::Restart { slots } => restart(state, now, &slots),
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

fn down(state: &mut State, now: Time, mode: DownMode) -> Answer {
    state.meta_mut().going_down = Some(mode);
    state.tell(now, "fleet", "going down", format!("{mode:?}").to_lowercase());
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
        if let Some(slot) = state.slot_mut(id) {
            slot.cordon = to;
        }
        let what = match to {
            Cordon::Open => "uncordoned",
            Cordon::Closed => "cordoned",
        };
        state.tell(now, id, what, "an operator asked for it");
    }
    Ok(Answer::Accepted)
}

/// Replaces runners. A used one-job container is replaced anyway; a persistent one must be idle.
fn restart(state: &mut State, now: Time, slots: &[SlotId]) -> Result<Answer, Refusal> {
    known(state, slots)?;
    let runner = |id: &SlotId| state.slot(*id)?.runner.and_then(|runner| state.runner(runner));
    let busy = slots.iter().find(|id| {
        runner(id).is_some_and(|runner| {
            runner.job().is_some() && runner.build.template.reuse == Reuse::Persistent
        })
    });
    if let Some(busy) = busy {
        let message = format!("{busy} has a job; drain it first: `slate-fleet drain {busy}`");
        return Err(refuse(RefusalKind::Conflict, message));
    }
    let idle: Vec<_> =
        slots.iter().filter_map(runner).filter(|r| r.job().is_none()).map(|r| r.id).collect();
    for id in idle {
        retire(state, now, id, Cause::Restart);
    }
    for slot in slots {
        state.backoffs.remove(&super::state::Place::Slot(*slot));
    }
    Ok(Answer::Accepted)
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
