//! Why a forge's runner goes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fleet::attempt::Fault;
use crate::fleet::view::RunnerStatus;

/// What ended a runner that took a forge's jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForgeCause {
    /// Its listener ended without having had a job.
    Ended {
        /// The exit code.
        code: i32,
        /// Its last words.
        said: String,
    },
    /// Another process holds its session.
    SessionConflict,
    /// Its listener lives and makes no progress; how.
    Stuck(String),
    /// The forge never showed it online in time.
    NeverOnline,
    /// The forge does not list it any more, though its listener lives.
    Unregistered,
    /// It could not be registered; why.
    NotRegistered(String),
    /// Its registration was lost with the supervisor before its agent had it.
    Lost,
    /// It has no token, or one that the forge does not take; the variable, and why.
    NeedsToken {
        /// `RUNNER_TOKEN_3`.
        variable: String,
        /// Why.
        why: String,
    },
    /// Its program is too old for the forge; the forge's words.
    NeedsUpgrade(String),
    /// Its slot takes no jobs, and its forge would give it some.
    Cordoned,
    /// Nothing begins in its pool, and its forge would give it a job.
    Paused,
    /// The image has no listener, or it cannot be started; why.
    NoListener(String),
}

impl ForgeCause {
    /// Whether it counts against the slot, so that the next try backs off.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        !matches!(self, Self::Cordoned | Self::Paused)
    }

    /// The state that specification 1 gives a runner that went so.
    #[must_use]
    pub fn error_state(&self) -> Option<RunnerStatus> {
        match self {
            Self::Cordoned | Self::Paused => None,
            Self::Stuck(_) | Self::NeverOnline => Some(RunnerStatus::Stale),
            Self::Ended { .. }
            | Self::SessionConflict
            | Self::Unregistered
            | Self::NotRegistered(_)
            | Self::Lost
            | Self::NeedsToken { .. }
            | Self::NeedsUpgrade(_)
            | Self::NoListener(_) => Some(RunnerStatus::Error),
        }
    }

    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Cordoned | Self::Paused => Fault::Operator,
            _ => Fault::Infrastructure,
        }
    }

    /// The cause in one word, for programs.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ended { .. } => "listener_ended",
            Self::SessionConflict => "session_conflict",
            Self::Stuck(_) => "listener_stuck",
            Self::NeverOnline => "never_online",
            Self::Unregistered => "unregistered",
            Self::NotRegistered(_) => "not_registered",
            Self::Lost => "registration_lost",
            Self::NeedsToken { .. } => "needs_token",
            Self::NeedsUpgrade(_) => "needs_upgrade",
            Self::Cordoned => "cordoned",
            Self::Paused => "paused",
            Self::NoListener(_) => "no_listener",
        }
    }
}

impl fmt::Display for ForgeCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended { code, said } if said.is_empty() => {
                write!(f, "its listener ended with code {code} and had no job")
            }
            Self::Ended { code, said } => {
                write!(f, "its listener ended with code {code} and had no job: {said}")
            }
            Self::SessionConflict => {
                f.write_str("the forge has another session of it; it registers anew")
            }
            Self::Stuck(how) => write!(f, "its listener lives and makes no progress: {how}"),
            Self::NeverOnline => f.write_str("the forge did not see it online in time"),
            Self::Unregistered => f.write_str("the forge does not list it any more"),
            Self::NotRegistered(why) => write!(f, "it could not be registered: {why}"),
            Self::Lost => {
                f.write_str("its registration was lost with the supervisor; it registers anew")
            }
            Self::NeedsToken { variable, why } => {
                write!(
                    f,
                    "needs a token: {why}; put a new one into {variable} in `.env`, then \
                     `slate-fleet up -d`"
                )
            }
            Self::NeedsUpgrade(said) => write!(
                f,
                "its program is too old for the forge ({said}); build the image anew with a newer \
                 one, then `slate-fleet up -d`"
            ),
            Self::Cordoned => f.write_str("its slot is closed, and its forge would give it jobs"),
            Self::Paused => f.write_str("its pool is paused, and its forge would give it jobs"),
            Self::NoListener(why) => write!(f, "its image cannot serve a forge: {why}"),
        }
    }
}
