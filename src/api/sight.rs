//! What a caller sees of variables. CI's secrets are among their values, so these are for those who
//! hand in jobs; whoever only reads sees the names.

use std::collections::BTreeMap;
use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::access::{Asker, Role};
use crate::fleet::view::JobView;
use crate::spec::{MASK, Spec};

/// What a caller sees of variables; an argument of a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    /// Names and values.
    Values,
    /// Names alone.
    Names,
}

impl Sight {
    fn of(asker: Option<&Asker>) -> Self {
        match asker.and_then(|asker| asker.role) {
            Some(Role::Operator | Role::Admin) => Self::Values,
            Some(Role::Viewer) | None => Self::Names,
        }
    }

    /// A job as the caller sees it.
    pub fn job(self, mut job: JobView) -> JobView {
        self.hide(&mut job.spec.env);
        job
    }

    /// A spec as the caller sees it.
    pub fn spec(self, mut spec: Spec) -> Spec {
        spec.profiles.values_mut().for_each(|profile| self.hide(&mut profile.env));
        spec
    }

    fn hide(self, variables: &mut BTreeMap<String, String>) {
        match self {
            Self::Values => {}
            Self::Names => variables.values_mut().for_each(|value| MASK.clone_into(value)),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Sight {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts.extensions.get::<Asker>()))
    }
}
