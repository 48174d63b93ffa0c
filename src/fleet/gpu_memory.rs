//! What jobs had of their cards, from reading to reading: the most memory of each attempt, how
//! little was left of its card at its end, and how busy it kept the card.
//!
//! Nothing of it is durable: an attempt that outlives its supervisor is measured anew.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::attempt::GpuTime;
use super::gpu::{GpuFacts, GpuProcess, GpuReading, GpuReport};
use super::gpus::ledger;
use super::oom::GpuUse;
use super::runner::Runner;
use super::state::State;
use crate::ids::{AttemptNo, IncarnationId, JobId};
use crate::spec::GpuSharing;
use crate::units::{GpuMib, Time};

/// A card that was full this long before a job's end has to do with it.
const WINDOW: Duration = Duration::from_secs(30);
/// Readings of a card come once a second at most; more than these are not kept.
const SAMPLES_MAX: usize = 64;
/// A reading says how busy a card was since the one before it, unless that is longer ago.
const GAP_MAX: Duration = Duration::from_secs(10);

/// What was measured of each runner's present attempt.
pub(super) type Measurements = BTreeMap<IncarnationId, Measured>;

/// What was measured of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Measured {
    of: (JobId, AttemptNo),
    peak: Option<GpuMib>,
    samples: VecDeque<Sample>,
    busy: Busy,
}

/// How busy an attempt's processes were, as far as readings tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Busy {
    /// The last reading; before the first one, when the runner got the job.
    last: Time,
    /// The time that readings tell of, in milliseconds.
    known: u64,
    /// What the processes had of it, in hundredths of a millisecond.
    had: u64,
    /// Whether a reading could not tell it.
    is_blind: bool,
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
    let begun = report.begun.unwrap_or(now).min(now);
    let mut before = std::mem::take(&mut state.gpu_memory);
    let mut after = Measurements::new();
    for runner in state.runners() {
        let (Some(of), Some(hold)) = (runner.job(), &runner.build.gpu) else { continue };
        let kept = before.remove(&runner.id).filter(|measured| measured.of == of);
        let given = state.job(of.0).and_then(|job| job.assigned_at).unwrap_or(now);
        let mut measured = kept.unwrap_or_else(|| Measured::begin(of, given));
        if let Some(card) = report.cards.iter().find(|it| it.card.uuid == hold.card) {
            measured.busy.add(begun, busy(runner, card));
            measured.add(now, runner, card);
        }
        after.insert(runner.id, measured);
    }
    state.gpu_memory = after;
}

impl Measured {
    fn begin(of: (JobId, AttemptNo), given: Time) -> Self {
        let busy = Busy { last: given, ..Busy::default() };
        Self { of, peak: None, samples: VecDeque::new(), busy }
    }

    fn add(&mut self, now: Time, runner: &Runner, card: &GpuReading) {
        let own = own(runner, card);
        self.peak = self.peak.max(own);
        let Some(used) = card.used else { return };
        let free = GpuMib(card.card.usable().0.saturating_sub(used.0));
        let others = own.map(|own| GpuMib(used.0.saturating_sub(own.0)));
        self.samples.push_back(Sample { at: now, free, others });
        while self.samples.len() > SAMPLES_MAX
            || self.samples.front().is_some_and(|it| now.since(it.at) > WINDOW)
        {
            self.samples.pop_front();
        }
    }
}

impl Busy {
    /// Takes in a reading: the percent of the card's time that the processes had, if it tells that.
    fn add(&mut self, at: Time, percent: Option<u32>) {
        let span = at.since(self.last);
        self.last = self.last.max(at);
        self.is_blind |= percent.is_none();
        if let Some(percent) = percent
            && span <= GAP_MAX
        {
            let span = millis(span);
            self.known = self.known.saturating_add(span);
            self.had = self.had.saturating_add(span.saturating_mul(u64::from(percent.min(100))));
        }
    }

    /// What it comes to after so many milliseconds with a share of the card.
    fn time(self, wall: u64, reserved_ms: u64) -> GpuTime {
        let known = self.known.min(wall);
        // Processes that may only have been busy when nobody could tell were not idle.
        let is_told = known > 0 && (self.had > 0 || !self.is_blind);
        let busy_ms = is_told.then(|| (self.had / 100).min(wall));
        GpuTime { reserved_ms, busy_ms, unknown_ms: wall - known }
    }
}

/// What a runner's processes hold of a card; none where that cannot be read of all of them.
fn own(runner: &Runner, card: &GpuReading) -> Option<GpuMib> {
    sum(runner, card, |it| it.memory.map(|it| it.0)).map(GpuMib)
}

/// The percent of a card's time that they had; none where that cannot be read of all of them.
fn busy(runner: &Runner, card: &GpuReading) -> Option<u32> {
    sum(runner, card, |it| it.busy_percent.map(u32::from))
}

fn sum(runner: &Runner, card: &GpuReading, of: fn(&GpuProcess) -> Option<u32>) -> Option<u32> {
    let container = runner.container()?;
    let all = card.processes.as_ref()?.iter();
    let own = all.filter(|it| it.is_in(container));
    own.map(of).try_fold(0_u32, |sum, it| Some(sum.saturating_add(it?)))
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
        usable: card.map_or(GpuMib(0), GpuFacts::usable),
        profile: runner.build.template.profile.clone(),
        reserved: hold.demand.memory,
        peak: measured.and_then(|it| it.peak),
        least_free: fullest.map(|it| it.free),
        others: fullest.and_then(|it| it.others),
    })
}

/// What a runner's attempt had of its card's time, at its end; none on a runner without a card.
pub(super) fn time(state: &State, now: Time, id: IncarnationId) -> Option<GpuTime> {
    let runner = state.runner(id)?;
    let (hold, of) = (runner.build.gpu.as_ref()?, runner.job()?);
    let wall = millis(now.since(state.job(of.0)?.assigned_at?));
    let card = state.host.gpus.iter().find(|card| card.uuid == hold.card);
    let usable = card.map_or(GpuMib(0), |card| ledger::usable(state, card));
    let reserved = match hold.demand.sharing {
        GpuSharing::Exclusive => wall,
        GpuSharing::AtMost(_) | GpuSharing::Shared => share(wall, hold.demand.memory, usable),
    };
    let measured = state.gpu_memory.get(&id).filter(|it| it.of == of);
    Some(measured.map(|it| it.busy).unwrap_or_default().time(wall, reserved))
}

/// A part of a span, as the leased memory is of the card's; all where the card's is not known.
fn share(wall: u64, leased: GpuMib, usable: GpuMib) -> u64 {
    let leased = u64::from(leased.0.min(usable.0));
    wall.saturating_mul(leased).checked_div(u64::from(usable.0)).unwrap_or(wall)
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Readings at these seconds after the attempt began at 100 s, and what it comes to after 60 s
    /// with all of a card.
    fn busy(readings: &[(u64, Option<u32>)]) -> (Option<u64>, u64) {
        let mut busy = Busy { last: Time(100_000), ..Busy::default() };
        for (at, percent) in readings {
            busy.add(Time(100_000 + at * 1000), *percent);
        }
        let time = busy.time(60_000, 60_000);
        (time.busy_ms, time.unknown_ms)
    }

    #[test]
    fn a_card_is_busy_by_the_percent_of_the_time_before_each_reading() {
        // 2 s of 50 %, 4 s of 25 %, 10 s of 100 %; the last 44 s were not read.
        assert_eq!(busy(&[(2, Some(50)), (6, Some(25)), (16, Some(100))]), (Some(12_000), 44_000));
        assert_eq!(busy(&[(2, Some(0))]), (Some(0), 58_000), "it left its card alone");
        assert_eq!(busy(&[(8, Some(130))]), (Some(8000), 52_000), "a card has 100 percent");
    }

    #[test]
    fn what_was_not_read_is_not_known_and_never_guessed() {
        assert_eq!(busy(&[]), (None, 60_000));
        assert_eq!(busy(&[(2, None), (4, None)]), (None, 60_000));
        assert_eq!(busy(&[(2, Some(0)), (4, None)]), (None, 58_000), "it may have been busy then");
        assert_eq!(busy(&[(2, Some(50)), (4, None), (6, Some(50))]), (Some(2000), 56_000));
        // 11 s are too long for one reading; the next one counts from there on.
        assert_eq!(busy(&[(2, Some(50)), (13, Some(100)), (14, Some(50))]), (Some(1500), 57_000));
        assert_eq!(busy(&[(11, Some(50))]), (None, 60_000));
        assert_eq!(busy(&[(5, Some(40)), (3, Some(90))]), (Some(2000), 55_000), "overtaken");
    }

    #[test]
    fn a_clock_that_went_back_makes_nothing_busier_than_the_time_that_passed() {
        let mut busy = Busy::default();
        busy.add(Time(9000), Some(100));
        let time = GpuTime { reserved_ms: 4000, busy_ms: Some(4000), unknown_ms: 0 };
        assert_eq!(busy.time(4000, 4000), time);
    }

    #[test]
    fn a_lease_costs_its_part_of_the_card() {
        assert_eq!(share(24_000, GpuMib(8000), GpuMib(16_000)), 12_000);
        assert_eq!(share(10_000, GpuMib(3000), GpuMib(16_384)), 1831);
        assert_eq!(share(10_000, GpuMib(9000), GpuMib(6000)), 10_000, "never more than all");
        assert_eq!(share(10_000, GpuMib(3000), GpuMib(0)), 10_000, "a card of unknown size");
    }
}
