//! Folds facts into the state. Decides nothing: what follows from the facts is the plan's work.

mod agent;
mod engine;

use super::audit::Actor;
use super::event::{Event, Held};
use super::state::State;
use super::{disk, ending, forge, gpus, request};
use crate::units::Time;

/// Takes in one fact, or one request; what changes with it is its bringer's doing.
pub(super) fn observe(state: &mut State, now: Time, event: Event) {
    state.act_as(bringer(&event));
    fold(state, now, event);
    state.act_as(Actor::Fleet);
}

fn bringer(event: &Event) -> Actor {
    match event {
        Event::Engine(_) | Event::Operation { .. } => Actor::Engine,
        Event::Agent { incarnation, .. } => Actor::Agent(*incarnation),
        Event::Request { by, .. } => Actor::Client(by.clone()),
        Event::Published { .. }
        | Event::ForgePublished { .. }
        | Event::Forge(_)
        | Event::ForgeOperation { .. }
        | Event::Host(_)
        | Event::Gpus(_)
        | Event::Xid(_)
        | Event::Disks(_)
        | Event::RolledBack { .. }
        | Event::Tick => Actor::Fleet,
    }
}

fn fold(state: &mut State, now: Time, event: Event) {
    match event {
        Event::Engine(event) => engine::observe(state, now, event),
        Event::Operation { op, outcome } => engine::operation(state, now, op, outcome),
        Event::Forge(event) => forge::observe(state, now, event),
        Event::ForgeOperation { op, outcome } => forge::operation(state, now, op, outcome),
        Event::Agent { incarnation, event } => agent::observe(state, now, incarnation, event),
        Event::Request { id, by, request } => request::answer(state, now, (id, &by), request),
        Event::Published { job, attempt, outcome, found } => {
            ending::published(state, now, Held { job, attempt }, outcome, found);
        }
        Event::ForgePublished { incarnation, reports, outcome } => {
            forge::listener::published(state, now, (incarnation, &reports), outcome);
        }
        Event::Host(host) => state.host = host,
        Event::Gpus(report) => gpus::observe(state, now, report),
        Event::Xid(report) => gpus::sickness::xid(state, now, report),
        Event::Disks(disks) => disk::observe(state, now, disks),
        Event::RolledBack { known, found } => {
            let why = "a backup was brought back, or entries were removed";
            state.tell_change(now, "audit log", ("rolled back", why), (known, found));
        }
        Event::Tick => {}
    }
}
