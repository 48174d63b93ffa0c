//! The GPU memory that jobs held, from reading to reading: the most of each attempt, and how little
//! was left of its card at its end.
//!
//! Nothing of it is durable: an attempt that outlives its supervisor is measured anew.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::gpu::{GpuReading, GpuReport};
use super::oom::GpuUse;
use super::runner::Runner;
use super::state::State;
use crate::ids::{AttemptNo, IncarnationId, JobId};
use crate::units::{GpuMib, Time};

/// A card that was full this long before a job's end has to do with it.
const WINDOW: Duration = Duration::from_secs(30);
/// Readings of a card come once a second at most; more than these are not kept.
const SAMPLES_MAX: usize = 64;

/// What was measured of each runner's present attempt.
pub(super) type Measurements = BTreeMap<IncarnationId, Measured>;

/// What was measured of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Measured {
    of: (JobId, AttemptNo),
    peak: Option<GpuMib>,
    samples: VecDeque<Sample>,
}

/// What was left of the card at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sample {
    at: Time,
    free: GpuMib,
    others: Option<GpuMib>,
}

/// Takes in what the cards say of the attempts that run.
pub(super) fn observe(state: &mut State, now: Time, report: &GpuReport) {
    let mut before = std::mem::take(&mut state.gpu_memory);
    let mut after = Measurements::new();
    for runner in state.runners() {
        let (Some(of), Some(hold)) = (runner.job(), &runner.build.gpu) else { continue };
        let kept = before.remove(&runner.id).filter(|measured| measured.of == of);
        let mut measured = kept.unwrap_or(Measured { of, peak: None, samples: VecDeque::new() });
        if let Some(card) = report.cards.iter().find(|it| it.card.uuid == hold.card) {
            measured.add(now, runner, card);
        }
        after.insert(runner.id, measured);
    }
    state.gpu_memory = after;
}

impl Measured {
    fn add(&mut self, now: Time, runner: &Runner, card: &GpuReading) {
        let own = own(runner, card);
        self.peak = self.peak.max(own);
        let Some(used) = card.used else { return };
        let free = GpuMib(usable(card).0.saturating_sub(used.0));
        let others = own.map(|own| GpuMib(used.0.saturating_sub(own.0)));
        self.samples.push_back(Sample { at: now, free, others });
        while self.samples.len() > SAMPLES_MAX
            || self.samples.front().is_some_and(|it| now.since(it.at) > WINDOW)
        {
            self.samples.pop_front();
        }
    }
}

/// What a runner's processes hold of a card; none where that cannot be read of all of them.
fn own(runner: &Runner, card: &GpuReading) -> Option<GpuMib> {
    let container = runner.container()?;
    let all = card.processes.as_ref()?.iter();
    let mut sum = GpuMib(0);
    for process in all.filter(|it| it.is_in(container)) {
        sum = GpuMib(sum.0.saturating_add(process.memory?.0));
    }
    Some(sum)
}

/// All of a card that runners may use.
fn usable(card: &GpuReading) -> GpuMib {
    GpuMib(card.card.memory.0.saturating_sub(card.card.reserved.0))
}

/// What is known of a runner's attempt now, at its end; none on a runner without a card.
pub(super) fn of(state: &State, now: Time, id: IncarnationId) -> Option<GpuUse> {
    let runner = state.runner(id)?;
    let hold = runner.build.gpu.as_ref()?;
    let card = state.host.gpus.iter().find(|card| card.uuid == hold.card);
    let measured = state.gpu_memory.get(&id).filter(|it| Some(it.of) == runner.job());
    let late = measured.into_iter().flat_map(|it| &it.samples);
    let fullest = late.filter(|it| now.since(it.at) <= WINDOW).min_by_key(|it| it.free);
    Some(GpuUse {
        card: hold.card.clone(),
        usable: GpuMib(card.map_or(0, |it| it.memory.0.saturating_sub(it.reserved.0))),
        profile: runner.build.template.profile.clone(),
        reserved: hold.demand.memory,
        peak: measured.and_then(|it| it.peak),
        least_free: fullest.map(|it| it.free),
        others: fullest.and_then(|it| it.others),
    })
}
