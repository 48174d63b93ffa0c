//! Folds facts into the state. Decides nothing: what follows from the facts is the plan's work.

mod agent;
mod engine;

use super::event::Event;
use super::state::State;
use super::{request, transition};
use crate::units::Time;

/// Takes in one fact, or one request.
pub(super) fn observe(state: &mut State, now: Time, event: Event) {
    match event {
        Event::Engine(event) => engine::observe(state, now, event),
        Event::Operation { op, outcome } => engine::operation(state, now, op, outcome),
        Event::Agent { incarnation, event } => agent::observe(state, now, incarnation, event),
        Event::Request { id, request } => request::answer(state, now, id, request),
        Event::Published { job, outcome } => transition::published(state, now, job, outcome),
        Event::Host(host) => state.host = host,
        Event::Tick => {}
    }
}
