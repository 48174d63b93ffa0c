//! The audit log's entries: who did what to what, why, and from which state to which.
//!
//! Replayed from the first entry to the last, the entries of one runner or job tell every state
//! that it was in: each begins where the one before it ended.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::job::{Job, JobState};
use super::runner::Phase;
use super::view::JobStatus;
use crate::ids::IncarnationId;
use crate::units::Time;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// Counted from 1 without gaps.
    pub seq: u64,
    /// When.
    pub at: Time,
    /// Who did it, or brought the news.
    pub actor: Actor,
    /// What it happened to: `runner-001`, `job-42`, `fleet`.
    pub object: String,
    /// The container's life that it is about, where it is about one.
    pub incarnation: Option<IncarnationId>,
    /// What happened: `created`, `assigned`, `died` …
    pub what: String,
    /// Why, in words.
    pub why: String,
    /// The state before, where there was one and it changed.
    pub before: Option<String>,
    /// The state after, where there is one and it changed.
    pub after: Option<String>,
}

/// Who did something, or brought the news of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", try_from = "String")]
pub enum Actor {
    /// The fleet by itself.
    Fleet,
    /// The container engine.
    Engine,
    /// The agent in a runner.
    Agent(IncarnationId),
    /// An operator, or a program that asks for one.
    Client(Client),
}

/// Who asks, as the supervisor knows it; not what the asker says of itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Client(String);

impl Client {
    /// A client of this name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

const AGENT: &str = "agent:";
const CLIENT: &str = "client:";

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fleet => f.pad("fleet"),
            Self::Engine => f.pad("engine"),
            Self::Agent(id) => f.pad(&format!("{AGENT}{id}")),
            Self::Client(client) => f.pad(&format!("{CLIENT}{client}")),
        }
    }
}

/// A text that names no actor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no actor: expected `fleet`, `engine`, `agent:i7` or `client:NAME`")]
pub struct ParseActorError(String);

impl FromStr for Actor {
    type Err = ParseActorError;

    fn from_str(text: &str) -> Result<Self, ParseActorError> {
        let unknown = || ParseActorError(text.to_owned());
        match text {
            "fleet" => Ok(Self::Fleet),
            "engine" => Ok(Self::Engine),
            _ => match (text.strip_prefix(AGENT), text.strip_prefix(CLIENT)) {
                (Some(id), _) => id.parse().map(Self::Agent).map_err(|_| unknown()),
                (None, Some(name)) => Ok(Self::Client(Client::new(name))),
                (None, None) => Err(unknown()),
            },
        }
    }
}

impl From<Actor> for String {
    fn from(actor: Actor) -> Self {
        actor.to_string()
    }
}

impl TryFrom<String> for Actor {
    type Error = ParseActorError;

    fn try_from(text: String) -> Result<Self, ParseActorError> {
        text.parse()
    }
}

/// A container's state while the record does not know it.
pub const ORPHAN: &str = "orphan";

impl Phase {
    /// The state in one word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Created { .. } => "created",
            Self::Booting { .. } => "starting",
            Self::Registering { .. } => "registering",
            Self::Idle { .. } => "idle",
            Self::Working { .. } | Self::Busy { .. } => "running",
            Self::Leaving { .. } => "leaving",
            Self::Retiring { .. } => "removing",
        }
    }

    /// What happens to a runner that comes into this phase from another.
    #[must_use]
    pub(super) fn arrival(&self, from: &Self) -> &'static str {
        match (self, from) {
            (Self::Planned, _) => "planned",
            (Self::Created { .. }, _) => "created",
            (Self::Booting { .. }, _) => "started",
            (Self::Registering { .. }, _) => "registering",
            (Self::Idle { .. }, Self::Busy { .. } | Self::Working { .. }) => "idle",
            (Self::Idle { .. }, _) => "ready",
            (Self::Working { .. } | Self::Busy { .. }, _) => "busy",
            (Self::Leaving { .. }, _) => "leaving",
            (Self::Retiring { .. }, _) => "retired",
        }
    }
}

impl Job {
    /// The state in one word, finer than its status.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match &self.state {
            JobState::OnHold { .. } => "held",
            JobState::Given { stop: Some(_), .. } => "stopping",
            JobState::Publishing { .. } => "publishing",
            JobState::Fenced { .. } => "fenced",
            JobState::Queued | JobState::Given { stop: None, .. } | JobState::Ended { .. } => {
                self.status().word()
            }
        }
    }
}

impl JobStatus {
    /// The status in one word, as it is written everywhere.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Assigned => "assigned",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
            Self::Oom => "oom",
            Self::Lost => "lost",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_is_read_as_it_is_written() {
        let alice = Actor::Client(Client::new("agent:i7"));
        for actor in [Actor::Fleet, Actor::Engine, Actor::Agent(IncarnationId(7)), alice] {
            assert_eq!(actor.to_string().parse(), Ok(actor));
        }
        assert!("somebody".parse::<Actor>().is_err());
        assert!("agent:x".parse::<Actor>().is_err());
    }
}
