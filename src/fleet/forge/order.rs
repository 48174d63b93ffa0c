//! What the core asks of a forge, and of an agent that is to take a forge's jobs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{ForgeRunnerId, ScopeUrl};
use crate::spec::{DockerAccess, ForgeKind, ForkJobs, JobUser, Proxy};

/// How runners of a pool are registered; part of what they are made to, so that a change replaces
/// them. By what right they are registered is no part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enlistment {
    /// Which software the forge is.
    pub kind: ForgeKind,
    /// Where.
    pub scope: ScopeUrl,
    /// With which labels; all of them.
    pub labels: Vec<String>,
    /// In which group; the forge's default if none.
    pub group: Option<String>,
    /// For how long.
    pub mode: ListenMode,
    /// Whether jobs from forks are served.
    pub fork_jobs: ForkJobs,
}

/// How long a registration lasts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListenMode {
    /// For one job; the supervisor registers the runner.
    OneJob,
    /// For good; the agent registers with a token, and keeps what it got in the slot's own volume.
    Kept {
        /// The variable of the tokens, with `{n}` for the runner's number in its pool.
        variable: String,
    },
}

/// A registration that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterOrder {
    /// The name, never used before and never again.
    pub name: String,
    /// Where and how.
    pub enlistment: Enlistment,
}

/// A runner in a forge's list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgeEntry {
    /// Where.
    pub scope: ScopeUrl,
    /// The name that it was registered under.
    pub name: String,
    /// Its number; looked up by the name if none.
    pub id: Option<ForgeRunnerId>,
}

/// What an agent needs to take a forge's jobs, but for the secret that the shell adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenOrder {
    /// The name that it is or will be registered under.
    pub name: String,
    /// Where and how.
    pub enlistment: Enlistment,
    /// The variable of its token, for [`ListenMode::Kept`]: `RUNNER_TOKEN_3`.
    pub token_env: Option<String>,
    /// Who the listener and its jobs run as.
    pub user: JobUser,
    /// The environment that the fleet sets for its jobs, but for the proxies.
    pub env: BTreeMap<String, String>,
    /// The proxies that they are told of; their users and passwords are the shell's to read.
    pub proxy: Option<Proxy>,
    /// Whether its jobs reach the engine.
    pub docker: DockerAccess,
}
