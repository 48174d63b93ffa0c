//! Forges over HTTP: their scopes, the jobs that they tell of, and workflows started by hand.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::Api;
use super::dispatch::{self, DispatchAnswer, DispatchBody, RunAnswer, RunQuery};
use super::dto::ForgeJobsQuery;
use super::extract::{JsonBody, Params, Step};
use super::peer::By;
use super::problem::{Problem, ProblemKind};
use crate::fleet::forge::{ForgeJobView, ForgeView};
use crate::ids::ForgeRunId;
use crate::supervisor::handle::{DispatchOrder, Query, RunOrder};

/// Jobs listed when no limit is given.
const JOBS_DEFAULT: usize = 100;
/// Most jobs in one answer.
pub(super) const JOBS_MAX: usize = 10_000;

pub(super) async fn forges(State(api): State<Arc<Api>>) -> Result<Json<Vec<ForgeView>>, Problem> {
    Ok(Json(api.fleet_view().await?.forges.clone()))
}

pub(super) async fn jobs(
    State(api): State<Arc<Api>>,
    Params(ForgeJobsQuery { limit }): Params<ForgeJobsQuery>,
) -> Result<Json<Vec<ForgeJobView>>, Problem> {
    let limit = limit.unwrap_or(JOBS_DEFAULT).min(JOBS_MAX);
    Ok(Json(api.ask(|reply| Query::ForgeJobs(limit, reply)).await?))
}

/// Starts a workflow: 201 once the forge took it.
pub(super) async fn dispatch(
    State(api): State<Arc<Api>>,
    By(by): By,
    JsonBody(body): JsonBody<DispatchBody>,
) -> Result<(StatusCode, Json<DispatchAnswer>), Problem> {
    let spec = api.ask(Query::Spec).await?;
    let (pool, dispatch) = dispatch::choose(&spec, body)?;
    let order = DispatchOrder { by, pool: pool.clone(), dispatch: dispatch.clone() };
    let begun = api.ask(|reply| Query::Dispatch(order, reply)).await??;
    let answer = DispatchAnswer {
        workflow: dispatch.workflow,
        repository: dispatch.repository,
        pool,
        run: begun.run,
        url: begun.url,
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

pub(super) async fn run(
    State(api): State<Arc<Api>>,
    Step(run): Step,
    Params(wanted): Params<RunQuery>,
) -> Result<Json<RunAnswer>, Problem> {
    let run: ForgeRunId = run
        .parse()
        .map_err(|_| Problem::new(ProblemKind::Invalid, format!("`{run}` is no run's number")))?;
    let spec = api.ask(Query::Spec).await?;
    dispatch::may_ask(&spec, &wanted)?;
    let order = RunOrder { pool: wanted.pool, repository: wanted.repository, run };
    let state = api.ask(|reply| Query::ForgeRun(order, reply)).await??;
    let (status, conclusion, url) = (state.status, state.conclusion, state.url);
    Ok(Json(RunAnswer { run, status, conclusion, url }))
}
