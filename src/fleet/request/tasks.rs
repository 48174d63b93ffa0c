//! Work from outside that is handed in and given back.

use super::jobs::profile;
use super::refuse;
use crate::fleet::attempt::RetryOn;
use crate::fleet::effect::{Answer, Refusal, RefusalKind};
use crate::fleet::event::{JobSpec, TaskEnd};
use crate::fleet::job::{Job, JobState};
use crate::fleet::state::State;
use crate::fleet::task;
use crate::ids::JobId;
use crate::units::Time;

/// Longest name of a task, in characters.
const NAME_MAX: usize = 200;

/// The job that has this task's name already: asking again is no second task.
pub(super) fn known(state: &State, spec: &JobSpec) -> Result<Option<JobId>, Refusal> {
    let Some(job) = spec.task.as_ref().and_then(|task| state.task(task)) else { return Ok(None) };
    let names_one = spec.profile.is_some() || spec.task_type.is_some();
    if names_one && profile(state, spec)? != job.profile {
        let message = format!(
            "task {} is {} already, with the profile {}; complete or cancel it first, or choose \
             another name",
            words(job),
            job.id,
            job.profile
        );
        return Err(refuse(RefusalKind::Conflict, message));
    }
    Ok(Some(job.id))
}

fn words(job: &Job) -> String {
    job.spec.task.as_ref().map(ToString::to_string).unwrap_or_default()
}

/// Many at once have no names to be found by.
pub(super) fn refuse_among_many(spec: &JobSpec) -> Result<(), Refusal> {
    match spec.task {
        None => Ok(()),
        Some(_) => Err(refuse(RefusalKind::Invalid, "tasks are handed in one at a time")),
    }
}

pub(super) fn check(spec: &JobSpec) -> Result<(), Refusal> {
    let name = spec.task.as_ref().map(crate::ids::TaskName::as_str).unwrap_or_default();
    let is_plain = !name.trim().is_empty() && !name.chars().any(char::is_control);
    if !is_plain || name.chars().count() > NAME_MAX {
        let message = format!(
            "`{}` cannot be a task's name: 1 to {NAME_MAX} characters, no control characters",
            name.escape_debug()
        );
        return Err(refuse(RefusalKind::Invalid, message));
    }
    match spec.command.is_empty() && spec.workspace.is_none() && spec.env.is_empty() {
        true => Ok(()),
        false => Err(refuse(
            RefusalKind::Invalid,
            "a task is driven from outside: it has no command, environment or working folder",
        )),
    }
}

/// Whoever drives a task knows best whether to begin it again.
pub(super) fn retries(state: &State, spec: &JobSpec) -> u32 {
    match spec.task {
        Some(_) => 0,
        None => spec.retries.unwrap_or(state.spec.limits.retries),
    }
}

/// After which attempts a job is tried again.
pub(super) fn retry_on(spec: &JobSpec) -> RetryOn {
    match spec.task {
        Some(_) => RetryOn::Never,
        None => spec.retry_on,
    }
}

/// Gives a runner back.
pub(super) fn complete(
    state: &mut State,
    now: Time,
    id: JobId,
    end: TaskEnd,
) -> Result<Answer, Refusal> {
    if task::complete(state, now, id, end) {
        return Ok(Answer::Accepted);
    }
    let Some(job) = state.job(id) else {
        return Err(refuse(RefusalKind::NotFound, format!("there is no {id}")));
    };
    let message = match (&job.state, job.is_external()) {
        (_, false) => format!(
            "{id} runs a command, and ends by itself; `slate-fleet cancel {id}` ends it now"
        ),
        (JobState::Queued | JobState::OnHold { .. }, true) => {
            format!("task {} has no runner yet; `slate-fleet cancel {id}` ends it", words(job))
        }
        (JobState::Given { .. } | JobState::Fenced { .. }, true) => {
            format!("task {} is being ended already, and its runner goes", words(job))
        }
        (JobState::Publishing { .. } | JobState::Ended { .. }, true) => {
            format!("task {} ({id}) is over already", words(job))
        }
    };
    Err(refuse(RefusalKind::Conflict, message))
}
