//! Answers that go on: job output, the record of events, and `run`, which is both in one.
//!
//! Each stream is one task that writes into a short queue. The queue is the back-pressure: a slow
//! client slows its own task and nothing else. A task ends when its client leaves, when the thing
//! followed ends, or when the supervisor goes.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, stream};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use super::ask::parse_job;
use super::dto::{EventsQuery, JOB_HEADER, JSON_LINES_TYPE, LOG_TYPE, LogsQuery, SubmitBody};
use super::extract::{JsonBody, Params, Step};
use super::follow::{JobFollower, Telling};
use super::logs::Follow;
use super::peer::By;
use super::problem::{Problem, ProblemKind};
use super::sight::Sight;
use super::{Api, FOLLOWERS_MAX};
use crate::supervisor::handle::{AuditFilter, Query};

/// Chunks that may wait for a slow client.
const QUEUE: usize = 8;
/// Entries listed when no limit is given.
const EVENTS_DEFAULT: usize = 100;
/// Most entries read from the record at a time.
const EVENTS_MAX: usize = 1000;

/// A stream has ended: its client left, or what it follows is over.
#[derive(Debug)]
pub(super) struct Ended;

/// The sending end of a streamed body.
pub(super) type Out = mpsc::Sender<Result<Bytes, Infallible>>;

/// A streamed body and its sending end.
pub(super) fn body() -> (Out, impl Stream<Item = Result<Bytes, Infallible>>) {
    let (out, chunks) = mpsc::channel(QUEUE);
    let chunks = stream::unfold(chunks, |mut chunks: mpsc::Receiver<_>| async move {
        chunks.recv().await.map(|chunk| (chunk, chunks))
    });
    (out, chunks)
}

/// A place among the bounded followers.
pub(super) fn follower(api: &Api) -> Result<OwnedSemaphorePermit, Problem> {
    Arc::clone(&api.followers).try_acquire_owned().map_err(|_| {
        Problem::new(
            ProblemKind::Busy,
            format!("{FOLLOWERS_MAX} streams are open already; end some, or ask without following"),
        )
    })
}

pub(super) async fn send(out: &Out, bytes: impl Into<Bytes>) -> Result<(), Ended> {
    out.send(Ok(bytes.into())).await.map_err(|_| Ended)
}

pub(super) async fn send_line(out: &Out, value: &impl Serialize) -> Result<(), Ended> {
    let mut line = serde_json::to_vec(value).map_err(|_| Ended)?;
    line.push(b'\n');
    send(out, line).await
}

/// Waits for a step of the loop; ends when the loop or the client does.
pub(super) async fn step_or_left(steps: &mut watch::Receiver<u64>, out: &Out) -> Result<(), Ended> {
    tokio::select! {
        step = steps.changed() => step.map_err(|_| Ended),
        () = out.closed() => Err(Ended),
    }
}

pub(super) async fn job_logs(
    State(api): State<Arc<Api>>,
    sight: Sight,
    Step(id): Step,
    Params(LogsQuery { follow, from, job: tell }): Params<LogsQuery>,
) -> Result<Response, Problem> {
    let telling = if tell { Telling::OutputAndJob(sight) } else { Telling::Output };
    let job = parse_job(&id)?;
    api.job_view(job).await?;
    let kind = [(header::CONTENT_TYPE, LOG_TYPE)];
    if !follow {
        let chunks = api.logs.read(job, from, Follow::No);
        return Ok((kind, Body::from_stream(chunks)).into_response());
    }
    let permit = follower(&api)?;
    let (out, chunks) = body();
    tokio::spawn(async move {
        JobFollower { api: &api, job, out: &out, telling }.run(from).await;
        drop(permit);
    });
    Ok((kind, Body::from_stream(chunks)).into_response())
}

pub(super) async fn run(
    State(api): State<Arc<Api>>,
    By(by): By,
    sight: Sight,
    JsonBody(body): JsonBody<SubmitBody>,
) -> Result<Response, Problem> {
    let spec = body.into_spec()?;
    let permit = follower(&api)?;
    let job = api.submit(by, spec).await?;
    let (out, chunks) = self::body();
    tokio::spawn(async move {
        let telling = Telling::OutputAndJob(sight);
        JobFollower { api: &api, job, out: &out, telling }.run(0).await;
        drop(permit);
    });
    let head =
        [(header::CONTENT_TYPE.as_str(), LOG_TYPE.to_owned()), (JOB_HEADER, job.to_string())];
    Ok((head, Body::from_stream(chunks)).into_response())
}

pub(super) async fn events(
    State(api): State<Arc<Api>>,
    Params(EventsQuery { after, limit, follow }): Params<EventsQuery>,
) -> Result<Response, Problem> {
    let filter = AuditFilter { after, limit: limit.unwrap_or(EVENTS_DEFAULT).min(EVENTS_MAX) };
    let permit = follower(&api)?;
    let (out, lines) = body();
    tokio::spawn(async move {
        // Why it ended is for nobody: the client left, or the supervisor goes.
        let _ended = send_events(&api, filter, follow.into(), &out).await;
        drop(permit);
    });
    Ok(([(header::CONTENT_TYPE, JSON_LINES_TYPE)], Body::from_stream(lines)).into_response())
}

impl From<bool> for Follow {
    fn from(follow: bool) -> Self {
        match follow {
            true => Self::Yes,
            false => Self::No,
        }
    }
}

async fn send_events(
    api: &Api,
    mut filter: AuditFilter,
    follow: Follow,
    out: &Out,
) -> Result<(), Ended> {
    let mut steps = api.handle.steps();
    loop {
        steps.mark_unchanged();
        let wanted = filter.clone();
        let entries = api.ask(|reply| Query::Audit(wanted, reply)).await.map_err(|_| Ended)?;
        for entry in &entries {
            send_line(out, entry).await?;
            filter.after = entry.seq;
        }
        if follow == Follow::No {
            return Ok(());
        }
        // A full answer may have cut off more; a short one means that all is read.
        if entries.len() < filter.limit {
            step_or_left(&mut steps, out).await?;
        }
        filter.limit = EVENTS_MAX;
    }
}
