//! Jobs over HTTP: list, show, submit, cancel, hold and release.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use tokio::time::{Instant, sleep, timeout_at};

use super::Api;
use super::ask::parse_job;
use super::dto::{Accepted, HoldBody, JobQuery, JobsQuery, SubmitBody, Submitted, SubmittedAll};
use super::extract::{JsonBody, JsonLines, Params, Step};
use super::page::{Page, words};
use super::peer::By;
use super::problem::{Problem, ProblemKind};
use super::sight::Sight;
use super::words::parse_job_status;
use crate::fleet::audit::Client;
use crate::fleet::effect::Answer;
use crate::fleet::event::{JobSpec, Request};
use crate::fleet::view::{JobFilter, JobOrder, JobView};
use crate::ids::JobId;
use crate::supervisor::handle::Query;

/// Jobs listed when no limit is given.
const JOBS_DEFAULT: usize = 100;
/// Longest wait for a job's end in one request; a client asks again.
const WAIT_MAX: Duration = Duration::from_secs(25);
/// A waiting request looks at its job this often at most.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Most jobs in one answer.
const JOBS_MAX: usize = 10_000;

pub(super) async fn list(
    State(api): State<Arc<Api>>,
    sight: Sight,
    uri: Uri,
    Params(wanted): Params<JobsQuery>,
) -> Result<Page<JobView>, Problem> {
    if wanted.after.is_some() && wanted.order == JobOrder::Queue {
        let detail = "the queue has no pages: leave out `after`, or `order=queue`";
        return Err(Problem::new(ProblemKind::Invalid, detail));
    }
    let order = wanted.order;
    let filter = JobFilter {
        order,
        statuses: words(wanted.status.as_deref(), parse_job_status)?,
        pool: wanted.pool,
        profile: wanted.profile,
        lane: wanted.lane,
        submitter: wanted.submitter,
        workflow: wanted.workflow,
        before: wanted.after.as_deref().map(parse_job).transpose()?,
        limit: wanted.limit.unwrap_or(JOBS_DEFAULT).min(JOBS_MAX),
    };
    let limit = filter.limit;
    let jobs = api.ask(|reply| Query::Jobs(filter, reply)).await?;
    let jobs: Vec<JobView> = jobs.into_iter().map(|job| sight.job(job)).collect();
    Ok(match order {
        JobOrder::Newest => Page::new(jobs, limit, &uri, |job| job.id.to_string()),
        JobOrder::Queue => Page::whole(jobs),
    })
}

pub(super) async fn show(
    State(api): State<Arc<Api>>,
    sight: Sight,
    Step(id): Step,
    Params(JobQuery { wait_seconds }): Params<JobQuery>,
) -> Result<Json<JobView>, Problem> {
    let id = parse_job(&id)?;
    let wait = Duration::from_secs(wait_seconds);
    let job = api.job_when(id, wait, |job| job.status.is_final()).await?;
    Ok(Json(sight.job(job)))
}

pub(super) async fn submit(
    State(api): State<Arc<Api>>,
    By(by): By,
    JsonBody(body): JsonBody<SubmitBody>,
) -> Result<(StatusCode, Json<Submitted>), Problem> {
    let id = api.submit(by, body.into_spec()?).await?;
    Ok((StatusCode::CREATED, Json(Submitted { id })))
}

/// Takes jobs that come one per line: all or none, in one transaction.
pub(super) async fn submit_all(
    State(api): State<Arc<Api>>,
    By(by): By,
    JsonLines(jobs): JsonLines<SubmitBody>,
) -> Result<(StatusCode, Json<SubmittedAll>), Problem> {
    let specs = jobs
        .into_iter()
        .zip(1u64..)
        .map(|(job, line)| job.into_spec().map_err(|problem| problem.in_line(line)))
        .collect::<Result<Vec<_>, _>>()?;
    let blobs: BTreeSet<_> = specs.iter().filter_map(|spec| spec.workspace.clone()).collect();
    for blob in &blobs {
        api.check_blob(blob).await?;
    }
    match api.change(by, Request::SubmitAll(specs)).await? {
        Answer::SubmittedAll { first, last } => {
            Ok((StatusCode::CREATED, Json(SubmittedAll { first, last })))
        }
        other => Err(unexpected(&other)),
    }
}

pub(super) async fn cancel(
    State(api): State<Arc<Api>>,
    Step(id): Step,
    By(by): By,
) -> Result<Json<Accepted>, Problem> {
    api.accept(by, Request::Cancel(parse_job(&id)?)).await
}

pub(super) async fn hold(
    State(api): State<Arc<Api>>,
    By(by): By,
    JsonBody(body): JsonBody<HoldBody>,
) -> Result<Json<Accepted>, Problem> {
    api.accept(by, Request::Hold(body.into_jobs()?)).await
}

pub(super) async fn release(
    State(api): State<Arc<Api>>,
    By(by): By,
    JsonBody(body): JsonBody<HoldBody>,
) -> Result<Json<Accepted>, Problem> {
    api.accept(by, Request::Release(body.into_jobs()?)).await
}

impl Api {
    /// A job once something is so, or as it is after a while.
    pub(super) async fn job_when(
        &self,
        id: JobId,
        wait: Duration,
        is_so: fn(&JobView) -> bool,
    ) -> Result<JobView, Problem> {
        let mut steps = self.handle.steps();
        let mut job = self.job_view(id).await?;
        let until = Instant::now() + wait.min(WAIT_MAX);
        while !is_so(&job) {
            match timeout_at(until, steps.changed()).await {
                // The loop has ended or the time is up: the answer is what is known.
                Err(_) | Ok(Err(_)) => break,
                Ok(Ok(())) => job = self.job_view(id).await?,
            }
            if is_so(&job) || timeout_at(until, sleep(LOOK_INTERVAL)).await.is_err() {
                break;
            }
        }
        Ok(job)
    }

    /// Hands a job to the loop; it is durable when this returns.
    pub(super) async fn submit(&self, by: Client, spec: JobSpec) -> Result<JobId, Problem> {
        if let Some(blob) = &spec.workspace {
            self.check_blob(blob).await?;
        }
        match self.change(by, Request::Submit(Box::new(spec))).await? {
            Answer::Submitted(id) => Ok(id),
            other => Err(unexpected(&other)),
        }
    }
}

fn unexpected(answer: &Answer) -> Problem {
    Problem::new(ProblemKind::Internal, format!("the loop took the jobs and answered {answer:?}"))
}
