//! Work that is driven from outside: a runner is leased for it, and given back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Api;
use super::dto;
use super::extract::JsonBody;
use super::peer::By;
use super::problem::{Problem, ProblemKind};
use crate::fleet::attempt::RetryOn;
use crate::fleet::event::{JobSpec, Request, TaskEnd};
use crate::fleet::view::{FleetView, JobStatus, JobView, RunnerView};
use crate::ids::{ContainerId, JobId, LaneName, PoolName, ProfileName, SlotId, TaskName};

/// Body of `POST /api/v1/assign`. Only `task` is needed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AssignBody {
    /// What the caller calls the work; unique among what is not over.
    pub task: String,
    /// The profile it needs at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The type of work, mapped to a profile by `task_types`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub task_type: Option<String>,
    /// Only this pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The lane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// Higher goes first.
    #[serde(default)]
    pub priority: i32,
    /// Takes the runner back after this many seconds; `limits.task_timeout` if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
    /// Answer when there is a runner, or after this many seconds without one.
    #[serde(default)]
    pub wait_seconds: u64,
    /// Who asks; `api` if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submitter: Option<String>,
}

impl AssignBody {
    fn into_spec(self) -> Result<JobSpec, Problem> {
        let timeout = dto::timeout(self.timeout_seconds)?;
        Ok(JobSpec {
            command: Vec::new(),
            task: Some(TaskName::new(self.task)),
            env: BTreeMap::new(),
            profile: self.profile.map(ProfileName::new),
            task_type: self.task_type,
            pool: self.pool.map(PoolName::new),
            lane: self.lane.map(LaneName::new),
            workflow: None,
            run_id: None,
            priority: self.priority,
            timeout,
            workspace: None,
            submitter: self.submitter.unwrap_or_else(|| "api".to_owned()),
            retries: None,
            retry_on: RetryOn::Never,
            hold: false,
        })
    }
}

/// Answer of `POST /api/v1/assign`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Assignment {
    /// The work.
    pub task: TaskName,
    /// The job that stands for it.
    pub job: JobId,
    /// `running` once it has a runner, `queued` before.
    pub status: JobStatus,
    /// Its runner, while it has one.
    pub runner: Option<AssignedRunner>,
    /// Place in the queue, from 1.
    pub position: Option<u32>,
    /// Why it waits, or how it ended.
    pub reason: Option<String>,
    /// The folder under `/reports` in the runner that is stored when it is completed.
    pub reports: String,
}

/// The runner that is leased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AssignedRunner {
    /// Its slot, as it is printed: `runner-001`.
    pub id: String,
    /// The slot's name.
    pub name: String,
    /// Its profile: the one that was asked for, or a more capable one.
    pub profile: ProfileName,
    /// Index of its GPU.
    pub gpu_id: Option<u32>,
    /// Its container.
    pub container: Option<ContainerId>,
    /// The container's name, for `docker exec`.
    pub container_name: Option<String>,
}

impl Assignment {
    fn of(job: JobView, fleet: &FleetView) -> Option<Self> {
        let runner = fleet.runners.iter().find(|runner| runner.job == Some(job.id));
        Some(Self {
            task: job.spec.task?,
            job: job.id,
            status: job.status,
            runner: runner.map(AssignedRunner::of),
            position: job.position,
            reason: job.reason,
            reports: format!("/reports/{}", job.reports),
        })
    }
}

impl AssignedRunner {
    fn of(runner: &RunnerView) -> Self {
        Self {
            id: runner.id.to_string(),
            name: runner.name.clone(),
            profile: runner.profile.clone(),
            gpu_id: runner.gpu,
            container: runner.container.clone(),
            container_name: runner.container_name.clone(),
        }
    }
}

/// Body of `POST /api/v1/complete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompleteBody {
    /// The runner's id or name, or the task's name.
    pub of: String,
    /// How it ended: `succeeded` or `failed`.
    #[serde(default = "succeeded")]
    pub end: TaskEnd,
}

fn succeeded() -> TaskEnd {
    TaskEnd::Succeeded
}

/// Answer of `POST /api/v1/complete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Completed {
    /// The work; none on a runner of a forge, which ends its job itself.
    pub task: Option<TaskName>,
    /// The job that stood for it.
    pub job: Option<JobId>,
    /// The slot of its runner.
    pub runner: SlotId,
    /// That slot's name.
    pub name: String,
}

/// Leases a runner: 200 with it, 202 while there is none.
pub(super) async fn assign(
    State(api): State<Arc<Api>>,
    By(by): By,
    JsonBody(body): JsonBody<AssignBody>,
) -> Result<(StatusCode, Json<Assignment>), Problem> {
    let wait = Duration::from_secs(body.wait_seconds);
    let id = api.submit(by, body.into_spec()?).await?;
    let job = api.job_when(id, wait, |job| job.status != JobStatus::Queued).await?;
    let fleet = api.fleet_view().await?;
    let assignment = Assignment::of(job, &fleet)
        .ok_or_else(|| Problem::new(ProblemKind::Internal, format!("{id} is no task")))?;
    let status = match assignment.status {
        JobStatus::Queued => StatusCode::ACCEPTED,
        JobStatus::Assigned
        | JobStatus::Running
        | JobStatus::Succeeded
        | JobStatus::Failed
        | JobStatus::Cancelled
        | JobStatus::TimedOut
        | JobStatus::Oom
        | JobStatus::Lost => StatusCode::OK,
    };
    Ok((status, Json(assignment)))
}

/// Gives a runner back.
pub(super) async fn complete(
    State(api): State<Arc<Api>>,
    By(by): By,
    JsonBody(CompleteBody { of, end }): JsonBody<CompleteBody>,
) -> Result<Json<Completed>, Problem> {
    let fleet = api.fleet_view().await?;
    let completed = find(&fleet, &of)?;
    if let Some(job) = completed.job {
        api.change(by, Request::Complete { job, end }).await?;
    }
    Ok(Json(completed))
}

/// The task that is on a runner, or that has this name. A runner of a forge has none, and is no
/// mistake: specification 1's workflow completes the runner that it runs on.
fn find(fleet: &FleetView, of: &str) -> Result<Completed, Problem> {
    let has_it =
        |runner: &&RunnerView| runner.task.as_ref().is_some_and(|task| task.as_str() == of);
    let runner = fleet.runner_named(of).or_else(|| fleet.runners.iter().find(has_it));
    let Some(runner) = runner else {
        let detail = format!(
            "there is no runner `{of}`, and no runner has a task of this name; `slate-fleet ps` \
             lists the runners"
        );
        return Err(Problem::new(ProblemKind::NotFound, detail));
    };
    let completed =
        |task, job| Ok(Completed { task, job, runner: runner.id, name: runner.name.clone() });
    match (&runner.task, runner.job) {
        (Some(task), Some(job)) => completed(Some(task.clone()), Some(job)),
        _ if runner.forge.is_some() => completed(None, None),
        (None, Some(job)) => Err(nothing(runner, &format!("it runs {job}, which ends by itself"))),
        (_, None) => Err(nothing(runner, "it has no job")),
    }
}

fn nothing(runner: &RunnerView, why: &str) -> Problem {
    let detail = format!("{} ({}) has no task to complete: {why}", runner.name, runner.id);
    Problem::new(ProblemKind::Conflict, detail)
}
