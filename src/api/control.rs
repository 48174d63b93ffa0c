//! Changing the fleet over HTTP.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;

use super::Api;
use super::dto::{Accepted, CordonBody, DownBody, RestartBody};
use super::extract::json;
use super::problem::{Problem, ProblemKind};
use crate::fleet::event::{Request, ScaleTarget};
use crate::fleet::view::PlanView;
use crate::spec::Spec;
use crate::supervisor::handle::Query;

type Answered = Result<Json<Accepted>, Problem>;

pub(super) async fn spec(State(api): State<Arc<Api>>) -> Result<Json<Spec>, Problem> {
    Ok(Json(api.ask(Query::Spec).await?))
}

pub(super) async fn apply(State(api): State<Arc<Api>>, body: Body) -> Answered {
    let spec = json::<Spec>(body).await?;
    api.accept(Request::Apply(Box::new(spec))).await
}

pub(super) async fn plan(
    State(api): State<Arc<Api>>,
    body: Body,
) -> Result<Json<PlanView>, Problem> {
    let spec = Box::new(json::<Spec>(body).await?);
    Ok(Json(api.ask(|reply| Query::Plan(spec, reply)).await?))
}

pub(super) async fn scale(State(api): State<Arc<Api>>, body: Body) -> Answered {
    let target = json::<ScaleTarget>(body).await?;
    api.accept(Request::Scale(target)).await
}

pub(super) async fn down(State(api): State<Arc<Api>>, body: Body) -> Answered {
    let DownBody { mode } = json(body).await?;
    api.accept(Request::Down(mode)).await
}

pub(super) async fn cordon(State(api): State<Arc<Api>>, body: Body) -> Answered {
    let CordonBody { runners, to } = json(body).await?;
    let slots = api.slots(named(&runners)?).await?;
    api.accept(Request::Cordon { slots, to }).await
}

pub(super) async fn restart(State(api): State<Arc<Api>>, body: Body) -> Answered {
    let RestartBody { runners } = json(body).await?;
    let slots = api.slots(named(&runners)?).await?;
    api.accept(Request::Restart { slots }).await
}

fn named(runners: &[String]) -> Result<&[String], Problem> {
    match runners.is_empty() {
        true => Err(Problem::new(ProblemKind::Invalid, "`runners` is empty; name at least one")),
        false => Ok(runners),
    }
}

impl Api {
    async fn accept(&self, request: Request) -> Answered {
        self.change(request).await?;
        Ok(Json(Accepted::Accepted))
    }
}
