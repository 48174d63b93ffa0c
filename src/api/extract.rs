//! Reads bodies and query strings, with problems instead of the framework's own texts.

use axum::body::{Body, to_bytes};
use axum::extract::Query;
use axum::http::Uri;
use serde::de::DeserializeOwned;

use super::problem::{Problem, ProblemKind};

/// Largest JSON body: a fleet file of a thousand pools is far below.
const JSON_MAX: usize = 4 * 1024 * 1024;

/// Reads a JSON body.
pub(super) async fn json<T: DeserializeOwned>(body: Body) -> Result<T, Problem> {
    let bytes = to_bytes(body, JSON_MAX).await.map_err(|_| {
        Problem::new(
            ProblemKind::TooLarge,
            format!("the body did not arrive whole, or is larger than {JSON_MAX} bytes"),
        )
    })?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Problem::new(
            ProblemKind::Invalid,
            format!("the body is not what this route takes: {error}"),
        )
    })
}

/// Reads the query string.
pub(super) fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    Query::<T>::try_from_uri(uri)
        .map(|Query(value)| value)
        .map_err(|error| Problem::new(ProblemKind::Invalid, format!("`{uri}`: {error}")))
}
