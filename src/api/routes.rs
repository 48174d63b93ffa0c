//! Every route of the API, in one table: how it is asked for, who may, and what answers it.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware;
use axum::routing::{self, MethodRouter};

use super::access::{Needs, Role, gate};
use super::{
    Api, changes, control, dashboard, doctor, explain, fleet, forges, jobs, metrics, post_mortems,
    reports, stream, tasks, tokens, uploads,
};

/// One route.
pub(super) struct Route {
    method: Method,
    path: &'static str,
    needs: Needs,
    handler: MethodRouter<Arc<Api>>,
}

impl Route {
    fn new(method: Method, path: &'static str, handler: MethodRouter<Arc<Api>>) -> Self {
        // Whoever forgets to say who may use a route has made one for the owner.
        Self { method, path, needs: Needs::Role(Role::Admin), handler }
    }

    fn get<H: Handler<T, Arc<Api>>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new(Method::GET, path, routing::get(handler))
    }

    fn post<H: Handler<T, Arc<Api>>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new(Method::POST, path, routing::post(handler))
    }

    fn put<H: Handler<T, Arc<Api>>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new(Method::PUT, path, routing::put(handler))
    }

    fn delete<H: Handler<T, Arc<Api>>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new(Method::DELETE, path, routing::delete(handler))
    }

    /// For anybody who can connect: it must tell nothing of the fleet.
    fn anyone(self) -> Self {
        Self { needs: Needs::Nothing, ..self }
    }

    /// For whoever is on this machine, and viewers: no job's command, environment or output.
    fn local(self) -> Self {
        Self { needs: Needs::ThisMachine, ..self }
    }

    fn viewer(self) -> Self {
        Self { needs: Needs::Role(Role::Viewer), ..self }
    }

    fn operator(self) -> Self {
        Self { needs: Needs::Role(Role::Operator), ..self }
    }

    fn admin(self) -> Self {
        Self { needs: Needs::Role(Role::Admin), ..self }
    }

    /// `GET /api/v1/jobs`.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn add_to(self, router: Router<Arc<Api>>) -> Router<Arc<Api>> {
        let gate = middleware::from_fn_with_state(self.needs, gate);
        router.route(self.path, self.handler.route_layer(gate))
    }
}

/// All of them.
pub(super) fn all() -> Vec<Route> {
    [health(), reading(), changing(), jobs(), forge_routes(), access()]
        .into_iter()
        .flatten()
        .collect()
}

/// All of them, each behind its gate.
pub(super) fn router() -> Router<Arc<Api>> {
    all().into_iter().fold(Router::new(), |router, route| route.add_to(router))
}

fn health() -> Vec<Route> {
    vec![
        Route::get("/", dashboard::page).anyone(),
        Route::get("/dashboard/{file}", dashboard::file).anyone(),
        Route::get("/healthz", fleet::healthz).anyone(),
        Route::get("/readyz", fleet::readyz).anyone(),
        Route::get("/metrics", metrics::page).local(),
    ]
}

fn reading() -> Vec<Route> {
    vec![
        Route::get("/api/runners", fleet::specification_one).local(),
        Route::get("/api/v1/fleet", fleet::fleet).local(),
        Route::get("/api/v1/stream", changes::stream).local(),
        Route::get("/api/v1/gpus", fleet::gpus).local(),
        Route::get("/api/v1/usage", fleet::usage).local(),
        Route::get("/api/v1/stats", fleet::stats).local(),
        Route::get("/api/v1/runners", fleet::runners).local(),
        Route::get("/api/v1/runners/{name}", fleet::runner).local(),
        Route::get("/api/v1/runners/{name}/health", fleet::runner_health).local(),
        Route::get("/api/v1/runners/{name}/post-mortems", post_mortems::of_runner).viewer(),
        Route::get("/api/v1/explain/{name}", explain::explain).viewer(),
        Route::get("/api/v1/doctor", doctor::doctor).viewer(),
        Route::get("/api/v1/reports", reports::list).viewer(),
        Route::get("/api/v1/reports/{workflow}/{run_id}", reports::show).viewer(),
        Route::get("/api/v1/events", stream::events).viewer(),
        Route::get("/api/v1/spec", control::spec).viewer(),
    ]
}

fn changing() -> Vec<Route> {
    vec![
        Route::put("/api/v1/spec", control::apply).admin(),
        Route::post("/api/v1/plan", control::plan).operator(),
        Route::post("/api/v1/scale", control::scale).operator(),
        Route::post("/api/v1/down", control::down).admin(),
        Route::post("/api/v1/cordon", control::cordon).operator(),
        Route::post("/api/v1/restart", control::restart).operator(),
        Route::post("/api/v1/gc", control::gc).operator(),
    ]
}

fn jobs() -> Vec<Route> {
    vec![
        Route::get("/api/v1/jobs", jobs::list).viewer(),
        Route::post("/api/v1/jobs", jobs::submit).operator(),
        Route::post("/api/v1/jobs/batch", jobs::submit_all).operator(),
        Route::get("/api/v1/jobs/{id}", jobs::show).viewer(),
        Route::post("/api/v1/jobs/{id}/cancel", jobs::cancel).operator(),
        Route::get("/api/v1/jobs/{id}/logs", stream::job_logs).viewer(),
        Route::get("/api/v1/jobs/{id}/post-mortems", post_mortems::of_job).viewer(),
        Route::post("/api/v1/run", stream::run).operator(),
        Route::post("/api/v1/blobs", uploads::upload).operator(),
        Route::post("/api/v1/assign", tasks::assign).operator(),
        Route::post("/api/v1/complete", tasks::complete).operator(),
    ]
}

fn forge_routes() -> Vec<Route> {
    vec![
        Route::get("/api/v1/forges", forges::forges).local(),
        Route::get("/api/v1/forge/jobs", forges::jobs).viewer(),
        Route::get("/api/v1/forge/runs/{run}", forges::run).viewer(),
        Route::post("/api/v1/dispatch", forges::dispatch).operator(),
    ]
}

fn access() -> Vec<Route> {
    vec![
        Route::get("/api/v1/whoami", tokens::who_am_i).anyone(),
        Route::get("/api/v1/tokens", tokens::list).admin(),
        Route::post("/api/v1/tokens", tokens::make).admin(),
        Route::delete("/api/v1/tokens/{id}", tokens::revoke).admin(),
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
            let who = match route.needs {
                Needs::Nothing => "anyone",
                Needs::ThisMachine => "this machine",
                Needs::Role(role) => role.word(),
            };
            let entry = format!("`{}` ({who})", route.name());
            assert!(reference.contains(&entry), "{entry} is not in api.md");
        }
    }

    #[test]
    fn no_route_of_the_reference_is_missing() {
        let reference = include_str!("../../docs/reference/api.md");
        let known: BTreeSet<String> = all().iter().map(Route::name).collect();
        let entries = reference.lines().filter_map(|line| line.strip_prefix("| `"));
        let routes = entries.filter_map(|line| line.split_once('`')).map(|(name, _)| name);
        let routes: Vec<&str> = routes.filter(|name| name.contains(" /")).collect();
        assert!(routes.len() > 30, "the tables were not found: {routes:?}");
        for name in routes {
            assert!(known.contains(name), "{name} is in api.md and nowhere else");
        }
    }
}
