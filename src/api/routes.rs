//! Every route of the API, in one table: how it is asked for, who may, what it does, takes and
//! answers. The router and the description are made from it.

mod route;

use std::sync::Arc;

use axum::Router;

use super::dto::{
    Accepted, ApplyQuery, CordonBody, DownBody, EventsQuery, ExplainQuery, FleetQuery,
    ForgeJobsQuery, Healthy, HoldBody, JSON_LINES_TYPE, JobQuery, JobsQuery, LOG_TYPE, LogsQuery,
    PauseBody, PostMortemsQuery, RestartBody, RunnerHealth, RunnersQuery, ScaleBody, StatsQuery,
    SubmitBody, Submitted, SubmittedAll, Uploaded,
};
use super::problem::ProblemKind::{Conflict, Invalid, NoCapacity, NotAllowed, NotFound, NotNow};
use super::spec_one::RunnersSummary;
use super::{
    Api, changes, control, dashboard, dispatch, doctor, explain, fleet, forges, jobs, metrics,
    openapi, post_mortems, reports, stream, tasks, tokens, uploads,
};
use crate::fleet::audit::AuditEntry;
use crate::fleet::forge::{ForgeJobView, ForgeView};
use crate::fleet::stats::StatsView;
use crate::fleet::view::{FleetView, GpusView, JobView, PlanView, RunnerView};
use crate::post_mortems::PostMortem;
use crate::reports::RunDetails;
use crate::spec::{Proposed, Spec};
use crate::supervisor::gc::{GcOrder, GcReport};
use crate::supervisor::usage::UsageReport;

pub(super) use route::Route;

/// All of them.
pub(super) fn all() -> Vec<Route> {
    let parts = [
        open(),
        fleet_routes(),
        runner_routes(),
        why(),
        steering(),
        deciding(),
        job_routes(),
        output(),
        work(),
        forge_routes(),
        access(),
    ];
    parts.into_iter().flatten().collect()
}

/// All of them, each behind its gate.
pub(super) fn router() -> Router<Arc<Api>> {
    all().into_iter().fold(Router::new(), |router, route| route.add_to(router))
}

/// What tells nothing of the fleet.
fn open() -> Vec<Route> {
    vec![
        Route::get("/", dashboard::page)
            .anyone()
            .says("The dashboard's page.")
            .answers_as("text/html"),
        Route::get("/dashboard/{file}", dashboard::file)
            .anyone()
            .says("A file of the dashboard's page.")
            .answers_as("*/*"),
        Route::get("/api/v1/openapi.json", openapi::openapi)
            .anyone()
            .says("This description.")
            .answers::<serde_json::Value>(200),
        Route::get("/healthz", fleet::healthz)
            .anyone()
            .says("Whether the process and its loop answer.")
            .answers::<Healthy>(200),
        Route::get("/readyz", fleet::readyz)
            .anyone()
            .says("Whether every runner is as the fleet file says.")
            .answers::<Healthy>(200),
    ]
}

fn fleet_routes() -> Vec<Route> {
    vec![
        Route::get("/api/runners", fleet::specification_one)
            .local()
            .says("The summary of the multi-runner specification.")
            .answers::<RunnersSummary>(200),
        Route::get("/api/v1/fleet", fleet::fleet)
            .local()
            .says("The whole fleet, once or whenever it changes.")
            .query::<FleetQuery>()
            .answers::<FleetView>(200)
            .answers_as(JSON_LINES_TYPE)
            .tagged(),
        Route::get("/metrics", metrics::page)
            .local()
            .says("The page that Prometheus reads.")
            .answers_as("text/plain"),
        Route::get("/api/v1/stream", changes::stream)
            .local()
            .says("The fleet, its changes and the audit log, as server-sent events.")
            .query::<changes::StreamQuery>()
            .answers_as("text/event-stream")
            .refuses(&[Invalid]),
        Route::get("/api/v1/gpus", fleet::gpus)
            .local()
            .says("Every card: what was read of it, and who holds what.")
            .answers::<GpusView>(200)
            .tagged(),
        Route::get("/api/v1/usage", fleet::usage)
            .local()
            .says("What runners use of processor and memory, read while somebody asks.")
            .answers::<UsageReport>(200),
        Route::get("/api/v1/stats", fleet::stats)
            .local()
            .says("What became of the jobs that ended lately: how many, how soon, whose fault.")
            .query::<StatsQuery>()
            .answers::<StatsView>(200),
    ]
}

fn runner_routes() -> Vec<Route> {
    vec![
        Route::get("/api/v1/runners", fleet::runners)
            .local()
            .says("Runners, by id.")
            .query::<RunnersQuery>()
            .answers::<Vec<RunnerView>>(200)
            .tagged(),
        Route::get("/api/v1/runners/{name}", fleet::runner)
            .local()
            .says("One runner.")
            .answers::<RunnerView>(200)
            .tagged(),
        Route::get("/api/v1/runners/{name}/health", fleet::runner_health)
            .local()
            .says("A runner's health.")
            .answers::<RunnerHealth>(200),
    ]
}

fn why() -> Vec<Route> {
    vec![
        Route::get("/api/v1/runners/{name}/post-mortems", post_mortems::of_runner)
            .viewer()
            .says("What is left of the runners that failed in a slot, newest first.")
            .query::<PostMortemsQuery>()
            .answers::<Vec<PostMortem>>(200),
        Route::get("/api/v1/explain/{name}", explain::explain)
            .viewer()
            .says("Why a job, a runner or a pool is as it is.")
            .query::<ExplainQuery>()
            .answers::<explain::Explanation>(200),
        Route::get("/api/v1/doctor", doctor::doctor)
            .viewer()
            .says("What the supervisor finds wrong with itself and its forges.")
            .answers::<doctor::Diagnosis>(200),
        Route::get("/api/v1/reports", reports::list)
            .viewer()
            .says("The newest runs in the report store, in numbers.")
            .query::<reports::ReportsQuery>()
            .answers::<reports::Reports>(200),
        Route::get("/api/v1/reports/{workflow}/{run_id}", reports::show)
            .viewer()
            .says("A run in the report store: its failures, findings and what was unread.")
            .answers::<RunDetails>(200),
        Route::get("/api/v1/events", stream::events)
            .viewer()
            .says("The audit log, an entry per line.")
            .query::<EventsQuery>()
            .answers_lines::<AuditEntry>(),
        Route::get("/api/v1/spec", control::spec)
            .viewer()
            .says("The spec in force.")
            .answers::<Spec>(200)
            .tagged(),
    ]
}

fn steering() -> Vec<Route> {
    vec![
        Route::post("/api/v1/plan", control::plan)
            .operator()
            .says("What a spec would change; changes nothing.")
            .takes::<Proposed>()
            .answers::<PlanView>(200),
        Route::post("/api/v1/scale", control::scale)
            .operator()
            .says("Sets the number of runners.")
            .takes::<ScaleBody>()
            .answers::<Accepted>(200)
            .refuses(&[NotFound, NoCapacity, Conflict]),
        Route::post("/api/v1/cordon", control::cordon)
            .operator()
            .says("Closes runners or cards to new work, or opens them.")
            .takes::<CordonBody>()
            .answers::<Accepted>(200)
            .refuses(&[NotFound, Conflict]),
        Route::post("/api/v1/pause", control::pause)
            .operator()
            .says("Lets nothing begin in pools, or opens them again; what runs there goes on.")
            .takes::<PauseBody>()
            .answers::<Accepted>(200)
            .refuses(&[NotFound, Conflict]),
        Route::post("/api/v1/restart", control::restart)
            .operator()
            .says("Replaces runners.")
            .takes::<RestartBody>()
            .answers::<Accepted>(200)
            .refuses(&[NotFound, Conflict]),
        Route::post("/api/v1/gc", control::gc)
            .operator()
            .says("Removes what is kept too long or left over, and tells what it was.")
            .takes::<GcOrder>()
            .answers::<GcReport>(200),
    ]
}

fn deciding() -> Vec<Route> {
    vec![
        Route::put("/api/v1/spec", control::apply)
            .admin()
            .says("Brings the fleet to a spec, as `up` does.")
            .query::<ApplyQuery>()
            .takes::<Proposed>()
            .answers::<Accepted>(200)
            .refuses(&[NotFound, NoCapacity, Conflict]),
        Route::post("/api/v1/down", control::down)
            .admin()
            .says("Removes every runner, and ends the supervisor.")
            .takes::<DownBody>()
            .answers::<Accepted>(200)
            .refuses(&[Conflict]),
    ]
}

fn job_routes() -> Vec<Route> {
    vec![
        Route::get("/api/v1/jobs", jobs::list)
            .viewer()
            .says("Jobs, newest first.")
            .query::<JobsQuery>()
            .answers::<Vec<JobView>>(200)
            .tagged(),
        Route::post("/api/v1/jobs", jobs::submit)
            .operator()
            .says("Hands in a job; it is durable when this answers.")
            .takes::<SubmitBody>()
            .answers::<Submitted>(201)
            .refuses(&[NotFound, NoCapacity, Conflict]),
        Route::post("/api/v1/jobs/batch", jobs::submit_all)
            .operator()
            .says("Hands in many jobs, one per line, all or none.")
            .takes_as(JSON_LINES_TYPE)
            .answers::<SubmittedAll>(201)
            .refuses(&[NotFound, NoCapacity, Conflict]),
        Route::get("/api/v1/jobs/{id}", jobs::show)
            .viewer()
            .says("One job; at its end, or at once.")
            .query::<JobQuery>()
            .answers::<JobView>(200)
            .tagged(),
        Route::post("/api/v1/jobs/{id}/cancel", jobs::cancel)
            .operator()
            .says("Ends a job.")
            .answers::<Accepted>(200)
            .refuses(&[Conflict]),
        Route::post("/api/v1/jobs/hold", jobs::hold)
            .operator()
            .says("Keeps jobs that wait from starting, all or none.")
            .takes::<HoldBody>()
            .answers::<Accepted>(200)
            .refuses(&[NotFound, Conflict]),
        Route::post("/api/v1/jobs/release", jobs::release)
            .operator()
            .says("Lets jobs start that were held, all or none.")
            .takes::<HoldBody>()
            .answers::<Accepted>(200)
            .refuses(&[NotFound, Conflict]),
    ]
}

fn output() -> Vec<Route> {
    vec![
        Route::get("/api/v1/jobs/{id}/logs", stream::job_logs)
            .viewer()
            .says("A job's output, as far as it is there or to its end.")
            .query::<LogsQuery>()
            .answers_as(LOG_TYPE),
        Route::get("/api/v1/jobs/{id}/post-mortems", post_mortems::of_job)
            .viewer()
            .says("What is left of the runners that died under a job, newest first.")
            .query::<PostMortemsQuery>()
            .answers::<Vec<PostMortem>>(200),
    ]
}

fn work() -> Vec<Route> {
    vec![
        Route::post("/api/v1/run", stream::run)
            .operator()
            .says("Hands in a job and follows it; the header `x-slate-job` has its id.")
            .takes::<SubmitBody>()
            .answers_as(LOG_TYPE)
            .refuses(&[NotFound, NoCapacity, Conflict]),
        Route::post("/api/v1/blobs", uploads::upload)
            .operator()
            .says("Takes a working folder as a tar stream.")
            .takes_as("application/x-tar")
            .answers::<Uploaded>(201)
            .refuses(&[Conflict]),
        Route::post("/api/v1/assign", tasks::assign)
            .operator()
            .says("Leases a runner to work that is driven from outside.")
            .takes::<tasks::AssignBody>()
            .answers::<tasks::Assignment>(200)
            .answers::<tasks::Assignment>(202)
            .refuses(&[NotFound, NoCapacity, Conflict]),
        Route::post("/api/v1/complete", tasks::complete)
            .operator()
            .says("Gives back a runner that was leased.")
            .takes::<tasks::CompleteBody>()
            .answers::<tasks::Completed>(200)
            .refuses(&[NotFound, Conflict]),
    ]
}

fn forge_routes() -> Vec<Route> {
    vec![
        Route::get("/api/v1/forges", forges::forges)
            .local()
            .says("Every place where runners register.")
            .answers::<Vec<ForgeView>>(200)
            .tagged(),
        Route::get("/api/v1/forge/jobs", forges::jobs)
            .viewer()
            .says("The jobs that forges tell of, newest first.")
            .query::<ForgeJobsQuery>()
            .answers::<Vec<ForgeJobView>>(200)
            .tagged(),
        Route::get("/api/v1/forge/runs/{run}", forges::run)
            .viewer()
            .says("Where a run stands, as its forge says it now.")
            .query::<dispatch::RunQuery>()
            .answers::<dispatch::RunAnswer>(200)
            .refuses(&[Conflict, NotAllowed, NotNow]),
        Route::post("/api/v1/dispatch", forges::dispatch)
            .operator()
            .says("Starts a workflow at a forge.")
            .takes::<dispatch::DispatchBody>()
            .answers::<dispatch::DispatchAnswer>(201)
            .refuses(&[NotFound, Conflict]),
    ]
}

fn access() -> Vec<Route> {
    vec![
        Route::get("/api/v1/whoami", tokens::who_am_i)
            .anyone()
            .says("What the caller may do, and where the API is reached.")
            .answers::<tokens::WhoAmI>(200),
        Route::get("/api/v1/tokens", tokens::list)
            .admin()
            .says("The tokens that are valid, without their secrets.")
            .answers::<Vec<tokens::Token>>(200),
        Route::post("/api/v1/tokens", tokens::make)
            .admin()
            .says("Makes a token; its secret is shown this once.")
            .takes::<tokens::NewToken>()
            .answers::<tokens::MadeToken>(201)
            .refuses(&[NoCapacity]),
        Route::delete("/api/v1/tokens/{id}", tokens::revoke)
            .admin()
            .says("Revokes a token; it works no more when this answers.")
            .answers::<Accepted>(200)
            .refuses(&[Invalid]),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_is_in_the_reference_with_who_may_use_it() {
        let reference = include_str!("../../docs/reference/api.md");
        for route in all() {
            let entry = format!("`{}` ({})", route.name(), route.needs.word());
            assert!(reference.contains(&entry), "{entry} is not in api.md");
        }
    }

    #[test]
    fn no_route_of_the_reference_is_missing() {
        let reference = include_str!("../../docs/reference/api.md");
        let known: BTreeSet<String> = all().iter().map(|route| route.name().to_string()).collect();
        let entries = reference.lines().filter_map(|line| line.strip_prefix("| `"));
        let routes = entries.filter_map(|line| line.split_once('`')).map(|(name, _)| name);
        let routes: Vec<&str> = routes.filter(|name| name.contains(" /")).collect();
        assert!(routes.len() > 30, "the tables were not found: {routes:?}");
        for name in routes {
            assert!(known.contains(name), "{name} is in api.md and nowhere else");
        }
    }
}
