//! The page that Prometheus reads.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tokio::task::spawn_blocking;

use super::Api;
use super::problem::{Problem, ProblemKind};
use crate::metrics::TEXT_FORMAT;
use crate::supervisor::handle::Query;

pub(super) async fn page(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    let scrape = api.ask(Query::Metrics).await?;
    let database = api.state.database();
    let page = spawn_blocking(move || scrape.page(&database)).await;
    let failed = |why: String| Problem::new(ProblemKind::Internal, why);
    let page = page.map_err(|error| failed(error.to_string()))?;
    let page = page.map_err(|error| failed(error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, TEXT_FORMAT)], page).into_response())
}
