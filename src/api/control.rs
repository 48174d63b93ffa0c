//! Changing the fleet over HTTP.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use tokio::task::spawn_blocking;

use super::Api;
use super::dto::{Accepted, ApplyQuery, CordonBody, DownBody, PauseBody, RestartBody, ScaleBody};
use super::extract::{JsonBody, Params};
use super::peer::By;
use super::problem::{Problem, ProblemKind};
use super::sight::Sight;
use crate::fleet::audit::Client;
use crate::fleet::event::{Request, ScaleRequest, ScaleTarget};
use crate::fleet::view::PlanView;
use crate::spec::{Proposed, Spec};
use crate::supervisor::gc::{GcOrder, GcReport};
use crate::supervisor::handle::Query;

/// What is set for longer than a year is meant for ever, which needs no time.
const SCALE_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

type Answered = Result<Json<Accepted>, Problem>;

pub(super) async fn spec(State(api): State<Arc<Api>>, sight: Sight) -> Result<Json<Spec>, Problem> {
    Ok(Json(sight.spec(api.ask(Query::Spec).await?)))
}

/// A spec that may be used; nobody else's requests wait while a large one is looked through.
async fn checked(proposed: Proposed) -> Result<Spec, Problem> {
    let checked = spawn_blocking(move || proposed.check()).await.map_err(|error| {
        Problem::new(ProblemKind::Internal, format!("the spec could not be checked: {error}"))
    })?;
    checked.map_err(|wrong| {
        let mut problem = Problem::new(ProblemKind::Invalid, wrong.to_string());
        problem.reasons = wrong.findings;
        problem
    })
}

pub(super) async fn apply(
    State(api): State<Arc<Api>>,
    By(by): By,
    Params(ApplyQuery { listen }): Params<ApplyQuery>,
    JsonBody(proposed): JsonBody<Proposed>,
) -> Answered {
    let spec = checked(proposed).await?;
    // Held until the spec is in force: the last one of two says where the API is reached.
    let mut door = api.door().await;
    let turn = door.take(listen.map(|it| it.to_string()), &spec.api).await?;
    let accepted = api.accept(by, Request::Apply(Box::new(spec))).await?;
    door.turn(&api, turn);
    Ok(accepted)
}

pub(super) async fn plan(
    State(api): State<Arc<Api>>,
    JsonBody(proposed): JsonBody<Proposed>,
) -> Result<Json<PlanView>, Problem> {
    let spec = Box::new(checked(proposed).await?);
    Ok(Json(api.ask(|reply| Query::Plan(spec, reply)).await?))
}

pub(super) async fn scale(
    State(api): State<Arc<Api>>,
    By(by): By,
    JsonBody(body): JsonBody<ScaleBody>,
) -> Answered {
    api.accept(by, Request::Scale(body.request()?)).await
}

pub(super) async fn down(
    State(api): State<Arc<Api>>,
    By(by): By,
    JsonBody(DownBody { mode }): JsonBody<DownBody>,
) -> Answered {
    api.accept(by, Request::Down(mode)).await
}

pub(super) async fn cordon(
    State(api): State<Arc<Api>>,
    By(by): By,
    JsonBody(CordonBody { runners, gpus, to }): JsonBody<CordonBody>,
) -> Answered {
    match (runners.is_empty(), gpus.is_empty()) {
        (true, false) => api.accept(by, Request::CordonCards { cards: gpus, to }).await,
        (false, false) => {
            let message = "name either `runners` or `gpus`, in a request each";
            Err(Problem::new(ProblemKind::Invalid, message))
        }
        (_, true) => {
            let slots = api.slots(named(&runners)?).await?;
            api.accept(by, Request::Cordon { slots, to }).await
        }
    }
}

pub(super) async fn pause(
    State(api): State<Arc<Api>>,
    By(by): By,
    JsonBody(PauseBody { pools, to }): JsonBody<PauseBody>,
) -> Answered {
    api.accept(by, Request::Pause { pools: pools.into_iter().collect(), to }).await
}

pub(super) async fn restart(
    State(api): State<Arc<Api>>,
    By(by): By,
    JsonBody(RestartBody { runners, when }): JsonBody<RestartBody>,
) -> Answered {
    let slots = api.slots(named(&runners)?).await?;
    api.accept(by, Request::Restart { slots, when }).await
}

pub(super) async fn gc(
    State(api): State<Arc<Api>>,
    JsonBody(order): JsonBody<GcOrder>,
) -> Result<Json<GcReport>, Problem> {
    Ok(Json(api.ask(|reply| Query::Gc(order, reply)).await?))
}

fn named(runners: &[String]) -> Result<&[String], Problem> {
    match runners.is_empty() {
        true => Err(Problem::new(ProblemKind::Invalid, "`runners` is empty; name at least one")),
        false => Ok(runners),
    }
}

impl ScaleBody {
    fn request(self) -> Result<ScaleRequest, Problem> {
        let target = match (self.total, self.pools) {
            (Some(total), None) => ScaleTarget::Total(total),
            (None, Some(pools)) => ScaleTarget::Pools(pools),
            (Some(_), Some(_)) | (None, None) => {
                let message = "give `total`, or `pools` with a number for each";
                return Err(Problem::new(ProblemKind::Invalid, message));
            }
        };
        let lasting = self.for_seconds.map(Duration::from_secs);
        if lasting.is_some_and(|lasting| lasting.is_zero() || lasting > SCALE_MAX) {
            let message = "`for_seconds` is a number from 1 to 31536000, which is a year";
            return Err(Problem::new(ProblemKind::Invalid, message));
        }
        Ok(ScaleRequest { target, lasting })
    }
}

impl Api {
    /// Asks the loop for a change that has no more to answer than that it is made.
    pub(super) async fn accept(&self, by: Client, request: Request) -> Answered {
        self.change(by, request).await?;
        Ok(Json(Accepted::Accepted))
    }
}
