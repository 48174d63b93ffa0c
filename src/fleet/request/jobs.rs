//! Jobs that are submitted and cancelled.

use super::{pool_names, refuse, refuse_before_up, refuse_while_down, tasks};
use crate::fleet::assignment;
use crate::fleet::audit::Client;
use crate::fleet::disk::refuse_while_low;
use crate::fleet::effect::{Answer, Refusal, RefusalKind};
use crate::fleet::event::JobSpec;
use crate::fleet::job::{Job, JobState, StopBy, Verdict};
use crate::fleet::state::State;
use crate::fleet::transition::{end, stop};
use crate::ids::{AttemptNo, FOLDER_NAME_MAX, JobId, ProfileName, is_folder_name};
use crate::spec::Limits;
use crate::units::Time;
use crate::units::words::{agree, counted};

pub(super) fn submit(
    state: &mut State,
    now: Time,
    spec: JobSpec,
    by: &Client,
) -> Result<Answer, Refusal> {
    if let Some(known) = tasks::known(state, &spec)? {
        return Ok(Answer::Submitted(known));
    }
    refuse_without_room(state, 1)?;
    let job = examine(state, now, spec, by)?;
    Ok(Answer::Submitted(accept(state, now, job)))
}

/// Takes all of the jobs or none.
pub(super) fn submit_all(
    state: &mut State,
    now: Time,
    specs: Vec<JobSpec>,
    by: &Client,
) -> Result<Answer, Refusal> {
    refuse_without_room(state, specs.len())?;
    let jobs = specs
        .into_iter()
        .zip(1u64..)
        .map(|(spec, number)| {
            let task = tasks::refuse_among_many(&spec);
            task.and_then(|()| examine(state, now, spec, by)).map_err(|refusal| {
                let message = format!("job {number} of them: {}", refusal.message);
                refuse(refusal.kind, message)
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut ids = jobs.into_iter().map(|job| accept(state, now, job));
    let first = ids.next().ok_or_else(|| refuse(RefusalKind::Invalid, "no job is given"))?;
    let last = ids.last().unwrap_or(first);
    Ok(Answer::SubmittedAll { first, last })
}

fn refuse_without_room(state: &State, wanted: usize) -> Result<(), Refusal> {
    refuse_before_up(state)?;
    refuse_while_down(state)?;
    refuse_while_low(state)?;
    let max = state.spec.limits.queue_max as usize;
    let waiting = state.queue_len().saturating_add(state.on_hold_len());
    if waiting.saturating_add(wanted) <= max {
        return Ok(());
    }
    let message = match wanted {
        1 => format!(
            "{} {} already; raise `limits.queue_max` or wait",
            counted(max, "job"),
            agree(&max, "waits", "wait")
        ),
        _ => format!(
            "{} {}, and {wanted} more are beyond `limits.queue_max` ({max}); raise it or \
             wait",
            counted(waiting, "job"),
            agree(&waiting, "waits", "wait")
        ),
    };
    Err(refuse(RefusalKind::NoCapacity, message))
}

/// The job that a submission asks for, with no number yet.
fn examine(state: &State, now: Time, spec: JobSpec, by: &Client) -> Result<Job, Refusal> {
    check(state, &spec)?;
    let lane = spec.lane.as_ref().and_then(|lane| state.spec.lanes.get(lane));
    let job = Job {
        id: JobId(0),
        profile: profile(state, &spec)?,
        raised: None,
        priority: spec.priority.saturating_add(lane.map_or(0, |lane| lane.priority)),
        turn: 0,
        timeout: spec.timeout.unwrap_or(state.spec.limits.task_timeout),
        state: match spec.hold {
            true => JobState::OnHold { since: now, by: by.clone() },
            false => JobState::Queued,
        },
        attempt: AttemptNo(0),
        slot: None,
        slot_name: None,
        queued_at: now,
        assigned_at: None,
        started_at: None,
        setback: None,
        attempts: Vec::new(),
        retries: tasks::retries(state, &spec),
        retry_on: tasks::retry_on(&spec),
        spec,
    };
    match assignment::servers(&state.spec, &job).is_empty() {
        true => Err(no_server(state, &job)),
        false => Ok(job),
    }
}

fn accept(state: &mut State, now: Time, mut job: Job) -> JobId {
    let id = state.next_job();
    (job.id, job.turn) = (id, state.next_turn(&job));
    state.begin_job(now, job);
    id
}

fn no_server(state: &State, job: &Job) -> Refusal {
    let pools: Vec<String> = state
        .spec
        .pools
        .iter()
        .map(|pool| match pool.forge {
            None => format!("{} (profile {})", pool.name, pool.profile),
            Some(_) => format!("{} (only for jobs of its forge)", pool.name),
        })
        .collect();
    let message = format!(
        "no pool offers the profile {} or more to this job; the fleet has {}",
        job.profile,
        if pools.is_empty() { "no pools".to_owned() } else { pools.join(", ") },
    );
    refuse(RefusalKind::NoCapacity, message)
}

fn check(state: &State, spec: &JobSpec) -> Result<(), Refusal> {
    match spec.task {
        Some(_) => tasks::check(spec)?,
        None if spec.command.first().is_none_or(String::is_empty) => {
            return Err(refuse(RefusalKind::Invalid, "a job needs a command"));
        }
        None => {}
    }
    for (what, name) in [("workflow", &spec.workflow), ("run id", &spec.run_id)] {
        if let Some(name) = name
            && !is_folder_name(name)
        {
            let message = format!(
                "the {what} `{name}` cannot be a folder's name: use letters, digits, `.`, `_` and \
                 `-`, at most {FOLDER_NAME_MAX}, not starting with a dot"
            );
            return Err(refuse(RefusalKind::Invalid, message));
        }
    }
    if let Some(retries) = spec.retries.filter(|retries| *retries > Limits::RETRIES_MAX) {
        let max = Limits::RETRIES_MAX;
        let message = format!("{retries} retries are too many; a job gets {max} at most");
        return Err(refuse(RefusalKind::Invalid, message));
    }
    if let Some(lane) = &spec.lane
        && !state.spec.lanes.contains_key(lane)
    {
        return Err(refuse(RefusalKind::NotFound, format!("there is no lane {lane}")));
    }
    if let Some(pool) = &spec.pool
        && !state.spec.pools.iter().any(|known| &known.name == pool)
    {
        let message = format!("there is no pool {pool}; this fleet has {}", pool_names(state));
        return Err(refuse(RefusalKind::NotFound, message));
    }
    Ok(())
}

/// The profile that a job needs: named, by its type, by its pool, or the smallest that says CPU.
pub(super) fn profile(state: &State, spec: &JobSpec) -> Result<ProfileName, Refusal> {
    if let Some(profile) = &spec.profile {
        return match state.spec.profiles.contains_key(profile) {
            true => Ok(profile.clone()),
            false => Err(unknown_profile(state, profile)),
        };
    }
    if let Some(kind) = &spec.task_type {
        let known = state.spec.task_types.get(kind).cloned();
        return known.ok_or_else(|| {
            let types: Vec<&str> = state.spec.task_types.keys().map(String::as_str).collect();
            let message = format!("there is no job type {kind}; known are {}", types.join(", "));
            refuse(RefusalKind::NotFound, message)
        });
    }
    let pools: Vec<_> = state.spec.pools.iter().filter(|pool| pool.forge.is_none()).collect();
    let own = spec.pool.as_ref().and_then(|name| pools.iter().find(|pool| &pool.name == name));
    let standard = pools.iter().find(|pool| pool.profile.as_str() == "standard");
    let pool = own.or(standard).or_else(|| pools.first());
    pool.map(|pool| pool.profile.clone())
        .ok_or_else(|| refuse(RefusalKind::NoCapacity, "this fleet has no pools"))
}

fn unknown_profile(state: &State, profile: &ProfileName) -> Refusal {
    let names: Vec<&str> = state.spec.profiles.keys().map(ProfileName::as_str).collect();
    let message = format!("there is no profile {profile}; known are {}", names.join(", "));
    refuse(RefusalKind::NotFound, message)
}

pub(super) fn cancel(state: &mut State, now: Time, id: JobId) -> Result<Answer, Refusal> {
    let Some(job) = state.job(id) else {
        return Err(refuse(RefusalKind::NotFound, format!("there is no {id}")));
    };
    match &job.state {
        JobState::Queued | JobState::OnHold { .. } => {
            end(state, now, id, Verdict::stopped(StopBy::Cancel));
        }
        JobState::Given { .. } => stop(state, now, id, StopBy::Cancel),
        JobState::Publishing { .. } => state.tell(now, id, "cancel asked", "it has ended already"),
        JobState::Fenced { .. } => {
            state.tell(now, id, "cancel asked", "its runner is lost; it will not run again");
            state.change_job(id, |job| {
                if let JobState::Fenced { verdict, .. } = &mut job.state {
                    *verdict = Some(Verdict::stopped(StopBy::Cancel));
                }
            });
        }
        JobState::Ended { .. } => {
            let message = format!("{id} is over already");
            return Err(refuse(RefusalKind::Conflict, message));
        }
    }
    Ok(Answer::Accepted)
}
