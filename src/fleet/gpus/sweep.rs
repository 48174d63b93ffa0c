//! After a runner with a card: its lease is held until nothing of it is left on the card.
//!
//! Where nothing can be read of the card, it is over with the container.

use std::time::Duration;

use super::card::{Sickness, Sweep};
use super::sickness::{cordon, name, passes};
use super::{UNOWNED_KEPT, ledger};
use crate::fleet::gpu::{GpuProcess, GpuReading};
use crate::fleet::runner::{GpuHold, Runner};
use crate::fleet::state::State;
use crate::ids::{GpuUuid, IncarnationId};
use crate::units::{GpuMib, Time};

/// A driver has cleaned up after a process within this long; then the card is cordoned.
const CLEAN_WITHIN: Duration = Duration::from_secs(15);
/// What may differ between two readings of a card on which nothing changed.
const TOLERANCE: GpuMib = GpuMib(64);

/// A runner is about to be forgotten: its card is looked at before the next one gets it.
pub(in crate::fleet) fn begin(state: &mut State, now: Time, id: IncarnationId) {
    let Some(runner) = state.runner(id) else { return };
    let Some(hold) = runner.build.gpu.clone() else { return };
    let is_read = ledger::reading(state, &hold.card).is_some_and(can_be_read);
    if !is_read {
        return;
    }
    let sweep = Sweep {
        profile: runner.build.template.profile.clone(),
        container: runner.container().cloned(),
        since: now,
        unowned: state.unowned.get(&hold.card).and_then(|it| it.iter().copied().max()),
        hold,
    };
    state.meta_mut().sweeping.insert(id, sweep);
}

fn can_be_read(reading: &GpuReading) -> bool {
    reading.processes.is_some() || reading.used.is_some()
}

/// Remembers what nobody seems to hold: the readings before a runner's end are compared with those
/// after it. Memory and processes are not read at the same moment, so one reading is not enough.
/// What is seen while a runner goes may be its own.
pub(super) fn remember(state: &mut State, reading: &GpuReading) {
    let is_on_it = |hold: &GpuHold| hold.card == reading.card.uuid;
    let goes = |it: &Runner| it.is_retiring() && it.build.gpu.as_ref().is_some_and(is_on_it);
    if state.runners().any(goes) || state.meta.sweeping.values().any(|it| is_on_it(&it.hold)) {
        return;
    }
    let unowned = ledger::measure(state, reading).unowned;
    let kept = state.unowned.entry(reading.card.uuid.clone()).or_default();
    kept.extend(unowned);
    while kept.len() > UNOWNED_KEPT {
        kept.pop_front();
    }
}

/// Looks after every runner that is gone. A reading says nothing of what ended after its beginning.
pub(super) fn look(state: &mut State, now: Time, begun: Time) {
    let due: Vec<(IncarnationId, Sweep)> = state
        .meta
        .sweeping
        .iter()
        .filter(|(_, sweep)| sweep.since < begun)
        .map(|(id, sweep)| (*id, sweep.clone()))
        .collect();
    for (id, sweep) in due {
        let card = &sweep.hold.card;
        let Some(reading) = ledger::reading(state, card) else { continue };
        match left(state, reading, &sweep) {
            None => end(state, now, (id, card), "nothing of it is left"),
            Some(what) if now.since(sweep.since) > CLEAN_WITHIN => {
                cordon(state, now, card, Sickness::Leftover(format!("{id} is gone, and {what}")));
            }
            Some(_) => {}
        }
    }
}

/// Cards that cannot be read any more are not waited for.
pub(super) fn give_up(state: &mut State, now: Time) {
    let blind: Vec<(IncarnationId, GpuUuid)> = state
        .meta
        .sweeping
        .iter()
        .map(|(id, sweep)| (*id, sweep.hold.card.clone()))
        .filter(|(_, card)| !ledger::reading(state, card).is_some_and(can_be_read))
        .collect();
    for (id, card) in blind {
        end(state, now, (id, &card), "the card cannot be read, so nobody looked");
    }
}

/// An operator says that a card is fit for use: what is left on it is not waited for.
pub(super) fn forgive(state: &mut State, now: Time, card: &GpuUuid) {
    let on_it = state.meta.sweeping.iter().filter(|(_, sweep)| sweep.hold.card == *card);
    let on_it: Vec<IncarnationId> = on_it.map(|(id, _)| *id).collect();
    for id in on_it {
        end(state, now, (id, card), "an operator says that the card is fit for use");
    }
}

fn end(state: &mut State, now: Time, (id, card): (IncarnationId, &GpuUuid), why: &str) {
    let Some(sweep) = state.meta_mut().sweeping.remove(&id) else { return };
    let memory = sweep.hold.demand.memory.0;
    state.tell(now, name(card), "released", format!("{memory} MiB of {id}: {why}"));
    if !state.meta.sweeping.values().any(|sweep| sweep.hold.card == *card) {
        passes(state, now, card, "nothing is left over on it");
    }
}

/// What is left of a runner on its card, in words.
fn left(state: &State, reading: &GpuReading, sweep: &Sweep) -> Option<String> {
    let is_its =
        |it: &&GpuProcess| sweep.container.as_ref().is_some_and(|container| it.is_in(container));
    let processes: Vec<String> =
        reading.processes.iter().flatten().filter(is_its).map(process).collect();
    if !processes.is_empty() {
        return Some(format!("{} still there", processes.join(" and ")));
    }
    let unowned = ledger::measure(state, reading).unowned?;
    let before = sweep.unowned?;
    let more = unowned.0.saturating_sub(before.0);
    (more > TOLERANCE.0).then(|| format!("{more} MiB are in use on its card without a process"))
}

fn process(process: &GpuProcess) -> String {
    let memory = process.memory.map(|it| format!(" with {} MiB", it.0)).unwrap_or_default();
    format!("process {} ({}){memory} is", process.pid, process.name)
}
