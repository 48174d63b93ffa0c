//! What is left of runners that failed, over HTTP.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use tokio::task::spawn_blocking;

use super::Api;
use super::ask::{find_runner, parse_job};
use super::dto::PostMortemsQuery;
use super::extract::{Params, Step};
use super::problem::{Problem, ProblemKind};
use crate::causes::with_causes;
use crate::post_mortems::{PostMortem, Wanted};

/// Post-mortems listed when no limit is given.
const LISTED_DEFAULT: usize = 10;
/// Most in one answer; each may have 32 KiB of output.
const LISTED_MAX: usize = 100;

pub(super) async fn of_runner(
    State(api): State<Arc<Api>>,
    Step(name): Step,
    Params(query): Params<PostMortemsQuery>,
) -> Result<Json<Vec<PostMortem>>, Problem> {
    let limit = limit(query);
    let fleet = api.fleet_view().await?;
    let slot = find_runner(&fleet, &name)?.id;
    Ok(Json(api.post_mortems(Wanted::Runner(slot), limit).await?))
}

pub(super) async fn of_job(
    State(api): State<Arc<Api>>,
    Step(id): Step,
    Params(query): Params<PostMortemsQuery>,
) -> Result<Json<Vec<PostMortem>>, Problem> {
    let limit = limit(query);
    let job = api.job_view(parse_job(&id)?).await?.id;
    Ok(Json(api.post_mortems(Wanted::Job(job), limit).await?))
}

fn limit(PostMortemsQuery { limit }: PostMortemsQuery) -> usize {
    limit.unwrap_or(LISTED_DEFAULT).min(LISTED_MAX)
}

impl Api {
    /// The newest post-mortems that are wanted, newest first.
    pub(super) async fn post_mortems(
        &self,
        wanted: Wanted,
        limit: usize,
    ) -> Result<Vec<PostMortem>, Problem> {
        let kept = self.kept.clone();
        let read = spawn_blocking(move || kept.read(&wanted, limit));
        let failed = |what: String| Problem::new(ProblemKind::Internal, what);
        let found = read.await.map_err(|error| failed(error.to_string()))?;
        found.map_err(|error| failed(with_causes(&error)))
    }
}
