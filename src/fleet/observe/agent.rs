//! Facts from the agents: their sessions, and the ends of jobs.

use crate::fleet::attempt::Attempt;
use crate::fleet::ending;
use crate::fleet::event::{AgentEvent, Held, JobEnd};
use crate::fleet::forge::{leave, listener};
use crate::fleet::job::{JobState, Verdict};
use crate::fleet::order;
use crate::fleet::runner::{Cause, Phase, Runner};
use crate::fleet::state::State;
use crate::fleet::transition::{acknowledge, order_cancel, retire};
use crate::ids::{ContainerId, IncarnationId, JobId};
use crate::units::Time;

pub(super) fn observe(state: &mut State, now: Time, id: IncarnationId, event: AgentEvent) {
    let Some(contact) = state.contacts.get_mut(&id) else { return };
    if event != AgentEvent::Disconnected {
        contact.heard = now;
        contact.spoke = Some(now);
    }
    // Whoever speaks has a session, and whoever connects has a new one, even if the end of the last
    // one is told late.
    contact.session_since = match event {
        AgentEvent::Disconnected => None,
        AgentEvent::Connected { .. } => Some(now),
        _ => contact.session_since.or(Some(now)),
    };
    match event {
        AgentEvent::Connected { holding } => connected(state, now, id, holding),
        AgentEvent::Disconnected => {}
        AgentEvent::Heartbeat => ready(state, now, id),
        AgentEvent::DeviceLost { path } => device_lost(state, now, id, path),
        AgentEvent::Listener(status) => {
            ready(state, now, id);
            listener::said(state, now, id, status);
        }
        AgentEvent::Started { job, attempt } => started(state, now, id, Held { job, attempt }),
        AgentEvent::Ended { job, attempt, end } => {
            ended(state, now, id, Held { job, attempt }, end);
        }
    }
}

/// A container cannot get a device back: its runner goes, after its job if that does without.
fn device_lost(state: &mut State, now: Time, id: IncarnationId, path: String) {
    let Some(runner) = state.runner(id) else { return };
    if !runner.is_at_work() {
        leave::begin(state, now, id, Cause::DeviceLost(path));
        return;
    }
    let is_news = !state.contact(id).device_lost;
    if is_news && let Some(contact) = state.contacts.get_mut(&id) {
        contact.device_lost = true;
        state.tell_runner(now, id, "device lost", path);
    }
}

/// Whether a job failed in a container that lost a device: nobody knows that it is the job's fault.
fn failed_without_device(state: &State, id: IncarnationId, end: &JobEnd) -> bool {
    let failed = match end {
        JobEnd::Exited(code) => *code != 0,
        JobEnd::Signalled(_) => true,
        _ => false,
    };
    failed && state.contact(id).device_lost
}

/// A session is open: compare what the agent holds with what it was given.
fn connected(state: &mut State, now: Time, id: IncarnationId, holding: Option<Held>) {
    listener::connected(state, id);
    let Some(runner) = state.runner(id) else { return };
    match (runner.phase.clone(), holding) {
        (Phase::Booting { .. }, None) => ready(state, now, id),
        (Phase::Busy { job, attempt, .. }, None) => not_held(state, now, id, Held { job, attempt }),
        (Phase::Busy { job, attempt, .. }, Some(held)) if held == (Held { job, attempt }) => {
            still_held(state, id, held);
        }
        (Phase::Busy { job, attempt, .. }, Some(held)) if is_over(state, held) => {
            acknowledge(state, id, held);
            not_held(state, now, id, Held { job, attempt });
        }
        (Phase::Booting { .. } | Phase::Busy { .. }, Some(held)) => {
            order_cancel(state, id, held);
            retire(state, now, id, Cause::LostJob);
        }
        (Phase::Idle { .. }, Some(held)) => acknowledge(state, id, held),
        (Phase::Idle { .. }, None)
        | (
            Phase::Planned
            | Phase::Created { .. }
            | Phase::Registering { .. }
            | Phase::Working { .. }
            | Phase::Leaving { .. }
            | Phase::Retiring { .. },
            _,
        ) => {}
    }
}

/// A runner whose agent speaks is ready. It may have connected before its start was known.
fn ready(state: &mut State, now: Time, id: IncarnationId) {
    let Some(Phase::Booting { container }) = state.runner(id).map(|runner| &runner.phase) else {
        return;
    };
    let phase = in_service(state, id, container.clone());
    state.enter(now, id, phase, "its agent speaks");
    listener::follow(state, now, id);
}

/// Where a runner stands whose agent speaks: one of a forge has to be registered first.
pub(super) fn in_service(state: &State, id: IncarnationId, container: ContainerId) -> Phase {
    match state.runner(id).and_then(Runner::enlistment) {
        Some(_) => Phase::Registering { container },
        None => Phase::Idle { container },
    }
}

/// Whether an attempt's end is recorded: its agent has not heard of that yet.
fn is_over(state: &State, held: Held) -> bool {
    state.job(held.job).is_some_and(|job| {
        let has_ended = |it: &Attempt| it.number == held.attempt && it.end.is_some();
        let is_last = job.attempt == held.attempt && matches!(job.state, JobState::Ended { .. });
        is_last || job.attempts.iter().any(has_ended)
    })
}

/// The agent does not have its job: the order was lost on the way, or the agent lost the job.
/// A job whose end was asked for meanwhile is ordered too, then stopped: the lost order may be on
/// its way after all, so that only the agent's word is its end.
fn not_held(state: &mut State, now: Time, id: IncarnationId, held: Held) {
    let Some(job) = state.job(held.job).filter(|job| !job.is_external()) else { return };
    let is_given = matches!(job.state, JobState::Given { .. }) && job.attempt == held.attempt;
    match (is_given, job.started_at) {
        (true, None) => {
            order::assign(state, id, held.job);
            still_held(state, id, held);
        }
        (true, Some(_)) => retire(state, now, id, Cause::LostJob),
        (false, _) => {}
    }
}

/// The agent has its job; a stop that was asked for meanwhile is told again.
fn still_held(state: &mut State, id: IncarnationId, held: Held) {
    if is_stopping(state, held.job) {
        order_cancel(state, id, held);
    }
}

/// Whether a job's end was asked for.
fn is_stopping(state: &State, job: JobId) -> bool {
    state.job(job).is_some_and(|job| matches!(job.state, JobState::Given { stop: Some(_), .. }))
}

fn started(state: &mut State, now: Time, id: IncarnationId, held: Held) {
    let is_first = state.job(held.job).is_some_and(|job| {
        job.attempt == held.attempt
            && job.started_at.is_none()
            && matches!(job.state, JobState::Given { runner, .. } if runner == id)
    });
    if is_first {
        let is_stopping = is_stopping(state, held.job);
        state.turn_job(now, held.job, ("started", id), |job| job.start(now));
        if is_stopping {
            // It was told to stop before, and that is its state already.
            state.tell(now, held.job, "started", id);
        }
    }
}

/// A job is over. Its reports are published before anybody is told.
fn ended(state: &mut State, now: Time, id: IncarnationId, held: Held, end: JobEnd) {
    // Of work that is driven from outside no agent knows anything.
    let Some(job) = state.job(held.job).filter(|job| !job.is_external()) else {
        acknowledge(state, id, held);
        return;
    };
    match &job.state {
        JobState::Given { runner, stop } if *runner == id && job.attempt == held.attempt => {
            let stop = stop.map(|stop| stop.by);
            match stop.is_none() && failed_without_device(state, id, &end) {
                true => retire(state, now, id, Cause::DeviceLost("a device".to_owned())),
                false => ending::begin(state, now, (id, held.job), (end, stop)),
            }
        }
        JobState::Publishing { runner, .. } if *runner == id => {}
        JobState::Queued
        | JobState::OnHold { .. }
        | JobState::Given { .. }
        | JobState::Publishing { .. }
        | JobState::Fenced { .. }
        | JobState::Ended { .. } => {
            too_late(state, now, id, held, &end);
            acknowledge(state, id, held);
        }
    }
}

/// An attempt that had been given up ended after all. That changes nothing any more, and is kept
/// for whoever asks what happened.
fn too_late(state: &mut State, now: Time, id: IncarnationId, held: Held, end: &JobEnd) {
    let Held { job, attempt } = held;
    let verdict = Verdict::of(end, None);
    let Some(record) = state.job(job) else { return };
    let is_news = record.attempts.iter().any(|it| it.is_given_up(id, attempt, &verdict));
    if !is_news {
        return;
    }
    let said = match verdict.in_words() {
        words if words.is_empty() => verdict.status.word().to_owned(),
        words => format!("{}: {words}", verdict.status.word()),
    };
    state.tell(now, job, "ended too late", format!("attempt {attempt} on {id}: {said}"));
    state.change_job(job, |record| {
        if let Some(it) = record.attempts.iter_mut().find(|it| it.number == attempt) {
            it.late = Some(said);
        }
    });
}
