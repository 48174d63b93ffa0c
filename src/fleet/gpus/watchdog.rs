//! Runners that take more of their card than they leased.

use super::cards::Cards;
use super::ledger;
use crate::fleet::gpu::GpuReading;
use crate::fleet::plan::Decision;
use crate::fleet::runner::{Cause, GpuHold, Runner};
use crate::fleet::state::State;
use crate::ids::{GpuUuid, IncarnationId};
use crate::spec::{GpuSharing, GpuWatchdog};
use crate::units::{GpuMib, Time};

/// More than this many hundredths of what was leased is too much …
const TOO_MUCH: u64 = 110;
/// … in so many readings in a row: a context comes and goes in less.
const READINGS: u8 = 3;

/// Counts the readings in which runners had too much, and tells of those that have for long enough.
pub(super) fn look(state: &mut State, now: Time, reading: &GpuReading) {
    let used = ledger::measure(state, reading).attributed;
    let card = &reading.card.uuid;
    let held: Vec<(IncarnationId, GpuMib, bool)> = state
        .runners()
        .filter_map(|it| Some((it, hold_on(it, card)?)))
        .map(|(it, hold)| (it.id, hold.demand.memory, is_watched(state, it, hold)))
        .collect();
    for (id, reserved, is_watched) in held {
        let used = used.get(&id).copied().unwrap_or_default();
        if !(is_watched && is_too_much(used, reserved)) {
            state.over.remove(&id);
            continue;
        }
        let readings = state.over.entry(id).or_default();
        *readings = readings.saturating_add(1);
        if *readings == READINGS {
            state.tell_runner(now, id, "gpu over reservation", words(used, reserved, card));
        }
    }
    let known: Vec<IncarnationId> = state.over.keys().copied().collect();
    for id in known {
        if state.runner(id).is_none() {
            state.over.remove(&id);
        }
    }
}

fn hold_on<'a>(runner: &'a Runner, card: &GpuUuid) -> Option<&'a GpuHold> {
    runner.build.gpu.as_ref().filter(|hold| hold.card == *card)
}

fn is_watched(state: &State, runner: &Runner, hold: &GpuHold) -> bool {
    // Whoever is alone takes from nobody.
    hold.demand.sharing != GpuSharing::Exclusive && policy(state, runner) != GpuWatchdog::Off
}

fn policy(state: &State, runner: &Runner) -> GpuWatchdog {
    let profile = state.spec.profiles.get(&runner.build.template.profile);
    profile.map(|it| it.gpu_watchdog).unwrap_or_default()
}

fn is_too_much(used: GpuMib, reserved: GpuMib) -> bool {
    u64::from(used.0) * 100 > u64::from(reserved.0) * TOO_MUCH
}

fn words(used: GpuMib, reserved: GpuMib, card: &GpuUuid) -> String {
    format!("it uses {} MiB of {card} and leased {} MiB", used.0, reserved.0)
}

/// Ends the worst offender on each card where another lease is short for it; one at a time, since
/// its memory comes back only when it is gone.
pub(super) fn plan(state: &State, plan: &mut Vec<Decision>) {
    if state.over.values().all(|readings| *readings < READINGS) {
        return;
    }
    let cards = Cards::held(state);
    for reading in &state.gpus.cards {
        let card = &reading.card.uuid;
        let on_it = || state.runners().filter(|it| hold_on(it, card).is_some());
        let is_going = on_it().any(Runner::is_retiring)
            || state.meta.sweeping.values().any(|sweep| sweep.hold.card == *card);
        if is_going || on_it().count() < 2 || !cards.is_short(card) {
            continue;
        }
        let used = ledger::measure(state, reading).attributed;
        let offender = on_it()
            .filter(|it| policy(state, it) == GpuWatchdog::Kill)
            .filter(|it| state.over.get(&it.id).is_some_and(|readings| *readings >= READINGS))
            .filter_map(|it| Some((it, hold_on(it, card)?.demand.memory)))
            .map(|(it, reserved)| (used.get(&it.id).copied().unwrap_or_default(), reserved, it.id))
            .max_by_key(|(used, reserved, id)| (used.0.saturating_sub(reserved.0), *id));
        if let Some((used, reserved, id)) = offender {
            let why = format!(
                "{}, and another runner on the card is short for it",
                words(used, reserved, card)
            );
            plan.push(Decision::Retire(id, Cause::GpuOveruse(why)));
        }
    }
}

/// What a watchdog knows is dropped with time, like everything that was read.
pub(super) fn forget(state: &mut State, _now: Time) {
    state.over.clear();
}
