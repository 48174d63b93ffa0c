//! Reads bodies and query strings, with problems instead of the framework's own texts.

use axum::body::{Body, to_bytes};
use axum::extract::Query;
use axum::http::Uri;
use serde::de::DeserializeOwned;

use super::dto::LINES_MAX;
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

/// Reads a body of one JSON document per line; empty lines do not count.
pub(super) async fn json_lines<T: DeserializeOwned>(
    body: Body,
    most: usize,
) -> Result<Vec<T>, Problem> {
    let bytes = to_bytes(body, LINES_MAX).await.map_err(|_| {
        Problem::new(
            ProblemKind::TooLarge,
            format!("the lines did not arrive whole, or are larger than {LINES_MAX} bytes"),
        )
    })?;
    let mut documents = Vec::new();
    for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1u64..) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        if documents.len() == most {
            let message =
                format!("there are more than {most} lines; send them in several requests");
            return Err(Problem::new(ProblemKind::TooLarge, message));
        }
        let document = serde_json::from_slice(line).map_err(|error| {
            let message = format!("this is not what the route takes: {error}");
            Problem::new(ProblemKind::Invalid, message).in_line(number)
        })?;
        documents.push(document);
    }
    match documents.is_empty() {
        true => Err(Problem::new(ProblemKind::Invalid, "there are no lines; send at least one")),
        false => Ok(documents),
    }
}

/// Reads the query string.
pub(super) fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    Query::<T>::try_from_uri(uri)
        .map(|Query(value)| value)
        .map_err(|error| Problem::new(ProblemKind::Invalid, format!("`{uri}`: {error}")))
}
