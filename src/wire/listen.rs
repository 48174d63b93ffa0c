//! What is said of listeners: the programs of a forge that take its jobs in a runner.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{ForgeRunId, ForgeRunnerId};

/// Take a forge's jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenOrder {
    /// Which software the forge is.
    pub forge: ForgeKind,
    /// The registration's address.
    pub url: String,
    /// The name that it is or will be registered under.
    pub name: String,
    /// Every label.
    pub labels: Vec<String>,
    /// The runner group.
    pub group: Option<String>,
    /// What it registers or is registered with.
    pub credential: Credential,
    /// User id of the listener and its jobs.
    pub uid: u32,
    /// Their group id.
    pub gid: u32,
    /// The environment that the fleet sets for its jobs.
    pub env: BTreeMap<String, String>,
    /// Whether a job from a fork is refused before its first step.
    pub refuse_forks: bool,
    /// Where it works; `/work` where jobs do not reach the engine.
    pub work: String,
}

/// Which software a forge is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForgeKind {
    /// GitHub.
    Github,
    /// Gitea and Forgejo.
    Gitea,
}

/// What a listener is registered with. Secret; never in debug output.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    /// A registration for one job, as the forge gave it: for GitHub the `encoded_jit_config`, for
    /// Gitea a token that is used with `--ephemeral`.
    OneJob(String),
    /// A token to register with for good, if there is one. Not used where the slot's volume holds a
    /// registration of this name and address.
    Kept(Option<String>),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneJob(_) => f.write_str("OneJob(***)"),
            Self::Kept(token) => write!(f, "Kept({})", if token.is_some() { "***" } else { "-" }),
        }
    }
}

/// Where a listener stands; the core's type of the same name says what is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// Where.
    pub stage: ListenerStage,
    /// Its number at the forge.
    pub runner: Option<ForgeRunnerId>,
    /// The jobs that it began in this container.
    pub jobs: u32,
    /// Alive and without progress; how, in words.
    pub stuck: Option<String>,
}

/// Where a listener stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListenerStage {
    /// It registers with its token.
    Registering,
    /// Its program starts.
    Starting,
    /// It waits for a job.
    Listening,
    /// It has a job.
    Working(WorkFact),
    /// Its program ended, or never began.
    Over(ListenerEnd),
}

/// A job that a listener has, as far as it is known in the container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkFact {
    /// The job's name.
    pub name: Option<String>,
    /// `owner/name`.
    pub repository: Option<String>,
    /// The workflow's name.
    pub workflow: Option<String>,
    /// The run.
    pub run: Option<ForgeRunId>,
}

/// How a listener came to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListenerEnd {
    /// Its program exited.
    Exited {
        /// The exit code; 128 + signal when a signal ended it.
        code: i32,
        /// The last lines that it said, bounded and without secrets.
        said: String,
    },
    /// It is not registered and has no token.
    NeedsToken,
    /// The forge did not take the token.
    TokenRefused(String),
    /// Another runner has its name.
    NameTaken(String),
    /// Registering failed otherwise.
    NotRegistered(String),
    /// Its program is not in the image, or cannot be started.
    NotStarted(String),
}
