//! Reading the fleet: health, readiness, runners, and specification 1's summary.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};

use super::ask::find_runner;
use super::dto::{FleetQuery, Healthy, JSON_LINES_TYPE, RunnerHealth, RunnersQuery, StatsQuery};
use super::etag;
use super::extract::{Params, Step};
use super::live::Following;
use super::page::{Page, words};
use super::problem::{Problem, ProblemKind};
use super::spec_one::RunnersSummary;
use super::words::{parse_runner_status, runner_status};
use super::{Api, stream};
use crate::fleet::stats::StatsView;
use crate::fleet::view::{FleetPhase, FleetView, GpusView, RunnerView};
use crate::ids::{ParseIdError, SlotId};
use crate::supervisor::handle::Query;
use crate::supervisor::usage::UsageReport;
use crate::units::Time;

/// A loop that needs longer than this for a look at itself is not healthy.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) async fn healthz(State(api): State<Arc<Api>>) -> Result<Json<Healthy>, Problem> {
    api.ask_within(HEALTH_TIMEOUT, Query::Fleet).await?;
    Ok(Json(Healthy::Ok))
}

pub(super) async fn readyz(State(api): State<Arc<Api>>) -> Result<Json<Healthy>, Problem> {
    let fleet = api.ask_within(HEALTH_TIMEOUT, Query::Fleet).await?;
    let detail = match fleet.phase {
        FleetPhase::Ready => return Ok(Json(Healthy::Ready)),
        FleetPhase::Starting => "the supervisor has not seen the engine's containers yet",
        FleetPhase::Converging => "the fleet is not as the file says yet",
        FleetPhase::GoingDown => "the fleet is going down",
    };
    let mut problem = Problem::new(ProblemKind::Unavailable, detail);
    problem.reasons = reasons(&fleet);
    Err(problem)
}

/// What stands between the fleet and readiness: its troubles, then each runner that is not ready.
#[must_use]
fn reasons(fleet: &FleetView) -> Vec<String> {
    let waiting = fleet.runners.iter().filter(|runner| !runner.status.is_serving());
    let waiting = waiting.map(|runner| {
        let why = runner.reason.as_deref().unwrap_or_else(|| runner_status(runner.status));
        format!("{}: {why}", runner.name)
    });
    fleet.troubles.iter().cloned().chain(waiting).collect()
}

pub(super) async fn fleet(
    State(api): State<Arc<Api>>,
    Params(FleetQuery { follow }): Params<FleetQuery>,
) -> Result<Response, Problem> {
    match follow {
        false => Ok(etag::tagged_by(&*api.fleet_view().await?, without_clock)),
        true => follow_fleet(api).await,
    }
}

async fn follow_fleet(api: Arc<Api>) -> Result<Response, Problem> {
    let permit = stream::follower(&api)?;
    let (out, body) = stream::body();
    let fleet = api.follow().await?;
    tokio::spawn(async move {
        // Why it ended is for nobody: the client left, or the supervisor goes.
        let _ended = send_views(fleet, &out).await;
        drop(permit);
    });
    Ok(([(header::CONTENT_TYPE, JSON_LINES_TYPE)], Body::from_stream(body)).into_response())
}

async fn send_views(mut fleet: Following, out: &stream::Out) -> Result<(), stream::Ended> {
    loop {
        stream::send(out, [&*fleet.known.whole(), b"\n"].concat()).await?;
        while fleet.take().is_none() {
            tokio::select! {
                look = fleet.changed() => look.map_err(|_| stream::Ended)?,
                () = out.closed() => return Err(stream::Ended),
            }
        }
    }
}

/// What of a fleet is no clock: the moment of the view, and when each runner was heard.
fn without_clock(fleet: &FleetView) -> FleetView {
    let mut fleet = FleetView { at: Time(0), ..fleet.clone() };
    fleet.runners.iter_mut().for_each(|runner| runner.heard = None);
    fleet
}

pub(super) async fn gpus(State(api): State<Arc<Api>>) -> Result<Json<GpusView>, Problem> {
    Ok(Json(api.fleet_view().await?.gpus.clone()))
}

/// What runners use of processor and memory, read while somebody asks.
pub(super) async fn usage(State(api): State<Arc<Api>>) -> Result<Json<UsageReport>, Problem> {
    Ok(Json(api.ask(Query::Usage).await?))
}

/// What became of the jobs that ended lately: how many, how soon, whose fault.
pub(super) async fn stats(
    State(api): State<Arc<Api>>,
    Params(StatsQuery { since }): Params<StatsQuery>,
) -> Result<Json<StatsView>, Problem> {
    Ok(Json(api.ask(|reply| Query::Stats(since, reply)).await?))
}

/// Runners by id, all of them unless something else is asked for.
pub(super) async fn runners(
    State(api): State<Arc<Api>>,
    uri: Uri,
    Params(wanted): Params<RunnersQuery>,
) -> Result<Page<RunnerView>, Problem> {
    let statuses = words(wanted.status.as_deref(), parse_runner_status)?;
    let after = wanted.after.as_deref().map(parse_slot).transpose()?;
    let is_wanted = |runner: &RunnerView| {
        (statuses.is_empty() || statuses.contains(&runner.status))
            && wanted.pool.as_ref().is_none_or(|pool| *pool == runner.pool)
            && wanted.profile.as_ref().is_none_or(|profile| *profile == runner.profile)
            && after.is_none_or(|after| runner.id > after)
    };
    let limit = wanted.limit.unwrap_or(usize::MAX);
    let fleet = api.fleet_view().await?;
    let runners = fleet.runners.iter().filter(|runner| is_wanted(runner));
    let runners: Vec<RunnerView> = runners.take(limit).cloned().collect();
    Ok(Page::new(runners, limit, &uri, |runner| runner.id.to_string()))
}

fn parse_slot(text: &str) -> Result<SlotId, Problem> {
    text.parse()
        .map_err(|error: ParseIdError| Problem::new(ProblemKind::Invalid, error.to_string()))
}

pub(super) async fn runner(
    State(api): State<Arc<Api>>,
    Step(name): Step,
) -> Result<Json<RunnerView>, Problem> {
    let fleet = api.fleet_view().await?;
    find_runner(&fleet, &name).cloned().map(Json)
}

pub(super) async fn runner_health(
    State(api): State<Arc<Api>>,
    Step(name): Step,
) -> Result<Json<RunnerHealth>, Problem> {
    let fleet = api.fleet_view().await?;
    let runner = find_runner(&fleet, &name)?;
    Ok(Json(RunnerHealth {
        id: runner.id,
        name: runner.name.clone(),
        health: runner.health,
        reason: runner.reason.clone(),
    }))
}

pub(super) async fn specification_one(
    State(api): State<Arc<Api>>,
) -> Result<Json<RunnersSummary>, Problem> {
    let fleet = api.fleet_view().await?;
    Ok(Json(RunnersSummary::of(&fleet, &api.usage)))
}
