//! Sends a file: whole, a part of it, or that it has not changed.

use std::fs::File;
use std::io::{self, SeekFrom};
use std::time::{Duration, UNIX_EPOCH};

use axum::body::{Body, Bytes};
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::types;
use crate::reports::Entry;

/// Read at a time.
const PIECE: usize = 64 * 1024;

/// A file as it was when it was opened.
struct Version {
    tag: String,
    /// In seconds since the Unix epoch, all that HTTP's dates can say.
    seconds: u64,
}

/// A part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    from: u64,
    length: u64,
}

/// What is sent of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    All,
    Part(Part),
    /// It ends before that.
    Beyond,
}

/// Answers with a file.
pub(super) fn send((file, entry): (File, &Entry), asked: &HeaderMap, base: &HeaderMap) -> Response {
    let version = Version::of(entry);
    let mut headers = base.clone();
    let mut put = |name: HeaderName, value: &str| {
        // Numbers, dates and the table's types are fit for a header.
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    put(ETAG, &version.tag);
    put(LAST_MODIFIED, &version.date());
    if version.is_known(asked) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    put(CONTENT_TYPE, types::of(&entry.name).mime);
    put(ACCEPT_RANGES, "bytes");
    let size = entry.size.0;
    let (status, part) = match version.wanted(asked, size) {
        Wanted::All => (StatusCode::OK, Part { from: 0, length: size }),
        Wanted::Part(part) => {
            let last = part.from + part.length.saturating_sub(1);
            put(CONTENT_RANGE, &format!("bytes {}-{last}/{size}", part.from));
            (StatusCode::PARTIAL_CONTENT, part)
        }
        Wanted::Beyond => {
            put(CONTENT_RANGE, &format!("bytes */{size}"));
            return (StatusCode::RANGE_NOT_SATISFIABLE, headers).into_response();
        }
    };
    put(CONTENT_LENGTH, &part.length.to_string());
    (status, headers, body(file, part)).into_response()
}

/// The bytes of a part, as they are read; an error or a file that became shorter breaks off.
fn body(file: File, part: Part) -> Body {
    struct Reading {
        file: tokio::fs::File,
        part: Part,
        has_begun: bool,
    }
    async fn next(mut it: Reading) -> io::Result<Option<(Bytes, Reading)>> {
        if it.part.length == 0 {
            return Ok(None);
        }
        if !it.has_begun {
            it.file.seek(SeekFrom::Start(it.part.from)).await?;
            it.has_begun = true;
        }
        let most = usize::try_from(it.part.length).unwrap_or(PIECE).min(PIECE);
        let mut piece = vec![0; most];
        let length = it.file.read(&mut piece).await?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        piece.truncate(length);
        it.part.length -= length as u64;
        Ok(Some((Bytes::from(piece), it)))
    }
    let reading = Reading { file: tokio::fs::File::from_std(file), part, has_begun: false };
    Body::from_stream(stream::try_unfold(reading, next))
}

impl Version {
    fn of(entry: &Entry) -> Self {
        let tag = format!("\"{:x}-{:x}\"", entry.modified_ns, entry.size.0);
        let seconds = u64::try_from(entry.modified_ns / 1_000_000_000).unwrap_or(u64::MAX);
        Self { tag, seconds }
    }

    fn date(&self) -> String {
        // HTTP's dates end with the year 9999.
        const LAST: u64 = 253_402_300_799;
        httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(self.seconds.min(LAST)))
    }

    /// Whether the client has it already (RFC 9110, 13.2.2: the tag counts before the date).
    fn is_known(&self, asked: &HeaderMap) -> bool {
        if let Some(tags) = text(asked, &IF_NONE_MATCH) {
            let mut tags = tags.split(',').map(str::trim);
            return tags.any(|tag| tag == "*" || tag.trim_start_matches("W/") == self.tag);
        }
        text(asked, &IF_MODIFIED_SINCE).and_then(seconds).is_some_and(|at| self.seconds <= at)
    }

    /// One range is answered; several, and what is no range, with the whole (RFC 9110, 14.2).
    fn wanted(&self, asked: &HeaderMap, size: u64) -> Wanted {
        let is_of_this = match text(asked, &IF_RANGE) {
            Some(version) => version == self.tag || seconds(version) == Some(self.seconds),
            None => true,
        };
        let range = text(asked, &RANGE).filter(|_| is_of_this);
        let Some(Ok(ranges)) = range.map(http_range_header::parse_range_header) else {
            return Wanted::All;
        };
        match ranges.validate(size).as_deref() {
            Ok([range]) => {
                let length = (range.end() - range.start()).saturating_add(1);
                Wanted::Part(Part { from: *range.start(), length })
            }
            Ok(_) => Wanted::All,
            Err(_) => Wanted::Beyond,
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn seconds(date: &str) -> Option<u64> {
    let at = httpdate::parse_http_date(date).ok()?;
    at.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}
