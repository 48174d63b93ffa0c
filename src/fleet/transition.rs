//! Steps in the lives of runners and jobs that several facts and decisions lead to.

use super::effect::{AgentOrder, Effect};
use super::job::{ATTEMPTS_MAX, Job, JobState, Stop, StopBy, Verdict};
use super::runner::{Cause, Phase};
use super::state::{Place, State};
use super::view::JobStatus;
use crate::ids::{AttemptNo, IncarnationId, JobId};
use crate::spec::Reuse;
use crate::units::Time;

/// Takes a runner out of service: its slot is free, its job is fenced, its container is to go.
pub(super) fn retire(state: &mut State, now: Time, id: IncarnationId, why: Cause) {
    let Some(runner) = state.runner(id) else { return };
    if runner.is_retiring() {
        return;
    }
    let (container, job, slot) = (runner.container().cloned(), runner.job(), runner.slot);
    let place = slot.map_or_else(|| Place::Spares(runner.build.template.pool.clone()), Place::Slot);
    if let Some((job, _)) = job {
        fence(state, job, id, &why);
    }
    if let Some(slot) = slot
        && state.slot(slot).is_some_and(|slot| slot.runner == Some(id))
        && let Some(slot) = state.slot_mut(slot)
    {
        slot.runner = None;
    }
    if why.is_failure() {
        state.backoffs.entry(place).or_default().fail(now, why.to_string(), id.0);
    }
    state.tell(now, runner_label(slot, id), "retired", &why);
    if let Some(runner) = state.runner_mut(id) {
        runner.phase = Phase::Retiring { container, why };
        runner.since = now;
    }
}

fn runner_label(slot: Option<crate::ids::SlotId>, id: IncarnationId) -> String {
    slot.map_or_else(|| id.to_string(), |slot| slot.to_string())
}

/// The runner of a job is lost: what becomes of the job waits until the container is gone.
fn fence(state: &mut State, job: JobId, id: IncarnationId, why: &Cause) {
    let why = why.to_string();
    state.change_job(job, |job| {
        if let JobState::Given { runner, stop } = job.state
            && runner == id
        {
            let verdict = fenced_verdict(job, stop);
            job.state = JobState::Fenced { runner, why, verdict };
        }
    });
}

/// The end of a job whose runner was lost, if it is not to run again.
fn fenced_verdict(job: &Job, stop: Option<Stop>) -> Option<Verdict> {
    stop.map(|stop| Verdict::stopped(stop.by)).or_else(|| {
        (job.attempt.0 >= ATTEMPTS_MAX).then_some(Verdict {
            status: JobStatus::Lost,
            exit_code: None,
            reason: None,
        })
    })
}

/// A runner's container and volume are known to be gone: the fence for its job is passed.
pub(super) fn gone(state: &mut State, now: Time, id: IncarnationId) {
    let Some(runner) = state.runner(id) else {
        state.bury(id, now);
        state.tell(now, id, "removed", "the orphan is gone");
        state.effect(Effect::Forget(id));
        return;
    };
    let label = runner_label(runner.slot, id);
    let fenced: Vec<JobId> = state
        .held_jobs()
        .filter(|job| matches!(&job.state, JobState::Fenced { runner, .. } if *runner == id))
        .map(|job| job.id)
        .collect();
    for job in fenced {
        settle(state, now, job);
    }
    let publishing = state.held_jobs().any(|job| job.runner() == Some(id));
    state.remove_runner(id, now);
    state.tell(now, label, "removed", format!("{id} is gone"));
    if !publishing {
        state.effect(Effect::Forget(id));
    }
}

/// Queues a fenced job again, or ends it.
fn settle(state: &mut State, now: Time, id: JobId) {
    let Some(job) = state.job(id) else { return };
    let JobState::Fenced { why, verdict, .. } = &job.state else { return };
    let (why, verdict) = (why.clone(), verdict.clone());
    if let Some(mut verdict) = verdict {
        if verdict.status == JobStatus::Lost {
            verdict.reason = Some(format!("its runner was lost {ATTEMPTS_MAX} times; last: {why}"));
        }
        end(state, now, id, verdict);
        return;
    }
    state.tell(now, id, "queued again", &why);
    state.change_job(id, |job| {
        job.state = JobState::Queued;
        job.started_at = None;
        job.setback = Some(why);
    });
}

/// Records a job's end and lets its working folder go.
pub(super) fn end(state: &mut State, now: Time, id: JobId, verdict: Verdict) {
    let status = format!("{:?}", verdict.status).to_lowercase();
    let why = match (&verdict.reason, verdict.exit_code) {
        (Some(reason), _) => reason.clone(),
        (None, Some(code)) => format!("exit code {code}"),
        (None, None) => String::new(),
    };
    state.tell(now, id, &status, why);
    state.change_job(id, |job| job.state = JobState::Ended { at: now, verdict });
    state.effect(Effect::CloseLog(id));
    let Some(blob) = state.job(id).and_then(|job| job.spec.workspace.clone()) else { return };
    if !state.is_needed(&blob) {
        state.effect(Effect::DropBlob(blob));
    }
}

/// A job's reports are in the store (or cannot be): its end counts now, and its runner is free.
pub(super) fn published(state: &mut State, now: Time, id: JobId, outcome: Result<(), String>) {
    let Some(job) = state.job(id) else { return };
    let JobState::Publishing { runner, end: how, stop } = job.state.clone() else { return };
    let attempt = job.attempt;
    let mut verdict = Verdict::of(&how, stop);
    if let Err(why) = outcome {
        let note = format!("its reports could not be stored: {why}");
        verdict.reason = Some(match verdict.reason {
            Some(reason) => format!("{reason}; {note}"),
            None => note,
        });
    }
    end(state, now, id, verdict);
    acknowledge(state, runner, id, attempt);
    if state.runner(runner).is_none() {
        state.effect(Effect::Forget(runner));
        return;
    }
    free(state, now, runner, id);
}

/// Tells an agent that it may forget an attempt.
pub(super) fn acknowledge(
    state: &mut State,
    incarnation: IncarnationId,
    job: JobId,
    attempt: AttemptNo,
) {
    let order = AgentOrder::Acknowledge { job, attempt };
    state.effect(Effect::Agent { incarnation, order });
}

/// A runner's job is over: it is used up, or idle again.
fn free(state: &mut State, now: Time, id: IncarnationId, job: JobId) {
    let Some(runner) = state.runner(id) else { return };
    let slot = runner.slot;
    if let Some(slot) = slot.and_then(|slot| state.slot_mut(slot)) {
        slot.tasks_completed += 1;
    }
    if let Some(slot) = slot {
        state.backoffs.remove(&Place::Slot(slot));
    }
    let Some(runner) = state.runner(id) else { return };
    if runner.job().map(|(held, _)| held) != Some(job) {
        return;
    }
    match (runner.build.template.reuse, &runner.phase) {
        (Reuse::OneJob, _) => retire(state, now, id, Cause::Used),
        (Reuse::Persistent, Phase::Busy { container, .. }) => {
            let container = container.clone();
            if let Some(runner) = state.runner_mut(id) {
                runner.phase = Phase::Idle { container };
                runner.since = now;
            }
        }
        (Reuse::Persistent, _) => {}
    }
}

/// Asks for the end of a job that a runner holds.
pub(super) fn stop(state: &mut State, now: Time, id: JobId, by: StopBy) {
    let Some(job) = state.job(id) else { return };
    let JobState::Given { runner, stop: None } = job.state else { return };
    let attempt = job.attempt;
    state.tell(now, id, "stopping", format!("{by:?}").to_lowercase());
    state.change_job(id, |job| {
        job.state = JobState::Given { runner, stop: Some(Stop { since: now, by }) };
    });
    order_cancel(state, runner, id, attempt);
}

/// Tells an agent to stop its job.
pub(super) fn order_cancel(
    state: &mut State,
    incarnation: IncarnationId,
    job: JobId,
    attempt: AttemptNo,
) {
    let Some(runner) = state.runner(incarnation) else { return };
    let grace = runner.build.template.stop_grace;
    let order = AgentOrder::Cancel { job, attempt, grace };
    state.effect(Effect::Agent { incarnation, order });
}
