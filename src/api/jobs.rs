//! Jobs over HTTP: list, show, submit, cancel.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};

use super::Api;
use super::ask::parse_job;
use super::dto::{Accepted, JobsQuery, SubmitBody, Submitted};
use super::extract::{json, query};
use super::problem::{Problem, ProblemKind};
use super::words::parse_job_status;
use crate::fleet::event::{JobSpec, Request};
use crate::fleet::view::{JobStatus, JobView};
use crate::ids::JobId;
use crate::supervisor::handle::{JobFilter, Query};

/// Jobs listed when no limit is given.
const JOBS_DEFAULT: usize = 100;
/// Most jobs in one answer.
const JOBS_MAX: usize = 10_000;

pub(super) async fn list(
    State(api): State<Arc<Api>>,
    uri: Uri,
) -> Result<Json<Vec<JobView>>, Problem> {
    let JobsQuery { status, limit } = query(&uri)?;
    let statuses = match status {
        None => Vec::new(),
        Some(text) => text.split(',').map(parse_status).collect::<Result<_, _>>()?,
    };
    let limit = limit.unwrap_or(JOBS_DEFAULT).min(JOBS_MAX);
    let filter = JobFilter { statuses, limit };
    Ok(Json(api.ask(|reply| Query::Jobs(filter, reply)).await?))
}

fn parse_status(text: &str) -> Result<JobStatus, Problem> {
    parse_job_status(text).map_err(|error| Problem::new(ProblemKind::Invalid, error.to_string()))
}

pub(super) async fn show(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Json<JobView>, Problem> {
    Ok(Json(api.job_view(parse_job(&id)?).await?))
}

pub(super) async fn submit(
    State(api): State<Arc<Api>>,
    body: Body,
) -> Result<(StatusCode, Json<Submitted>), Problem> {
    let spec = json::<SubmitBody>(body).await?.into_spec()?;
    let id = api.submit(spec).await?;
    Ok((StatusCode::CREATED, Json(Submitted { id })))
}

pub(super) async fn cancel(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Json<Accepted>, Problem> {
    api.change(Request::Cancel(parse_job(&id)?)).await?;
    Ok(Json(Accepted::Accepted))
}

impl Api {
    /// Hands a job to the loop; it is durable when this returns.
    pub(super) async fn submit(&self, spec: JobSpec) -> Result<JobId, Problem> {
        if let Some(blob) = &spec.workspace {
            self.check_blob(blob).await?;
        }
        self.change(Request::Submit(Box::new(spec))).await?.ok_or_else(|| {
            Problem::new(ProblemKind::Internal, "the loop took the job but gave it no id")
        })
    }
}
