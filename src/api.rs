//! The HTTP API: what clients may ask of a running supervisor, on a unix socket.
//!
//! Handlers translate; they decide nothing. Everything goes through the [`Handle`] of the loop,
//! except for files: working folders come in and job logs go out without passing the loop.
//! Errors are `application/problem+json` with the words that the CLI prints.
//! Start with [`Api::router`]; what crosses the wire beside the view types is in [`dto`].

mod ask;
mod control;
mod dashboard;
pub mod dispatch;
pub mod doctor;
pub mod dto;
pub mod explain;
mod extract;
mod fleet;
mod follow;
mod forges;
mod jobs;
pub mod listen;
pub mod logs;
pub mod peer;
mod post_mortems;
pub mod problem;
pub mod record;
pub mod runners_file;
mod seats;
pub mod socket;
pub mod spec_one;
mod stream;
pub mod tasks;
mod uploads;
mod usage;
pub mod words;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::sync::Semaphore;

use crate::post_mortems::PostMortems;
use crate::state_dir::StateDir;
use crate::supervisor::handle::Handle;
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
}

impl Api {
    /// An API over a loop, its state folder and the logs of its jobs.
    #[must_use]
    pub fn new(handle: Handle, state: StateDir, logs: Arc<dyn logs::JobLogs>) -> Arc<Self> {
        Arc::new(Self {
            kept: PostMortems::new(&state),
            handle,
            state,
            logs,
            followers: Arc::new(Semaphore::new(FOLLOWERS_MAX)),
            requests: Semaphore::new(REQUESTS_MAX),
            usage: usage::HostUsage::new(),
        })
    }

    /// Every route: what the owner of the socket may do.
    pub fn router(self: &Arc<Self>) -> Router {
        self.finish(Self::public_routes().merge(Self::owner_routes()))
    }

    /// What may be read without being the owner: no job's command, environment or output.
    pub fn public_router(self: &Arc<Self>) -> Router {
        self.finish(Self::public_routes())
    }

    fn public_routes() -> Router<Arc<Self>> {
        Router::new()
            .route("/", get(dashboard::page))
            .route("/dashboard/{file}", get(dashboard::file))
            .route("/healthz", get(fleet::healthz))
            .route("/readyz", get(fleet::readyz))
            .route("/api/runners", get(fleet::specification_one))
            .route("/api/v1/fleet", get(fleet::fleet))
            .route("/api/v1/gpus", get(fleet::gpus))
            .route("/api/v1/forges", get(forges::forges))
            .route("/api/v1/runners", get(fleet::runners))
            .route("/api/v1/runners/{name}", get(fleet::runner))
            .route("/api/v1/runners/{name}/health", get(fleet::runner_health))
    }

    fn owner_routes() -> Router<Arc<Self>> {
        Router::new()
            .route("/api/v1/jobs", get(jobs::list).post(jobs::submit))
            .route("/api/v1/jobs/batch", post(jobs::submit_all))
            .route("/api/v1/jobs/{id}", get(jobs::show))
            .route("/api/v1/jobs/{id}/cancel", post(jobs::cancel))
            .route("/api/v1/jobs/{id}/logs", get(stream::job_logs))
            .route("/api/v1/jobs/{id}/post-mortems", get(post_mortems::of_job))
            .route("/api/v1/runners/{name}/post-mortems", get(post_mortems::of_runner))
            .route("/api/v1/forge/jobs", get(forges::jobs))
            .route("/api/v1/forge/runs/{run}", get(forges::run))
            .route("/api/v1/dispatch", post(forges::dispatch))
            .route("/api/v1/assign", post(tasks::assign))
            .route("/api/v1/complete", post(tasks::complete))
            .route("/api/v1/explain/{name}", get(explain::explain))
            .route("/api/v1/run", post(stream::run))
            .route("/api/v1/blobs", post(uploads::upload))
            .route("/api/v1/spec", get(control::spec).put(control::apply))
            .route("/api/v1/plan", post(control::plan))
            .route("/api/v1/scale", post(control::scale))
            .route("/api/v1/down", post(control::down))
            .route("/api/v1/cordon", post(control::cordon))
            .route("/api/v1/restart", post(control::restart))
            .route("/api/v1/gc", post(control::gc))
            .route("/api/v1/doctor", get(doctor::doctor))
            .route("/api/v1/events", get(stream::events))
    }

    fn finish(self: &Arc<Self>, routes: Router<Arc<Self>>) -> Router {
        routes
            .fallback(no_such_route)
            .method_not_allowed_fallback(wrong_method)
            .layer(middleware::from_fn_with_state(Arc::clone(self), bound_requests))
            .with_state(Arc::clone(self))
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
