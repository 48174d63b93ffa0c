//! What the core is told of forges and listeners.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fleet::audit::Client;
use crate::ids::{FleetId, ForgeJobId, ForgeRunId, ForgeRunnerId, ScopeUrl};
use crate::units::Time;

/// What a forge says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForgeEvent {
    /// Which fleet this is: a part of every name at a forge. Nothing is registered before.
    Identity(FleetId),
    /// The complete list of a scope's runners, others' too. It is no snapshot: one may be missing
    /// from it or stand in it twice.
    Runners {
        /// Which scope.
        scope: ScopeUrl,
        /// When it was asked for.
        begun: Time,
        /// The runners.
        runners: Vec<ForgeRunnerFact>,
    },
    /// Every job of a scope that is not over, as far as it is read.
    Jobs {
        /// Which scope.
        scope: ScopeUrl,
        /// When it was asked for.
        begun: Time,
        /// The jobs.
        jobs: Vec<ForgeJobFact>,
    },
    /// One job, by a webhook: perhaps late, doubled, or overtaken by a later one.
    Job {
        /// Which scope.
        scope: ScopeUrl,
        /// The job.
        job: ForgeJobFact,
    },
    /// Whether a scope can be spoken to.
    Contact {
        /// Which scope.
        scope: ScopeUrl,
        /// Whether.
        contact: ForgeContact,
    },
    /// The newest version of the runner that the forge offers, and how old the image's is.
    RunnerVersion {
        /// Which scope.
        scope: ScopeUrl,
        /// The version.
        newest: String,
    },
    /// A workflow was started for a client; worth an entry of the audit log and nothing more.
    Dispatched {
        /// Who asked for it.
        by: Client,
        /// Which scope.
        scope: ScopeUrl,
        /// `owner/name`.
        repository: String,
        /// The workflow.
        workflow: String,
        /// Its run, if the forge said which it is.
        run: Option<ForgeRunId>,
    },
}

/// Whether a scope can be spoken to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ForgeContact {
    /// It answers.
    Good,
    /// It does not answer, or not well; since when is the core's business.
    Unreachable(String),
    /// It asked for silence until then.
    Limited {
        /// Until when.
        until: Time,
        /// Its words.
        why: String,
    },
    /// It refuses: a credential, a right or the scope itself is wrong.
    Denied(String),
}

impl ForgeContact {
    /// All words there are.
    pub const WORDS: [&'static str; 4] = ["good", "unreachable", "limited", "denied"];

    /// The state in one word, for programs.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Unreachable(_) => "unreachable",
            Self::Limited { .. } => "limited",
            Self::Denied(_) => "denied",
        }
    }
}

/// A runner in a forge's list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgeRunnerFact {
    /// Its number.
    pub id: ForgeRunnerId,
    /// Its name.
    pub name: String,
    /// Whether it is online; none where the forge says something else.
    pub online: Option<bool>,
    /// Whether it has a job, by the forge's word. `false` is no proof.
    pub busy: bool,
    /// The version of its program, once it was connected.
    pub version: Option<String>,
}

/// A workflow's job, as its forge tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ForgeJobFact {
    /// Its number.
    pub id: ForgeJobId,
    /// Its run.
    pub run: ForgeRunId,
    /// Which attempt at the run, from 1.
    pub attempt: u32,
    /// `owner/name`.
    pub repository: String,
    /// The workflow's name.
    pub workflow: Option<String>,
    /// The job's name.
    pub name: String,
    /// The labels that it asks for.
    pub labels: Vec<String>,
    /// Where it stands.
    pub status: ForgeJobStatus,
    /// The runner that has or had it, by its name at the forge.
    pub runner: Option<String>,
    /// When the forge took it in.
    pub created: Time,
    /// Whether it runs code from another repository; none if that is not known.
    pub fork: Option<bool>,
    /// Its page, for people.
    pub url: Option<String>,
}

#[cfg(test)]
impl ForgeJobFact {
    /// A job `build` that waits and asks for no label, for tests.
    pub(crate) fn plain(id: u64, repository: &str, created: Time) -> Self {
        Self {
            id: ForgeJobId(id),
            run: ForgeRunId(1),
            attempt: 1,
            repository: repository.to_owned(),
            workflow: None,
            name: "build".to_owned(),
            labels: Vec::new(),
            status: ForgeJobStatus::Queued,
            runner: None,
            created,
            fork: None,
            url: None,
        }
    }
}

/// Where a workflow's job stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ForgeJobStatus {
    /// Not to be run yet: an approval, an earlier job or its concurrency group is waited for.
    Held,
    /// Waits for a runner.
    Queued,
    /// Has one.
    Running,
    /// Over; the forge's word for how.
    Completed(String),
}

impl ForgeJobStatus {
    /// How far a job has come; its forge's word for the end makes no difference.
    pub(super) fn progress(&self) -> u8 {
        match self {
            Self::Held => 0,
            Self::Queued => 1,
            Self::Running => 2,
            Self::Completed(_) => 3,
        }
    }

    /// Whether nothing will change any more.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Completed(_))
    }
}

/// How an operation at a forge ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForgeOutcome {
    /// The runner is registered under this number.
    Registered(ForgeRunnerId),
    /// The runner is removed, or its number was gone already: it gets no new job.
    Removed,
    /// It was looked for by its name, and no list has it; one that was registered just now may be
    /// hidden.
    NotListed,
    /// The runner has a job and stays.
    Busy,
    /// It certainly did not happen.
    Failed(ForgeError),
    /// Nobody knows whether it happened.
    Unknown(String),
}

/// Why an operation failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgeError {
    /// What kind of failure it is.
    pub class: ForgeErrorClass,
    /// What happened, and what to do, in words.
    pub message: String,
}

/// Failures sorted by what to do next; the core never sees an HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForgeErrorClass {
    /// Another runner has the name.
    NameTaken,
    /// The request is wrong (labels, group): the same again will fail again.
    Invalid,
    /// A credential or right is missing: the operator must act.
    Denied,
    /// The forge asked for silence until then.
    Limited(Time),
    /// May go well later.
    Retry,
}

/// Where a listener stands, as its agent sees it with its own eyes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// Where.
    pub stage: ListenerStage,
    /// Its number at the forge, if its registration says it.
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
    /// It has a job: its worker lives, or it said that it has one.
    Working(WorkFact),
    /// Its program ended, or never began.
    Over(ListenerEnd),
}

/// A job that a listener has, as far as it is known in the container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// Its program exited. What that means is the core's business.
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
