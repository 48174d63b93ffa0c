//! What the fleet makes of its cards: what is held of each, by whom it is used, which are sick, and
//! what is left for the next lease.
//!
//! `ledger` says what is in use and whose it is; `cards` shares out what is left; `seat` gives
//! slots their cards and `reclaim` takes them from idle ones; `sweep` looks after a runner that is
//! gone; `sickness` cordons; `watchdog` ends who takes too much. `docs/gpus/leases.md` tells it in
//! words.

pub mod card;
pub(in crate::fleet) mod cards;
pub(in crate::fleet) mod ledger;
pub(in crate::fleet) mod reclaim;
pub(in crate::fleet) mod request;
pub(in crate::fleet) mod seat;
pub(in crate::fleet) mod sickness;
pub(in crate::fleet) mod sweep;
pub(in crate::fleet) mod view;
mod watchdog;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use self::card::{Severity, Sickness};
use super::forge;
use super::gpu::{GpuHealth, GpuReading, GpuReport};
use super::gpu_memory;
use super::plan::Decision;
use super::runner::{Cause, Phase};
use super::state::State;
use crate::ids::GpuUuid;
use crate::units::{GpuMib, Time};

/// Older readings say nothing of now.
const STALE_AFTER: Duration = Duration::from_secs(60);
/// Readings whose memory without a process is remembered.
const UNOWNED_KEPT: usize = 3;

/// What nobody seemed to hold of a card in its last readings.
pub(super) type Unowned = VecDeque<GpuMib>;

/// Takes in what the cards say now.
pub(super) fn observe(state: &mut State, now: Time, mut report: GpuReport) {
    report.fill_memory(&state.spec.gpu.memory);
    let begun = report.begun.unwrap_or(now);
    // Readings may overtake one another, and come too late to say anything of now.
    if begun < state.gpus_begun || now.since(begun) > STALE_AFTER {
        return;
    }
    state.gpus_begun = begun;
    gpu_memory::observe(state, now, &report);
    let is_answered = report.library.is_some() || !report.cards.is_empty();
    let missing = if is_answered { missing(state, &report) } else { Vec::new() };
    take(state, report, &missing);
    for card in missing {
        sickness::cordon(state, now, &card, Sickness::Missing);
    }
    let readings = state.gpus.cards.clone();
    for reading in &readings {
        sickness::look(state, now, reading);
        is_there_again(state, now, reading);
        sweep::remember(state, reading);
        watchdog::look(state, now, reading);
    }
    sweep::look(state, now, begun);
    sweep::give_up(state, now);
}

/// The report becomes what is known. A card that is missing stays known until an operator says so.
fn take(state: &mut State, mut report: GpuReport, missing: &[GpuUuid]) {
    for reading in &mut report.cards {
        let before = ledger::reading(state, &reading.card.uuid);
        if let Some(before) = before.filter(|_| reading.last_xid.is_none()) {
            reading.last_xid.clone_from(&before.last_xid);
        }
    }
    if !report.cards.is_empty() || !missing.is_empty() {
        let kept = state.host.gpus.iter().filter(|card| missing.contains(&card.uuid)).cloned();
        let mut gpus: Vec<_> = report.cards.iter().map(|it| it.card.clone()).collect();
        gpus.extend(kept);
        gpus.sort_by(|a, b| (a.index, &a.uuid).cmp(&(b.index, &b.uuid)));
        state.host.gpus = gpus;
    }
    state.gpus = report;
}

/// Cards that were there and are not there any more.
fn missing(state: &State, report: &GpuReport) -> Vec<GpuUuid> {
    let there: BTreeSet<&GpuUuid> = report.cards.iter().map(|it| &it.card.uuid).collect();
    let known = state.host.gpus.iter().map(|card| &card.uuid);
    known.filter(|card| !there.contains(card)).cloned().collect()
}

fn is_there_again(state: &mut State, now: Time, reading: &GpuReading) {
    let card = &reading.card.uuid;
    let is_missing = ledger::cordon(state, card).is_some_and(|it| it.cause == Sickness::Missing);
    if is_missing && reading.health == GpuHealth::Ok {
        sickness::passes(state, now, card, "its driver lists it again");
    }
}

/// The next step begins: what was read long ago is not known any more.
pub(super) fn note(state: &mut State, now: Time) {
    if state.gpus.cards.is_empty() || now.since(state.gpus_begun) <= STALE_AFTER {
        return;
    }
    let is_read = |it: &GpuReading| it.used.is_some() || it.processes.is_some();
    if !state.gpus.cards.iter().any(is_read) {
        return;
    }
    for reading in &mut state.gpus.cards {
        *reading = GpuReading {
            last_xid: reading.last_xid.take(),
            mig: reading.mig,
            compute_mode: reading.compute_mode,
            ..GpuReading::unread(reading.card.clone())
        };
    }
    state.unowned.clear();
    watchdog::forget(state, now);
    let why =
        format!("no reading of the cards for {} s: the ledger alone counts", STALE_AFTER.as_secs());
    state.tell(now, "gpus", "unread", why);
    sweep::give_up(state, now);
}

/// What is to be done about cards now, before slots are filled.
pub(super) fn plan(state: &State, now: Time, plan: &mut Vec<Decision>) {
    if state.host.gpus.is_empty() || state.is_going_down() {
        return;
    }
    leave_sick(state, now, plan);
    if plan.is_empty() {
        watchdog::plan(state, plan);
    }
    if plan.is_empty() {
        seat::plan(state, plan);
    }
    if plan.is_empty() {
        reclaim::plan(state, now, plan);
    }
}

/// Runners on a lost card are lost with it; idle ones leave a card that takes no new lease.
fn leave_sick(state: &State, now: Time, plan: &mut Vec<Decision>) {
    for runner in state.runners() {
        let Some(hold) = &runner.build.gpu else { continue };
        let Some(cordon) = ledger::cordon(state, &hold.card) else { continue };
        let is_fatal = cordon.cause.severity() == Severity::Fatal;
        let why = format!("GPU {}: {cordon}", index(state, &hold.card));
        let cause = match (&runner.phase, is_fatal) {
            (Phase::Registering { .. } | Phase::Idle { .. } | Phase::Leaving { .. }, false)
                if runner.enlistment().is_some() =>
            {
                plan.extend(forge::plan::depart(state, now, runner, Cause::CardOut(why)));
                continue;
            }
            (Phase::Retiring { .. }, _) | (Phase::Busy { .. } | Phase::Working { .. }, false) => {
                continue;
            }
            (Phase::Busy { .. } | Phase::Working { .. }, true) => Cause::CardLost(why),
            (
                Phase::Planned
                | Phase::Created { .. }
                | Phase::Booting { .. }
                | Phase::Registering { .. }
                | Phase::Idle { .. }
                | Phase::Leaving { .. },
                _,
            ) => Cause::CardOut(why),
        };
        plan.push(Decision::Retire(runner.id, cause));
    }
}

/// A card as people call it.
pub(in crate::fleet) fn index(state: &State, card: &GpuUuid) -> String {
    let found = state.host.gpus.iter().find(|it| it.uuid == *card);
    found.map_or_else(|| card.to_string(), |it| it.index.to_string())
}

/// Cards that take no lease, for people.
pub(super) fn troubles(state: &State) -> impl Iterator<Item = String> {
    let cordoned = state.meta.cards.iter().filter_map(|(id, it)| Some((id, it.cordon.as_ref()?)));
    cordoned.map(|(card, cordon)| {
        let index = index(state, card);
        let then = match cordon.by_hand {
            true => format!("; `slate-fleet resume --gpu {index}` when it is fit for use again"),
            false => String::new(),
        };
        format!("GPU {index} takes no new runner: {cordon}{then}")
    })
}
