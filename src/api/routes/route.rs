//! One route, and how it is written down.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware;
use axum::routing::{self, MethodRouter};
use schemars::JsonSchema;

use crate::api::Api;
use crate::api::access::{Needs, Role, gate};
use crate::api::etag;
use crate::api::openapi::{Description, Name};
use crate::api::problem::ProblemKind;

/// One route.
pub(in crate::api) struct Route {
    method: Method,
    path: &'static str,
    /// Who may use it.
    pub(in crate::api) needs: Needs,
    /// What it does, takes and answers.
    pub(in crate::api) description: Description,
    handler: MethodRouter<Arc<Api>>,
}

impl Route {
    fn new(method: Method, path: &'static str, handler: MethodRouter<Arc<Api>>) -> Self {
        // Whoever forgets to say who may use a route has made one for the admin.
        let needs = Needs::Role(Role::Admin);
        Self { method, path, needs, description: Description::default(), handler }
    }

    pub(super) fn get<H: Handler<T, Arc<Api>>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new(Method::GET, path, routing::get(handler))
    }

    pub(super) fn post<H: Handler<T, Arc<Api>>, T: 'static>(
        path: &'static str,
        handler: H,
    ) -> Self {
        Self::new(Method::POST, path, routing::post(handler))
    }

    pub(super) fn put<H: Handler<T, Arc<Api>>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new(Method::PUT, path, routing::put(handler))
    }

    pub(super) fn delete<H: Handler<T, Arc<Api>>, T: 'static>(
        path: &'static str,
        handler: H,
    ) -> Self {
        Self::new(Method::DELETE, path, routing::delete(handler))
    }

    /// For anybody who can connect: it must tell nothing of the fleet.
    pub(super) fn anyone(self) -> Self {
        Self { needs: Needs::Nothing, ..self }
    }

    /// For whoever is on this machine, and viewers: no job's command, environment or output.
    pub(super) fn local(self) -> Self {
        Self { needs: Needs::ThisMachine, ..self }
    }

    pub(super) fn viewer(self) -> Self {
        Self { needs: Needs::Role(Role::Viewer), ..self }
    }

    pub(super) fn operator(self) -> Self {
        Self { needs: Needs::Role(Role::Operator), ..self }
    }

    pub(super) fn admin(self) -> Self {
        Self { needs: Needs::Role(Role::Admin), ..self }
    }

    /// In one sentence.
    pub(super) fn says(mut self, says: &'static str) -> Self {
        self.description.says(says);
        self
    }

    pub(super) fn query<T: JsonSchema>(mut self) -> Self {
        self.description.query::<T>();
        self
    }

    /// A JSON body.
    pub(super) fn takes<T: JsonSchema>(mut self) -> Self {
        self.description.takes::<T>();
        self
    }

    /// A body that is no JSON document.
    pub(super) fn takes_as(mut self, media: &'static str) -> Self {
        self.description.takes_as(media);
        self
    }

    pub(super) fn answers<T: JsonSchema>(mut self, status: u16) -> Self {
        self.description.answers::<T>(status);
        self
    }

    /// 200 with one JSON document per line.
    pub(super) fn answers_lines<T: JsonSchema>(mut self) -> Self {
        self.description.answers_lines::<T>();
        self
    }

    /// 200 with something that is no JSON document.
    pub(super) fn answers_as(mut self, media: &'static str) -> Self {
        self.description.answers_as(media);
        self
    }

    /// Beside what follows from its path, query, body and gate.
    pub(super) fn refuses(mut self, kinds: &[ProblemKind]) -> Self {
        self.description.refuses(kinds);
        self
    }

    /// What the caller has already is not sent again.
    pub(super) fn tagged(mut self) -> Self {
        self.description.tagged();
        self.handler = self.handler.route_layer(middleware::from_fn(etag::tag));
        self
    }

    /// `GET /api/v1/jobs`.
    pub(in crate::api) fn name(&self) -> Name {
        Name { method: self.method.clone(), path: self.path }
    }

    pub(super) fn add_to(self, router: Router<Arc<Api>>) -> Router<Arc<Api>> {
        let gate = middleware::from_fn_with_state(self.needs, gate);
        router.route(self.path, self.handler.route_layer(gate))
    }
}
