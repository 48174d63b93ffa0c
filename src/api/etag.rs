//! Answers that their caller has already are not sent again: `ETag` and `If-None-Match`
//! (RFC 9110, section 13.1.2).

use axum::Json;
use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::Request;
use axum::http::header::{ETAG, HeaderValue, IF_NONE_MATCH};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde::Serialize;

use super::problem::{Problem, ProblemKind};

/// Bytes of a hash that tell two answers of one route apart.
const TAG: usize = 16;

/// Tags what a route answers, and leaves out what the caller has. Only for routes whose answers are
/// made whole before they are sent.
pub(super) async fn tag(request: Request, next: Next) -> Response {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let known = request.headers().get(IF_NONE_MATCH).cloned();
    let response = next.run(request).await;
    // What goes on has no length, and no end to be known by.
    let is_whole = response.body().size_hint().exact().is_some();
    if !is_read || !is_whole || response.status() != StatusCode::OK {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        return Problem::new(ProblemKind::Internal, "the answer broke off").into_response();
    };
    let own = head.headers.get(ETAG).and_then(|own| own.to_str().ok().map(str::to_owned));
    let tag = own.unwrap_or_else(|| format!("\"{}\"", hash(&bytes)));
    let is_known = known.is_some_and(|known| names(&known, &tag));
    if let Ok(value) = HeaderValue::from_str(&tag) {
        head.headers.insert(ETAG, value);
    }
    match is_known {
        false => Response::from_parts(head, Body::from(bytes)),
        true => {
            head.status = StatusCode::NOT_MODIFIED;
            head.headers.remove(axum::http::header::CONTENT_TYPE);
            head.headers.remove(axum::http::header::CONTENT_LENGTH);
            Response::from_parts(head, Body::empty())
        }
    }
}

fn hash(bytes: &[u8]) -> String {
    let hash = digest(&SHA256, bytes);
    URL_SAFE_NO_PAD.encode(hash.as_ref().get(..TAG).unwrap_or_default())
}

/// An answer with a tag of its own: weak, made of what is said in it that matters.
pub(super) fn tagged_by<T: Serialize>(answer: &T, matters: impl FnOnce(&T) -> T) -> Response {
    let json = serde_json::to_vec(&matters(answer)).unwrap_or_default();
    ([(ETAG, format!("W/\"{}\"", hash(&json)))], Json(answer)).into_response()
}

/// Whether a header names a tag; a weak one is as good here.
fn names(header: &HeaderValue, tag: &str) -> bool {
    let Ok(text) = header.to_str() else { return false };
    let bare = |it: &str| it.trim_start_matches("W/").to_owned();
    text.split(',').map(str::trim).any(|it| it == "*" || bare(it) == bare(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_among_others_weak_or_not() {
        let found = |text: &str| names(&text.parse().expect("a header"), "\"abc\"");
        for text in ["\"abc\"", "W/\"abc\"", "\"x\", \"abc\"", "*"] {
            assert!(found(text), "{text}");
        }
        assert!(names(&"\"abc\"".parse().expect("a header"), "W/\"abc\""));
        for text in ["", "abc", "\"abcd\"", "\"x\""] {
            assert!(!found(text), "{text}");
        }
    }
}
