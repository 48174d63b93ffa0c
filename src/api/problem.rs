//! Errors on the wire (RFC 9457): one kind, one status, the same words as the CLI.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::access::challenge;
use crate::fleet::effect::{Refusal, RefusalKind};
use crate::fleet::forge::ForgeErrorClass;
use crate::forge::CallError;
use crate::supervisor::handle::NoAnswer;

/// Content type of a problem (RFC 9457).
pub const PROBLEM_TYPE: &str = "application/problem+json";

/// What kind of failure it is; clients decide by this, people read the detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// No such job, runner, pool, profile or route.
    NotFound,
    /// The request itself is wrong.
    Invalid,
    /// It would exceed a bound of the fleet.
    NoCapacity,
    /// The host lacks something for the moment: space on a disk. Later it may go well.
    NotNow,
    /// Not in this state.
    Conflict,
    /// The route does not take this method.
    WrongMethod,
    /// The body is larger than its bound.
    TooLarge,
    /// Too much at a time.
    Busy,
    /// Nobody knows who asks: there is no token, or it is none of this fleet's.
    Unauthenticated,
    /// The caller may not do this.
    NotAllowed,
    /// The body is of another type than the route takes.
    WrongType,
    /// The supervisor is starting, going away, or not ready.
    Unavailable,
    /// The loop did not answer in time.
    Timeout,
    /// The supervisor's own failure.
    Internal,
}

impl ProblemKind {
    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Invalid => StatusCode::BAD_REQUEST,
            Self::NoCapacity => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Conflict => StatusCode::CONFLICT,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::NotAllowed => StatusCode::FORBIDDEN,
            Self::WrongType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NotNow | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::NotFound => "No such thing",
            Self::Invalid => "Invalid request",
            Self::NoCapacity => "No capacity",
            Self::NotNow => "Not now",
            Self::Conflict => "Not in this state",
            Self::WrongMethod => "Wrong method",
            Self::TooLarge => "Too large",
            Self::Busy => "Too many requests",
            Self::Unauthenticated => "Who asks is not known",
            Self::NotAllowed => "Not allowed",
            Self::WrongType => "Wrong type of body",
            Self::Unavailable => "Unavailable",
            Self::Timeout => "No answer in time",
            Self::Internal => "Internal error",
        }
    }
}

/// An error as it travels: `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// What kind, for programs.
    pub kind: ProblemKind,
    /// What kind, for people.
    pub title: String,
    /// The HTTP status again, so that a saved body is complete.
    pub status: u16,
    /// What, why, and what to do.
    pub detail: String,
    /// Single reasons, where there are several: all that is wrong with a spec, or that stands
    /// between the fleet and readiness.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

impl Problem {
    /// The same, with the line that it is about.
    #[must_use]
    pub fn in_line(mut self, line: u64) -> Self {
        self.detail = format!("line {line}: {}", self.detail);
        self
    }

    /// A problem of a kind with its words.
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            title: kind.title().to_owned(),
            status: kind.status().as_u16(),
            detail: detail.into(),
            reasons: Vec::new(),
        }
    }
}

impl From<NoAnswer> for Problem {
    fn from(why: NoAnswer) -> Self {
        let kind = match &why {
            NoAnswer::Gone => ProblemKind::Unavailable,
            NoAnswer::Stuck(_) => ProblemKind::NotNow,
            NoAnswer::InDoubt(_) => ProblemKind::Timeout,
        };
        Self::new(kind, why.to_string())
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let kind = match refusal.kind {
            RefusalKind::NotFound => ProblemKind::NotFound,
            RefusalKind::Invalid => ProblemKind::Invalid,
            RefusalKind::NoCapacity => ProblemKind::NoCapacity,
            RefusalKind::NotNow => ProblemKind::NotNow,
            RefusalKind::Conflict => ProblemKind::Conflict,
        };
        Self::new(kind, refusal.message)
    }
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Self {
        let kind = match &error {
            CallError::Failed(failed) => match failed.class {
                ForgeErrorClass::Denied => ProblemKind::NotAllowed,
                ForgeErrorClass::Invalid => ProblemKind::Invalid,
                ForgeErrorClass::NameTaken => ProblemKind::Conflict,
                ForgeErrorClass::Limited(_) => ProblemKind::NotNow,
                ForgeErrorClass::Retry => ProblemKind::Unavailable,
            },
            CallError::Unknown(_) => ProblemKind::Timeout,
        };
        Self::new(kind, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let kind = [(header::CONTENT_TYPE, PROBLEM_TYPE)];
        let mut response = (self.kind.status(), kind, body).into_response();
        if self.kind == ProblemKind::Unauthenticated {
            challenge(&mut response);
        }
        response
    }
}
