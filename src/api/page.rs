//! Lists in pages: the header `Link` names the next one (RFC 8288).

use axum::Json;
use axum::http::Uri;
use axum::http::header::{HeaderValue, LINK};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::problem::{Problem, ProblemKind};
use crate::ids::ParseIdError;

/// A part of a list.
#[derive(Debug)]
pub(super) struct Page<T> {
    items: Vec<T>,
    /// Path and query of the part that follows; none if this may be the last.
    next: Option<String>,
}

impl<T> Page<T> {
    /// A list that has no further pages.
    pub(super) fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
    }

    /// The items that were asked for by `uri`, at most `limit`. `name` is what the next page's
    /// `after` calls the last of them.
    pub(super) fn new(items: Vec<T>, limit: usize, uri: &Uri, name: impl Fn(&T) -> String) -> Self {
        let last = items.last().filter(|_| items.len() == limit);
        let next = last.map(|last| {
            let query = uri.query().unwrap_or_default();
            let others =
                query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("after="));
            let after = format!("after={}", name(last));
            let pairs: Vec<&str> = others.chain([after.as_str()]).collect();
            format!("{}?{}", uri.path(), pairs.join("&"))
        });
        Self { items, next }
    }
}

impl<T: Serialize> IntoResponse for Page<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.items).into_response();
        let link = self.next.map(|next| HeaderValue::try_from(format!("<{next}>; rel=\"next\"")));
        if let Some(Ok(link)) = link {
            response.headers_mut().insert(LINK, link);
        }
        response
    }
}

/// Words separated by commas; none for all.
pub(super) fn words<T>(
    text: Option<&str>,
    parse: impl Fn(&str) -> Result<T, ParseIdError>,
) -> Result<Vec<T>, Problem> {
    let words = text.into_iter().flat_map(|text| text.split(','));
    words
        .map(|word| {
            parse(word).map_err(|error| Problem::new(ProblemKind::Invalid, error.to_string()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_page_names_the_next_one_and_a_short_one_does_not() {
        let next = |items: &[u32], uri: &str| {
            let uri: Uri = uri.parse().expect("a path");
            Page::new(items.to_vec(), 2, &uri, |it| format!("job-{it}")).next
        };
        let expected = "/jobs?limit=2&status=queued&after=job-4";
        let uri = "/jobs?limit=2&after=job-6&status=queued";
        assert_eq!(next(&[5, 4], uri).as_deref(), Some(expected));
        assert_eq!(next(&[5, 4], "/jobs").as_deref(), Some("/jobs?after=job-4"));
        assert_eq!(next(&[5], uri), None);
        assert_eq!(next(&[], uri), None);
    }
}
