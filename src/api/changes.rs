//! `GET /api/v1/stream`: the fleet, and then only what changes in it, as server-sent events.
//!
//! A follower gets the whole fleet first, then the runners that changed, and, with a token, the
//! audit log. One that was cut off names the last entry that it has, and misses none; or no more
//! than it wants to be told.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::Api;
use super::access::{Asker, Role};
use super::extract::Params;
use super::live::Following;
use super::problem::{Problem, ProblemKind};
use super::stream::{Ended, Out, body, follower, send};
use crate::supervisor::handle::{AuditFilter, Query};

/// Content type of server-sent events.
pub const EVENT_STREAM_TYPE: &str = "text/event-stream";

/// After this long without a change a comment is sent: whoever hears nothing knows that the
/// connection is lost. Tokens are looked at as often.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Entries that a new follower gets.
const ENTRIES_FIRST: usize = 50;
/// Most entries read from the record at a time.
const ENTRIES_MAX: usize = 1000;

/// Query of `GET /api/v1/stream`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamQuery {
    /// At most this many entries of the time before, the newest ones, up to 1000.
    pub entries: Option<usize>,
}

pub(super) async fn stream(
    State(api): State<Arc<Api>>,
    Extension(asker): Extension<Asker>,
    Params(StreamQuery { entries }): Params<StreamQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let after = headers.get("last-event-id").map(last_event).transpose()?;
    let permit = follower(&api)?;
    let fleet = api.follow().await?;
    let (out, chunks) = body();
    tokio::spawn(async move {
        let follower = Follower { api: &api, asker: &asker, out: &out };
        // Why it ended is for nobody: the client left, or the supervisor goes.
        let _ended = follower.run(fleet, (after, entries)).await;
        drop(permit);
    });
    let head = [
        (header::CONTENT_TYPE, EVENT_STREAM_TYPE),
        // A proxy in between must not collect events.
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((head, Body::from_stream(chunks)).into_response())
}

fn last_event(value: &HeaderValue) -> Result<u64, Problem> {
    let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    number.ok_or_else(|| {
        let detail = "`Last-Event-ID` is the number of an entry of the audit log, such as 42";
        Problem::new(ProblemKind::Invalid, detail)
    })
}

/// One client that follows the fleet.
struct Follower<'a> {
    api: &'a Api,
    asker: &'a Asker,
    out: &'a Out,
}

impl Follower<'_> {
    /// Until the client leaves, its token is no good any more, or the supervisor goes.
    async fn run(
        &self,
        mut fleet: Following,
        (after, most): (Option<u64>, Option<usize>),
    ) -> Result<(), Ended> {
        self.tell("fleet", None, &fleet.known.whole()).await?;
        let mut entries = self.begin(after, most).await?;
        let mut alive_until = Instant::now() + HEARTBEAT;
        loop {
            if let Some(change) = fleet.take() {
                self.tell("change", None, &change).await?;
            }
            self.entries(&mut entries).await?;
            if Instant::now() >= alive_until {
                self.check_token()?;
                send(self.out, ": alive\n\n").await?;
                alive_until = Instant::now() + HEARTBEAT;
            }
            // When nothing happens for a while, that is told.
            if let Ok(news) = timeout_at(alive_until, self.news(&mut fleet)).await {
                news?;
            }
        }
    }

    /// Waits until something may be new in the fleet or on record.
    async fn news(&self, fleet: &mut Following) -> Result<(), Ended> {
        tokio::select! {
            look = fleet.changed() => look.map_err(|_| Ended),
            () = self.out.closed() => Err(Ended),
        }
    }

    /// Where a follower's entries begin: behind the last one that it has, else with the newest
    /// few. `most` bounds what it is told of the time before.
    async fn begin(&self, after: Option<u64>, most: Option<usize>) -> Result<AuditFilter, Ended> {
        let limit = most.unwrap_or(ENTRIES_FIRST).clamp(1, ENTRIES_MAX);
        let newest = AuditFilter { after: 0, limit };
        let Some(after) = after else { return Ok(newest) };
        let last = AuditFilter { after: 0, limit: 1 };
        let last = self.api.ask(|reply| Query::Audit(last, reply)).await.map_err(|_| Ended)?;
        let last = last.last().map_or(0, |entry| entry.seq);
        // A number that this record has not reached is of another one, whose state is gone.
        let is_of_another = after > last;
        let is_too_far = most.is_some_and(|_| last.saturating_sub(after) > limit as u64);
        Ok(match is_of_another || is_too_far {
            true => newest,
            false => AuditFilter { after, limit: ENTRIES_MAX },
        })
    }

    /// Tells what has happened since, to those who may know.
    async fn entries(&self, filter: &mut AuditFilter) -> Result<(), Ended> {
        if self.asker.role < Some(Role::Viewer) {
            return Ok(());
        }
        loop {
            let wanted = filter.clone();
            let found = self.api.ask(|reply| Query::Audit(wanted, reply)).await;
            let found = found.map_err(|_| Ended)?;
            for entry in &found {
                let told = serde_json::to_vec(entry).map_err(|_| Ended)?;
                self.tell("audit", Some(entry.seq), &told).await?;
                filter.after = entry.seq;
            }
            let is_all = found.len() < ENTRIES_MAX;
            filter.limit = ENTRIES_MAX;
            if is_all {
                return Ok(());
            }
        }
    }

    /// Ends the stream of a token that was revoked or has ended since.
    fn check_token(&self) -> Result<(), Ended> {
        let Some(token) = &self.asker.token else { return Ok(()) };
        let valid = self.api.tokens.list().map_err(|_| Ended)?;
        valid.iter().any(|it| it.id == token.id).then_some(()).ok_or(Ended)
    }

    /// Tells JSON, which has no line break in it.
    async fn tell(&self, event: &str, id: Option<u64>, json: &[u8]) -> Result<(), Ended> {
        let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
        let head = format!("{id}event: {event}\ndata: ");
        send(self.out, [head.as_bytes(), json, b"\n\n"].concat()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_event_is_a_number() {
        assert_eq!(last_event(&HeaderValue::from_static("42")).expect("a number"), 42);
        assert!(last_event(&HeaderValue::from_static("x")).is_err());
    }
}
