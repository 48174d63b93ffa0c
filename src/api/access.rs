//! Who may ask for what: the roles, and the gate before every route.
//!
//! Whoever holds the unix socket is the fleet's owner. On a port a caller is known by a token, or
//! is only somebody on this machine, or nobody at all.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Api;
use super::peer::Peer;
use super::problem::{Problem, ProblemKind};
use super::tokens::Token;
use crate::fleet::audit::Client;
use crate::ids::ParseIdError;

/// What a caller may do; each role may do what those before it may.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads everything: runners, jobs and their output, the audit log; of variables only the
    /// names.
    Viewer,
    /// Hands in and ends jobs, and sees what their variables hold; restarts, drains, cordons and
    /// scales runners.
    Operator,
    /// Changes the fleet file in force, takes the fleet down, makes and revokes tokens.
    Admin,
}

/// Every role, the weakest first.
pub const ROLES: [Role; 3] = [Role::Viewer, Role::Operator, Role::Admin];

impl Role {
    /// In one word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Role {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        ROLES.into_iter().find(|role| role.word() == text).ok_or_else(|| ParseIdError {
            text: text.to_owned(),
            expected: "a role: viewer, operator or admin",
        })
    }
}

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Anybody who can connect.
    Nothing,
    /// Whoever is on this machine; from elsewhere a viewer.
    ThisMachine,
    /// A caller with this role at least.
    Role(Role),
}

impl Needs {
    /// As the reference writes it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Nothing => "anyone",
            Self::ThisMachine => "this machine",
            Self::Role(role) => role.word(),
        }
    }
}

/// Who asks.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    /// None without a token.
    pub role: Option<Role>,
    /// The name that it has in the audit log.
    pub client: Client,
    /// By which token.
    pub token: Option<Token>,
    is_here: bool,
}

impl Asker {
    fn of(peer: Peer, token: Option<Token>) -> Self {
        let (role, is_here) = match peer {
            Peer::User(_) | Peer::Owner => (Some(Role::Admin), true),
            Peer::Loopback => (None, true),
            Peer::Remote => (None, false),
        };
        let client = token.as_ref().map_or_else(|| peer.client(), Token::client);
        Self {
            role: role.or_else(|| token.as_ref().map(|token| token.role)),
            client,
            token,
            is_here,
        }
    }

    /// Refuses what it may not do.
    fn check(&self, needs: Needs) -> Result<(), Problem> {
        let role = match needs {
            Needs::Nothing => return Ok(()),
            Needs::ThisMachine if self.is_here => return Ok(()),
            Needs::ThisMachine => Role::Viewer,
            Needs::Role(role) => role,
        };
        match self.role {
            Some(own) if own >= role => Ok(()),
            Some(own) => Err(Problem::new(
                ProblemKind::NotAllowed,
                format!(
                    "this takes the role {role}, and this token has {own}; make another one with \
                     `slate-fleet token create --role {role}`"
                ),
            )),
            None => Err(Problem::new(
                ProblemKind::Unauthenticated,
                format!(
                    "this takes a token with the role {role}: `Authorization: Bearer TOKEN`; make \
                     one with `slate-fleet token create --role {role}`"
                ),
            )),
        }
    }
}

/// Finds out who asks, before anything else is done. A token that is none of this fleet's is told
/// so even where none is needed: whoever sends one means to be known.
pub(super) async fn identify(
    State(api): State<Arc<Api>>,
    mut request: Request,
    next: Next,
) -> Response {
    // Nobody is trusted whose connection says nothing.
    let peer = request.extensions().get().copied().unwrap_or(Peer::Remote);
    let token = match presented(request.headers()) {
        Ok(None) => None,
        Ok(Some(secret)) => match api.tokens.find(secret) {
            Ok(token) => Some(token),
            Err(problem) => return problem.into_response(),
        },
        Err(problem) => return problem.into_response(),
    };
    request.extensions_mut().insert(Asker::of(peer, token));
    next.run(request).await
}

/// The token that a request brings.
fn presented(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(AUTHORIZATION) else { return Ok(None) };
    let bearer = value.to_str().ok().and_then(|text| {
        let (scheme, secret) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
    });
    bearer.map(Some).ok_or_else(|| {
        Problem::new(
            ProblemKind::Unauthenticated,
            "`Authorization` is not understood; write `Authorization: Bearer TOKEN`",
        )
    })
}

/// Lets through who may use a route.
pub(super) async fn gate(State(needs): State<Needs>, request: Request, next: Next) -> Response {
    let checked = match request.extensions().get::<Asker>() {
        Some(asker) => asker.check(needs),
        None => Asker::of(Peer::Remote, None).check(needs),
    };
    match checked {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// A 401 says how to be known (RFC 9110, section 11.6.1).
pub(super) fn challenge(response: &mut Response) {
    response
        .headers_mut()
        .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"slate-fleet\""));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_read_as_it_is_written_and_each_includes_those_before_it() {
        for role in ROLES {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        assert!("root".parse::<Role>().is_err());
        assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
    }

    #[test]
    fn the_owner_may_everything_this_machine_may_look_and_strangers_only_knock() {
        let all = [Needs::Nothing, Needs::ThisMachine, Needs::Role(Role::Viewer)];
        let may = |peer: Peer| all.map(|needs| Asker::of(peer, None).check(needs).is_ok());
        assert_eq!(may(Peer::User(1000)), [true, true, true]);
        assert_eq!(may(Peer::Owner), [true, true, true]);
        assert_eq!(may(Peer::Loopback), [true, true, false]);
        assert_eq!(may(Peer::Remote), [true, false, false]);
        assert!(Asker::of(Peer::Owner, None).check(Needs::Role(Role::Admin)).is_ok());
    }

    #[test]
    fn a_token_has_its_role_and_no_more_wherever_it_comes_from() {
        for peer in [Peer::Loopback, Peer::Remote] {
            for own in ROLES {
                let asker = Asker::of(peer, Some(Token::for_tests(own)));
                for wanted in ROLES {
                    let found = asker.check(Needs::Role(wanted)).map_err(|it| it.kind);
                    let expected =
                        if own >= wanted { Ok(()) } else { Err(ProblemKind::NotAllowed) };
                    assert_eq!(found, expected, "{own} {wanted}");
                }
            }
        }
    }

    #[test]
    fn a_token_is_taken_from_the_header_and_nothing_else_is() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, text.parse().expect("a header"));
            presented(&headers).map(|it| it.map(str::to_owned)).map_err(|it| it.kind)
        };
        assert_eq!(read("Bearer abc"), Ok(Some("abc".to_owned())));
        assert_eq!(read("bearer abc"), Ok(Some("abc".to_owned())));
        assert_eq!(read("Basic abc"), Err(ProblemKind::Unauthenticated));
        assert_eq!(read("abc"), Err(ProblemKind::Unauthenticated));
        assert_eq!(presented(&HeaderMap::new()), Ok(None));
    }
}
