//! Tokens over HTTP: made, listed and revoked; and who a caller is.

mod file;

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::Extension;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Api;
use super::access::{Asker, Role};
use super::dto::Accepted;
use super::extract::{JsonBody, Step};
use super::peer::By;
use super::problem::{Problem, ProblemKind};
use crate::fleet::audit::Client;
use crate::fleet::event::{Request, TokenChange};
use crate::ids::TokenId;
use crate::spec::show_duration;
use crate::units::Time;

pub(super) use file::Tokens;

/// Longest name of a token.
const NAME_MAX: usize = 64;
/// What is valid for longer is meant for ever, which needs no time.
const VALID_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A token as it is shown: all but the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Token {
    /// What to name when it is revoked: eight hexadecimal digits.
    pub id: TokenId,
    /// What its maker calls it.
    pub name: Option<String>,
    /// What it may be used for.
    pub role: Role,
    /// Since when it is.
    pub made_at: Time,
    /// Until when it is valid; for ever if none.
    pub expires_at: Option<Time>,
    /// Who made it.
    pub made_by: Client,
}

impl Token {
    /// The name that its bearer has in the audit log.
    pub(super) fn client(&self) -> Client {
        match &self.name {
            Some(name) => Client::new(format!("token {} ({name})", self.id)),
            None => Client::new(format!("token {}", self.id)),
        }
    }

    #[cfg(test)]
    pub(super) fn for_tests(role: Role) -> Self {
        Self {
            id: TokenId::new("00000000"),
            name: None,
            role,
            made_at: Time(0),
            expires_at: None,
            made_by: Client::new("tests"),
        }
    }
}

/// Body of `POST /api/v1/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What it may be used for.
    pub role: Role,
    /// What to call it, for lists and the audit log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub name: Option<String>,
    /// For how long it is valid; for ever if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 315_360_000))]
    pub expires_seconds: Option<u64>,
}

/// Answer of `POST /api/v1/tokens`: the only time that the secret is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MadeToken {
    /// The secret; only its hash is kept.
    pub secret: String,
    /// The token.
    #[serde(flatten)]
    pub token: Token,
}

/// Answer of `GET /api/v1/whoami`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WhoAmI {
    /// What the caller may do; without one it may read what this address shows to all.
    pub role: Option<Role>,
    /// The name that the caller has in the audit log.
    pub name: Client,
    /// Until when the token is valid, where there is one and it ends.
    pub expires: Option<Time>,
    /// Where this API is reached beside the socket: `http://127.0.0.1:7373`.
    pub listen: Vec<String>,
}

pub(super) async fn who_am_i(
    State(api): State<Arc<Api>>,
    Extension(asker): Extension<Asker>,
) -> Json<WhoAmI> {
    let expires = asker.token.as_ref().and_then(|token| token.expires_at);
    let origin = api.origin.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let listen = origin.into_iter().collect();
    Json(WhoAmI { role: asker.role, name: asker.client, expires, listen })
}

pub(super) async fn list(State(api): State<Arc<Api>>) -> Result<Json<Vec<Token>>, Problem> {
    Ok(Json(api.tokens.list()?))
}

/// Makes a token. It works once it is in the file and its entry in the audit log.
pub(super) async fn make(
    State(api): State<Arc<Api>>,
    By(by): By,
    JsonBody(NewToken { role, name, expires_seconds }): JsonBody<NewToken>,
) -> Result<(StatusCode, Json<MadeToken>), Problem> {
    let name = name.map(checked_name).transpose()?;
    let valid = expires_seconds.map(checked_span).transpose()?;
    let made = api.tokens.make((role, name), valid, by.clone())?;
    let why = match made.token.expires_at {
        Some(_) => format!("role {role}, for {}", show_duration(valid.unwrap_or_default())),
        None => format!("role {role}, without an end"),
    };
    let id = made.token.id.clone();
    if let Err(problem) = api.put_on_record(by, id.clone(), TokenChange::Made, why).await {
        // What is not on record must not work.
        api.tokens.revoke(&id)?;
        return Err(problem);
    }
    Ok((StatusCode::CREATED, Json(made)))
}

/// Revokes a token: it works no more when this answers.
pub(super) async fn revoke(
    State(api): State<Arc<Api>>,
    Step(id): Step,
    By(by): By,
) -> Result<Json<Accepted>, Problem> {
    let token = api.tokens.revoke(&TokenId::new(id))?;
    let why = format!("role {}", token.role);
    api.put_on_record(by, token.id, TokenChange::Revoked, why).await?;
    Ok(Json(Accepted::Accepted))
}

fn checked_name(name: String) -> Result<String, Problem> {
    let good = !name.is_empty() && name.len() <= NAME_MAX && !name.chars().any(char::is_control);
    match good {
        true => Ok(name),
        false => {
            let detail = format!("`name` is 1 to {NAME_MAX} bytes without control characters");
            Err(Problem::new(ProblemKind::Invalid, detail))
        }
    }
}

fn checked_span(seconds: u64) -> Result<Duration, Problem> {
    let span = Duration::from_secs(seconds);
    match !span.is_zero() && span <= VALID_MAX {
        true => Ok(span),
        false => {
            let detail = format!(
                "`expires_seconds` is a number from 1 to {}, which is ten years",
                VALID_MAX.as_secs()
            );
            Err(Problem::new(ProblemKind::Invalid, detail))
        }
    }
}

impl Api {
    async fn put_on_record(
        &self,
        by: Client,
        token: TokenId,
        change: TokenChange,
        why: String,
    ) -> Result<(), Problem> {
        self.change(by, Request::Token { token, change, why }).await.map(drop)
    }
}
