//! What is kept of runners that failed: the last one of each slot, and how long the next one waits.
//!
//! Slots keep both durably: a supervisor that is restarted again and again must not make a broken
//! runner again and again. Spares wait, too, but only as long as the supervisor lives.

use super::backoff::Backoff;
use super::event::ContainerExit;
use super::runner::Cause;
use super::slot::Failure;
use super::state::{Place, State};
use crate::ids::IncarnationId;
use crate::units::Time;

/// A runner goes because something went wrong with it or in it.
pub(super) fn note(state: &mut State, now: Time, id: IncarnationId, cause: &Cause) {
    let Some(runner) = state.runner(id).filter(|_| cause.error_state().is_some()) else { return };
    let pool = &runner.build.template.pool;
    let (slot, job) = (runner.slot, runner.job().map(|(job, _)| job));
    let place = slot.map_or_else(|| Place::Spares(pool.clone()), Place::Slot);
    if cause.is_failure() {
        let backoff = state.backoffs.entry(place.clone()).or_default();
        backoff.fail(now, cause.to_string(), id.0);
    }
    let (in_a_row, next_try) =
        state.backoffs.get(&place).map_or((0, now), |it| (it.failures(), it.until()));
    let failure =
        Failure { cause: cause.clone(), at: now, incarnation: id, job, in_a_row, next_try };
    if let Some(slot) = slot.and_then(|slot| state.slot_mut(slot)) {
        slot.last_failure = Some(failure);
    }
}

/// The engine tells, late, how a runner died that was replaced at once: its slot shows that.
pub(super) fn learn(state: &mut State, id: IncarnationId, exit: ContainerExit) {
    let guessed = |failure: &Failure| {
        failure.incarnation == id && matches!(&failure.cause, Cause::Died(guess) if *guess != exit)
    };
    let slot = state.runner(id).filter(|runner| runner.is_retiring()).and_then(|it| it.slot);
    let Some(slot) = slot else { return };
    if state.slot(slot).and_then(|slot| slot.last_failure.as_ref()).is_some_and(guessed)
        && let Some(failure) = state.slot_mut(slot).and_then(|slot| slot.last_failure.as_mut())
    {
        failure.cause = Cause::Died(exit);
    }
}

/// The next runner there is tried at once, and counts anew. What happened stays on record.
pub(super) fn forgive(state: &mut State, place: &Place) {
    if state.backoffs.remove(place).is_none() {
        return;
    }
    if let Place::Slot(id) = place
        && let Some(failure) = state.slot_mut(*id).and_then(|slot| slot.last_failure.as_mut())
    {
        failure.in_a_row = 0;
        failure.next_try = failure.at;
    }
}

/// All places count anew.
pub(super) fn forgive_all(state: &mut State) {
    let places: Vec<Place> = state.backoffs.keys().cloned().collect();
    for place in places {
        forgive(state, &place);
    }
}

/// What a slot's record says of the time before a restart.
pub(super) fn remembered(failure: &Failure) -> Option<Backoff> {
    let why = failure.cause.to_string();
    (failure.in_a_row > 0)
        .then(|| Backoff::after(failure.in_a_row, (failure.at, failure.next_try), why))
}
