//! The HTTP API: what clients may ask of a running supervisor, on a unix socket and on a port.
//!
//! Handlers translate; they decide nothing. Everything goes through the [`Handle`] of the loop,
//! except for files: working folders come in and job logs go out without passing the loop.
//! Errors are `application/problem+json` with the words that the CLI prints.
//! Every route stands in `routes`, with who may use it ([`access`]); what crosses the wire beside
//! the view types is in [`dto`].

pub mod access;
mod ask;
pub mod changes;
mod control;
mod dashboard;
pub mod dispatch;
pub mod doctor;
pub mod door;
pub mod dto;
mod etag;
pub mod explain;
mod extract;
mod fleet;
mod follow;
mod forges;
mod jobs;
pub mod listen;
mod live;
pub mod logs;
mod metrics;
pub mod openapi;
mod page;
pub mod peer;
pub mod port;
mod post_mortems;
pub mod problem;
pub mod record;
pub mod report_site;
pub mod reports;
mod routes;
pub mod runners_file;
mod seats;
mod serve;
mod sight;
pub mod socket;
pub mod spec_one;
mod stream;
pub mod tasks;
pub mod tokens;
mod uploads;
mod usage;
pub mod words;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tokio::sync::{MutexGuard, Semaphore};

use crate::post_mortems::PostMortems;
use crate::reports::Runs;
use crate::state_dir::StateDir;
use crate::supervisor::handle::Handle;
use crate::units::Time;
use problem::{Problem, ProblemKind};

/// Most open streams (`logs -f`, `run`, `events -f`, `up`) at a time; each costs a task and a file.
pub const FOLLOWERS_MAX: usize = 512;
/// Most requests in work at a time; more than this on one host is a client gone wild.
const REQUESTS_MAX: usize = 1024;
/// How long the loop may take to answer before a client is told so.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// What the handlers need.
pub struct Api {
    handle: Handle,
    state: StateDir,
    logs: Arc<dyn logs::JobLogs>,
    followers: Arc<Semaphore>,
    requests: Semaphore,
    usage: usage::HostUsage,
    kept: PostMortems,
    tokens: tokens::Tokens,
    /// Made while somebody follows the fleet.
    looks: Mutex<live::Looks>,
    /// Where it is reached beside the socket: `http://127.0.0.1:7373`.
    origin: Mutex<Option<String>>,
    door: tokio::sync::Mutex<door::Door>,
    runs: Runs,
    walks: Semaphore,
}

impl Api {
    /// An API over a loop, its state folder, the logs of its jobs and a clock.
    #[must_use]
    pub fn new(
        handle: Handle,
        state: StateDir,
        logs: Arc<dyn logs::JobLogs>,
        clock: Arc<dyn Fn() -> Time + Send + Sync>,
    ) -> Arc<Self> {
        Arc::new(Self {
            tokens: tokens::Tokens::new(&state, clock),
            looks: Mutex::default(),
            origin: Mutex::default(),
            door: tokio::sync::Mutex::default(),
            kept: PostMortems::new(&state),
            handle,
            state,
            logs,
            followers: Arc::new(Semaphore::new(FOLLOWERS_MAX)),
            requests: Semaphore::new(REQUESTS_MAX),
            usage: usage::HostUsage::new(),
            runs: Runs::default(),
            walks: Semaphore::new(report_site::WALKS_MAX),
        })
    }

    /// Every route, each behind its gate.
    pub fn router(self: &Arc<Self>) -> Router {
        routes::router()
            .fallback(no_such_route)
            .method_not_allowed_fallback(wrong_method)
            .layer(middleware::from_fn_with_state(Arc::clone(self), access::identify))
            .layer(middleware::from_fn_with_state(Arc::clone(self), bound_requests))
            .with_state(Arc::clone(self))
    }

    /// Where the API is reached beside its socket; held while that changes.
    pub async fn door(&self) -> MutexGuard<'_, door::Door> {
        self.door.lock().await
    }

    /// Says where the API is reached beside the socket, for those who ask.
    pub fn reached_at(&self, origin: Option<String>) {
        *self.origin.lock().unwrap_or_else(PoisonError::into_inner) = origin;
    }
}

async fn no_such_route(request: Request) -> Problem {
    let path = request.uri().path();
    Problem::new(ProblemKind::NotFound, format!("there is no `{path}` in this API"))
}

async fn wrong_method(request: Request) -> Problem {
    let (method, path) = (request.method(), request.uri().path());
    Problem::new(ProblemKind::WrongMethod, format!("`{path}` does not take {method}"))
}

/// Refuses requests beyond the bound at once: waiting would only hide the flood.
async fn bound_requests(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    match api.requests.try_acquire() {
        Ok(_permit) => next.run(request).await,
        Err(_) => Problem::new(
            ProblemKind::Busy,
            format!("{REQUESTS_MAX} requests are in work already; try again later"),
        )
        .into_response(),
    }
}
