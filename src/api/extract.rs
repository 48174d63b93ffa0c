//! Reads paths, query strings and bodies, with problems instead of the framework's own texts.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::IntoResponse as _;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::dto::{BATCH_MAX, JSON_LINES_TYPE, LINES_MAX};
use super::problem::{Problem, ProblemKind};

/// Largest JSON body: a fleet file of a thousand pools is far below.
const JSON_MAX: usize = 4 * 1024 * 1024;
/// How long a body may take to come: the largest at a megabit per second.
const BODY_MOST: Duration = Duration::from_secs(300);
/// What bodies of JSON documents are sent as.
const JSON_TYPE: &str = "application/json";

/// A JSON body.
#[derive(Debug)]
pub(super) struct JsonBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        check_type(request.headers(), &[JSON_TYPE])?;
        let bytes = whole(request.into_body(), JSON_MAX).await?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            let detail = format!("the body is not what this route takes: {error}");
            Problem::new(ProblemKind::Invalid, detail)
        })
    }
}

/// A body of one JSON document per line; empty lines do not count.
#[derive(Debug)]
pub(super) struct JsonLines<T>(pub Vec<T>);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonLines<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        check_type(request.headers(), &[JSON_LINES_TYPE, JSON_TYPE])?;
        let bytes = whole(request.into_body(), LINES_MAX).await?;
        lines(&bytes, BATCH_MAX).map(Self)
    }
}

/// The query string.
#[derive(Debug)]
pub(super) struct Params<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let uri = &parts.uri;
        Query::<T>::try_from_uri(uri)
            .map(|Query(value)| Self(value))
            .map_err(|error| Problem::new(ProblemKind::Invalid, format!("`{uri}`: {error}")))
    }
}

/// The steps of a path that are not fixed: mostly one.
#[derive(Debug)]
pub(super) struct Step<T = String>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Step<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let step = Path::<T>::from_request_parts(parts, state).await;
        step.map(|Path(step)| Self(step)).map_err(|rejection| {
            // Percent-encoding that is no UTF-8.
            let why = rejection.body_text();
            let kind = match rejection.into_response().status().is_server_error() {
                true => ProblemKind::Internal,
                false => ProblemKind::Invalid,
            };
            Problem::new(kind, format!("the path cannot be read: {why}"))
        })
    }
}

/// Refuses a body that says to be something else. One that says nothing is taken at its word.
fn check_type(headers: &HeaderMap, right: &[&str]) -> Result<(), Problem> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let text = value.to_str().unwrap_or_default();
    let media = text.split(';').next().unwrap_or_default().trim();
    match right.iter().any(|right| media.eq_ignore_ascii_case(right)) {
        true => Ok(()),
        false => {
            let right = right.join("` or `");
            let detail = format!("the body is `{media}`; send it with `Content-Type: {right}`");
            Err(Problem::new(ProblemKind::WrongType, detail))
        }
    }
}

async fn whole(body: Body, most: usize) -> Result<axum::body::Bytes, Problem> {
    let late = |_| {
        let detail = format!("the body did not arrive within {} s", BODY_MOST.as_secs());
        Problem::new(ProblemKind::Invalid, detail)
    };
    timeout(BODY_MOST, to_bytes(body, most)).await.map_err(late)?.map_err(|_| {
        let detail = format!("the body did not arrive whole, or is larger than {most} bytes");
        Problem::new(ProblemKind::TooLarge, detail)
    })
}

fn lines<T: DeserializeOwned>(bytes: &[u8], most: usize) -> Result<Vec<T>, Problem> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_another_type_is_refused_and_one_without_a_word_is_not() {
        let check = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, text.parse().expect("a header"));
            check_type(&headers, &[JSON_TYPE]).map_err(|it| it.kind)
        };
        assert_eq!(check("application/json; charset=utf-8"), Ok(()));
        assert_eq!(check("Application/JSON"), Ok(()));
        assert_eq!(check("text/plain"), Err(ProblemKind::WrongType));
        assert_eq!(check_type(&HeaderMap::new(), &[JSON_TYPE]), Ok(()));
    }
}
