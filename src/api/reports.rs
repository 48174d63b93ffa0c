//! What jobs left in the report store, in numbers. The files themselves are the report server's:
//! nothing that a job wrote is served where the API is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::Api;
use super::extract::{Params, Step};
use super::problem::{Problem, ProblemKind};
use crate::causes::with_causes;
use crate::reports::{RunDetails, RunReport, Runs, Store, StoreError};
use crate::supervisor::handle::Query;

/// Runs listed when no limit is given.
const LISTED_DEFAULT: usize = 20;
/// Most in one answer: each is a walk through its files.
const LISTED_MAX: usize = 500;

/// Query of `GET /api/v1/reports`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReportsQuery {
    /// Only runs of this workflow.
    pub workflow: Option<String>,
    /// At most this many (20, at most 500).
    pub limit: Option<usize>,
}

/// Answer of `GET /api/v1/reports`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reports {
    /// The folder on the supervisor's host.
    pub path: String,
    /// Where browsers see them; none without a report server.
    pub url: Option<String>,
    /// Why there is no report server although the fleet file says so.
    pub trouble: Option<String>,
    /// The newest runs, newest first.
    pub runs: Vec<RunReport>,
    /// Whether there are more.
    pub is_partial: bool,
}

pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Params(ReportsQuery { workflow, limit }): Params<ReportsQuery>,
) -> Result<Json<Reports>, Problem> {
    let most = limit.unwrap_or(LISTED_DEFAULT).min(LISTED_MAX);
    let place = api.ask(Query::Reports).await?;
    let store = place.store.clone();
    let look = move |runs: &Runs, store: &Store| runs.newest(store, workflow.as_deref(), most);
    let (mut runs, is_partial) = api.look(store, look).await?;
    for run in &mut runs {
        run.url = address(place.url.as_deref(), run);
    }
    let path = place.store.folder().display().to_string();
    Ok(Json(Reports { path, url: place.url, trouble: place.trouble, runs, is_partial }))
}

pub(super) async fn show(
    State(api): State<Arc<Api>>,
    Step((workflow, run_id)): Step<(String, String)>,
) -> Result<Json<RunDetails>, Problem> {
    let place = api.ask(Query::Reports).await?;
    let look = move |runs: &Runs, store: &Store| runs.details(store, &workflow, &run_id);
    let mut details = api.look(place.store, look).await?;
    details.run.url = address(place.url.as_deref(), &details.run);
    Ok(Json(details))
}

/// Names of workflows and runs need no escaping.
fn address(url: Option<&str>, run: &RunReport) -> Option<String> {
    url.map(|url| format!("{url}/reports/{}/{}/", run.workflow, run.run_id))
}

impl Api {
    async fn look<T: Send + 'static>(
        &self,
        store: Store,
        work: impl FnOnce(&Runs, &Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Problem> {
        // The semaphore is never closed.
        let _permit = self.walks.acquire().await;
        let runs = self.runs.clone();
        let failed = |what: String| Problem::new(ProblemKind::Internal, what);
        let looked = spawn_blocking(move || work(&runs, &store)).await;
        looked.map_err(|error| failed(error.to_string()))?.map_err(|error| match error {
            StoreError::NoSuchThing { path } => {
                let what = format!("there are no reports of `{}`", path.display());
                Problem::new(ProblemKind::NotFound, what)
            }
            StoreError::Failed { .. } => failed(with_causes(&error)),
        })
    }
}
