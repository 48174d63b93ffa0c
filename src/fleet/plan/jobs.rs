//! Jobs: who gets a runner now, and which ended ones are forgotten.

use std::collections::BTreeSet;

use super::Decision;
use crate::fleet::assignment::{self, Fits, Loads, Seat};
use crate::fleet::job::{Job, Rank};
use crate::fleet::queue::{Admission, Kind, Line};
use crate::fleet::state::State;
use crate::ids::IncarnationId;
use crate::units::Time;

/// Ended jobs that are kept for `jobs` and `logs`; older ones go with their output.
const ENDED_KEPT: usize = 10_000;

pub(super) fn plan(state: &State, _now: Time, plan: &mut Vec<Decision>) {
    if !state.is_going_down() && state.disks.trouble().is_none() {
        give(state, plan);
    }
    let surplus = state.ended_len().saturating_sub(ENDED_KEPT);
    plan.extend(state.ended_jobs().take(surplus).map(|job| Decision::ForgetJob(job.id)));
}

/// One kind of job while runners are given out.
struct Stand<'a> {
    kind: &'a Kind,
    line: &'a Line,
    /// The first job that may start and was not given a runner yet.
    head: Option<Rank>,
    /// The runners that suit; not looked for before the kind's turn.
    seats: Option<Fits>,
}

/// Gives out runners in the queue's order, as if one after the other. In each kind the jobs that
/// may start come in rising order, because workflow runs are only added meanwhile.
fn give(state: &State, plan: &mut Vec<Decision>) {
    let seats = assignment::seats(state);
    let mut loads = Loads::of(state);
    let mut runs = running_workflows(state);
    let max = state.spec.limits.max_parallel_workflows as usize;
    let mut taken: BTreeSet<IncarnationId> = BTreeSet::new();
    let stand = |(kind, line)| Stand { kind, line, head: None, seats: None };
    let mut stands: Vec<Stand<'_>> = match seats.is_empty() {
        true => Vec::new(),
        false => state.queue_lines().map(stand).collect(),
    };
    for stand in &mut stands {
        stand.head = stand.line.first(None, admission(&runs, max));
    }
    while let Some((index, rank)) = next(&stands) {
        let Some(stand) = stands.get_mut(index) else { return };
        let Some(runner) = seat(state, &seats, stand, (&loads, &taken)) else {
            stands.swap_remove(index);
            continue;
        };
        taken.insert(runner);
        if let Some(runner) = state.runner(runner) {
            loads.give(runner);
        }
        plan.push(Decision::Give { job: rank.id, runner });
        stand.head = stand.line.first(Some(rank), admission(&runs, max));
        let run = state.job(rank.id).and_then(Job::workflow_run);
        if run.is_some_and(|run| runs.insert(run)) && runs.len() >= max {
            for stand in &mut stands {
                stand.head = recheck(state, &runs, stand);
            }
        }
    }
}

/// The stand whose first job is first of all.
fn next(stands: &[Stand<'_>]) -> Option<(usize, Rank)> {
    let heads = stands.iter().enumerate();
    heads.filter_map(|(index, stand)| Some((index, stand.head?))).min_by_key(|(_, rank)| *rank)
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
fn recheck(state: &State, runs: &BTreeSet<String>, stand: &Stand<'_>) -> Option<Rank> {
    let head = stand.head?;
    let job = state.job(head.id)?;
    match job.workflow_run().is_none_or(|run| runs.contains(&run)) {
        true => Some(head),
        false => stand.line.first(Some(head), Admission::Only(runs)),
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
