//! Jobs: who gets a runner now, and which ended ones are forgotten.

use std::collections::BTreeSet;

use super::Decision;
use crate::fleet::assignment::{self, Fits, Loads, Seat};
use crate::fleet::job::{Job, Place};
use crate::fleet::lanes::Rooms;
use crate::fleet::queue::{self, Admission, Kind, Line, Next, PASSES};
use crate::fleet::state::State;
use crate::ids::{IncarnationId, JobId};
use crate::units::Time;

/// Ended jobs that are kept for `jobs` and `logs`; older ones go with their output.
const ENDED_KEPT: usize = 10_000;

pub(super) fn plan(state: &State, now: Time, plan: &mut Vec<Decision>) {
    if !state.is_going_down() && state.disks.trouble().is_none() {
        give(state, now, plan);
    }
    let surplus = state.ended_len().saturating_sub(ENDED_KEPT);
    plan.extend(state.ended_jobs().take(surplus).map(|job| Decision::ForgetJob(job.id)));
}

/// One kind of job while runners are given out.
struct Stand<'a> {
    kind: &'a Kind,
    line: &'a Line,
    /// The first job that may start and was not given a runner yet.
    head: Option<Next>,
    /// The runners that suit; not looked for before the kind's turn.
    seats: Option<Fits>,
}

/// Gives out runners in the queue's order, as if one after the other. In each kind the jobs that
/// may start come in rising order, because workflow runs are only added meanwhile.
fn give(state: &State, now: Time, plan: &mut Vec<Decision>) {
    let seats = assignment::seats(state);
    let mut loads = Loads::of(state);
    let mut runs = running_workflows(state);
    let max = state.spec.limits.max_parallel_workflows as usize;
    let mut taken: BTreeSet<IncarnationId> = BTreeSet::new();
    let stand = |(kind, line)| Stand { kind, line, head: None, seats: None };
    let mut rooms = Rooms::of(state);
    let mut stands: Vec<Stand<'_>> = match seats.is_empty() {
        true => Vec::new(),
        false => state.queue_lines().filter(|(kind, _)| rooms.has(kind)).map(stand).collect(),
    };
    for stand in &mut stands {
        stand.head = head(state, now, stand, admission(&runs, max));
    }
    // Who passes whom is known when a job was given: where that matters, it is one a round.
    let is_watched = stands.iter().any(|stand| is_of_age(state, now, stand.line));
    while let Some((index, (_, place))) = next(&stands) {
        let Some(stand) = stands.get_mut(index) else { return };
        let Some(runner) = seat(state, &seats, stand, (&loads, &taken)) else {
            stands.swap_remove(index);
            continue;
        };
        plan.push(Decision::Give { job: place.id, runner });
        if is_watched {
            return;
        }
        taken.insert(runner);
        if let Some(runner) = state.runner(runner) {
            loads.give(runner);
        }
        stand.head = stand.line.first(Some(place), admission(&runs, max)).map(passable);
        let kind = stand.kind;
        rooms.take(kind, 1);
        stands.retain(|it| it.kind.lane != kind.lane || rooms.has(kind));
        let run = state.job(place.id).and_then(Job::workflow_run);
        if run.is_some_and(|run| runs.insert(run)) && runs.len() >= max {
            for stand in &mut stands {
                stand.head = recheck(state, &runs, stand);
            }
        }
    }
}

fn is_of_age(state: &State, now: Time, line: &Line) -> bool {
    line.oldest(None, Admission::All).is_some_and(|id| state.is_of_age(now, id))
}

fn passable(place: Place) -> Next {
    (true, place)
}

/// The first job of a kind: its oldest, where others have passed that often enough.
fn head(state: &State, now: Time, stand: &Stand<'_>, admission: Admission<'_>) -> Option<Next> {
    if state.passed(stand.kind) >= PASSES
        && let Some(id) = stand.line.oldest(None, admission)
        && state.is_of_age(now, id)
    {
        return Some((false, state.job(id)?.place()));
    }
    stand.line.first(None, admission).map(passable)
}

/// How often the oldest job of each kind was passed, when a job gets this runner: by each that gets
/// one that would have suited it. Only what is of age is counted.
pub(in crate::fleet) fn passed(
    state: &State,
    now: Time,
    (job, runner): (JobId, IncarnationId),
) -> Vec<(Kind, Option<u32>)> {
    let rooms = Rooms::of(state);
    let may_start = |kind: &Kind, line: &Line| rooms.has(kind) && is_of_age(state, now, line);
    let aged: Vec<_> = state.queue_lines().filter(|(kind, line)| may_start(kind, line)).collect();
    if aged.is_empty() {
        return Vec::new();
    }
    let seats = assignment::seats(state);
    let own: Vec<Seat<'_>> = seats.into_iter().filter(|(_, it)| it.id == runner).collect();
    let loads = Loads::of(state);
    let runs = running_workflows(state);
    let max = state.spec.limits.max_parallel_workflows as usize;
    let count = |(kind, line): (&Kind, &Line)| {
        let oldest = line.oldest(None, admission(&runs, max))?;
        if oldest == job {
            return Some((kind.clone(), None));
        }
        let is_passed = !Fits::of(&state.spec, kind, &own, &loads).is_empty();
        is_passed.then(|| (kind.clone(), Some(state.passed(kind).saturating_add(1))))
    };
    aged.into_iter().filter_map(count).collect()
}

/// The stand whose first job is first of all.
fn next(stands: &[Stand<'_>]) -> Option<(usize, Next)> {
    let heads = stands.iter().enumerate();
    queue::first(heads.filter_map(|(at, stand)| Some((at, stand.kind, stand.head?))))
}

/// The best free runner for a kind.
fn seat(
    state: &State,
    seats: &[Seat<'_>],
    stand: &mut Stand<'_>,
    (loads, taken): (&Loads, &BTreeSet<IncarnationId>),
) -> Option<IncarnationId> {
    let kind = stand.kind;
    let fits = stand.seats.get_or_insert_with(|| Fits::of(&state.spec, kind, seats, loads));
    fits.take(loads, taken)
}

/// The head of a stand after the last workflow run was let in.
fn recheck(state: &State, runs: &BTreeSet<String>, stand: &Stand<'_>) -> Option<Next> {
    let (_, place) = stand.head?;
    let job = state.job(place.id)?;
    match job.workflow_run().is_none_or(|run| runs.contains(&run)) {
        true => stand.head,
        false => stand.line.first(Some(place), Admission::Only(runs)).map(passable),
    }
}

fn admission(runs: &BTreeSet<String>, max: usize) -> Admission<'_> {
    if runs.len() < max { Admission::All } else { Admission::Only(runs) }
}

/// The distinct workflow runs that have a job on a runner.
pub(in crate::fleet) fn running_workflows(state: &State) -> BTreeSet<String> {
    state.held_jobs().filter_map(Job::workflow_run).collect()
}

/// Whether `max_parallel_workflows` lets this job start.
pub(in crate::fleet) fn may_run(state: &State, runs: &BTreeSet<String>, job: &Job) -> bool {
    let max = state.spec.limits.max_parallel_workflows as usize;
    job.workflow_run().is_none_or(|run| runs.contains(&run) || runs.len() < max)
}
