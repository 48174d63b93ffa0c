//! The port to forges: what the supervisor may ask of GitHub and its like, and how failures are
//! sorted.
//!
//! Adapters live below; nothing outside them sees an HTTP status, a token or a forge's own types.
//! Every call has its own deadline and goes through the governor of its credential, so no caller
//! needs either. One adapter speaks for one scope: a repository, an organization or an enterprise.

mod gitea;
mod github;
mod governor;
mod secret;
mod way;
mod web;
pub mod webhook;
mod words;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;

use serde::Deserialize;

use crate::fleet::forge::{ForgeEntry, ForgeError, ForgeJobFact, ForgeRunnerFact, RegisterOrder};
use crate::ids::{ForgeRunId, ForgeRunnerId};

pub use gitea::{Gitea, GiteaSettings};
pub use github::{Github, GithubSettings, Right};
pub use governor::{Governor, GovernorView, budget_of};
pub use secret::{ReadClock, ReadSecret, Secret};
pub use way::Through;
pub use web::{Answer, Ask, Web, WebError};

/// One scope at a forge.
///
/// Dropping a call's future leaves its outcome unknown, as a deadline does.
pub trait Forge: Send + Sync + 'static {
    /// Registers a runner for one job. Not safe to repeat: after [`CallError::Unknown`] the runner
    /// may exist, under that name.
    fn register(
        &self,
        order: &RegisterOrder,
    ) -> impl Future<Output = Result<Grant, CallError>> + Send;

    /// Removes a runner that has no job. One that is gone already is removed.
    fn remove(&self, entry: &ForgeEntry)
    -> impl Future<Output = Result<Removal, CallError>> + Send;

    /// Every runner of the scope, others' too.
    fn runners(&self) -> impl Future<Output = Result<Listed<ForgeRunnerFact>, CallError>> + Send;

    /// Every job of the scope that is not over, as far as it can be read.
    fn jobs(&self) -> impl Future<Output = Result<Listed<ForgeJobFact>, CallError>> + Send;

    /// The newest version of the runner's program that the forge offers; none if it does not say.
    fn newest_runner(&self) -> impl Future<Output = Result<Option<String>, CallError>> + Send;

    /// Starts a workflow by hand (`workflow_dispatch`).
    fn dispatch(
        &self,
        order: &Dispatch,
    ) -> impl Future<Output = Result<Dispatched, CallError>> + Send;

    /// Where a workflow's run stands.
    fn run(
        &self,
        repository: &str,
        run: ForgeRunId,
    ) -> impl Future<Output = Result<RunState, CallError>> + Send {
        let words = format!("run {run} of {repository}: this forge is not asked for runs");
        async { Err(CallError::Unknown(words)) }
    }

    /// What the operator should know of this scope, each with what to do: rights, groups, policies.
    fn findings(&self) -> impl Future<Output = Vec<Finding>> + Send;
}

/// A registration for one job. The secret is for the runner alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Grant {
    /// The runner's number.
    pub id: ForgeRunnerId,
    /// What its listener starts with.
    pub secret: String,
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What became of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is removed, or its number was gone.
    Removed,
    /// Its number is not known, and no runner of its name is listed.
    NotListed,
    /// It has a job and stays.
    Busy,
}

/// A list, or the word that nothing changed since the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// What there is.
    pub items: Vec<T>,
    /// What of the scope could not be read, in words; empty when all was.
    pub gaps: Vec<String>,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It certainly did not happen.
    #[error("{}", .0.message)]
    Failed(ForgeError),
    /// Nobody knows whether it happened.
    #[error("{0}")]
    Unknown(String),
}

/// A workflow to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispatch {
    /// `owner/name`.
    pub repository: String,
    /// The workflow's file name or number.
    pub workflow: String,
    /// The branch or tag; the default branch if none.
    pub reference: Option<String>,
    /// Its inputs, 25 at most.
    pub inputs: BTreeMap<String, String>,
}

/// A workflow that was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispatched {
    /// Its run; none where the forge did not say in time which it is.
    pub run: Option<ForgeRunId>,
    /// Its page.
    pub url: Option<String>,
}

/// Where a workflow's run stands, in the forge's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunState {
    /// `queued`, `in_progress`, `completed` and others.
    pub status: String,
    /// `success`, `failure`, `cancelled` and others; none before its end.
    pub conclusion: Option<String>,
    /// Its page.
    pub url: Option<String>,
}

/// A run as GitHub and Gitea both write it.
#[derive(Deserialize)]
struct RunShape {
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    conclusion: Option<String>,
    #[serde(default)]
    html_url: Option<String>,
}

impl From<RunShape> for RunState {
    fn from(shape: RunShape) -> Self {
        let RunShape { status, conclusion, html_url } = shape;
        let status = status.unwrap_or_else(|| "unknown".to_owned());
        Self { status, conclusion, url: html_url }
    }
}

/// Something that the operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What is so, and what to do.
    pub message: String,
}

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Good,
    /// Worth knowing.
    Warning,
    /// It does not work so.
    Error,
}
