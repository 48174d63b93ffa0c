//! Facts from the agents: their sessions, and the ends of jobs.

use crate::fleet::effect::Effect;
use crate::fleet::event::{AgentEvent, Held, JobEnd};
use crate::fleet::job::JobState;
use crate::fleet::order;
use crate::fleet::runner::{Cause, Phase};
use crate::fleet::state::State;
use crate::fleet::transition::{acknowledge, order_cancel, retire};
use crate::ids::{AttemptNo, IncarnationId, JobId};
use crate::units::Time;

pub(super) fn observe(state: &mut State, now: Time, id: IncarnationId, event: AgentEvent) {
    let Some(contact) = state.contacts.get_mut(&id) else { return };
    if event != AgentEvent::Disconnected {
        contact.heard = now;
    }
    // Whoever speaks has a session, even if the end of its last one is told late.
    contact.connected = event != AgentEvent::Disconnected;
    match event {
        AgentEvent::Connected { holding } => connected(state, now, id, holding),
        AgentEvent::Disconnected => {}
        AgentEvent::Heartbeat => ready(state, now, id),
        AgentEvent::Started { job, attempt } => started(state, now, (id, job, attempt)),
        AgentEvent::Ended { job, attempt, end } => ended(state, now, (id, job, attempt), end),
    }
}

/// A session is open: compare what the agent holds with what it was given.
fn connected(state: &mut State, now: Time, id: IncarnationId, holding: Option<Held>) {
    let Some(runner) = state.runner(id) else { return };
    match (runner.phase.clone(), holding) {
        (Phase::Booting { .. }, None) => ready(state, now, id),
        (Phase::Busy { job, attempt, .. }, None) => not_held(state, now, (id, job, attempt)),
        (Phase::Busy { job, attempt, .. }, Some(held)) if held == (Held { job, attempt }) => {
            still_held(state, (id, job, attempt));
        }
        (Phase::Busy { job, attempt, .. }, Some(held)) if is_over(state, &held) => {
            acknowledge(state, id, held.job, held.attempt);
            not_held(state, now, (id, job, attempt));
        }
        (Phase::Booting { .. } | Phase::Busy { .. }, Some(held)) => {
            order_cancel(state, id, held.job, held.attempt);
            retire(state, now, id, Cause::LostJob);
        }
        (Phase::Idle { .. }, Some(held)) => acknowledge(state, id, held.job, held.attempt),
        (Phase::Idle { .. }, None)
        | (Phase::Planned | Phase::Created { .. } | Phase::Retiring { .. }, _) => {}
    }
}

/// A runner whose agent speaks is ready. It may have connected before its start was known.
fn ready(state: &mut State, now: Time, id: IncarnationId) {
    let Some(Phase::Booting { container }) = state.runner(id).map(|runner| &runner.phase) else {
        return;
    };
    let phase = Phase::Idle { container: container.clone() };
    if let Some(runner) = state.runner_mut(id) {
        runner.phase = phase;
        runner.since = now;
    }
}

/// Whether an attempt's end is recorded: its agent has not heard of that yet.
fn is_over(state: &State, held: &Held) -> bool {
    state.job(held.job).is_some_and(|job| {
        job.attempt == held.attempt && matches!(job.state, JobState::Ended { .. })
    })
}

/// The agent does not have its job: the order was lost on the way, or the agent lost the job.
/// A job whose end was asked for meanwhile is ordered too, then stopped: the lost order may be on
/// its way after all, so that only the agent's word is its end.
fn not_held(state: &mut State, now: Time, (id, job, attempt): (IncarnationId, JobId, AttemptNo)) {
    let Some(record) = state.job(job) else { return };
    let is_given = matches!(record.state, JobState::Given { .. }) && record.attempt == attempt;
    match (is_given, record.started_at) {
        (true, None) => {
            order::assign(state, id, job);
            still_held(state, (id, job, attempt));
        }
        (true, Some(_)) => retire(state, now, id, Cause::LostJob),
        (false, _) => {}
    }
}

/// The agent has its job; a stop that was asked for meanwhile is told again.
fn still_held(state: &mut State, (id, job, attempt): (IncarnationId, JobId, AttemptNo)) {
    let stopping = state
        .job(job)
        .is_some_and(|job| matches!(job.state, JobState::Given { stop: Some(_), .. }));
    if stopping {
        order_cancel(state, id, job, attempt);
    }
}

fn started(state: &mut State, now: Time, (id, job, attempt): (IncarnationId, JobId, AttemptNo)) {
    let is_first = state.job(job).is_some_and(|record| {
        record.attempt == attempt
            && record.started_at.is_none()
            && matches!(record.state, JobState::Given { runner, .. } if runner == id)
    });
    if is_first {
        state.change_job(job, |job| job.started_at = Some(now));
        state.tell(now, job, "started", id);
    }
}

/// A job is over. Its reports are published before anybody is told.
fn ended(
    state: &mut State,
    now: Time,
    (id, job, attempt): (IncarnationId, JobId, AttemptNo),
    end: JobEnd,
) {
    let Some(record) = state.job(job) else {
        acknowledge(state, id, job, attempt);
        return;
    };
    match &record.state {
        JobState::Given { runner, stop } if *runner == id && record.attempt == attempt => {
            let stop = stop.map(|stop| stop.by);
            let reports = record.reports();
            state.change_job(job, |record| {
                record.started_at = record.started_at.or(Some(now));
                record.state = JobState::Publishing { runner: id, end, stop };
            });
            state.effect(Effect::PublishReports { incarnation: id, job, reports });
        }
        JobState::Publishing { runner, .. } if *runner == id => {}
        JobState::Queued
        | JobState::Given { .. }
        | JobState::Publishing { .. }
        | JobState::Fenced { .. }
        | JobState::Ended { .. } => acknowledge(state, id, job, attempt),
    }
}
